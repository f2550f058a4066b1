"""The usage log: a line for every API call, written in bulk by a thread of this process, away from the request.

The API's edge calls `note`; Settings and support read `page`, `get` and `summary`. A database that is away costs the
oldest lines once the buffer is full, never a request.
"""

from __future__ import annotations

import atexit
import os
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock, Thread
from time import sleep
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import sqlalchemy.exc
import structlog
from flask import current_app
from sqlalchemy import Engine, text

from errors import Invalid, NotFound
from lib import bulk, cursors
from models import Business, reading

FLUSH_SECONDS = 0.5
MOST_WAITING = 20_000
# What a query string may show. The rest (emails, names, external ids) is personal, and outlives its erasure here.
_SHOWN = re.compile(
    r"id|(?:conversation|assignee|channel_account)_id|external_system|limit|cursor|before|after|since|updated_since|"
    r"channel|status|types?|scope|dry_run|unread|order|include_\w+"
)

log = structlog.get_logger()
_waiting: deque[Call] = deque(maxlen=MOST_WAITING)
_flushing = Lock()
_engine: Engine | None = None
_writer: int | None = None  # the process whose thread writes; a fork starts its own
_failures = 0  # in a row


class Call(NamedTuple):
    """One call of the API, as it is kept."""

    business_id: UUID
    id: UUID | str
    api_key_id: UUID | None
    at: datetime
    method: str
    path: str
    query: str
    status: int
    duration_ms: float
    error_code: str | None
    address: str
    user_agent: str


def note(call: Call) -> None:
    """Remember a call; it is on disk within about a second."""
    _waiting.append(call)
    if _writer != os.getpid():
        _start()


def shown_query(arguments: Sequence[tuple[str, str]]) -> str:
    """Write a query string for the log, with everything personal left out."""
    parts = (f"{name}={value if _SHOWN.fullmatch(name) else '…'}" for name, value in arguments)
    return "&".join(parts)[:500].replace("\x00", "")


def flush() -> int:
    """Write what waits; give the number of lines. Also called when the process ends."""
    global _failures
    with _flushing:
        written = 0
        while _waiting and _engine is not None:
            calls = [_waiting.popleft() for _ in range(min(len(_waiting), 5000))]
            try:
                _write(_engine, calls)
            except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as exc:
                _failures += 1
                _put_back(calls, exc)
                break
            _failures = 0
            written += len(calls)
        return written


def page(
    business: Business,
    *,
    status: str | None = None,
    api_key_id: UUID | None = None,
    method: str | None = None,
    path: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[Any], str | None]:
    """List calls, the newest first. `status` is a class (`4xx`), a code (`404`), or `error` for all above 399."""
    where, params = _filter(business, status=status, api_key_id=api_key_id, method=method, path=path)
    for name, value, test in (("since", since, "at >= :since"), ("until", until, "at < :until")):
        if value:
            where.append(test)
            params[name] = value
    if cursor:
        where.append("id < :cursor")
        try:
            params["cursor"] = cursors.read(cursor, UUID)[0]
        except ValueError as exc:
            raise Invalid(f"cursor: {exc}", field="cursor") from None
    query = f"SELECT * FROM api_calls WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
    with reading() as connection:
        rows = connection.execute(text(query), params | {"limit": limit + 1}).all()
    return rows[:limit], cursors.write(rows[limit - 1].id) if len(rows) > limit else None


def get(business: Business, request_id: UUID) -> Any:
    """Give one call by its request id."""
    query = text("SELECT * FROM api_calls WHERE business_id = :business_id AND id = :id")
    with reading() as connection:
        row = connection.execute(query, {"business_id": business.id, "id": request_id}).first()
    if row is None:
        raise NotFound("No call of this business has that request id.", code="call_not_found")
    return row


def summary(
    business: Business, since: datetime, *, api_key_id: UUID | None = None, buckets: int = 48
) -> dict[str, Any]:
    """Add up the calls since a time: totals, and `buckets` slices of it with good and failed ones for a chart."""
    where, params = _filter(business, api_key_id=api_key_id)
    query = text(f"""
        SELECT width_bucket(extract(epoch FROM at), extract(epoch FROM CAST(:since AS timestamptz)),
                            extract(epoch FROM now()) + 1, :buckets) AS slice,
               count(*) AS calls, count(*) FILTER (WHERE status >= 400) AS failed, sum(duration_ms) AS spent,
               max(duration_ms) AS slowest
        FROM api_calls WHERE {" AND ".join(where)} AND at >= :since GROUP BY slice ORDER BY slice""")
    with reading() as connection:
        rows = connection.execute(query, params | {"since": since, "buckets": buckets}).all()
    slices = [{"calls": 0, "failed": 0} for _ in range(buckets)]
    for row in rows:
        slices[min(max(row.slice, 1), buckets) - 1] = {"calls": row.calls, "failed": row.failed}
    calls = sum(row.calls for row in rows)
    return {
        "calls": calls,
        "failed": sum(row.failed for row in rows),
        "mean_ms": sum(row.spent for row in rows) / calls if calls else 0.0,
        "slowest_ms": max((row.slowest for row in rows), default=0.0),
        "slices": slices,
    }


def by_key(business: Business, since: datetime) -> dict[UUID, int]:
    """Count each key's calls since a time."""
    query = text("""
        SELECT api_key_id, count(*) AS calls FROM api_calls
        WHERE business_id = :business_id AND at >= :since AND api_key_id IS NOT NULL GROUP BY api_key_id""")
    with reading() as connection:
        rows = connection.execute(query, {"business_id": business.id, "since": since})
        return {row.api_key_id: row.calls for row in rows}


def _filter(
    business: Business,
    *,
    status: str | None = None,
    api_key_id: UUID | None = None,
    method: str | None = None,
    path: str | None = None,
) -> tuple[list[str], dict[str, Any]]:
    where = ["business_id = :business_id"]
    params: dict[str, Any] = {"business_id": business.id}
    tests = {
        "api_key_id": (api_key_id, "api_key_id = :api_key_id"),
        "method": (method, "method = :method"),
        "path": (path, "strpos(path, :path) > 0"),
    }
    for name, (value, test) in tests.items():
        if value:
            where.append(test)
            params[name] = value
    if status == "error":
        where.append("status >= 400")
    elif status and status[:1] in "12345" and status[1:] == "xx":
        where.append("status / 100 = :status")
        params["status"] = int(status[0])
    elif status and status.isascii() and status.isdigit() and len(status) == 3:
        where.append("status = :status")
        params["status"] = int(status)
    return where, params


# --- the writing thread ---


def _start() -> None:
    global _engine, _writer
    _engine = current_app.extensions["read_engine"]
    _writer = os.getpid()
    Thread(target=_run, args=(_writer,), name="usage-log", daemon=True).start()


def _run(pid: int) -> None:
    while _writer == pid:
        sleep(FLUSH_SECONDS if not _failures else min(5.0, _failures))
        flush()


def _write(engine: Engine, calls: list[Call]) -> None:
    with engine.connect() as connection:
        line = connection.connection
        try:
            bulk.copy(line, "api_calls", Call._fields, calls)
        except psycopg.IntegrityError:  # a business is gone, or a part of these was written before the line broke
            for call in calls:
                with suppress(psycopg.IntegrityError):
                    bulk.copy(line, "api_calls", Call._fields, [call])
        _touch_keys(line.cursor(), calls)


def _touch_keys(cursor: Any, calls: list[Call]) -> None:
    """Bring `last_used_at` up to date, at most every five seconds for each key."""
    last = {(call.business_id, call.api_key_id): call.at for call in calls}
    businesses, ids = zip(*last, strict=True)
    cursor.execute(
        """UPDATE api_keys k SET last_used_at = new.at
           FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) AS new (business_id, id, at)
           WHERE k.business_id = new.business_id AND k.id = new.id
             AND (k.last_used_at IS NULL OR k.last_used_at < new.at - interval '5 seconds')""",
        (list(businesses), list(ids), list(last.values())),
    )


def _put_back(calls: list[Call], exc: Exception) -> None:
    room = MOST_WAITING - len(_waiting)
    _waiting.extendleft(reversed(calls[-room:] if room else []))
    if _failures in (1, 10, 100):
        log.warning("usage_log_waits", error=type(exc).__name__, waiting=len(_waiting), lost=max(0, len(calls) - room))


def _forget_parent() -> None:
    global _flushing
    _waiting.clear()  # they are the parent's to write
    _flushing = Lock()


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(flush)
