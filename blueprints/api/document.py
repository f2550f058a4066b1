"""The OpenAPI 3.1 document, made of the operations' own models and docstrings; `reference` serves and shows it."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from blueprints.api import hooks, shapes
from blueprints.api.routing import OPERATIONS, Operation
from services.keys import SCOPES

VERSION = "2025-11-04"
REF = "#/components/schemas/{model}"
INTRODUCTION = """\
The JSON API of À La Carte Chat. Send your key in the header `x-api-key` on every call; Settings → API Access makes one.

Keys carry scopes; each operation names the one that it needs, and a key with too little gets 403, naming the scope.
Times are RFC 3339 in UTC with microseconds. Ids are UUIDs that sort by time. Unknown fields and parameters are refused,
so that a misspelt one never passes silently; answers may gain fields at any time.

**Repeating safely.** Send an `Idempotency-Key` with a POST: for 24 hours the same key and body get the first answer
again, with the header `Idempotent-Replay: true`. The same key with another body is 422, and 409 while the first call
still runs.

**Limits.** Each key may call 600 times a minute unless your operator says otherwise; `RateLimit-Remaining` tells what
is left, and 429 comes with `Retry-After`. Bodies have at most 8 MB, uploads 10 MB.

**What JSON may hold.** What JavaScript and PostgreSQL keep as it is: no NUL characters, no whole numbers beyond
2^53 − 1 (send them as text), no nesting deeper than 32, no keys named `__proto__`.
"""
_REASONS = {
    400: "The body is not valid JSON, or the request is malformed.",
    401: "The key is missing, unknown, expired or revoked.",
    403: "The key lacks the scope.",
    404: "There is no such thing in this business.",
    409: "It clashes with what is there, or with a call that still runs.",
    413: "The body is too large.",
    415: "The content type, or the type of the file, is not taken.",
    422: "A field or parameter is wrong; `error.field` names it.",
    429: "Too many calls; wait for `Retry-After` seconds.",
    503: "We cannot reach our database right now; nothing was changed. Try again after `Retry-After` seconds.",
}
_SAMPLES = {
    "uuid": "019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f",
    "date-time": "2025-11-04T09:00:00Z",
    "boolean": False,
    "integer": 1,
    "object": {},
}
_HEADERS = {
    "X-Request-Id": ("Tell it to support.", "string"),
    "RateLimit-Limit": ("Calls a minute.", "integer"),
    "RateLimit-Remaining": ("Calls left at this moment.", "integer"),
    "RateLimit-Reset": ("Seconds until the full limit is there again.", "integer"),
}


@lru_cache(maxsize=4)
def build(public_url: str) -> dict[str, Any]:
    """Write the whole document."""
    schemas = _schemas()
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "À La Carte Chat API", "version": VERSION, "description": INTRODUCTION},
        "servers": [{"url": f"{public_url}/functions/v1"}],
        "security": [{"ApiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "webhooks": {name: _webhook(name, text, model) for name, (text, model) in hooks.EVENTS.items()},
        "components": {
            "schemas": schemas,
            "responses": {str(status): _problem(status) for status in _REASONS},
            "headers": {name: _header(*told) for name, told in _HEADERS.items()},
            "securitySchemes": {
                "ApiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "Scopes: " + "; ".join(f"`{scope}`: {text}" for scope, text in SCOPES.items()) + ".",
                },
                "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key, as a bearer token."},
            },
        },
    }


def _schemas() -> dict[str, Any]:
    shown = [model for operation in OPERATIONS for model in operation.answers]
    read = [operation.body for operation in OPERATIONS if operation.body]
    models: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in (*read, *shown)]
    models += [(model, "validation") for _, model in hooks.EVENTS.values()]
    models.append((shapes.Problem, "validation"))
    _, document = models_json_schema(models, ref_template=REF)
    return {name: _tidy(schema) for name, schema in document["$defs"].items()}


def _tidy(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of names, and unfold the docstrings' lines."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _tidy(item) for name, item in schema.items() if name != "title" or not isinstance(item, str)}
    if isinstance(kept.get("description"), str):
        kept["description"] = _unfolded(kept["description"])
    return kept


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(operation.view.__doc__ or "").partition("\n")
    told: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": summary.strip(),
        "description": _unfolded(f"{description.strip()}\n\nNeeds the scope `{operation.scope}`.".strip()),
        "security": [{"ApiKey": [operation.scope]}, {"Bearer": [operation.scope]}],
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status): _answer(operation),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in operation.errors},
        },
    }
    if operation.upload:
        told["requestBody"] = _UPLOAD
    elif operation.body:
        content = {"schema": _ref(operation.body)}
        if example := example_of(schemas[operation.body.__name__], schemas):
            content["example"] = example
        told["requestBody"] = {"required": True, "content": {"application/json": content}}
    return told


_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
            }
        }
    },
}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = []
    if operation.query:
        schema = _tidy(operation.query.model_json_schema())
        for name, field in schema["properties"].items():
            description = field.pop("description", None)
            entry = {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": _bare(field),
            }
            found.append(entry | ({"description": description} if description else {}))
    if operation.method == "POST":
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Makes the call safe to repeat for 24 hours.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            }
        )
    return found


def _bare(field: dict[str, Any]) -> dict[str, Any]:
    """Drop the `null` of an optional parameter: left out is how one says nothing in a query."""
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        field = {name: item for name, item in field.items() if name != "anyOf"} | options[0]
    return {name: item for name, item in field.items() if not (name == "default" and item is None)}


def _answer(operation: Operation) -> dict[str, Any]:
    refs = [_ref(model) for model in operation.answers]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    stream = {"text/event-stream": {"schema": {"type": "string"}}} if operation.streams else {}
    return {
        "description": HTTPStatus(operation.status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS},
        "content": {"application/json": {"schema": schema}} | stream,
    }


def _webhook(name: str, text: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "post": {
            "operationId": name,
            "summary": text,
            "tags": ["Webhooks"],
            "security": [],
            "parameters": [
                {"name": header, "in": "header", "required": True, "description": told, "schema": {"type": "string"}}
                for header, told in hooks.HEADERS.items()
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(model)}}},
            "responses": {"2XX": {"description": "Received. Anything else counts as a failure."}},
        }
    }


def _problem(status: int) -> dict[str, Any]:
    answer = {
        "description": _REASONS[status],
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
        "content": {"application/json": {"schema": _ref(shapes.Problem)}},
    }
    if status in (429, 503):
        answer["headers"] |= {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}  # type: ignore[operator]
    return answer


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _unfolded(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n|- )", " ", text)


def example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Put an example together from those of the fields; None where a required one has none."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "examples" in schema:
        return schema["examples"][0]
    if schema.get("type") == "array":
        item = example_of(schema["items"], schemas)
        return None if item is None else [item]
    if "properties" in schema:
        return _example_of_object(schema, schemas)
    for option in schema.get("anyOf", ()):
        if (item := example_of(option, schemas)) is not None:
            return item
    return schema["enum"][0] if "enum" in schema else schema.get("const")


def _example_of_object(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    """Show what is required, and what else has an example of its own."""
    parts = {}
    for name, field in schema["properties"].items():
        if name in schema.get("required", ()):
            parts[name] = example_of(field, schemas)
            if parts[name] is None:
                parts[name] = _SAMPLES.get(field.get("format", field.get("type", "")))
        elif "examples" in field:
            parts[name] = field["examples"][0]
    return {name: item for name, item in parts.items() if item is not None} or None
