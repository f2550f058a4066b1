"""Who is asking: one guard for each blueprint of the front door, run before every one of its routes.

A guard leaves `g.business` (and `g.caller` or the user) behind or raises; it changes nothing.
"""

from __future__ import annotations

from flask import Flask, current_app, g, request

from errors import RateLimited
from lib import rate_limit
from services import keys


def init_app(app: Flask) -> None:
    """Wire sign-in and CSRF protection into the application."""


def nobody() -> None:
    """Let anybody in: what lies behind shows nothing of a business, or asks for itself."""


# --- systems: an API key ---


def api_key() -> None:
    """Let in who holds a key with the route's scope and calls no more often than allowed."""
    # Kept before it is judged: the calls of an expired key stand in its business's log.
    g.caller = caller = keys.identify(sent_key())
    keys.check(caller)
    g.business = caller.business
    _count(caller)
    keys.require(caller, current_app.view_functions[request.endpoint or ""].scope)  # type: ignore[attr-defined]


def sent_key() -> str:
    """Give the key that came with this request, or an empty text."""
    sent = request.headers.get("X-Api-Key", "")
    if not sent and request.headers.get("Authorization", "")[:7].lower() == "bearer ":
        sent = request.headers["Authorization"][7:]
    return sent.strip()


def _count(caller: keys.Caller) -> None:
    limit = current_app.extensions["settings"].api_rate_limit
    name = f"rate:{caller.business.id}:{caller.key_id}"
    g.rate = verdict = rate_limit.take(current_app.extensions["redis"], name, limit)
    if not verdict.allowed:
        raise RateLimited(
            f"This key may call {limit} times a minute. Wait {verdict.retry_after:.0f} s, or use the batch endpoints.",
            headers={"Retry-After": str(verdict.retry_after)},
        )
