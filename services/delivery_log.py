"""What an admin sees of webhooks: the log of deliveries and attempts, an endpoint's health, and its days as bars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Select, or_, select, text
from sqlalchemy.orm import joinedload

from errors import Invalid, NotFound
from lib import cursors
from models import Attempt, Business, Delivery, Event, WebhookEndpoint, db, now, reading
from services import events, payloads

STATES = ("pending", "delivered", "failed")
SAMPLE = 2000  # deliveries that stand for all of a day when times are told


def page(business: Business, *, limit: int = 50, **wanted: Any) -> tuple[list[Delivery], str | None]:
    """List deliveries, the newest first, by what `query` takes; give the cursor of the next page, too."""
    rows = list(db.session.scalars(query(business, **wanted).limit(limit + 1)))
    more = len(rows) > limit
    return rows[:limit], cursors.write(rows[limit - 1].id) if more else None


def query(
    business: Business,
    *,
    endpoint_id: UUID | None = None,
    state: str | None = None,
    event: str | None = None,
    event_id: UUID | None = None,
    about: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
) -> Select[Delivery]:
    """Ask for deliveries. `retrying` is a state, too; `about` is the id of an event or a delivery."""
    found = select(Delivery).where(Delivery.business_id == business.id)
    if state == "retrying":
        state, found = "pending", found.where(Delivery.attempt_count > 0)
    for column, value in ((Delivery.endpoint_id, endpoint_id), (Delivery.state, state), (Delivery.event_type, event)):
        if value is not None:
            found = found.where(column == value)
    if endpoint_id is None:
        gone = (WebhookEndpoint.business_id == business.id, WebhookEndpoint.state == "deleted")
        found = found.where(Delivery.endpoint_id.not_in(select(WebhookEndpoint.id).where(*gone)))
    if about:
        told = select(Event.sequence).where(Event.business_id == business.id, Event.id == about)
        found = found.where(or_(Delivery.id == about, Delivery.event_sequence == told.scalar_subquery()))
    if event_id:
        found = found.where(Delivery.event.has(id=event_id))
    if since:
        found = found.where(Delivery.created_at >= since)
    if until:
        found = found.where(Delivery.created_at <= until)
    if cursor:
        found = found.where(Delivery.id < _read(cursor))
    return found.order_by(Delivery.id.desc())


def get(business: Business, delivery_id: UUID) -> Delivery:
    loads = (joinedload(Delivery.event), joinedload(Delivery.endpoint))
    delivery = db.session.get(Delivery, (business.id, delivery_id), options=loads)
    if delivery is None or delivery.endpoint.state == "deleted":
        raise NotFound("No delivery of this business has that id.", code="delivery_not_found")
    return delivery


def attempts(business: Business, delivery_id: UUID) -> Sequence[Attempt]:
    query = select(Attempt).where(Attempt.business_id == business.id, Attempt.delivery_id == delivery_id)
    return db.session.scalars(query.order_by(Attempt.number, Attempt.part)).all()


def last_attempts(business: Business, delivery_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Give the last request of each of these deliveries: status, error kind and how long it took."""
    query = text("""
        SELECT DISTINCT ON (delivery_id) delivery_id, status, error_kind, duration_ms FROM attempts
        WHERE business_id = :business_id AND delivery_id = ANY(:ids) ORDER BY delivery_id, number DESC, part DESC""")
    with reading() as connection:
        rows = connection.execute(query, {"business_id": business.id, "ids": list(delivery_ids)})
        return {row.delivery_id: row for row in rows}


def trouble(business: Business, endpoint: WebhookEndpoint) -> Any:
    """Say what failed and has not arrived since: `count`, `since`, `until`, the commonest `error`, how many kinds."""
    query = text("""
        SELECT count(*) AS count, min(created_at) AS since, max(finished_at) AS until,
               mode() WITHIN GROUP (ORDER BY last_error) AS error, count(DISTINCT last_error) AS kinds
        FROM (SELECT d.created_at, d.finished_at, d.last_status, d.last_error FROM deliveries d
              WHERE d.endpoint_id = :endpoint_id AND d.state = 'failed' AND d.reason <> 'test' AND NOT EXISTS (
                  SELECT FROM deliveries later WHERE later.business_id = d.business_id AND later.id > d.id
                  AND later.event_sequence = d.event_sequence AND later.endpoint_id = d.endpoint_id
                  AND later.state IN ('delivered', 'pending')) LIMIT 100000) AS failed""")
    with reading() as connection:
        return connection.execute(query, {"endpoint_id": endpoint.id}).one()


def answered_after(business: Business, endpoint: WebhookEndpoint, at: datetime) -> datetime | None:
    """Say when the endpoint first answered well after a failure; None while it has not."""
    answered = """
        SELECT finished_at FROM deliveries
        WHERE business_id = :business_id AND endpoint_id = :endpoint_id AND state = 'delivered' AND finished_at > :at
          AND id >= :{} ORDER BY id LIMIT 1"""
    # Nearly always one of those that came later tells; only when none does are those of the day before worth a look.
    query = text(f"SELECT coalesce(({answered.format('first')}), ({answered.format('before')}))")
    first, before = _first_id(at), _first_id(at - timedelta(days=1))
    params = {"business_id": business.id, "endpoint_id": endpoint.id, "first": first, "before": before}
    with reading() as connection:
        found: datetime | None = connection.scalar(query, params | {"at": at})
    return found


def waiting(endpoint_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Say what each endpoint has still to get: `waiting`, `retrying` of these, `lag` in seconds. Cheap to ask often."""
    query = text("""
        SELECT e.id, w.* FROM unnest(CAST(:ids AS uuid[])) AS e (id) CROSS JOIN LATERAL (
            SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(d.created_at)), 0) AS lag,
                   count(*) FILTER (WHERE d.attempt_count > 0) AS retrying
            FROM deliveries d WHERE d.endpoint_id = e.id AND d.state = 'pending') AS w""")
    with reading() as connection:
        return {row.id: row for row in connection.execute(query, {"ids": list(endpoint_ids)})}


def counts(business: Business, endpoint_ids: Sequence[UUID], hours: int = 24) -> dict[UUID, Any]:
    """Count what each endpoint got in the last hours: `delivered`, `retried` of these, `failed`, and `last_at`.

    This reads every delivery of that time, so ask seldom.
    """
    query = text("""
        SELECT e.id, f.* FROM unnest(CAST(:ids AS uuid[])) AS e (id) CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE d.state = 'delivered') AS delivered,
                   count(*) FILTER (WHERE d.state = 'delivered' AND d.attempt_count > 1) AS retried,
                   count(*) FILTER (WHERE d.state = 'failed') AS failed,
                   max(d.finished_at) AS last_at
            FROM deliveries d
            WHERE d.business_id = :business_id AND d.endpoint_id = e.id AND d.id >= :first
              AND d.reason <> 'test') AS f""")
    params = {"business_id": business.id, "ids": list(endpoint_ids), "first": _first_id(now() - timedelta(hours=hours))}
    with reading() as connection:
        return {row.id: row for row in connection.execute(query, params)}


def response_times(business: Business, endpoint: WebhookEndpoint, hours: int = 24) -> Any:
    """Give `p50` and `p95` in ms, of the newest `SAMPLE` deliveries of the last hours; None where there is none."""
    query = text("""
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a.duration_ms) AS p50,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY a.duration_ms) AS p95
        FROM (SELECT id, attempt_count FROM deliveries
              WHERE business_id = :business_id AND endpoint_id = :endpoint_id AND id >= :first
                AND reason <> 'test' AND attempt_count > 0 ORDER BY id DESC LIMIT :sample) AS d
        JOIN attempts a ON a.business_id = :business_id AND a.delivery_id = d.id AND a.number = d.attempt_count
            AND a.part = 1""")
    first = _first_id(now() - timedelta(hours=hours))
    params = {"business_id": business.id, "endpoint_id": endpoint.id, "first": first, "sample": SAMPLE}
    with reading() as connection:
        return connection.execute(query, params).one()


def bars(business: Business, endpoint: WebhookEndpoint, *, since: datetime, buckets: int) -> list[Any]:
    """Count deliveries by time, from `since` to now: `at`, `delivered` at once, `retried`, `failed`."""
    width = (now() - since) / buckets
    query = text("""
        SELECT width_bucket(extract(epoch FROM created_at - :since), 0, :span, :buckets) AS bucket,
               count(*) FILTER (WHERE state = 'delivered' AND attempt_count <= 1) AS delivered,
               count(*) FILTER (WHERE state = 'delivered' AND attempt_count > 1) AS retried,
               count(*) FILTER (WHERE state = 'failed') AS failed
        FROM deliveries WHERE business_id = :business_id AND endpoint_id = :endpoint_id AND id >= :first
          AND reason <> 'test'
        GROUP BY 1""")
    params = {
        "business_id": business.id,
        "endpoint_id": endpoint.id,
        "since": since,
        "span": (width * buckets).total_seconds(),
        "buckets": buckets,
        "first": _first_id(since),
    }
    with reading() as connection:
        found = {row.bucket: row for row in connection.execute(query, params)}
    return [
        {
            "at": since + width * place,
            "delivered": getattr(found.get(place + 1), "delivered", 0),
            "retried": getattr(found.get(place + 1), "retried", 0),
            "failed": getattr(found.get(place + 1), "failed", 0),
        }
        for place in range(buckets)
    ]


def shows(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "webhook_id": str(delivery.endpoint_id),
        "event": delivery.event_type,
        "event_sequence": delivery.event_sequence,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempt_count,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "next_attempt_at": payloads.time(delivery.next_attempt_at) if delivery.state == "pending" else None,
        "created_at": payloads.time(delivery.created_at),
        "finished_at": payloads.time(delivery.finished_at),
    }


def body(delivery: Delivery) -> dict[str, Any] | None:
    """Give what was sent; None once its customer was erased."""
    return orjson.loads(delivery.event.body) if events.tells(delivery.event.body) else None


def shows_attempt(attempt: Attempt, url: str) -> dict[str, Any]:
    """Give an attempt as the API shows it; `url`, its endpoint's, is where those went that kept none of their own."""
    return {
        "number": attempt.number,
        "part": attempt.part,
        "started_at": payloads.time(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "error_kind": attempt.error_kind,
        "error": attempt.error,
        "url": attempt.url or url,
        "address": attempt.address,
        "request_headers": attempt.request_headers,
        "response_headers": attempt.response_headers,
        "response": (attempt.response or b"").decode(errors="replace"),
    }


def _first_id(at: datetime) -> UUID:
    """Give the lowest UUIDv7 of a time, so that the log's own index finds it."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62))


def _read(cursor: str) -> UUID:
    try:
        return cursors.read(cursor, UUID)[0]  # type: ignore[no-any-return]
    except ValueError as exc:
        raise Invalid(f"cursor: {exc}", code="invalid_field", field="cursor") from None
