"""Message templates: those that a WABA has, and whether a send fits one; a send that fits is rendered for the phone.

Called by `rules` and by the control API. The store keeps templates just as the Graph API lists them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from sandbox.errors import Refused
from sandbox.meta import shapes
from sandbox.meta.errors import GraphError

VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MEDIA = {"IMAGE": "image", "VIDEO": "video", "DOCUMENT": "document"}
_VALUES = ("text", "currency", "date_time")


def _body(text: str, **extra: Any) -> dict[str, Any]:
    return {"type": "BODY", "text": text, **extra}


DEFAULTS: list[dict[str, Any]] = [
    {"name": "hello_world", "language": "en_US", "category": "UTILITY", "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Hello World"},
        _body("Welcome and congratulations! This message shows that your number can send templates."),
        {"type": "FOOTER", "text": "WhatsApp Business Platform sample message"},
    ]},
    {"name": "order_update", "language": "en_US", "category": "UTILITY", "components": [
        _body("Hi {{1}}, your order {{2}} has shipped and arrives in 2–3 days."),
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Thanks"},
                                        {"type": "QUICK_REPLY", "text": "I have a question"}]},
    ]},
    {"name": "order_update", "language": "de", "category": "UTILITY", "components": [
        _body("Hallo {{1}}, Ihre Bestellung {{2}} ist unterwegs."),
    ]},
    {"name": "appointment_reminder", "language": "en", "category": "UTILITY", "parameter_format": "NAMED",
     "components": [
        {"type": "HEADER", "format": "TEXT", "text": "See you {{day}}"},
        _body("Hello {{customer_name}}, this is a reminder of your appointment on {{day}} at {{time}}."),
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Confirm"},
                                        {"type": "QUICK_REPLY", "text": "Reschedule"}]},
    ]},
    {"name": "reopen_conversation", "language": "en", "category": "UTILITY", "components": [
        _body("Hello {{1}}, we have an answer to your question. May we continue here?"),
        {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Yes, please"}]},
    ]},
    {"name": "spring_offer", "language": "en", "category": "MARKETING", "components": [
        {"type": "HEADER", "format": "IMAGE"},
        _body("Spring is here, {{1}}: 20% off all jackets until Sunday."),
        {"type": "FOOTER", "text": "Reply STOP to opt out"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Shop now", "url": "https://example.com/s/{{1}}"}]},
    ]},
    {"name": "login_code", "language": "en", "category": "AUTHENTICATION", "components": [
        _body("{{1}} is your verification code."),
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Copy code",
                                         "url": "https://www.whatsapp.com/otp/code/?code={{1}}"}]},
    ]},
    {"name": "price_change", "language": "en", "category": "UTILITY", "status": "PENDING",
     "components": [_body("Our prices change on {{1}}.")]},
    {"name": "flash_sale", "language": "en", "category": "MARKETING", "status": "PAUSED",
     "components": [_body("Only today, {{1}}!")]},
]  # fmt: skip


def complete(given: object) -> list[dict[str, Any]]:
    """Check templates that the control API was given and fill in what the Graph API would list."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refused("templates: give a list of objects")
    out = []
    for index, one in enumerate(given):
        words = [one.get(name) for name in ("name", "language", "category", "status", "parameter_format")]
        if not all(words[:2]) or not all(word is None or isinstance(word, str) for word in words):
            raise Refused(f"templates[{index}]: name and language are needed; they, category and status are texts")
        if not isinstance(one.get("components"), list):
            raise Refused(f"templates[{index}].components: give a list of objects")
        for part in one["components"]:
            _check_component(part, f"templates[{index}].components")
        out.append(
            {
                "id": _id(one["name"], one["language"]),
                "status": "APPROVED",
                "category": "UTILITY",
                "parameter_format": "POSITIONAL",
                "quality_score": {"score": "UNKNOWN"},
                "rejected_reason": "NONE",
                **one,
            }
        )
    return out


def _check_component(part: object, at: str) -> None:
    """Refuse a component that a send could not be checked against."""
    kind = str(part.get("type", "")).upper() if isinstance(part, dict) else ""
    if kind not in ("HEADER", "BODY", "FOOTER", "BUTTONS") or not isinstance(part, dict):
        raise Refused(f"{at}: each is an object with a type of HEADER, BODY, FOOTER or BUTTONS")
    plain = kind == "HEADER" and str(part.get("format", "TEXT")).upper() != "TEXT"
    if kind != "BUTTONS" and not plain and not isinstance(part.get("text"), str):
        raise Refused(f"{at}: a {kind} needs its text")
    buttons = part.get("buttons") if kind == "BUTTONS" else []
    if not isinstance(buttons, list) or not all(
        isinstance(one, dict) and isinstance(one.get("type"), str) and one.get("text") for one in buttons
    ):
        raise Refused(f"{at}: BUTTONS needs buttons, each with a type and a text")


def _id(name: str, language: str) -> str:
    return str(880_000_000_000_000 + int(hashlib.sha256(f"{name} {language}".encode()).hexdigest(), 16) % 10**12)


def check(known: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    """Check a `template` object against the WABA's templates; give what the phone shows, and the category."""
    shapes.only(asked, ("name", "language", "components", "namespace"), "template")
    name = shapes.text(asked, "name", "template", high=512)
    language = shapes.table(asked, "language", "template")
    shapes.only(language, ("code", "policy"), "template['language']")
    code = shapes.text(language, "code", "template['language']")
    template = _pick(known, name, code)
    sent = _components(asked)
    named = template["parameter_format"] == "NAMED"
    view: dict[str, Any] = {"template": name, "category": template["category"]}
    for part in template["components"]:
        kind = part["type"].upper()
        if kind == "HEADER":
            view |= _header(part, sent.pop("header", []), named)
        elif kind == "BODY":
            view["text"] = _fill("body", part["text"], sent.pop("body", []), named)
        elif kind == "FOOTER":
            view["footer"] = part["text"]
        elif kind == "BUTTONS":
            view["buttons"] = _buttons(part["buttons"], sent)
    for leftover, parameters in sent.items():
        if parameters or leftover.startswith("button"):
            raise _count(leftover, len(parameters), 0)
    if len(view.get("text", "")) > 1024:
        raise GraphError(132005, "The text of the template's body is over 1024 characters once filled in")
    return view


def _pick(known: list[dict[str, Any]], name: str, code: str) -> dict[str, Any]:
    template = next((one for one in known if one["name"] == name and one["language"] == code), None)
    status = template["status"] if template else ""
    if status in ("PAUSED", "DISABLED"):
        raise GraphError(132015 if status == "PAUSED" else 132016)
    if template is None or status != "APPROVED":
        raise GraphError(132001, f"template name ({name}) does not exist in {code}")
    return template


def _components(asked: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Give the parameters by component: `header`, `body`, `button 0 url` …"""
    found: dict[str, list[dict[str, Any]]] = {}
    for index, part in enumerate(shapes.rows({"components": [], **asked}, "components", "template", low=0, high=20)):
        at = f"template['components'][{index}]"
        shapes.only(part, ("type", "parameters", "sub_type", "index"), at)
        kind = shapes.one_of(str(part.get("type", "")).lower(), ("header", "body", "button", "footer"), f"{at}['type']")
        if kind == "button":
            sub_type = shapes.text(part, "sub_type", at).lower()
            if not str(part.get("index", "")).isdigit():
                raise GraphError(131008, f"{at}: a button needs its index")
            kind = f"button {part['index']} {sub_type}"
        found[kind] = shapes.rows({"parameters": [], **part}, "parameters", at, low=0, high=100)
    return found


def _header(part: dict[str, Any], parameters: list[dict[str, Any]], named: bool) -> dict[str, Any]:
    kind = part.get("format", "TEXT").upper()
    if kind == "TEXT":
        return {"header": _fill("header", part["text"], parameters, named)}
    if len(parameters) != 1:
        got = "UNKNOWN" if not parameters else f"{len(parameters)} parameters"
        raise GraphError(132012, f"header: Format mismatch, expected {kind}, received {got}")
    wanted, given = _MEDIA.get(kind, "location"), parameters[0]
    if given.get("type") != wanted or not isinstance(given.get(wanted), dict):
        raise GraphError(132012, f"header: Format mismatch, expected {kind}, received {str(given.get('type')).upper()}")
    if wanted == "location":
        return {"location": given[wanted]}
    return {"header_media": shapes.media(given[wanted], wanted, "header")}


def _fill(where: str, text: str, parameters: list[dict[str, Any]], named: bool) -> str:
    """Put the parameters in; their number, kind and (if the template is NAMED) names must be the template's."""
    variables = list(dict.fromkeys(VARIABLE.findall(text)))
    values: dict[str, str] = {}
    for index, one in enumerate(parameters):
        name = one.get("parameter_name")
        if named != bool(name):
            rule = "needs a" if named else "must not have a"
            raise GraphError(132012, f"{where}: parameter {index} {rule} parameter_name")
        values[str(name) if named else str(index + 1)] = _value(where, one)
    if len(parameters) != len(variables):
        raise _count(where, len(parameters), len(variables))
    if set(values) != set(variables):
        names = f"{', '.join(variables)}, got {', '.join(values)}"
        raise GraphError(132012, f"{where}: the template's parameters are {names}")
    return VARIABLE.sub(lambda match: values[match[1]], text)


def _value(where: str, one: dict[str, Any]) -> str:
    kind = one.get("type")
    if kind not in _VALUES:
        raise GraphError(132012, f"{where}: Format mismatch, expected TEXT, received {str(kind).upper()}")
    if kind != "text":
        return str(one.get(kind, {}).get("fallback_value", ""))
    value = one.get("text")
    if not isinstance(value, str) or not value:
        raise GraphError(131008, f"{where}: Parameter of type text is missing text value")
    if re.search(r"[\n\t\r]| {5}", value):
        raise GraphError(132018, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces")
    return value


def _buttons(buttons: list[dict[str, Any]], sent: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Give the buttons as the phone has them: quick replies with their payload, links with their address."""
    shown = []
    for index, button in enumerate(buttons):
        kind = button["type"].lower()
        parameters = sent.pop(f"button {index} {kind}", [])
        if kind == "quick_reply":
            payload = str(parameters[0].get("payload", "")) if parameters else button["text"]
            shown.append({"kind": "quick_reply", "id": payload or button["text"], "title": button["text"]})
            continue
        url = button.get("url", "")
        if VARIABLE.search(url):
            if len(parameters) != 1 or not str(parameters[0].get("text") or ""):
                raise GraphError(131008, f"buttons: Button at index {index} of type Url requires a parameter")
            url = str(parameters[0]["text"]).join(VARIABLE.split(url)[::2])
        elif parameters and kind == "url":
            raise _count("button", len(parameters), 0)
        shown.append({"kind": "url" if url else kind, "title": button["text"], "url": url})
    return shown


def _count(where: str, given: int, wanted: int) -> GraphError:
    return GraphError(
        132000,
        f"{where}: number of localizable_params ({given}) does not match the expected number of params ({wanted})",
    )
