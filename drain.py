"""The webhook drain: takes what is due from the database, sends with bounded concurrency, records in batches.

One RQ job runs it for as long as the worker lives. A bell (Valkey) wakes it at once; without the bell, a look at the
database every second finds the same. Each endpoint has its own slots, so a slow one holds nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import structlog
from aiohttp import ClientSession
from flask import Flask
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lib import fetch
from lib.signing import guide_signature, standard_signature
from models import db, now
from services import deliveries, metrics
from services.deliveries import Result, Task, Try

log = structlog.get_logger()

LOOK_EVERY = 1.0  # seconds between looks at the database
RECORD_AFTER = 0.05  # seconds that a result waits for company
RECORD_SIZE = 200
CLAIM_AFTER = 0.015  # seconds between claims while there is much to do: a few large ones cost less than many small
MUCH = 8  # deliveries
FIRST_SLOTS, SUSPECT_SLOTS = 8, 2  # of an endpoint that we know nothing of; at least, of one that fails or is slow
SLOW = 1.0  # seconds
BELL = "webhooks"


@dataclass(slots=True)
class Lane:
    """One endpoint's share: more slots while it answers fast, few while it does not."""

    slots: int = FIRST_SLOTS
    answers: bool = False  # well and fast, when we last heard of it
    under_way: dict[UUID, float] = field(default_factory=dict)  # deliveries, the oldest first → when it began

    @property
    def free(self) -> int:
        return max(0, self.slots - len(self.under_way))

    @property
    def trusted(self) -> bool:
        """Say whether it may have whatever is free; one that has not answered for a while may not, before it fails."""
        oldest = next(iter(self.under_way.values()), None)
        return self.answers and (oldest is None or time.monotonic() - oldest < SLOW)

    def learn(self, attempt: Try, most: int) -> None:
        """Give more to one that succeeds, half as much while it is slow; halve the share of one that fails."""
        self.answers = attempt.succeeded and attempt.duration_ms < SLOW * 1000
        if attempt.succeeded:
            self.slots = min(self.slots + 1, most if self.answers else most // 2)
        else:
            self.slots = max(self.slots // 2, SUSPECT_SLOTS)


@dataclass(slots=True)
class Drain:
    """What is under way in this process. `stopping` is asked often; what is in flight is finished first."""

    app: Flask
    stopping: Callable[[], bool]
    concurrency: int
    rung: set[UUID] = field(default_factory=set)
    tested: set[UUID] = field(default_factory=set)  # somebody waits for a test of theirs, be their slots taken or not
    lanes: defaultdict[UUID, Lane] = field(default_factory=lambda: defaultdict(Lane))
    results: list[Result] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    recorded: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Drain until told to stop."""
        settings = self.app.extensions["settings"]
        policy = fetch.Policy(networks=tuple(settings.webhook_allowed_networks))
        async with fetch.pool(policy, self.concurrency) as session:
            ear = asyncio.create_task(self._listen())  # ends by itself: a client that is cancelled leaks its connection
            helpers = [asyncio.create_task(part) for part in (self._look(), self._record())]
            while not self.stopping():
                await self._round(session)
            while self.tasks:
                await asyncio.wait(self.tasks)
            await self._write()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(ear, *helpers, return_exceptions=True)

    async def _round(self, session: ClientSession) -> None:
        """Claim what the free slots can take; sleep when there is nothing to do."""
        slots = self._offer()
        self.rung -= slots.keys()  # what rings from here on is news
        slots |= dict.fromkeys(self.tested - slots.keys(), 0)
        self.tested.clear()
        if not slots:
            self.wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), LOOK_EVERY)
            return
        claimed = await self._in_database(deliveries.claim, slots) or []
        got: defaultdict[UUID, int] = defaultdict(int)
        for task in sorted(claimed, key=lambda task: not self.lanes[task.endpoint_id].trusted):
            got[task.endpoint_id] += 1
            self.lanes[task.endpoint_id].under_way[task.id] = time.monotonic()
            running = asyncio.create_task(self._deliver(session, task))
            self.tasks.add(running)
            running.add_done_callback(self.tasks.discard)
        behind = {endpoint for endpoint, offered in slots.items() if offered and got[endpoint] >= offered}
        self.rung |= behind
        if behind and len(claimed) >= MUCH:
            await asyncio.sleep(CLAIM_AFTER)

    def _offer(self) -> dict[UUID, int]:
        """Share the free sockets among those that are rung, one each in turn.

        Those that do not answer well, or of whom we know nothing yet, have half of all sockets between them; but one
        that has nothing under way gets its first socket of any that is free.
        """
        free = self.concurrency - len(self.tasks)
        doubtful = self.concurrency // 2 - sum(len(one.under_way) for one in self.lanes.values() if not one.trusted)
        offer: Counter[UUID] = Counter()
        asking = sorted(self.rung, key=lambda endpoint: len(self.lanes[endpoint].under_way))
        while asking and free > 0:
            taking = []
            for endpoint in asking:
                lane = self.lanes[endpoint]
                first = not lane.under_way and not offer[endpoint]
                if offer[endpoint] < lane.free and (free if lane.trusted or first else min(free, doubtful)) > 0:
                    offer[endpoint] += 1
                    free, doubtful = free - 1, doubtful - (not lane.trusted)
                    taking.append(endpoint)
            asking = taking
        return dict(+offer)

    async def _deliver(self, session: ClientSession, task: Task) -> None:
        try:
            tries = [await attempt(session, task, task.secrets)]
            if len(task.secrets) > 1 and tries[0].status in (401, 403):
                tries.append(await attempt(session, task, task.secrets[::-1]))
        except Exception as exc:  # our own mistake: it is logged as an attempt like any other end, and tried again
            log.exception("delivery_failed", delivery_id=str(task.id))
            tries = [Try(now(), 0, error_kind="internal", error=f"{type(exc).__name__}: {exc}")]
        result = Result(task, tries)
        lane = self.lanes[task.endpoint_id]
        lane.under_way.pop(task.id, None)
        lane.learn(result.last, self.concurrency // 2)
        self.results.append(result)
        if len(self.results) >= RECORD_SIZE or task.ordered:
            self.recorded.set()
        if result.retry_in is not None:
            asyncio.get_running_loop().call_later(result.retry_in + RECORD_AFTER * 2, self._ring, task.endpoint_id)
        self.wake.set()

    def _ring(self, *endpoints: UUID) -> None:
        self.rung.update(endpoints)
        self.wake.set()

    async def _listen(self) -> None:
        """Hear the bell; while Valkey is away the looks at the database do."""
        url = self.app.extensions["settings"].redis_url
        async with Redis.from_url(url, socket_timeout=LOOK_EVERY * 5) as bell:
            while not self.stopping():
                try:
                    if await bell.blpop([f"bell:{BELL}"], timeout=LOOK_EVERY):
                        names = await bell.spop(f"due:{BELL}", 10_000)
                        self._ring(*(UUID(name.decode()) for name in names or ()))
                except (RedisError, OSError):
                    await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        """Find what a lost bell, a retry or a lease that ran out has left."""
        while True:
            due = await self._in_database(deliveries.due_endpoints) or {}
            self.tested |= {endpoint for endpoint, test in due.items() if test}
            self._ring(*due)
            await asyncio.sleep(LOOK_EVERY)

    async def _record(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.recorded.wait(), RECORD_AFTER)
            self.recorded.clear()
            await self._write()

    async def _write(self) -> None:
        batch, self.results = self.results, []
        if batch:
            await self._write_down(batch)
            await self._in_database(metrics.count_deliveries, batch)
            self._ring(*{result.task.endpoint_id for result in batch if result.task.ordered})  # what stood behind them

    async def _write_down(self, batch: list[Result]) -> None:
        """Record a batch: later, while the database is away; by halves, if something in it cannot be written at all."""
        try:
            await asyncio.to_thread(self._step, deliveries.record, batch)
        except (OperationalError, PoolTimeout) as exc:
            log.warning("drain_step_failed", step="record", error=str(exc)[:200])
            self.results = batch + self.results
            await asyncio.sleep(LOOK_EVERY)
        except Exception:
            if len(batch) == 1:
                log.exception("result_lost", delivery_id=str(batch[0].task.id))
                return
            half = len(batch) // 2
            await self._write_down(batch[:half])
            await self._write_down(batch[half:])

    async def _in_database(self, step: Callable[..., Any], *args: Any) -> Any:
        """Run one committed step in a thread; a database that is away costs a second and repeats what was claimed.

        So does our own mistake: whoever is at it here, a helper above all, must live on for all the others.
        """
        try:
            return await asyncio.to_thread(self._step, step, *args)
        except Exception as exc:
            log.warning("drain_step_failed", step=step.__name__, error=str(exc)[:200])
            await asyncio.sleep(LOOK_EVERY)
            return None

    def _step(self, step: Callable[..., Any], *args: Any) -> Any:
        with self.app.app_context():
            value = step(*args)
            db.session.commit()
            return value


async def attempt(session: ClientSession, task: Task, secrets: list[str]) -> Try:
    """Make one signed request within the endpoint's deadline; every end of it is a value, never an exception."""
    headers = _headers(task, secrets)
    shown = {name: value if name not in task.headers else "•••" for name, value in headers.items()}
    started_at, started = now(), time.perf_counter()
    try:
        answer = await fetch.post(session, task.url, task.body, headers, task.timeout)
    except fetch.FetchError as exc:
        return Try(started_at, _since(started), error_kind=exc.kind, error=str(exc), request_headers=shown)
    kind, error = _classify(answer.status)
    return Try(
        started_at,
        _since(started),
        status=answer.status,
        error_kind=kind,
        error=error,
        address=answer.address,
        request_headers=shown,
        response_headers=dict(list(answer.headers.items())[:30]),
        response=answer.body,
        retry_after=retry_after(answer.headers),
        accepted_new_secret=len(secrets) > 1 and kind is None and secrets[0] != task.secrets[0],
    )


def _headers(task: Task, secrets: list[str]) -> dict[str, str]:
    timestamp = int(time.time())
    event_id = str(task.event_id)
    return {
        **task.headers,
        "Content-Type": "application/json",
        "User-Agent": "AlaCarteChat-Webhooks/1",
        "X-Webhook-Signature": guide_signature(secrets[0], timestamp, task.body),
        "X-Webhook-Timestamp": str(timestamp),
        "X-Webhook-Id": event_id,
        "X-Webhook-Event": task.event_type,
        "X-Webhook-Attempt": str(task.number),
        "X-Webhook-Version": task.api_version,
        **({"X-Webhook-Replay": "true"} if task.reason == "replay" else {}),
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_signature(secrets, event_id, timestamp, task.body),
    }


def _classify(status: int) -> tuple[str | None, str | None]:
    if status < 300:
        return None, None
    if status < 400:
        return "redirect", f"The receiver answered {status}; redirects are not followed."
    if status < 500:
        return "client_error", f"The receiver answered {status}."
    return "server_error", f"The receiver answered {status}."


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` in both its forms (seconds, or an HTTP date) as seconds from now."""
    sent = headers.get("retry-after", "").strip()
    if sent.isdecimal() and sent.isascii():
        return float(sent[:9])
    try:
        return max(0.0, (parsedate_to_datetime(sent) - now()).total_seconds())
    except (TypeError, ValueError):
        return None


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
