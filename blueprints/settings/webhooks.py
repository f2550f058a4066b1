"""Settings → Webhooks: the list, the form, and what is done to one webhook. Its page is in `webhook_detail`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from flask import Blueprint, g, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens, times
from blueprints.settings import snippets, verdicts, webhook_forms
from errors import AppError, Invalid, NotFound
from models import WebhookEndpoint, db
from services import audit, delivery_log, events, webhook_samples, webhooks

routes = Blueprint("webhooks", __name__, url_prefix="/settings/webhooks")

routes.add_app_template_filter(verdicts.state, "webhook_state")
routes.add_app_template_filter(lambda seconds: times.span(timedelta(seconds=float(seconds))), "duration")
routes.add_app_template_filter(lambda text: text[:1].lower() + text[1:], "lower_first")

HERE = {"page": "webhooks", "active": "settings"}
OVERLAPS = {"24": "In 24 hours, or as soon as your receiver accepts the new one", "0": "At once: it has leaked"}


@routes.get("")
def index() -> str:
    values = _listed() | {"health": delivery_log.counts(g.business, [item.id for item in webhooks.page(g.business)])}
    return screens.page("settings/webhooks/list.html", "settings/webhooks/_list.html", **values, **HERE)


@routes.get("/live")
def live() -> str:
    """Give of the list what changes by the second, and costs little."""
    return render_template("settings/webhooks/_live.html", **_listed())


@routes.get("/new")
def new() -> str:
    return _form(None)


@routes.post("")
def create() -> Response | tuple[str, int]:
    """Make a webhook; what was tested with these values comes into its log."""
    try:
        endpoint, _ = webhooks.create(g.business, by=current_user.id, **webhook_forms.read(None))
    except AppError as problem:
        db.session.rollback()
        return _form(None, problem), 422
    webhooks.adopt_tests(endpoint, current_user.id)
    audit.note(g.business.id, "webhook.created", current_user, endpoint.id, name=endpoint.name, url=endpoint.url)
    return _done(endpoint, f"{endpoint.name} is enabled")


@routes.get("/samples/<kind>")
def sample(kind: str) -> str:
    """Show what an event looks like."""
    if kind not in events.TYPES:
        raise NotFound("There is no such event.", code="event_not_found")
    data = webhook_samples.data(kind, files=True)
    del data["test"]
    envelope = {"id": "…", "event": kind, "timestamp": "…", "business_id": str(g.business.id), "data": data}
    text = snippets.pretty(orjson.dumps(envelope))
    return _sheet("sample", kind=kind, means=events.TYPES[kind], text=text)


@routes.get("/<uuid:endpoint_id>/edit")
def edit(endpoint_id: UUID) -> str:
    return _form(webhooks.get(g.business, endpoint_id))


@routes.post("/<uuid:endpoint_id>/edit")
def change(endpoint_id: UUID) -> Response | tuple[str, int]:
    endpoint = webhooks.get(g.business, endpoint_id)
    try:
        fields = webhook_forms.read(endpoint)
        before = _stored(endpoint, fields)
        webhooks.change(endpoint, **fields)
    except AppError as problem:
        db.session.rollback()
        return _form(webhooks.get(g.business, endpoint_id), problem), 422
    after = _stored(endpoint, fields)
    changed = sorted(name for name in fields if before[name] != after[name])
    webhooks.adopt_tests(endpoint, current_user.id)
    audit.note(g.business.id, "webhook.changed", current_user, endpoint.id, fields=changed, url=endpoint.url)
    return _done(endpoint, "Saved")


@routes.get("/<uuid:endpoint_id>/menu")
def menu(endpoint_id: UUID) -> str:
    return render_template("settings/webhooks/_menu.html", endpoint=webhooks.get(g.business, endpoint_id))


@routes.post("/<uuid:endpoint_id>/state")
def set_state(endpoint_id: UUID) -> Response:
    """Pause, switch off, or send again what waited."""
    endpoint, wanted = webhooks.get(g.business, endpoint_id), request.form.get("state")
    if wanted == "active":
        webhooks.resume(endpoint)
        said = f"{endpoint.name} is enabled: what waited is being sent"
    elif wanted == "paused":
        webhooks.pause(endpoint, f"Paused by {current_user.name}.")
        said = f"{endpoint.name} is paused: events are kept for it"
    else:
        raise Invalid("A webhook can be paused or enabled.", field="state")
    audit.note(g.business.id, "webhook.changed", current_user, endpoint.id, state=endpoint.state)
    return _done(endpoint, said)


@routes.post("/<uuid:endpoint_id>/secret")
def reveal(endpoint_id: UUID) -> str:
    """Show the secret; that somebody looked is written down."""
    endpoint = webhooks.get(g.business, endpoint_id)
    audit.note(g.business.id, "webhook.secret_revealed", current_user, endpoint.id, name=endpoint.name)
    db.session.commit()
    return _sheet("secret", endpoint=endpoint, secret=webhooks.secret(endpoint), back=_back(endpoint))


@routes.get("/<uuid:endpoint_id>/rotate")
def confirm_rotation(endpoint_id: UUID) -> str:
    return _sheet("rotate", endpoint=webhooks.get(g.business, endpoint_id), overlaps=OVERLAPS)


@routes.post("/<uuid:endpoint_id>/rotate")
def rotate(endpoint_id: UUID) -> str:
    """Make a new secret and show it; the old one goes on for as long as was asked."""
    endpoint, hours = webhooks.get(g.business, endpoint_id), request.form.get("hours", "24")
    if hours not in OVERLAPS:
        raise Invalid("Choose when the old secret ends.", field="hours")
    secret = webhooks.rotate(endpoint, timedelta(hours=int(hours)))
    audit.note(g.business.id, "webhook.secret_rotated", current_user, endpoint.id, overlap_hours=int(hours))
    db.session.commit()
    rotating = webhooks.is_rotating(endpoint)
    return _sheet("secret", endpoint=endpoint, secret=secret, fresh=True, rotating=rotating, back=_back(endpoint))


@routes.get("/<uuid:endpoint_id>/delete")
def confirm_deletion(endpoint_id: UUID) -> str:
    return _deletion(webhooks.get(g.business, endpoint_id))


@routes.post("/<uuid:endpoint_id>/delete")
def delete(endpoint_id: UUID) -> Response | tuple[str, int]:
    """Delete a webhook with its log, if its name was typed."""
    endpoint = webhooks.get(g.business, endpoint_id)
    if request.form.get("name", "").strip() != endpoint.name:
        return _deletion(endpoint, Invalid(f"Type {endpoint.name} to confirm.", field="name")), 422
    webhooks.delete(endpoint)
    audit.note(g.business.id, "webhook.deleted", current_user, endpoint.id, name=endpoint.name, url=endpoint.url)
    db.session.commit()
    session["said"] = f"{endpoint.name} is deleted"
    return screens.go("/settings/webhooks")


def _listed() -> dict[str, Any]:
    listed = webhooks.page(g.business)
    return {"endpoints": listed, "waiting": delivery_log.waiting([endpoint.id for endpoint in listed])}


def _stored(endpoint: WebhookEndpoint, names: Iterable[str]) -> dict[str, Any]:
    """Give fields to compare: headers in clear, as sealed ones differ each time."""
    headers = webhooks.custom_headers(endpoint)
    return {name: headers if name == "headers" else getattr(endpoint, name) for name in names}


def _back(endpoint: WebhookEndpoint) -> str:
    """Give the page that a dialog was opened from."""
    path = urlsplit(request.headers.get("HX-Current-URL", "")).path
    return path if path.startswith("/settings/") else f"/settings/webhooks/{endpoint.id}"


def _deletion(endpoint: WebhookEndpoint, problem: AppError | None = None) -> str:
    left = delivery_log.waiting([endpoint.id])[endpoint.id].waiting
    return _sheet("delete", endpoint=endpoint, left=left, problem=problem)


def _done(endpoint: WebhookEndpoint, text: str) -> Response:
    db.session.commit()
    session["said"] = text
    return screens.go(f"/settings/webhooks/{endpoint.id}")


def _sheet(part: str, **values: Any) -> str:
    """Show a dialog, or the same as a page of its own to those who come without a script."""
    return screens.page(
        "settings/webhooks/sheet.html", f"settings/webhooks/_{part}.html", part=part, **{"problem": None} | values
    )


def _form(endpoint: WebhookEndpoint | None, problem: AppError | None = None) -> str:
    shown = webhook_forms.values(endpoint)
    shown.headers += [("", "")] * webhook_forms.SPARE_HEADERS
    return render_template(
        "settings/webhooks/form.html",
        endpoint=endpoint,
        values=shown,
        problem=problem and webhook_forms.problem_of(problem),
        **webhook_forms.choices(),
        **HERE,
    )
