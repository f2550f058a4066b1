"""The API reference: the OpenAPI document at `/api-docs/openapi.json`, and `/api-docs`, a page made of it."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, render_template
from markupsafe import Markup, escape

from blueprints.api import document

blueprint = Blueprint("reference", __name__, url_prefix="/api-docs")

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")


@blueprint.get("")
def page() -> str:
    """Show the reference."""
    told = document.build(_public_url())
    return render_template("api_docs.html", info=told["info"], base=told["servers"][0]["url"], groups=_groups(told))


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Give the document; tools of other origins may fetch it."""
    body = orjson.dumps(document.build(_public_url()), option=orjson.OPT_INDENT_2)
    response = Response(body, content_type="application/json")
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@blueprint.app_template_filter()
def prose(text: str) -> Markup:
    """Write the little Markdown of our descriptions: paragraphs, `code`, **bold**."""
    shown = _BOLD.sub(r"<b>\1</b>", _CODE.sub(r"<code>\1</code>", str(escape(text.strip()))))
    return Markup("".join(f"<p>{part}</p>" for part in shown.split("\n\n")))


def _public_url() -> str:
    return str(current_app.extensions["settings"].public_url)


@lru_cache(maxsize=4)
def _told(url: str) -> list[dict[str, Any]]:
    told = document.build(url)
    schemas, base = told["components"]["schemas"], told["servers"][0]["url"]
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in told["tags"]}
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]].append(_operation(base, path, method.upper(), operation, schemas))
    shown = [{"name": name, "entries": entries} for name, entries in groups.items()]
    events = [_event(name, item["post"], schemas) for name, item in told["webhooks"].items()]
    return [*shown, {"name": "Events of webhooks", "entries": events}]


def _groups(told: dict[str, Any]) -> list[dict[str, Any]]:
    return _told(told["servers"][0]["url"].removesuffix("/functions/v1"))


def _operation(base: str, path: str, method: str, told: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    content = next(iter(told.get("requestBody", {"content": {}})["content"].items()), None)
    status, answer = next((status, answer) for status, answer in told["responses"].items() if "content" in answer)
    schema = answer["content"]["application/json"]["schema"]
    options = [document.example_of(option, schemas) for option in schema.get("anyOf", [schema])]
    return {
        "id": told["operationId"],
        "method": method,
        "path": path,
        "summary": told["summary"],
        "text": told["description"].removesuffix(f"Needs the scope `{_scope(told)}`."),
        "scope": _scope(told),
        "parameters": [_parameter(item) for item in told["parameters"]],
        "fields": _fields(content[1]["schema"], schemas) if content else [],
        "body_text": _describes(content[1]["schema"], schemas) if content else "",
        "curl": _curl(base, path, method, told, content),
        "status": status,
        "answers": [_pretty(option) for option in options if option is not None],
        "errors": [code for code in told["responses"] if code >= "400"],
    }


def _event(name: str, told: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    example = document.example_of(schema, schemas) | {"event": name}
    headers = [{"name": item["name"], "type": "header", "text": item["description"]} for item in told["parameters"]]
    return {
        "id": f"event-{name}",
        "method": "EVENT",
        "path": name,
        "summary": told["summary"],
        "text": "",
        "parameters": headers if name == "message.received" else [],
        "fields": [],
        "answers": [_pretty(example)],
        "status": "",
        "errors": [],
    }


def _scope(told: dict[str, Any]) -> str:
    return str(told["security"][0]["ApiKey"][0])


def _parameter(item: dict[str, Any]) -> dict[str, Any]:
    kind = _kind(item["schema"]) if item["in"] == "query" else item["in"]
    text = item.get("description", "")
    if "default" in item["schema"]:
        default = json.dumps(item["schema"]["default"]).strip('"')
        text = f"{text} Default `{default}`.".strip()
    return {"name": item["name"], "type": kind, "required": item.get("required"), "text": text}


def _fields(schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """List a body's fields, those of its records too."""
    schema = _followed(schema, schemas)
    rows = []
    for name, field in schema.get("properties", {}).items():
        required, text = name in schema.get("required", ()), field.get("description", "")
        rows.append({"name": prefix + name, "type": _kind(field), "required": required, "text": text})
        inner = next(
            (option for option in [field, *field.get("anyOf", [])] if "$ref" in option), field.get("items", {})
        )
        if "$ref" in inner:
            rows += _fields(inner, schemas, f"{prefix}{name}{'[]' if 'items' in field else ''}.")
    return rows


def _describes(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    return str(_followed(schema, schemas).get("description", ""))


def _followed(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema  # type: ignore[no-any-return]


def _kind(schema: dict[str, Any]) -> str:
    """Name a schema's type in a word or two."""
    if "$ref" in schema:
        return "object"
    if "anyOf" in schema:
        kinds = dict.fromkeys(_kind(option) for option in schema["anyOf"] if option.get("type") != "null")
        null = any(option.get("type") == "null" for option in schema["anyOf"])
        return " or ".join([*kinds, *(["null"] if null else [])])
    if "enum" in schema:
        return " · ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}s"
    names = {"uuid": "id", "date-time": "time"}
    kind = names.get(schema.get("format", ""), schema.get("type", "any"))
    return {"string": "text", "boolean": "true · false"}.get(kind, kind)


def _curl(base: str, path: str, method: str, told: dict[str, Any], content: Any) -> str:
    query = "&".join(f"{item['name']}={_sample(item['schema'])}" for item in told["parameters"] if _is_shown(item))
    lines = [f'curl -X {method} "{base}{path}{"?" + query if query else ""}"', '-H "x-api-key: $API_KEY"']
    if content and content[0] == "application/json":
        body = _pretty(content[1].get("example", {})).replace("'", "'\\''")
        lines += ['-H "Content-Type: application/json"', f"-d '{body}'"]
    elif content:
        lines.append('-F "file=@receipt.pdf"')
    return " \\\n  ".join(lines)


def _is_shown(item: dict[str, Any]) -> bool:
    return bool(item.get("required") or (item["in"] == "query" and "examples" in item["schema"]))


def _sample(schema: dict[str, Any]) -> str:
    samples = {"uuid": "019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f", "date-time": "2025-11-04T09:00:00Z"}
    return str(schema["examples"][0]) if "examples" in schema else samples.get(schema.get("format", ""), "…")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
