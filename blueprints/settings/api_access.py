"""Settings → API Access: keys, how much they are used, a call to try, and the log of calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, g, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import forms, screens
from errors import AppError, Invalid
from models import db, now
from services import keys, team, usage

routes = Blueprint("api_access", __name__, url_prefix="/settings/api-access")

# name → how far back the chart looks, in how many bars
RANGES = {"24h": (timedelta(hours=24), 24), "7d": (timedelta(days=7), 28), "30d": (timedelta(days=30), 30)}
LIVES = {"30": "In 30 days", "90": "In 90 days", "365": "In 1 year", "": "Never"}
OVERLAPS = {"0": "At once", "1": "In 1 hour", "24": "In 24 hours", "168": "In 7 days"}


@routes.get("")
def index() -> str:
    values = {"page": "api-access", "active": "settings", **_keys(), **_usage(), **_log()}
    return render_template("settings/api_access.html", **values)


@routes.get("/usage")
def chart() -> str:
    return render_template("settings/_usage.html", **_usage())


@routes.get("/log")
def log() -> str:
    """Give the newest calls, filtered; the page asks again every few seconds."""
    return render_template("settings/_log_rows.html" if screens.target() == "calls" else "settings/_log.html", **_log())


@routes.get("/log/<uuid:request_id>")
def call(request_id: UUID) -> str:
    shown = usage.get(g.business, request_id)
    key = keys.get(g.business, shown.api_key_id) if shown.api_key_id else None
    return screens.page(
        "settings/call.html", "settings/_call.html", call=shown, key=key, page="api-access", active="settings"
    )


@routes.get("/keys/new")
def new_key() -> str:
    return _form()


@routes.post("/keys")
def create_key() -> tuple[str, int] | str:
    """Make a key and show it, this once."""
    days = request.form.get("days", "")
    try:
        if days not in LIVES:
            raise Invalid("Choose when the key expires.", field="days")
        expires = now() + timedelta(days=int(days)) if days else None
        key, text = keys.create(
            g.business, request.form.get("name", ""), request.form.getlist("scopes"), expires, current_user
        )
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        return _form(problem), 422
    return _made(key, text)


@routes.get("/keys/<uuid:key_id>/rotate")
def confirm_rotation(key_id: UUID) -> str:
    key = keys.get(g.business, key_id)
    return screens.page("settings/key.html", "settings/_key_rotate.html", key=key, overlaps=OVERLAPS, part="rotate")


@routes.post("/keys/<uuid:key_id>/rotate")
def rotate_key(key_id: UUID) -> str:
    """Make a key like this one; the old one goes on working for as long as was asked."""
    hours = request.form.get("hours", "24")
    if hours not in OVERLAPS:
        raise Invalid("Choose how long the old key goes on working.", field="hours")
    key = keys.get(g.business, key_id)
    made, text = keys.rotate(g.business, key, current_user, timedelta(hours=int(hours)))
    db.session.commit()
    return _made(made, text, old=key)


@routes.get("/keys/<uuid:key_id>/revoke")
def confirm_revocation(key_id: UUID) -> str:
    return _revocation(key_id)


@routes.post("/keys/<uuid:key_id>/revoke")
def revoke_key(key_id: UUID) -> Response | tuple[str, int]:
    """End a key, if its name was typed."""
    key = keys.get(g.business, key_id)
    if request.form.get("name", "").strip() != key.name:
        return _revocation(key_id, Invalid(f"Type {key.name} to confirm.", field="name")), 422
    keys.revoke(g.business, key, current_user)
    db.session.commit()
    return screens.go("/settings/api-access")


def _keys() -> dict[str, Any]:
    listed, names = keys.page(g.business), {user.id: user.name for user in team.page(g.business)[0]}
    ended = [key for key in listed if key.revoked_at or (key.expires_at and key.expires_at <= now())]
    return {
        "keys": listed if "ended" in request.args else [key for key in listed if key not in ended],
        "ended": ended,
        "names": names,
        "calls_by_key": usage.by_key(g.business, now() - timedelta(days=7)),
        "unused_since": now() - timedelta(days=30),
    }


def _usage() -> dict[str, Any]:
    chosen = request.args.get("range", "7d")
    length, bars = RANGES.get(chosen, RANGES["7d"])
    since = now() - length
    summary = usage.summary(g.business, since, buckets=bars)
    step = length / bars
    slices = [part | {"at": since + step * place} for place, part in enumerate(summary["slices"])]
    return {"range": chosen, "ranges": RANGES, "summary": summary, "slices": slices, "step": step}


def _log() -> dict[str, Any]:
    wanted = {name: request.args.get(name, "").strip()[:200] for name in ("status", "key", "path")}
    key_id = forms.uuid("key")
    calls, cursor = usage.page(
        g.business,
        status=wanted["status"] or None,
        api_key_id=key_id,
        path=wanted["path"] or None,
        cursor=request.args.get("cursor"),
        limit=25,
    )
    names = {key.id: key.name for key in keys.page(g.business)}
    return {"calls": calls, "next_cursor": cursor, "wanted": wanted, "key_names": names}


def _form(problem: AppError | None = None) -> str:
    chosen = request.form.getlist("scopes") or ["customers", "messages:read", "send"]
    return screens.page(
        "settings/key.html",
        "settings/_key_form.html",
        part="form",
        problem=problem,
        scopes=keys.SCOPES,
        chosen=chosen,
        lives=LIVES,
        name=request.form.get("name", ""),
        days=request.form.get("days", "365"),
    )


def _made(key: Any, text: str, old: Any = None) -> str:
    return screens.page("settings/key.html", "settings/_key_made.html", key=key, text=text, old=old, part="made")


def _revocation(key_id: UUID, problem: AppError | None = None) -> str:
    calls = usage.by_key(g.business, now() - timedelta(days=1)).get(key_id, 0)
    key = keys.get(g.business, key_id)
    return screens.page(
        "settings/key.html", "settings/_key_revoke.html", key=key, calls=calls, problem=problem, part="revoke"
    )
