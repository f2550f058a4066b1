"""For operators and their tools: is it up, is it ready, how much waits. Shows nothing of any business."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, current_app, jsonify, request

from errors import Forbidden
from services import health
from services import metrics as figures

blueprint = Blueprint("operating", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Say that this process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Say whether requests can be served; a queue that is down delays work and refuses nobody."""
    parts = health.parts()
    ready = parts["database"] == "ok"
    return jsonify(status="ok" if ready else "unavailable", **parts), 200 if ready else 503


@blueprint.get("/metrics")
def metrics() -> Response:
    """Give figures in Prometheus' text format; `METRICS_TOKEN` closes this door to others."""
    token = current_app.extensions["settings"].metrics_token
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(sent.encode(), token.encode()):
        raise Forbidden("Send the METRICS_TOKEN as a bearer token.", code="metrics_token")
    return Response(figures.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
