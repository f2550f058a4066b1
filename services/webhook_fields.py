"""What each field of a webhook endpoint may hold: one check per name, for the API and the screens alike.

A check gives the value as it is stored and raises `ValueError` with the end of a sentence. `webhooks` calls them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from flask import current_app

from lib import signing
from lib.headers import TRANSPORT
from services import events

CHANNELS = ("whatsapp", "email", "sms", "facebook", "instagram")
DIRECTIONS = ("inbound", "outbound")
POLICIES = ("standard", "extended")
MAX_HEADERS = 20
_RESERVED_HEADERS = TRANSPORT | {"content-type", "user-agent"}


def seal(text: str) -> str:
    return signing.encrypt(current_app.extensions["settings"].secret_key, text)


def unseal(token: str) -> str:
    return signing.decrypt(current_app.extensions["settings"].secret_key, token)


def _text(limit: int, *, required: bool = False) -> Callable[[Any], str]:
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


def _secret(value: Any) -> str:
    """Take a secret in the form in which we make them, and seal it."""
    text = value if isinstance(value, str) and value.startswith("whsec_") else ""
    try:
        size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not 24 <= size <= 64:
        raise ValueError("is whsec_ and 24 to 64 random bytes in base64")
    return seal(text)


def _events(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("names at least one event")
    names = list(events.TYPES) if "*" in value else list(dict.fromkeys(value))
    for name in names:
        if name not in events.TYPES:
            raise ValueError(f"'{name}' is no event; there are {', '.join(events.TYPES)}")
    return names


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(map(str, allowed))}")
        return value

    return check


def _channels(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or any(kind not in CHANNELS for kind in value):
        raise ValueError(f"is a list of {', '.join(CHANNELS)}; empty for all")
    return list(dict.fromkeys(value))


def _headers(value: Any) -> str | None:
    if not isinstance(value, Mapping) or len(value) > MAX_HEADERS:
        raise ValueError(f"is an object of at most {MAX_HEADERS} names and texts")
    for name, text in value.items():
        if not isinstance(text, str) or not name.isascii() or not name.replace("-", "").isalnum():
            raise ValueError(f"'{name}' is no header name, or its value is not text")
        if not text.isprintable() or not text.isascii() or len(text) > 2000:
            raise ValueError(f"the value of '{name}' must be printable ASCII")
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith(("x-webhook-", "webhook-")):
            raise ValueError(f"'{name}' is ours to set")
    return seal(orjson.dumps(dict(value)).decode()) if value else None


def _timeout(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 30:
        raise ValueError("is 1 to 30 seconds")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text(100, required=True),
    "description": _text(1000),
    "url": _url,
    "secret": _secret,
    "events": _events,
    "channels": _channels,
    "direction": _one_of(None, *DIRECTIONS),
    "headers": _headers,
    "policy": _one_of(*POLICIES),
    "ordered": _flag,
    "timeout": _timeout,
    "is_crm": _flag,
}
