"""Settings → Webhooks → one of them: how it fares, what was delivered, each attempt, and replays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, g, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens
from blueprints.settings import webhook_views
from errors import AppError, Invalid, NotFound
from lib.ids import is_uuid
from models import Delivery, WebhookEndpoint, db, now
from services import audit, delivery_log, events, replays, webhooks

routes = Blueprint("webhook_detail", __name__, url_prefix="/settings/webhooks")

WINDOWS = {
    "failing": "Since the first failure",
    "1": "The last hour",
    "24": "The last 24 hours",
    "168": "The last 7 days",
    "own": "From and to",
}


@routes.get("/<uuid:endpoint_id>")
def show(endpoint_id: UUID) -> str:
    endpoint = webhooks.get(g.business, endpoint_id)
    rows = webhook_views.rows(endpoint)
    first = rows["rows"][0] if rows["rows"] else None
    return _page(endpoint, rows, delivery_log.get(g.business, first.id) if first else None)


@routes.get("/<uuid:endpoint_id>/health")
def health(endpoint_id: UUID) -> str:
    endpoint = webhooks.get(g.business, endpoint_id)
    return render_template("settings/webhooks/_health.html", endpoint=endpoint, **webhook_views.health(endpoint))


@routes.get("/<uuid:endpoint_id>/figures")
def figures(endpoint_id: UUID) -> str:
    endpoint = webhooks.get(g.business, endpoint_id)
    return render_template("settings/webhooks/_figures.html", endpoint=endpoint, **webhook_views.figures(endpoint))


@routes.get("/<uuid:endpoint_id>/chart")
def chart(endpoint_id: UUID) -> str:
    endpoint = webhooks.get(g.business, endpoint_id)
    return render_template("settings/webhooks/_chart.html", endpoint=endpoint, **webhook_views.chart(endpoint))


@routes.get("/<uuid:endpoint_id>/deliveries")
def log(endpoint_id: UUID) -> str:
    """Give the newest deliveries, filtered; the page asks again every few seconds."""
    endpoint = webhooks.get(g.business, endpoint_id)
    if not screens.is_fragment():
        return _page(endpoint, webhook_views.rows(endpoint), None)
    return render_template("settings/webhooks/_deliveries.html", endpoint=endpoint, **webhook_views.rows(endpoint))


@routes.get("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>")
def delivery(endpoint_id: UUID, delivery_id: UUID) -> str:
    endpoint, shown = _get(endpoint_id, delivery_id)
    if screens.is_fragment():
        return render_template("settings/webhooks/_delivery.html", endpoint=endpoint, **webhook_views.delivery(shown))
    return _page(endpoint, webhook_views.rows(endpoint), shown)


@routes.get("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>/body.json")
def body(endpoint_id: UUID, delivery_id: UUID) -> Response:
    """Give the bytes that were sent, to verify their signature."""
    sent = _get(endpoint_id, delivery_id)[1].event.body
    if not events.tells(sent):
        raise NotFound("What was sent has been erased with its customer.", code="erased")
    headers = {"Content-Disposition": 'attachment; filename="body.json"', "Cache-Control": "no-store"}
    return Response(sent, content_type="application/json", headers=headers)


@routes.get("/<uuid:endpoint_id>/replays/new")
def confirm_replay(endpoint_id: UUID) -> str | tuple[str, int]:
    """Count what a replay would send, as the window is chosen."""
    endpoint = webhooks.get(g.business, endpoint_id)
    return _replay_form(endpoint)


@routes.post("/<uuid:endpoint_id>/replays")
def replay(endpoint_id: UUID) -> Response | tuple[str, int]:
    """Send again: the deliveries that were ticked, or those of a window."""
    endpoint, form = webhooks.get(g.business, endpoint_id), request.form
    chosen = [UUID(text) for text in form.getlist("delivery") if is_uuid(text)]
    try:
        if not chosen and "what" not in form:  # without a script nothing greys the button out
            raise Invalid("Nothing is ticked. Tick deliveries in the log, or choose here what to send again.")
        if chosen:
            begun = replays.start(g.business, endpoint, delivery_ids=chosen[:1000], by=current_user.name)
        else:
            begun = replays.start(g.business, endpoint, **_window(endpoint), by=current_user.name)
    except AppError as problem:
        db.session.rollback()
        return _replay_form(endpoint, problem)
    audit.note(g.business.id, "webhook.replayed", current_user, endpoint.id, total=begun.total, what=begun.what)
    db.session.commit()
    session["said"] = f"Sending {begun.total:,} again"
    return screens.go(f"/settings/webhooks/{endpoint.id}")


@routes.post("/<uuid:endpoint_id>/replays/<uuid:replay_id>/stop")
def stop(endpoint_id: UUID, replay_id: UUID) -> Response | str:
    """Take back what has not gone out yet."""
    endpoint = webhooks.get(g.business, endpoint_id)
    running = replays.get(g.business, replay_id, endpoint)
    replays.stop(running)
    audit.note(g.business.id, "webhook.replay_stopped", current_user, endpoint.id, done=running.done)
    db.session.commit()
    if screens.is_fragment():
        return render_template("settings/webhooks/_health.html", endpoint=endpoint, **webhook_views.health(endpoint))
    return screens.go(f"/settings/webhooks/{endpoint.id}")


def _get(endpoint_id: UUID, delivery_id: UUID) -> tuple[WebhookEndpoint, Delivery]:
    endpoint, found = webhooks.get(g.business, endpoint_id), delivery_log.get(g.business, delivery_id)
    if found.endpoint_id != endpoint.id:
        raise NotFound("No delivery of this webhook has that id.", code="delivery_not_found")
    return endpoint, found


def _page(endpoint: WebhookEndpoint, rows: dict[str, Any], open_: Delivery | None) -> str:
    """Show the page. What reads much of the log comes after it, unless a range is asked for by its link."""
    values = (
        rows
        | webhook_views.health(endpoint)
        | (webhook_views.delivery(open_) if open_ else {"delivery": None})
        | (webhook_views.figures(endpoint) | webhook_views.chart(endpoint) if "range" in request.args else {})
    )
    rotating = webhooks.is_rotating(endpoint)
    headers = webhooks.custom_headers(endpoint)
    return render_template(
        "settings/webhooks/webhook.html",
        endpoint=endpoint,
        rotating=rotating,
        headers=headers,
        page="webhooks",
        active="settings",
        **values,
    )


def _replay_form(endpoint: WebhookEndpoint, problem: AppError | None = None) -> Any:
    window = request.values.get("window", "failing")
    total = 0
    try:
        total = replays.start(g.business, endpoint, **_window(endpoint), dry_run=True).total
    except Invalid as exc:
        problem = problem or exc
    values = {
        "endpoint": endpoint,
        "total": total,
        "window": window,
        "windows": WINDOWS,
        "what": request.values.get("what", "failed"),
        "since": request.values.get("since", ""),
        "until": request.values.get("until", ""),
        "problem": problem,
    }
    sheet = screens.page("settings/webhooks/sheet.html", "settings/webhooks/_replay.html", part="replay", **values)
    return (sheet, 422) if problem else sheet


def _window(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Read which deliveries are meant: what failed, or every event, since and until when."""
    window, failed = request.values.get("window", "failing"), request.values.get("what", "failed") == "failed"
    since: datetime | None = None
    until: datetime | None = None
    if window == "own":
        since, until = _moment("since"), _moment("until")
        if since and until and until <= since:
            raise Invalid("This is before the beginning.", field="until")
    elif window in ("1", "24", "168"):
        since = now() - timedelta(hours=int(window))
    elif not failed:
        since = delivery_log.trouble(g.business, endpoint).since or now() - timedelta(hours=1)
    return {"failed": failed, "since": since, "until": until}


def _moment(name: str) -> datetime | None:
    """Read a local time of the business, as a browser's field writes it."""
    text = request.values.get(name, "")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=g.zone) if text else None
    except ValueError:
        raise Invalid("Write a day and a time.", field=name) from None
