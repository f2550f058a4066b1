"""What came with a request, read into the models that also document it: JSON bodies, queries, times and ids.

Called by the routing of the API. Whatever is wrong with the bytes is said with its place, and never reaches a verb.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from errors import Invalid, Malformed, TooLarge, UnsupportedMedia
from lib import js_json

Model = TypeVar("Model", bound=BaseModel)

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:([Zz])|([ +-])(\d\d):(\d\d))", re.ASCII)
_WORDS = {
    "extra_forbidden": "is not a field of this request",
    "missing": "is required",
}


class Body(BaseModel):
    """A request body: what it does not know it refuses, and it turns no type into another."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """A query string; its values come as text."""

    model_config = ConfigDict(extra="forbid")


def read_time(value: Any) -> datetime:
    """Read RFC 3339 at any offset and precision; a `+` that a URL made a space is meant as `+`."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time like 2025-11-04T09:00:00Z, with its offset")
    day, clock, fraction, _, sign, hours, minutes = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}+00:00")
        if sign is None:
            return local
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError
        return (local + offset if sign == "-" else local - offset).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists") from None


def _read_id(value: Any) -> UUID:
    try:
        if isinstance(value, str) and len(value) == 36:
            return UUID(value)
    except ValueError:
        pass
    raise ValueError("must be an id like 019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f")


Time = Annotated[datetime, BeforeValidator(read_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[UUID, BeforeValidator(_read_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Cursor = Annotated[str, Field(max_length=500, description="`next_cursor` of the page before.")]


def query(model: type[Model]) -> Model:
    """Read the query string."""
    given = request.args
    arguments = given.to_dict()
    if request.query_string.count(b"&") >= len(arguments) and any(len(values) > 1 for values in given.listvalues()):
        raise Invalid("A parameter of the query is given twice.", code="repeated_parameter")
    for name, value in arguments.items():
        if "\0" in value or "\0" in name:
            raise Invalid(f"{name}: holds a NUL character", code="invalid_field", field=name.replace("\0", ""))
    return validate(model, arguments)


def body() -> dict[str, Any]:
    """Read the JSON body: an object that JavaScript and PostgreSQL can keep as it is."""
    document = unchecked_body()
    try:
        js_json.check(document)
    except js_json.NotPortable as exc:
        raise unportable(exc) from None
    return document


def unchecked_body() -> dict[str, Any]:
    """Read the JSON body of a batch, whose records are then checked one by one."""
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise UnsupportedMedia("Send JSON, with the header Content-Type: application/json.")
    try:
        document = js_json.loads(raw())
    except js_json.BadJson as exc:
        raise Malformed(
            f"The body is not valid JSON: {exc}", code="malformed_json", details={"position": exc.position}
        ) from None
    if not isinstance(document, dict):
        raise Invalid("The body must be a JSON object.", code="invalid_type")
    return document


def raw() -> bytes:
    """Give the body's bytes. Without a length it is cut off at the limit, so one of that very size is too large."""
    data = request.get_data()
    if request.content_length is None and len(data) >= (request.max_content_length or len(data) + 1):
        raise TooLarge("The request is larger than this address takes.")
    return data


def unportable(exc: js_json.NotPortable) -> Invalid:
    return Invalid(str(exc), code="invalid_field", field=exc.path or None)


def validate(model: type[Model], values: dict[str, Any]) -> Model:
    """Make the model, or say which field is wrong, all of them in `details`."""
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        faults = [_fault(error) for error in exc.errors(include_url=False, include_input=False)[:50]]
    first = faults[0]
    raise Invalid(
        f"{first['field']}: {first['message']}",
        code=first["code"],
        field=first["field"],
        details=faults if len(faults) > 1 else None,
    )


def said(body: Body, nullable: Collection[str] = ()) -> dict[str, Any]:
    """Give the fields that a change names; only some may be null."""
    fields = body.model_dump(exclude_unset=True)
    for name, value in fields.items():
        if value is None and name not in nullable:
            raise Invalid(f"{name}: must not be null", code="invalid_field", field=name)
    return fields


def _fault(error: Any) -> dict[str, str]:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    message = _WORDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    codes = {"extra_forbidden": "unknown_field", "missing": "required_field"}
    return {"field": field or "body", "code": codes.get(error["type"], "invalid_field"), "message": message}
