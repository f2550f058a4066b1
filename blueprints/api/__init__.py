"""The JSON API: `/functions/v1/api-…`. One file per resource; here they are served, logged and opened to browsers.

Its guard is `guards.api_key`. What every answer carries (CORS, rate limit) and the line in the usage log come after.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import psycopg
from flask import Blueprint, Request, Response, current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

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
from services.keys import Caller, identify

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


# Each of these runs for every request of the application, so they look a name up through its proxy once.


@blueprint.before_app_request
def start() -> Response | None:
    """Take the time, and answer a browser that asks whether it may call; nothing is checked for that."""
    g.started = perf_counter()
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if asked.method != "OPTIONS" or not asked.path.startswith(PREFIX):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE, OPTIONS"
    response.headers["Access-Control-Allow-Headers"] = "x-api-key, authorization, content-type, idempotency-key"
    response.headers["Access-Control-Max-Age"] = "86400"
    return response


@blueprint.after_app_request
def finish(response: Response) -> Response:
    """Add what every answer of the API carries, and note the call."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if not asked.path.startswith(PREFIX):
        return response
    kept: Any = g._get_current_object()  # type: ignore[attr-defined]
    response.headers.extend(
        [("Cache-Control", "no-store"), ("Access-Control-Expose-Headers", EXPOSED), *_origins(asked), *_limits(kept)]
    )
    if asked.method != "OPTIONS":
        _note(asked, response, kept)
    return response


def _origins(asked: Request) -> list[tuple[str, str]]:
    """Say which pages may read the answer."""
    allowed = current_app.extensions["settings"].api_allowed_origins
    if "*" in allowed:
        return [("Access-Control-Allow-Origin", "*")]
    origin = asked.headers.get("Origin", "")
    return [("Vary", "Origin"), *([("Access-Control-Allow-Origin", origin)] if origin in allowed else [])]


def _limits(kept: Any) -> list[tuple[str, str]]:
    if "rate" not in kept:
        return []
    rate = kept.rate
    return [
        ("RateLimit-Limit", str(rate.limit)),
        ("RateLimit-Remaining", str(rate.remaining)),
        ("RateLimit-Reset", str(rate.reset)),
    ]


def _note(asked: Request, response: Response, kept: Any) -> None:
    caller = kept.caller if "caller" in kept else _stray()
    if caller is None:
        return
    usage.note(
        usage.Call(
            business_id=caller.business.id,
            id=kept.request_id,
            api_key_id=caller.id,
            at=now(),
            method=asked.method,
            path=asked.path[:200].replace("\0", ""),
            query=usage.shown_query(list(asked.args.items(multi=True))) if asked.query_string else "",
            status=response.status_code,
            duration_ms=round((perf_counter() - kept.started) * 1000, 3),
            error_code=kept.get("problem"),
            address=asked.remote_addr or "",
            user_agent=asked.headers.get("User-Agent", "")[:300].replace("\0", ""),
        )
    )


def _stray() -> Caller | None:
    """Find out who called an address that no route has, so that a mistyped one stands in the log too."""
    try:
        return identify(guards.sent_key())
    except (SQLAlchemyError, psycopg.Error):
        return None
