"""What became of webhooks: the log of deliveries with their attempts, and replays."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Id, Query, Time
from blueprints.api.routing import Routes
from blueprints.api.shapes import Done, Shown
from blueprints.api.shapes import Id as ShownId
from blueprints.api.shapes import Time as ShownTime
from services import audit, delivery_log, replays, webhooks

routes = Routes("Webhooks")


class DeliveriesQuery(Query):
    id: Id | None = Field(None, description="This delivery alone, with its attempts.")
    webhook_id: Id | None = None
    state: Literal["pending", "delivered", "failed"] | None = None
    event: str | None = Field(None, max_length=64, description="An event type.")
    event_id: Id | None = None
    since: Time | None = None
    until: Time | None = None
    cursor: str | None = Field(None, max_length=500)
    limit: int = Field(50, ge=1, le=200)


class Attempt(Shown):
    """One HTTP request of a delivery. `part` 2 is the same attempt signed with a rotating secret's other half."""

    number: int
    part: int
    started_at: ShownTime
    duration_ms: int
    status: int | None
    error_kind: str | None = Field(description="`dns`, `refused`, `tls`, `timeout`, `blocked`, `redirect`, …")
    error: str | None
    url: str = Field(description="Where it went: the webhook's address at that time.")
    address: str | None = Field(description="The address that was connected to.")
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    response: str = Field(description="The first 2 KB.")


class Delivery(Shown):
    """One event to one webhook."""

    id: ShownId
    webhook_id: ShownId
    event: str
    event_sequence: int
    state: Literal["pending", "delivered", "failed"]
    reason: Literal["live", "replay", "test"]
    attempts: int
    last_status: int | None
    last_error: str | None
    next_attempt_at: ShownTime | None
    created_at: ShownTime
    finished_at: ShownTime | None


class DeliveryList(Shown):
    deliveries: list[Delivery]
    has_more: bool
    next_cursor: str | None


class DeliveryAnswer(Done):
    delivery: Delivery
    body: dict[str, Any] | None = Field(description="What was sent.")
    attempts: list[Attempt]


class ReplayBody(Body):
    """Of chosen deliveries, of those that failed, or of every event that the webhook wants in a time."""

    webhook_id: Id
    delivery_ids: list[Id] | None = Field(None, min_length=1, max_length=1000)
    failed: bool = Field(False, description="What failed and has not arrived since.")
    since: Time | None = None
    until: Time | None = None
    dry_run: bool = Field(False, description="Only count.")


class ReplayQuery(Query):
    id: Id


class ReplaysQuery(Query):
    id: Id | None = None
    webhook_id: Id | None = None


class Replay(Shown):
    id: ShownId
    webhook_id: ShownId
    what: Literal["chosen", "failed", "events"]
    since: ShownTime | None
    until: ShownTime
    total: int
    done: int
    state: Literal["running", "done", "stopped"]
    created_at: ShownTime
    finished_at: ShownTime | None


class ReplayAnswer(Done):
    replay: Replay


class ReplayList(Shown):
    replays: list[Replay]


@routes.get("/api-webhook-deliveries", scope="admin", answer=(DeliveryList, DeliveryAnswer), errors=(404,))
def show(query: DeliveriesQuery) -> Response:
    """List webhook deliveries

    The newest first. With `id` this is one delivery with its body and every attempt.
    """
    if query.id:
        return answers.show(_one(query.id))
    if query.webhook_id:
        webhooks.get(g.business, query.webhook_id)
    rows, cursor = delivery_log.page(
        g.business,
        endpoint_id=query.webhook_id,
        state=query.state,
        event=query.event,
        event_id=query.event_id,
        since=query.since,
        until=query.until,
        cursor=query.cursor,
        limit=query.limit,
    )
    shown = [delivery_log.shows(row) for row in rows]
    return answers.show({"deliveries": shown, "has_more": cursor is not None, "next_cursor": cursor})


@routes.get("/api-webhook-replays", scope="admin", answer=(ReplayList, ReplayAnswer), errors=(404,))
def show_replays(query: ReplaysQuery) -> Response:
    """List a webhook's replays

    With `id` this is one replay and how far it is.
    """
    if query.id:
        return answers.show({"success": True, "replay": replays.shows(replays.get(g.business, query.id))})
    endpoints = [webhooks.get(g.business, query.webhook_id)] if query.webhook_id else webhooks.page(g.business)
    found = [replays.shows(row) for endpoint in endpoints for row in replays.page(g.business, endpoint)]
    return answers.show({"replays": found})


@routes.post("/api-webhook-replays", scope="admin", answer=ReplayAnswer, status=202, errors=(404,))
def replay(body: ReplayBody) -> Response:
    """Replay events

    The same event ids and bodies, freshly signed. With `dry_run` nothing is sent and `total` says how many it would be.
    """
    endpoint = webhooks.get(g.business, body.webhook_id)
    begun = replays.start(
        g.business,
        endpoint,
        delivery_ids=body.delivery_ids,
        failed=body.failed,
        since=body.since,
        until=body.until,
        by=g.caller.name,
        dry_run=body.dry_run,
    )
    if not body.dry_run:
        audit.note(g.business.id, "webhook.replayed", g.caller, endpoint.id, total=begun.total, what=begun.what)
    return answers.commit(lambda: {"success": True, "replay": replays.shows(begun)}, 202)


@routes.delete("/api-webhook-replays", scope="admin", answer=ReplayAnswer, errors=(404,))
def stop(query: ReplayQuery) -> Response:
    """Stop a replay

    What is under way goes out; nothing more is taken.
    """
    running = replays.get(g.business, query.id)
    replays.stop(running)
    return answers.commit(lambda: {"success": True, "replay": replays.shows(running)})


def _one(delivery_id: Any) -> dict[str, Any]:
    delivery = delivery_log.get(g.business, delivery_id)
    url = delivery.endpoint.url
    tries = [delivery_log.shows_attempt(row, url) for row in delivery_log.attempts(g.business, delivery.id)]
    body = delivery_log.body(delivery)
    return {"success": True, "delivery": delivery_log.shows(delivery), "body": body, "attempts": tries}
