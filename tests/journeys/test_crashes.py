"""The worker is killed at random moments and the queue is emptied: every event still arrives, under its one id."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep
from uuid import UUID

import pytest
from sqlalchemy import text

from models import db
from tests.callers import until
from tests.journeys.conftest import EVENTS, Shop
from tests.receivers import after, reset, status

CUSTOMERS, EACH = 8, 4
_LEASES = {
    "deliveries": "state = 'pending'",
    "callbacks": "processed_at IS NULL",
    "messages": "next_attempt_at IS NOT NULL",
    "attachments": "next_attempt_at IS NOT NULL",
}


def number(customer: int) -> str:
    return f"+35385400{customer:04d}"


def customers_write(shop: Shop) -> None:
    for turn in range(EACH):
        for customer in range(CUSTOMERS):
            shop.say(f"From {customer}: {turn}", sender=number(customer), wait=False)
            sleep(0.04)


def agents_write(shop: Shop) -> None:
    for turn in range(EACH):
        for customer in range(CUSTOMERS):
            shop.send(f"To {customer}: {turn}", to=number(customer))
            sleep(0.04)


def crm_writes(shop: Shop) -> None:
    for turn in range(EACH * 2):
        people = [{"external_id": f"C{turn}-{i}", "name": "C", "email": f"c{turn}-{i}@example.com"} for i in range(10)]
        shop.api.post("/api-customers-sync", {"customers": people})
        sleep(0.1)


def kill_the_worker(shop: Shop, *, flush: bool) -> None:
    """End it as a power cut would; nobody waits in a test for the leases of the dead to run out."""
    shop.live.kill("worker")
    with shop.live.app.app_context():
        if flush:
            shop.live.app.extensions["redis"].flushdb()
        for table, due in _LEASES.items():
            late = f"UPDATE {table} SET next_attempt_at = now() - interval '10 s' WHERE business_id = :id AND {due}"
            db.session.execute(text(late), {"id": UUID(shop.api.business_id)})
        db.session.commit()
    shop.live.start("worker")


def events_of(shop: Shop) -> set[str]:
    query = text("SELECT id FROM events WHERE business_id = :id AND type = ANY(:types)")
    with shop.live.app.app_context():
        rows = db.session.scalars(query, {"id": UUID(shop.api.business_id), "types": EVENTS})
        return {str(event_id) for event_id in rows}


@pytest.mark.slow
def test_every_event_arrives_though_the_worker_dies_and_the_queue_is_lost(shop: Shop) -> None:
    for customer in range(CUSTOMERS):
        shop.say("Hello", sender=number(customer))
    until(lambda: len(shop.told("message.received")) == CUSTOMERS + 1, 15)
    flaky = [status(200)] * 40 + [status(503), reset]
    shop.crm.will(*(after(random.uniform(0, 0.05), answer) for answer in random.sample(flaky * 8, len(flaky) * 8)))
    with ThreadPoolExecutor(3) as pool:
        writing: list[Future[None]] = [pool.submit(part, shop) for part in (customers_write, agents_write, crm_writes)]
        for flush in (False, True, True):
            sleep(random.uniform(0.3, 1.2))
            kill_the_worker(shop, flush=flush)
        for part in writing:
            part.result()
    _everything_ends(shop)
    _everything_was_told_once(shop)


def _everything_ends(shop: Shop) -> None:
    """Each message comes to an end, and no customer got any of them twice."""

    def ended() -> bool:
        messages = shop.api.messages()
        inbound = sum(one["direction"] == "inbound" for one in messages)
        return inbound == 1 + CUSTOMERS * (EACH + 1) and all(
            one["status"] not in ("queued", "sent") for one in messages
        )

    until(ended, 60)
    for customer in range(CUSTOMERS):
        seen = Counter(one["text"] for one in shop.screen(number(customer)))
        assert set(seen.values()) == {1}, seen
        assert {f"From {customer}: {turn}" for turn in range(EACH)} <= set(seen)


def _everything_was_told_once(shop: Shop) -> None:
    """Each event reached the CRM: always with the same id and the same bytes, however often it was tried."""
    until(lambda: {got.headers["x-webhook-id"] for got in list(shop.crm.got)} >= events_of(shop), 60)
    bodies: dict[str, bytes] = {}
    for got in list(shop.crm.got):
        event_id = got.headers["x-webhook-id"]
        assert got.event["id"] == got.headers["webhook-id"] == event_id
        assert bodies.setdefault(event_id, got.body) == got.body
    assert set(bodies) == events_of(shop)
