"""Who is asking: one guard for each blueprint of the front door, run before every one of its routes.

A guard leaves `g.business` (and `g.caller` or the user) behind or raises; it changes nothing.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, abort, current_app, g, redirect, request, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect

from blueprints.times import zone
from errors import Forbidden, RateLimited, Unauthenticated
from lib import rate_limit
from services import embeds, keys, team

csrf = CSRFProtect()
SAFE = ("GET", "HEAD", "OPTIONS")


class PeoplesSessions(SecureCookieSessionInterface):
    """Sessions in a cookie, which the JSON API neither reads nor sets."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return None if request.path.startswith("/functions/") else super().open_session(app, request)


def init_app(app: Flask) -> None:
    """Wire sign-in and CSRF protection into the application."""
    app.session_interface = PeoplesSessions()
    login = LoginManager(app)
    login.user_loader(team.of_session)
    csrf.init_app(app)


def nobody() -> None:
    """Let anybody in: what lies behind shows nothing of a business, or asks for itself."""


# --- people: a session of the sign-in ---


def agent() -> None:
    """Let in who is signed in; send a browser to the sign-in and back, and tell a screen that its session is over."""
    if not current_user.is_authenticated:
        if request.method in SAFE and "HX-Request" not in request.headers and request.path != "/live":
            abort(redirect(url_for("account.login", next=request.full_path.rstrip("?"))))
        raise Unauthenticated("Your session is over. Sign in again.", code="signed_out")
    g.business = current_user.business
    g.zone = zone(g.business.timezone)
    if request.method not in SAFE:
        csrf.protect()


def admin() -> None:
    """Let in admins alone, and tell agents whom to ask."""
    agent()
    if not current_user.is_admin:
        names = " or ".join(team.admins(g.business)[:3]) or "an admin"
        raise Forbidden(f"Only admins can open this page. Ask {names}.", code="admins_only")


# --- systems: an API key ---


def api_key() -> None:
    """Let in who holds a key with the route's scope and calls no more often than allowed."""
    # Kept before it is judged: the calls of an expired key stand in its business's log.
    kept: Any = g._get_current_object()  # type: ignore[attr-defined]
    kept.caller = None
    kept.caller = caller = keys.identify(sent_key())
    keys.check(caller)
    kept.business = caller.business
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    limit = app.extensions["settings"].api_rate_limit
    name = f"rate:{caller.business.id}:{caller.id}"
    kept.rate = verdict = rate_limit.take(app.extensions["redis"], name, limit)
    if not verdict.allowed:
        raise RateLimited(
            f"This key may call {limit} times a minute. Wait {verdict.retry_after:.0f} s, or use the batch endpoints.",
            headers={"Retry-After": str(verdict.retry_after)},
        )
    keys.require(caller, app.view_functions[request.endpoint or ""].scope)  # type: ignore[attr-defined]


def sent_key() -> str:
    """Give the key that came with this request, or an empty text."""
    headers = request.headers
    sent = headers.get("X-Api-Key", "")
    if not sent and headers.get("Authorization", "")[:7].lower() == "bearer ":
        sent = headers["Authorization"][7:]
    return sent.strip()


# --- embeds: the secret that one open iframe holds ---


def embed_session() -> None:
    """Let in the page of an embed that still holds. The header is all: no cookie is read, so nothing can be forged."""
    if request.method == "OPTIONS":  # a browser asks whether the page may send its header; a sandboxed one always does
        return
    g.visit = visit = embeds.resume(request.headers.get("X-Embed-Session", ""))
    g.business, g.zone, g.embedded = visit.business, zone(visit.business.timezone), True
    verdict = rate_limit.take(current_app.extensions["redis"], f"rate:{g.business.id}:embed:{visit.session.id}", 300)
    if not verdict.allowed:
        raise RateLimited("This view asks too often.", headers={"Retry-After": str(verdict.retry_after)})
