"""The JSON API: `/functions/v1/api-…`. One file per resource; here they are served, logged and opened to browsers.

Its guard is `guards.api_key`. What every answer carries (CORS, rate limit) and the line in the usage log come after.
"""

from __future__ import annotations

from time import perf_counter
from uuid import UUID

from flask import Blueprint, Response, current_app, g, request

from blueprints import guards
from blueprints.api import (
    attachments,
    canned_replies,
    channels,
    conversations,
    customers,
    customers_batch,
    events,
    keys,
    messages,
    reference,
    routing,
    sso,
    users,
    webhook_log,
    webhooks,
)
from models import now
from services import usage
from services.keys import identify

RESOURCES = (
    customers,
    customers_batch,
    conversations,
    messages,
    attachments,
    sso,
    events,
    webhooks,
    webhook_log,
    channels,
    users,
    canned_replies,
    keys,
)
PREFIX = "/functions/v1"
EXPOSED = "X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Idempotent-Replay"

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
docs = reference.blueprint

routing.OPERATIONS += [operation for resource in RESOURCES for operation in resource.routes.operations]
for operation in routing.OPERATIONS:
    blueprint.add_url_rule(operation.path, operation.name, operation.run, methods=[operation.method])


@blueprint.before_app_request
def start() -> Response | None:
    """Take the time, and answer a browser that asks whether it may call; nothing is checked for that."""
    g.started = perf_counter()
    if request.method != "OPTIONS" or not request.path.startswith(PREFIX):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE, OPTIONS"
    response.headers["Access-Control-Allow-Headers"] = "x-api-key, authorization, content-type, idempotency-key"
    response.headers["Access-Control-Max-Age"] = "86400"
    return response


@blueprint.after_app_request
def finish(response: Response) -> Response:
    """Add what every answer of the API carries, and note the call."""
    if not request.path.startswith(PREFIX):
        return response
    if "Origin" in request.headers:
        _open_to_browsers(response)
    response.headers["Cache-Control"] = "no-store"
    if "rate" in g:
        response.headers["RateLimit-Limit"] = str(g.rate.limit)
        response.headers["RateLimit-Remaining"] = str(g.rate.remaining)
        response.headers["RateLimit-Reset"] = str(g.rate.reset)
    if request.method != "OPTIONS":
        _note(response)
    return response


def _open_to_browsers(response: Response) -> None:
    allowed = current_app.extensions["settings"].api_allowed_origins
    origin = request.headers.get("Origin", "")
    if "*" in allowed:
        response.headers["Access-Control-Allow-Origin"] = "*"
    else:
        response.headers["Vary"] = "Origin"
        if origin in allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED


def _note(response: Response) -> None:
    caller = g.caller if "caller" in g else identify(guards.sent_key())  # an address that no route has
    if caller is None:
        return
    usage.note(
        usage.Call(
            business_id=caller.business.id,
            id=UUID(g.request_id),
            api_key_id=caller.id,
            at=now(),
            method=request.method,
            path=request.path[:200].replace("\0", ""),
            query=usage.shown_query(list(request.args.items(multi=True))) if request.query_string else "",
            status=response.status_code,
            duration_ms=round((perf_counter() - g.started) * 1000, 3),
            error_code=g.get("problem"),
            address=request.remote_addr or "",
            user_agent=request.headers.get("User-Agent", "")[:300].replace("\0", ""),
        )
    )
