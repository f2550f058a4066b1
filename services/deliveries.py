"""One event to one endpoint: what is due, what became of it, and the log. The drain claims and records in batches.

A claim is a lease: `next_attempt_at` moves ahead, so that whoever dies loses nothing and repeats at most what was under
way. See docs/decisions/0005-webhooks.md.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from models import WebhookEndpoint, db, now
from services import payloads, webhooks

LEASE_SECONDS = 75  # longer than any attempt may take: twice 30 s where a secret rotates
SCHEDULES = {
    "standard": (2, 4, 8),
    "extended": (2, 4, 8, 300, 1800, 7200, 18000, 21600, 36000),  # 23.6 hours in all
}
MAX_RETRY_AFTER = 60  # seconds
PAUSE_AFTER = timedelta(days=1)
KEPT_RESPONSE = 2048  # bytes


@dataclass(frozen=True, slots=True)
class Task:
    """A delivery to attempt now, with all that the attempt needs."""

    business_id: UUID
    id: UUID
    endpoint_id: UUID
    number: int  # of this attempt, from 1
    event_id: UUID
    event_type: str
    body: bytes
    url: str
    timeout: int
    policy: str
    secrets: list[str]
    headers: Mapping[str, str]
    reason: str = "live"  # live replay test
    ordered: bool = False  # what follows in its conversation waits for it
    api_version: str = ""  # the form of the body


@dataclass(frozen=True, slots=True)
class Try:
    """One HTTP request and its end. `error_kind` is None for a success."""

    started_at: datetime
    duration_ms: int
    status: int | None = None
    error_kind: str | None = None
    error: str | None = None
    address: str | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response: bytes = b""
    retry_after: float | None = None
    accepted_new_secret: bool = False

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task: its requests (two when a secret rotates), and what follows."""

    task: Task
    tries: Sequence[Try]

    @property
    def last(self) -> Try:
        return self.tries[-1]

    @property
    def retry_in(self) -> float | None:
        """Give the seconds to the next attempt, never less than the schedule; None after the last (a test has one)."""
        last, schedule = self.last, SCHEDULES[self.task.policy]
        if last.succeeded or not _is_passing(last) or self.task.number > len(schedule) or self.task.reason == "test":
            return None
        wait = schedule[self.task.number - 1] * random.uniform(1, 1.1)
        if last.status == 429 and last.retry_after:
            wait = max(wait, min(last.retry_after, MAX_RETRY_AFTER))
        return wait


def _is_passing(attempt: Try) -> bool:
    """Tell whether trying again may help: a network error, a time-out, 429 or 5xx."""
    if attempt.status is None:
        return attempt.error_kind not in ("blocked", "redirect")
    return attempt.status == 429 or attempt.status >= 500


def due_endpoints() -> dict[UUID, bool]:
    """Find the endpoints that something is due for → whether that is a test, which goes out whatever their state."""
    query = text("""
        SELECT id, bool_or(test) AS test FROM (
            SELECT e.id, false AS test FROM webhook_endpoints e WHERE e.state = 'active' AND EXISTS (
                SELECT FROM deliveries d
                WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= now())
            UNION ALL SELECT endpoint_id, true FROM deliveries
            WHERE state = 'pending' AND reason = 'test' AND next_attempt_at <= now()) AS due
        GROUP BY id""")
    return {row.id: row.test for row in db.session.execute(query)}


# Tests have a lane of their own: somebody waits for each, and behind a backlog or a pause it would never come. Replays
# take what live events leave. Rows are taken by their place (ctid), as the planner cannot know how few `slots` are and
# would read the whole table.
_DUE = """
    SELECT d.ctid AS place FROM deliveries d
    WHERE d.endpoint_id = wanted.id AND d.state = 'pending' AND d.reason = '{reason}' AND d.next_attempt_at <= now()
      AND (NOT wanted.ordered OR NOT EXISTS (
          SELECT FROM deliveries earlier
          WHERE earlier.endpoint_id = d.endpoint_id AND earlier.state = 'pending'
            AND earlier.order_key = d.order_key AND earlier.event_sequence < d.event_sequence))
    ORDER BY d.next_attempt_at, d.id LIMIT {most} FOR UPDATE OF d SKIP LOCKED"""
_CLAIM = text(f"""
    WITH wanted AS (
        SELECT w.slots, e.* FROM unnest(CAST(:ids AS uuid[]), CAST(:slots AS int[])) AS w (endpoint_id, slots)
        JOIN webhook_endpoints e ON e.id = w.endpoint_id),
    live AS (
        SELECT wanted.id, d.place FROM wanted
        CROSS JOIN LATERAL ({_DUE.format(reason="live", most="wanted.slots")}) AS d WHERE wanted.state = 'active'),
    picked AS (
        SELECT d.place FROM wanted CROSS JOIN LATERAL (
            SELECT d.ctid AS place FROM deliveries d
            WHERE d.endpoint_id = wanted.id AND d.state = 'pending' AND d.reason = 'test' AND d.next_attempt_at <= now()
            ORDER BY d.id LIMIT 2 FOR UPDATE OF d SKIP LOCKED) AS d
        UNION ALL SELECT place FROM live
        UNION ALL SELECT d.place FROM (
            SELECT wanted.*, slots - (SELECT count(*) FROM live WHERE live.id = wanted.id) AS left_over FROM wanted
            WHERE state = 'active') AS wanted
        CROSS JOIN LATERAL ({_DUE.format(reason="replay", most="wanted.left_over")}) AS d),
    taken AS (
        UPDATE deliveries d SET next_attempt_at = now() + make_interval(secs => :lease)
        WHERE d.ctid = ANY(ARRAY(SELECT place FROM picked))
        RETURNING d.business_id, d.id, d.endpoint_id, d.attempt_count, d.event_sequence, d.event_type, d.reason)
    SELECT taken.*, e.id AS event_id, e.body, wanted.url, wanted.timeout, wanted.policy, wanted.secret,
        wanted.previous_secret, wanted.rotation_ends_at, wanted.new_secret_accepted, wanted.headers, wanted.ordered,
        wanted.api_version
    FROM taken JOIN wanted ON wanted.id = taken.endpoint_id
    JOIN events e ON e.business_id = taken.business_id AND e.sequence = taken.event_sequence""")


def claim(slots: Mapping[UUID, int]) -> list[Task]:
    """Take what is due for these endpoints, at most so many of each, under a lease of `LEASE_SECONDS`."""
    if not slots:
        return []
    params = {"ids": list(slots), "slots": list(slots.values()), "lease": LEASE_SECONDS}
    rows = db.session.execute(_CLAIM, params).all()
    endpoints = {row.endpoint_id: row for row in rows}
    opened = {key: (webhooks.signing_secrets(row), webhooks.custom_headers(row)) for key, row in endpoints.items()}
    return [
        Task(
            business_id=row.business_id,
            id=row.id,
            endpoint_id=row.endpoint_id,
            number=row.attempt_count + 1,
            event_id=row.event_id,
            event_type=row.event_type,
            body=row.body,
            url=row.url,
            timeout=row.timeout,
            policy=row.policy,
            secrets=opened[row.endpoint_id][0],
            headers=opened[row.endpoint_id][1],
            reason=row.reason,
            ordered=row.ordered,
            api_version=row.api_version,
        )
        for row in rows
    ]


# A batch goes to the database as one JSON text: writing arrays of every column costs the drain ten times as much.
_ATTEMPTS = text("""
    INSERT INTO attempts (business_id, delivery_id, number, part, started_at, duration_ms, status, error_kind, error,
                          url, address, request_headers, response_headers, response)
    SELECT new.business_id, new.delivery_id, new.number, new.part, new.started_at, new.duration_ms, new.status,
           new.error_kind, new.error, new.url, new.address, new.request_headers, new.response_headers,
           decode(new.response, 'hex')
    FROM json_to_recordset(CAST(:rows AS json)) AS new (
        business_id uuid, delivery_id uuid, number int, part int, started_at timestamptz, duration_ms int, status int,
        error_kind text, error text, url text, address text, request_headers jsonb, response_headers jsonb,
        response text)
    WHERE EXISTS (SELECT FROM deliveries d WHERE d.business_id = new.business_id AND d.id = new.delivery_id)
    ON CONFLICT DO NOTHING""")
# A late result, of a lease that had run out, changes nothing: the count has moved on.
_OUTCOMES = text("""
    UPDATE deliveries d
    SET state = new.state, attempt_count = new.number, last_status = new.status, last_error = new.error,
        next_attempt_at = coalesce(now() + make_interval(secs => new.retry_in), d.next_attempt_at),
        finished_at = CASE WHEN new.state = 'pending' THEN NULL ELSE now() END
    FROM json_to_recordset(CAST(:rows AS json)) AS new (
        business_id uuid, id uuid, number int, state text, status int, error text, retry_in float8)
    WHERE d.business_id = new.business_id AND d.id = new.id AND d.state = 'pending'
      AND d.attempt_count = new.number - 1""")


def record(results: Sequence[Result]) -> None:
    """Log every request and settle every delivery of a batch, in a constant number of statements."""
    if not results:
        return
    attempts = [row for result in results for row in _attempt_rows(result)]
    db.session.execute(_ATTEMPTS, {"rows": payloads.to_json(attempts)})
    db.session.execute(_OUTCOMES, {"rows": payloads.to_json([_outcome_row(result) for result in results])})
    _judge_endpoints(results)


def _attempt_rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "business_id": result.task.business_id,
            "delivery_id": result.task.id,
            "number": result.task.number,
            "part": part,
            "started_at": attempt.started_at,
            "duration_ms": attempt.duration_ms,
            "status": attempt.status,
            "error_kind": attempt.error_kind,
            "error": attempt.error,
            "url": result.task.url,
            "address": attempt.address,
            "request_headers": attempt.request_headers,
            "response_headers": attempt.response_headers,
            "response": attempt.response[:KEPT_RESPONSE].hex(),
        }
        for part, attempt in enumerate(result.tries, 1)
    ]


def _outcome_row(result: Result) -> dict[str, Any]:
    retry_in = result.retry_in
    return {
        "business_id": result.task.business_id,
        "id": result.task.id,
        "number": result.task.number,
        "state": "delivered" if result.last.succeeded else "pending" if retry_in is not None else "failed",
        "status": result.last.status,
        "error": result.last.error,
        "retry_in": retry_in,
    }


def _judge_endpoints(results: Sequence[Result]) -> None:
    """Keep each endpoint's health: since when it fails, whether it took a new secret, whether it is gone.

    A test that succeeds heals; one that fails says nothing, for its receiver may be half built.
    """
    good = {result.task.endpoint_id for result in results if result.last.succeeded}
    real = (result for result in results if result.task.reason != "test")
    bad = {result.task.endpoint_id: result.last for result in real if not result.last.succeeded}
    took_new = {result.task.endpoint_id for result in results if result.last.accepted_new_secret}
    if good:
        healed = "UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ANY(:ids) AND failing_since IS NOT NULL"
        db.session.execute(text(healed), {"ids": sorted(good)})
    if not took_new and not bad:
        return
    # A key-share lock lets events go on being written for these endpoints meanwhile.
    query = select(WebhookEndpoint).where(WebhookEndpoint.id.in_(took_new | bad.keys())).order_by(WebhookEndpoint.id)
    query = query.where(WebhookEndpoint.state != "deleted")
    for endpoint in db.session.scalars(query.with_for_update(key_share=True)).all():
        if endpoint.id in took_new:
            endpoint.new_secret_accepted = True
        if endpoint.id in bad:
            _judge_failure(endpoint, bad[endpoint.id], healthy=endpoint.id in good)


def _judge_failure(endpoint: WebhookEndpoint, attempt: Try, *, healthy: bool) -> None:
    if endpoint.state == "disabled":
        return
    if attempt.status == 410:
        webhooks.disable(endpoint, "The receiver answered 410 Gone, so nothing more is sent to it.")
    elif not healthy:
        endpoint.failing_since = endpoint.failing_since or now()
        if endpoint.state == "active" and now() - endpoint.failing_since >= PAUSE_AFTER:
            reason = f"Paused after failing for a day; the last error was: {attempt.error}"
            webhooks.pause(endpoint, reason)
            webhooks.warn(endpoint, reason)
