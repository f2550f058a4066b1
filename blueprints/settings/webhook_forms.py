"""What a webhook's form holds: read into the fields of the service, shown again as it was typed, its address judged.

Shared by the pages of Webhooks and of CRM Integration.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from flask import request

from blueprints import webhook_addresses
from errors import AppError, Invalid
from lib import signing
from models import WebhookEndpoint
from services import events, webhooks

GROUPS = {
    "Messages": ("message.received", "message.sent", "message.status_changed"),
    "Conversations": ("conversation.created", "conversation.assigned", "conversation.status_changed"),
    "Customers": ("customer.created", "customer.updated", "customer.deleted", "customer.merged"),
}
POLICIES = {
    "standard": "After 2, 4 and 8 seconds, then it waits for a replay",
    "extended": "After 2, 4 and 8 seconds, then with growing pauses for 24 hours",
}
DIRECTIONS = {"": "Both ways", "inbound": "Inbound only", "outbound": "Outbound only"}
SPARE_HEADERS = 2  # empty lines for more


def read(endpoint: WebhookEndpoint | None) -> dict[str, Any]:
    """Read the whole form."""
    form = request.form
    said = {name: _text(name) for name in ("name", "description", "policy")}
    return said | {
        "events": form.getlist("events"),
        "channels": form.getlist("channels"),
        "direction": form.get("direction") or None,
        "ordered": "ordered" in form,
        **read_call(endpoint),
    }


def read_call(endpoint: WebhookEndpoint | None) -> dict[str, Any]:
    """Read what a call depends on: the address, the headers, the time-out and, before it is saved, the secret."""
    form = request.form
    said: dict[str, Any] = {"url": _text("url")}
    webhook_addresses.check(said["url"], endpoint.url if endpoint else "")
    if "header_name" in form:
        said["headers"] = _headers(endpoint)
    if "timeout" in form:
        said["timeout"] = _seconds(form["timeout"])
    if endpoint is None:
        said["secret"] = form.get("secret", "")
    return said


def values(endpoint: WebhookEndpoint | None) -> SimpleNamespace:
    """Give what the form shows: what was just typed, else what is stored, else how a webhook begins."""
    if request.method == "POST":
        form = request.form
        names = form.getlist("header_name")
        return SimpleNamespace(
            **{name: form.get(name, "") for name in ("name", "url", "description", "policy", "timeout", "secret")},
            direction=form.get("direction", ""),
            events=form.getlist("events"),
            channels=form.getlist("channels"),
            ordered="ordered" in form,
            headers=list(zip(names, form.getlist("header_value"), strict=False)),
        )
    if endpoint is None:
        plain = {"name": "", "url": "", "description": "", "policy": "standard", "timeout": 15, "direction": ""}
        wanted = {"events": ["message.received"], "channels": [], "ordered": False, "headers": []}
        return SimpleNamespace(**plain, **wanted, secret=signing.new_webhook_secret())
    stored = {
        name: getattr(endpoint, name)
        for name in ("name", "url", "description", "policy", "timeout", "events", "channels", "ordered")
    }
    headers = [(name, "") for name in webhooks.custom_headers(endpoint)]
    return SimpleNamespace(**stored, direction=endpoint.direction or "", headers=headers, secret="")


def choices() -> dict[str, Any]:
    """Give what can be chosen, for the templates."""
    return {"groups": GROUPS, "meanings": events.TYPES, "policies": POLICIES, "directions": DIRECTIONS}


def problem_of(problem: AppError) -> AppError:
    """Give an error as it reads beside its field: without the field's name in front."""
    text = problem.message.removeprefix(f"{problem.field}: ")
    shown = Invalid(text[:1].upper() + text[1:], code=problem.code, field=problem.field or "name")
    if not shown.message.endswith("."):
        shown.message += "."
    return shown


def _text(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Invalid("timeout: is 1 to 30 seconds", field="timeout")
    return int(text)


def _headers(endpoint: WebhookEndpoint | None) -> dict[str, str]:
    """Read the custom headers; one whose value is left empty keeps the value that it had."""
    kept = webhooks.custom_headers(endpoint) if endpoint else {}
    found: dict[str, str] = {}
    names = map(str.strip, request.form.getlist("header_name"))
    for name, text in zip(names, request.form.getlist("header_value"), strict=False):
        if name:
            found[name] = text.strip() or kept.get(name, "")
        elif text.strip():
            raise Invalid("headers: a value needs the name of its header", field="headers")
    return found
