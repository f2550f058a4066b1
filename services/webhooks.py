"""Webhook endpoints: create, change, pause, rotate, test. What is sent to them lives in deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from flask import current_app
from sqlalchemy import select

from errors import Conflict, Invalid, NotFound
from lib import signing
from lib.ids import uuid7
from models import Business, Event, Notice, WebhookEndpoint, db, now
from services import events, payloads

OVERLAP = timedelta(hours=24)
POLICIES = ("standard", "extended")
MAX_ENDPOINTS = 50
_RESERVED_HEADERS = {"host", "content-length", "content-type", "connection", "transfer-encoding", "user-agent"}


def page(business: Business) -> Sequence[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(WebhookEndpoint.business_id == business.id)
    return db.session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()


def get(business: Business, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = db.session.get(WebhookEndpoint, (business.id, endpoint_id))
    if endpoint is None:
        raise NotFound("No webhook of this business has that id.", code="webhook_not_found")
    return endpoint


def create(
    business: Business, *, name: str, url: str, events: Sequence[str], by: UUID | None = None, **options: Any
) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; give it and its secret, which is shown now and revealed later on request."""
    if len(page(business)) >= MAX_ENDPOINTS:
        raise Conflict(f"A business has at most {MAX_ENDPOINTS} webhooks.", code="too_many_webhooks")
    secret = signing.new_webhook_secret()
    endpoint = WebhookEndpoint(
        business_id=business.id, id=uuid7(), name=name, url=url, events=[], secret=_seal(secret), created_by=by
    )
    change(endpoint, url=url, events=events, **options)
    db.session.add(endpoint)
    db.session.flush()
    return endpoint, secret


def change(endpoint: WebhookEndpoint, **said: Any) -> None:
    """Change what is said; raise `Invalid` naming the field."""
    for name, value in said.items():
        if name not in _CHECKS:
            raise Invalid(f"Unknown field '{name}'.", code="unknown_field", field=name)
        try:
            setattr(endpoint, name, _CHECKS[name](value))
        except ValueError as exc:
            raise Invalid(f"{name}: {exc}", code="invalid_field", field=name) from None
    endpoint.updated_at = now()


def delete(endpoint: WebhookEndpoint) -> None:
    """Remove an endpoint with its deliveries and their log."""
    db.session.delete(endpoint)


def pause(endpoint: WebhookEndpoint, reason: str) -> None:
    """Stop sending; events go on being kept for it."""
    endpoint.state, endpoint.state_reason, endpoint.updated_at = "paused", reason, now()


def resume(endpoint: WebhookEndpoint) -> None:
    """Send again, first of all what waited."""
    endpoint.state, endpoint.state_reason, endpoint.failing_since = "active", None, None
    endpoint.updated_at = now()


def disable(endpoint: WebhookEndpoint, reason: str) -> None:
    """Stop sending and keeping: the receiver said that it is gone."""
    endpoint.state, endpoint.state_reason, endpoint.updated_at = "disabled", reason, now()
    warn(endpoint, reason)


def warn(endpoint: WebhookEndpoint, reason: str) -> None:
    """Tell the admins."""
    text = f"Webhook {endpoint.name}: {reason}"
    db.session.add(Notice(business_id=endpoint.business_id, kind="webhook", subject_id=endpoint.id, text=text))


def secret(endpoint: WebhookEndpoint) -> str:
    return _open(endpoint.secret)


def rotate(endpoint: WebhookEndpoint) -> str:
    """Make a new secret. The old one signs the guide's header until the receiver accepts the new one, a day at most."""
    fresh = signing.new_webhook_secret()
    endpoint.previous_secret, endpoint.secret = endpoint.secret, _seal(fresh)
    endpoint.rotation_ends_at, endpoint.new_secret_accepted = now() + OVERLAP, False
    endpoint.updated_at = now()
    return fresh


def signing_secrets(endpoint: Any) -> list[str]:
    """Give the secrets to sign with: the guide's header takes the first, the Standard Webhooks header all of them."""
    fresh = _open(endpoint.secret)
    rotating = endpoint.previous_secret and endpoint.rotation_ends_at and endpoint.rotation_ends_at > now()
    if not rotating:
        return [fresh]
    old = _open(endpoint.previous_secret)
    return [fresh, old] if endpoint.new_secret_accepted else [old, fresh]


def custom_headers(endpoint: Any) -> dict[str, str]:
    return orjson.loads(_open(endpoint.headers)) if endpoint.headers else {}  # type: ignore[no-any-return]


def test_event(business: Business, endpoint: WebhookEndpoint) -> Event:
    """Make a `webhook.test` event, shaped like a message that was received; it is written when the transaction ends."""
    sample = {
        "message_id": str(uuid7()),
        "customer_id": str(uuid7()),
        "external_id": "CRM-12345",
        "content": "This is a test from À La Carte Chat.",
        "channel": "whatsapp",
        "direction": "inbound",
        "created_at": payloads.time(now()),
        "test": True,
    }
    customer = {"id": sample["customer_id"], "name": "Test Customer", "external_id": "CRM-12345", "custom_fields": {}}
    message = {"id": sample["message_id"], "content": sample["content"], "platform": "whatsapp", "channel": "whatsapp"}
    data = sample | {"message": message, "customer": customer, "attachments": [], "webhook": {"id": str(endpoint.id)}}
    return events.write_test(business.id, data)


def shows(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Give the endpoint as the API shows it, without its secret."""
    return {
        "id": str(endpoint.id),
        "name": endpoint.name,
        "description": endpoint.description,
        "url": endpoint.url,
        "events": endpoint.events,
        "channels": endpoint.channels,
        "direction": endpoint.direction,
        "custom_headers": sorted(custom_headers(endpoint)),
        "policy": endpoint.policy,
        "ordered": endpoint.ordered,
        "timeout": endpoint.timeout,
        "state": endpoint.state,
        "state_reason": endpoint.state_reason,
        "api_version": endpoint.api_version,
        "created_at": payloads.time(endpoint.created_at),
        "updated_at": payloads.time(endpoint.updated_at),
    }


def _seal(text: str) -> str:
    return signing.encrypt(current_app.extensions["settings"].secret_key, text)


def _open(token: str) -> str:
    return signing.decrypt(current_app.extensions["settings"].secret_key, token)


def _text(limit: int, *, required: bool = False) -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit or (required and not value.strip()):
            raise ValueError(f"must be {'1 to' if required else 'at most'} {limit} characters of text")
        return value.strip()

    return check


def _url(value: Any) -> str:
    parts = urlsplit(value) if isinstance(value, str) and len(value) <= 2000 else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be an http or https address without a user name")
    if any(ord(char) <= 32 for char in value):
        raise ValueError("must not hold spaces or control characters")
    return str(value)


def _events(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("names at least one event")
    names = list(events.TYPES) if "*" in value else list(dict.fromkeys(value))
    for name in names:
        if name not in events.TYPES:
            raise ValueError(f"'{name}' is no event; there are {', '.join(events.TYPES)}")
    return names


def _one_of(*allowed: Any) -> Any:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}")
        return value

    return check


def _channels(value: Any) -> list[str]:
    kinds = ("whatsapp", "email", "sms", "facebook", "instagram")
    if not isinstance(value, list | tuple) or any(kind not in kinds for kind in value):
        raise ValueError(f"is a list of {', '.join(kinds)}; empty for all")
    return list(dict.fromkeys(value))


def _headers(value: Any) -> str | None:
    if not isinstance(value, Mapping) or len(value) > 20:
        raise ValueError("is an object of at most 20 names and texts")
    for name, text in value.items():
        if not isinstance(text, str) or not name.isascii() or not name.replace("-", "").isalnum():
            raise ValueError(f"'{name}' is no header name, or its value is not text")
        if not text.isprintable() or not text.isascii() or len(text) > 2000:
            raise ValueError(f"the value of '{name}' must be printable ASCII")
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith(("x-webhook-", "webhook-")):
            raise ValueError(f"'{name}' is ours to set")
    return _seal(orjson.dumps(dict(value)).decode()) if value else None


def _timeout(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 30:
        raise ValueError("is 1 to 30 seconds")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


_CHECKS: dict[str, Any] = {
    "name": _text(100, required=True),
    "description": _text(1000),
    "url": _url,
    "events": _events,
    "channels": _channels,
    "direction": _one_of(None, "inbound", "outbound"),
    "headers": _headers,
    "policy": _one_of(*POLICIES),
    "ordered": _flag,
    "timeout": _timeout,
    "is_crm": _flag,
}
