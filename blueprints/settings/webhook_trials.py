"""Settings → Webhooks: tests. The drain sends each one; the dialog asks for its result until there is one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, current_app, g, request
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import forms, screens
from blueprints.settings import verdicts, webhook_forms
from errors import AppError, RateLimited
from lib import rate_limit
from models import Delivery, WebhookEndpoint, db
from services import delivery_log, events, webhook_tests, webhooks

routes = Blueprint("webhook_trials", __name__, url_prefix="/settings/webhooks")

PER_MINUTE = 20  # tests of one business: a test button is no port scanner


@routes.get("/<uuid:endpoint_id>/test")
def dialog(endpoint_id: UUID) -> str:
    endpoint = webhooks.get(g.business, endpoint_id)
    return _sheet("test", endpoint=endpoint, meanings=events.TYPES, chosen="webhook.test")


@routes.post("/<uuid:endpoint_id>/test")
def send(endpoint_id: UUID) -> Response | str | tuple[str, int]:
    """Test a webhook as it is stored."""
    endpoint = webhooks.get(g.business, endpoint_id)
    try:
        return _send(endpoint)
    except AppError as problem:
        return _problem(problem)


@routes.post("/trial")
def try_out() -> Response | str | tuple[str, int]:
    """Test what a form holds, before it is saved."""
    stored = forms.uuid("endpoint")
    endpoint = webhooks.get(g.business, stored) if stored else None
    try:
        call = webhook_forms.read_call(endpoint)
        stored_call = _call_of(endpoint) if endpoint else {}
        if endpoint and stored_call == stored_call | call:
            return _send(endpoint)
        secret = {"secret": webhooks.secret(endpoint)} if endpoint else {}
        said = secret | stored_call | call
        return _send(webhooks.draft(g.business, current_user.id, name="Draft", events=["*"], **said))
    except AppError as problem:
        db.session.rollback()
        return _problem(problem)


@routes.get("/<uuid:endpoint_id>/test/<uuid:delivery_id>")
def result(endpoint_id: UUID, delivery_id: UUID) -> str:
    """Show what came of a test so far."""
    endpoint = webhooks.get(g.business, endpoint_id, draft=True)
    return _result(endpoint, delivery_log.get(g.business, delivery_id))


def _send(endpoint: WebhookEndpoint) -> Response | str:
    limits = current_app.extensions["redis"]
    if not rate_limit.take(limits, f"rate:{g.business.id}:webhook-tests", PER_MINUTE).allowed:
        raise RateLimited(f"At most {PER_MINUTE} tests a minute. Wait a moment and send it again.")
    delivery = webhook_tests.send(g.business, endpoint, request.form.get("test_event", "webhook.test"), current_user)
    db.session.commit()
    if not screens.is_fragment():
        return screens.go(f"/settings/webhooks/{endpoint.id}/test/{delivery.id}")
    return _result(endpoint, delivery)


def _call_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"url": endpoint.url, "timeout": endpoint.timeout, "headers": webhooks.custom_headers(endpoint)}


def _result(endpoint: WebhookEndpoint, delivery: Delivery) -> str:
    tries = delivery_log.attempts(g.business, delivery.id)
    last = tries[-1] if tries else None
    return _sheet(
        "result",
        endpoint=endpoint,
        delivery=delivery,
        attempt=last,
        verdict=verdicts.of(last) if last else None,
        answer=(last.response or b"").decode(errors="replace") if last else "",
        overdue=webhook_tests.is_overdue(delivery, endpoint),
    )


def _problem(problem: AppError) -> tuple[str, int]:
    return _sheet("result", problem=webhook_forms.problem_of(problem), endpoint=None, delivery=None), 422


def _sheet(part: str, **values: Any) -> str:
    return screens.page(
        "settings/webhooks/sheet.html", f"settings/webhooks/_{part}.html", part=part, **{"problem": None} | values
    )
