"""What a caller may say of a customer: each field checked and put into its stored form.

Called by customers and customer_sync, once for each record. Asks the database for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from errors import Invalid
from lib import addresses

READ_ONLY = {"id", "created_at", "updated_at", "external_ids"}  # as we show them; ignored when they come back
MAX_CUSTOM_FIELDS = 32_768  # bytes of JSON
MAX_TAGS = 50


@dataclass(slots=True)
class Record:
    """One customer as a caller described it: `fields` holds only what was said, with None for what is to be cleared."""

    fields: dict[str, Any]
    external_id: str | None = None
    external_system: str | None = None


def read(raw: Any, region: str) -> Record:
    """Check one record; raise `Invalid` naming the first field that cannot be taken."""
    if not isinstance(raw, Mapping):
        raise Invalid("A customer must be a JSON object.", code="invalid_type")
    fields: dict[str, Any] = {}
    for name, value in raw.items():
        if name in READ_ONLY:
            continue
        check = _CHECKS.get(name)
        if check is None:
            raise Invalid(
                f"Unknown field '{name}'. Put what is your own under custom_fields.", code="unknown_field", field=name
            )
        try:
            fields[name] = check(value, region)
        except ValueError as exc:
            raise Invalid(str(exc), code="invalid_field", field=name) from None
    external_id = fields.pop("external_id", None)
    external_system = fields.pop("external_system", None)
    return Record(fields, external_id, external_system)


def full_name(fields: Mapping[str, Any]) -> str:
    """Give the name to show: as it was said, else made of its parts."""
    return fields.get("name") or " ".join(part for part in (fields.get("first_name"), fields.get("last_name")) if part)


def searchable(row: Any) -> str:
    """Write what people type to find someone."""
    parts = (row.name, row.email, row.phone, row.whatsapp_number, *row.external_ids.values())
    return " ".join(part for part in parts if part).lower()


def _text(limit: int) -> Callable[[Any, str], str | None]:
    def check(value: Any, region: str) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {_json_type(value)}")
        value = value.strip()
        if len(value) > limit:
            raise ValueError(f"is longer than {limit} characters")
        return value or None

    return check


_CRM_ID = _text(255)


def _external_id(value: Any, region: str) -> str | None:
    # CRMs with numeric ids send numbers; `true` is an int in Python and none here.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _CRM_ID(value, region)


def _email(value: Any, region: str) -> str | None:
    text = _text(320)(value, region)
    return addresses.email(text) if text else None


def _phone(value: Any, region: str) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = _text(64)(value, region)
    return addresses.phone(text, region) if text else None


def _tags(value: Any, region: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValueError("must be a list of texts")
    tags = list(dict.fromkeys(tag.strip() for tag in value if tag.strip()))
    if len(tags) > MAX_TAGS or any(len(tag) > 64 for tag in tags):
        raise ValueError(f"holds at most {MAX_TAGS} tags of at most 64 characters each")
    return tags


def _custom_fields(value: Any, region: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, not {_json_type(value)}")
    if len(orjson.dumps(value)) > MAX_CUSTOM_FIELDS:
        raise ValueError(f"is larger than {MAX_CUSTOM_FIELDS} bytes")
    return value


def _json_type(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", str: "text"}
    return names.get(type(value), "null")


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "name": _text(200),
    "first_name": _text(100),
    "last_name": _text(100),
    "email": _email,
    "phone": _phone,
    "whatsapp_number": _phone,
    "external_id": _external_id,
    "external_system": _text(64),
    "address": _text(1000),
    "notes": _text(10_000),
    "tags": _tags,
    "custom_fields": _custom_fields,
}
