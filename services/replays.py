"""Telling again: deliveries made anew of events told before. The worker's sweep takes each replay a step further.

The event id and the body stay the same; the signature and its time are fresh. A step waits until the last one has gone
out, so that a replay of a million events never stands before a live one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

import jobs
from errors import Invalid, NotFound
from lib.ids import uuid7
from models import Business, Delivery, Replay, WebhookEndpoint, db, now
from services import events, payloads

STEP = 1000  # deliveries
ROOM = 200  # of these may still wait when the next step is taken
_NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def start(
    business: Business,
    endpoint: WebhookEndpoint,
    *,
    delivery_ids: Sequence[UUID] | None = None,
    failed: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    by: str = "",
    dry_run: bool = False,
) -> Replay:
    """Begin a replay: of chosen deliveries, of what failed, or of every event that the endpoint wants in a time.

    A dry run begins nothing: its `total` says how many deliveries that would be.
    """
    if endpoint.state == "disabled":
        raise Invalid("This webhook is disabled. Enable it first.", code="webhook_disabled")
    what = "chosen" if delivery_ids is not None else "failed" if failed else "events"
    replay = Replay(
        business_id=business.id,
        id=uuid7(),
        endpoint_id=endpoint.id,
        what=what,
        chosen=_sequences(business, endpoint, delivery_ids) if delivery_ids is not None else [],
        since=since,
        until=until or now(),
        after=0,
        done=0,
        state="done" if dry_run else "running",
        created_by=by,
        created_at=now(),
    )
    replay.total = count(replay)
    if not dry_run:
        db.session.add(replay)
        db.session.flush()
    return replay


def get(business: Business, replay_id: UUID, endpoint: WebhookEndpoint | None = None) -> Replay:
    """Get a replay, of one endpoint where one is named."""
    replay = db.session.get(Replay, (business.id, replay_id))
    if replay is None or (endpoint and replay.endpoint_id != endpoint.id):
        whose = "webhook" if endpoint else "business"
        raise NotFound(f"No replay of this {whose} has that id.", code="replay_not_found")
    return replay


def page(business: Business, endpoint: WebhookEndpoint, limit: int = 20) -> Sequence[Replay]:
    query = select(Replay).where(Replay.business_id == business.id, Replay.endpoint_id == endpoint.id)
    return db.session.scalars(query.order_by(Replay.id.desc()).limit(limit)).all()


def stop(replay: Replay) -> None:
    """Take no further step, and take back what nobody has begun to send; what is under way goes out."""
    db.session.flush()
    db.session.refresh(replay, with_for_update=True)  # waits for a step that is being taken, and counts it
    if replay.state == "running" or outcome(replay)["pending"]:
        replay.state, replay.finished_at = "stopped", now()
        taken_back = db.session.scalars(text(_TAKE_BACK), _params(replay) | {"id": replay.id}).all()
        replay.done -= len(taken_back)


def outcome(replay: Replay) -> dict[str, int]:
    """Count its deliveries by what became of them: `pending`, `delivered`, `failed`."""
    return outcomes([replay])[replay.id]


def outcomes(found: Sequence[Replay]) -> dict[UUID, dict[str, int]]:
    """Count likewise for several replays of one business in one read, this transaction's own changes included."""
    counted = {replay.id: {"pending": 0, "delivered": 0, "failed": 0} for replay in found}
    if found:
        endpoints = list({replay.endpoint_id for replay in found})
        params = {"business_id": found[0].business_id, "endpoint_ids": endpoints, "ids": list(counted)}
        for row in db.session.execute(text(_OUTCOMES), params | {"first": min(counted)}):
            counted[row.replay_id][row.state] = row.number
    return counted


def count(replay: Replay) -> int:
    """Count what a replay would send; shown before it is begun."""
    query = f"SELECT count(*) FROM ({_SOURCES[replay.what]}) AS found"
    return db.session.scalar(text(query), _params(replay)) or 0


def step() -> None:
    """Take each running replay one step further."""
    running = select(Replay).where(Replay.state == "running").order_by(Replay.id)
    for replay in db.session.scalars(running.with_for_update(skip_locked=True)):
        endpoint = db.session.get_one(WebhookEndpoint, (replay.business_id, replay.endpoint_id))
        if endpoint.state == "active" and _waiting(replay) < ROOM:
            _advance(replay)


def shows(*found: Replay) -> list[dict[str, Any]]:
    """Give replays as the API shows them, with what became of the deliveries that they have made so far."""
    counted = outcomes(found)
    return [_shows(replay) | counted[replay.id] for replay in found]


def _shows(replay: Replay) -> dict[str, Any]:
    return {
        "id": str(replay.id),
        "webhook_id": str(replay.endpoint_id),
        "what": replay.what,
        "since": payloads.time(replay.since),
        "until": payloads.time(replay.until),
        "total": replay.total,
        "done": replay.done,
        "state": replay.state,
        "created_at": payloads.time(replay.created_at),
        "finished_at": payloads.time(replay.finished_at),
    }


# Ids rise with time, so that the log's index finds a replay's deliveries behind those that were there before it.
_OUTCOMES = """SELECT replay_id, state, count(*) AS number FROM deliveries WHERE business_id = :business_id
    AND endpoint_id = ANY(:endpoint_ids) AND id > :first AND replay_id = ANY(:ids) GROUP BY replay_id, state"""
# Whose lease runs has a next attempt ahead.
_TAKE_BACK = """DELETE FROM deliveries WHERE business_id = :business_id AND endpoint_id = :endpoint_id AND id > :id
    AND replay_id = :id AND state = 'pending' AND attempt_count = 0 AND next_attempt_at <= clock_timestamp()
    RETURNING 1"""
_SOURCES = {
    "chosen": f"""SELECT sequence FROM events WHERE business_id = :business_id AND sequence = ANY(:chosen)
        AND sequence > :after AND {events.TELLS}""",
    # What has been delivered since, or is on its way, did not fail any more.
    "failed": f"""SELECT DISTINCT d.event_sequence AS sequence FROM deliveries d
        JOIN events e ON e.business_id = d.business_id AND e.sequence = d.event_sequence AND {events.TELLS}
        WHERE d.endpoint_id = :endpoint_id AND d.state = 'failed' AND d.event_sequence > :after AND d.reason <> 'test'
        AND d.created_at BETWEEN :since AND :until AND NOT EXISTS (
            SELECT FROM deliveries later WHERE later.business_id = d.business_id AND later.id > d.id
            AND later.event_sequence = d.event_sequence AND later.endpoint_id = d.endpoint_id
            AND later.state IN ('delivered', 'pending'))""",
    "events": f"""SELECT e.sequence FROM events e JOIN webhook_endpoints w ON w.id = :endpoint_id
        WHERE e.business_id = :business_id AND e.sequence > :after AND e.created_at BETWEEN :since AND :until
        AND {events.TELLS} AND e.type = ANY(w.events) AND e.type <> 'webhook.test'
        AND (w.channels = '{{}}' OR e.channel IS NULL OR e.channel = ANY(w.channels))
        AND (w.direction IS NULL OR e.direction IS NULL OR e.direction = w.direction)""",
}


def _advance(replay: Replay) -> None:
    query = f"{_SOURCES[replay.what]} ORDER BY sequence LIMIT {STEP}"
    sequences = list(db.session.scalars(text(query), _params(replay)))
    if sequences:
        replay.after, replay.done = sequences[-1], replay.done + _deliver(replay, sequences)
    if len(sequences) < STEP:
        replay.state, replay.finished_at = "done", now()


def _deliver(replay: Replay, sequences: Sequence[int]) -> int:
    """Make the deliveries and give their number. The events are held, so that none is erased before we are done."""
    query = text(f"""
        SELECT sequence, type, coalesce(conversation_id, customer_id) AS order_key FROM events
        WHERE business_id = :business_id AND sequence = ANY(:sequences) AND {events.TELLS}
        ORDER BY sequence FOR SHARE""")
    found = db.session.execute(query, {"business_id": replay.business_id, "sequences": list(sequences)})
    at = now()
    rows = [
        (replay.business_id, uuid7(), replay.endpoint_id, *row, "replay", replay.id, "pending", 0, at, at)
        for row in found
    ]
    events.write(Delivery, _COLUMNS, rows)
    jobs.ring("webhooks", replay.endpoint_id)
    return len(rows)


_COLUMNS = (
    "business_id",
    "id",
    "endpoint_id",
    "event_sequence",
    "event_type",
    "order_key",
    "reason",
    "replay_id",
    "state",
    "attempt_count",
    "next_attempt_at",
    "created_at",
)


def _params(replay: Replay) -> dict[str, Any]:
    return {
        "business_id": replay.business_id,
        "endpoint_id": replay.endpoint_id,
        "chosen": list(replay.chosen),
        "after": replay.after,
        "since": replay.since or _NEVER,
        "until": replay.until,
    }


def _waiting(replay: Replay) -> int:
    query = select(func.count()).where(
        Delivery.endpoint_id == replay.endpoint_id, Delivery.state == "pending", Delivery.replay_id == replay.id
    )
    return db.session.scalar(query) or 0


def _sequences(business: Business, endpoint: WebhookEndpoint, delivery_ids: Sequence[UUID]) -> list[int]:
    query = select(Delivery.event_sequence).where(
        Delivery.business_id == business.id, Delivery.endpoint_id == endpoint.id, Delivery.id.in_(delivery_ids)
    )
    found = sorted(set(db.session.scalars(query)))
    if not found:
        raise NotFound("None of these is a delivery of this webhook.", code="delivery_not_found")
    return found
