"""With a token: open a session and show the page, or go on in an open page with a new token."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, g, render_template, request

from blueprints import embed_fragments, screens
from blueprints.filters import CHANNELS
from blueprints.times import zone
from errors import AppError, Forbidden, Invalid
from lib import colours, frame_origins
from models import db, now
from services import embeds, news

routes = Blueprint("embed_page", __name__)

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'"
)
RIGHT_TO_LEFT = {"ar", "dv", "fa", "he", "ku", "ps", "ur", "yi"}


@dataclass(frozen=True, slots=True)
class Look:
    """How the host page wants the embed to look; nonsense is as good as nothing."""

    theme: str
    accents: tuple[str, str] | None
    direction: str
    density: str
    channels: list[str]
    compose: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Look:
        theme, density = query.get("theme", ""), query.get("density", "")
        language = query.get("locale", "").replace("_", "-").partition("-")[0].lower()
        return cls(
            theme=theme if theme in ("light", "dark") else "auto",
            accents=colours.accents(query.get("accent", "")),
            direction="rtl" if language in RIGHT_TO_LEFT else "ltr",
            density=density if density == "compact" else "normal",
            channels=[kind for kind in query.get("channels", "").split(",") if kind in CHANNELS],
            compose=query.get("compose") != "0",
        )


@routes.get("/embed/inbox")
def inbox() -> Response:
    """Open a session and answer with the whole view, conversation and all: a plain client sees it too."""
    nonce = secrets.token_urlsafe(18)
    look, origin = Look.of(request.args), frame_origins.of(request.headers.get("Referer", ""))
    try:
        visit, secret = embeds.open(request.args.get("token", ""), origin)
        listed = visit.business.embed_origins
        if request.headers.get("Sec-Fetch-Dest") == "iframe" and origin and not frame_origins.allow(listed, origin):
            raise Forbidden(f"The page at {origin} may not show this view.", code="embed_origin_refused")
    except AppError as problem:
        db.session.rollback()
        body = render_template("embed/ended.html", problem=problem, look=look)
        return _private(Response(body, problem.status, problem.headers), POLICY.format(nonce=nonce))
    if request.method == "HEAD":  # somebody only looks whether the link is alive
        db.session.rollback()
        return _private(Response(), POLICY.format(nonce=nonce))
    db.session.commit()
    body = render_template("embed/inbox.html", nonce=nonce, look=look, secret=secret, **_view(visit, look))
    policy = "; ".join(filter(None, (POLICY.format(nonce=nonce), frame_origins.policy(listed))))
    return _private(Response(body), policy)


@routes.post("/embed/refresh")
def refresh() -> Response:
    """Go on with a new token of the same customer; the page stays as it is, with whatever is typed in it."""
    given = request.get_json(silent=True)
    token = given.get("token") if isinstance(given, dict) else None
    if not isinstance(token, str):
        raise Invalid('Send the new token as JSON: {"token": "…"}.', field="token")
    origin = frame_origins.of(request.headers.get("Origin", ""))
    visit, secret = embeds.refresh(request.headers.get("X-Embed-Session", ""), token, origin)
    db.session.commit()
    return Response(orjson.dumps({"secret": secret} | _terms(visit)), content_type="application/json")


def _view(visit: embeds.Visit, look: Look) -> dict[str, Any]:
    """Gather the page. The sequence is read first: what happens meanwhile comes by the stream as well."""
    g.zone, g.embedded = zone(visit.business.timezone), True
    sequence = news.newest([visit.business.id]).get(visit.business.id, 0)
    around = embed_fragments.surroundings(visit.business, visit.customer)
    writes = visit.may_reply and look.compose
    return {
        **around,
        **embed_fragments.stretch(visit.business, visit.customer, channels=look.channels),
        "visit": visit,
        "composer": embed_fragments.composer(visit.business, visit.customer, look.channels) if writes else None,
        "terms": _terms(visit) | {"after": sequence, "origins": frame_origins.readable(visit.business.embed_origins)},
        "icons": (screens.STATIC / "icons.svg").read_text(),
    }


def _terms(visit: embeds.Visit) -> dict[str, Any]:
    """Say how long the session lasts, in seconds too: the browser's clock may be wrong."""
    ends = visit.session.expires_at
    return {
        "customer_id": str(visit.customer.id),
        "scope": visit.session.scope,
        "expires_at": ends.isoformat(),
        "expires_in": max(0.0, (ends - now()).total_seconds()),
    }


def _private(response: Response, policy: str) -> Response:
    response.headers["Content-Security-Policy"] = policy
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    return response
