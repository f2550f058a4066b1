"""The drain's rounds: who gets which sockets, what a bell means, what stands before what, what cannot be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from drain import FIRST_SLOTS, SLOW, SUSPECT_SLOTS, Drain, Lane, _headers
from lib.ids import uuid7
from models import Business, Delivery, WebhookEndpoint, db, now
from services import customers, deliveries, webhook_tests, webhooks
from services.deliveries import Result, Task, Try
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import settled


@pytest.fixture
def drain(in_app: Flask) -> Drain:
    """A drain that does nothing by itself."""
    return Drain(in_app, lambda: False, 256)


def busy(count: int) -> dict[UUID, float]:
    return {uuid7(): time.monotonic() for _ in range(count)}


def tried(seconds: float = 0.0, code: int = 200) -> Try:
    return Try(now(), round(seconds * 1000), status=code)


class TestShares:
    def test_who_answers_fast_gets_more_and_who_fails_gets_less(self) -> None:
        lane = Lane()
        for _ in range(100):
            lane.learn(tried(), 64)
        assert (lane.slots, lane.trusted) == (64, True)
        for _ in range(10):
            lane.learn(tried(code=500), 64)
        assert (lane.slots, lane.trusted) == (SUSPECT_SLOTS, False)

    def test_who_is_slow_and_honest_keeps_half(self) -> None:
        lane = Lane()
        for _ in range(100):
            lane.learn(tried(SLOW * 2), 64)
        assert (lane.slots, lane.trusted) == (32, False)

    def test_a_newcomer_gets_a_socket_though_all_that_doubtful_ones_may_have_is_taken(self, drain: Drain) -> None:
        for _ in range(20):
            drain.lanes[uuid7()] = Lane(under_way=busy(FIRST_SLOTS))
        hanging, newcomer = next(iter(drain.lanes)), uuid7()
        drain.lanes[hanging].slots = 32
        drain.rung = {hanging, newcomer}
        assert drain._offer() == {newcomer: 1}

    def test_nobody_gets_what_is_not_free(self, drain: Drain) -> None:
        drain.concurrency = 4
        drain.rung = {uuid7() for _ in range(10)}
        assert sorted(drain._offer().values()) == [1, 1, 1, 1]


class TestBells:
    def claiming(self, drain: Drain, monkeypatch: pytest.MonkeyPatch, during: Any = None) -> list[dict[UUID, int]]:
        """Let one round claim nothing, and something happen meanwhile; give what was asked for."""
        asked: list[dict[UUID, int]] = []

        def claim(slots: Mapping[UUID, int]) -> list[Task]:
            asked.append(dict(slots))
            if during:
                during()
            return []

        monkeypatch.setattr(deliveries, "claim", claim)
        with ThreadPoolExecutor(1) as pool:  # in this thread a browser's loop may be running
            pool.submit(lambda: asyncio.run(drain._round(None))).result()  # type: ignore[arg-type]  # nothing is sent
        return asked

    def test_a_bell_that_rings_during_a_claim_is_heard(self, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
        endpoint = uuid7()
        drain.rung = {endpoint}
        self.claiming(drain, monkeypatch, lambda: drain.rung.add(endpoint))
        assert drain.rung == {endpoint}

    def test_who_had_nothing_due_is_left_alone(self, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
        drain.rung = {uuid7()}
        self.claiming(drain, monkeypatch)
        assert drain.rung == set()

    def test_a_test_is_asked_for_though_every_slot_is_taken(
        self, drain: Drain, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        endpoint = uuid7()
        drain.lanes[endpoint] = Lane(slots=2, under_way=busy(2))
        drain.rung, drain.tested = {endpoint}, {endpoint}
        assert self.claiming(drain, monkeypatch) == [{endpoint: 0}]
        assert drain.rung == {endpoint}, "what else is due waits for a slot"


class TestClaims:
    def due(self, endpoint: WebhookEndpoint, reason: str, count: int) -> None:
        """Have events, sent for a reason, be due."""
        tell(db.session.get_one(Business, endpoint.business_id), *(f"{reason}{number}" for number in range(count)))
        change = "UPDATE deliveries SET reason = :reason WHERE endpoint_id = :id AND reason = 'live'"
        db.session.execute(text(change), {"reason": reason, "id": endpoint.id})
        db.session.commit()

    def test_live_events_go_before_replays_that_were_due_earlier(self, acme: Business) -> None:
        endpoint = subscribe(acme, "http://127.0.0.1:9/")
        self.due(endpoint, "replay", 20)
        tell(acme, "Live")
        claimed = deliveries.claim({endpoint.id: 4})
        assert sorted(task.reason for task in claimed) == ["live", "replay", "replay", "replay"]

    def test_a_test_goes_though_there_is_no_slot_and_the_endpoint_is_paused(self, acme: Business) -> None:
        endpoint = subscribe(acme, "http://127.0.0.1:9/")
        tell(acme, "Waits")
        endpoint.state = "paused"
        webhook_tests.send(acme, endpoint, "customer.created", None)
        db.session.commit()
        assert deliveries.due_endpoints()[endpoint.id] is True
        assert [task.reason for task in deliveries.claim({endpoint.id: 0})] == ["test"]

    def test_a_header_marks_what_is_sent_again(self) -> None:
        def headers(reason: str) -> dict[str, str]:
            some = uuid7()
            task = Task(some, some, some, 1, some, "x", b"{}", "http://x/", 15, "standard", ["whsec_AAAA"], {}, reason)
            return _headers(task, task.secrets)

        assert headers("replay")["X-Webhook-Replay"] == "true"
        assert "X-Webhook-Replay" not in headers("live")


class TestWritingDown:
    def test_while_the_database_is_away_results_are_kept(
        self, acme: Business, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, draining: None
    ) -> None:
        real, tries = deliveries.record, []

        def record(results: Sequence[Result]) -> None:
            tries.append(results)
            if len(tries) == 1:
                raise OperationalError("", {}, Exception("away"))
            real(results)

        monkeypatch.setattr(deliveries, "record", record)
        endpoint = subscribe(acme, receiver.url())
        tell(acme, "Joe")
        assert settled(endpoint)[0].state == "delivered"
        assert len(receiver.on("/hook")) == 1, "nothing is sent again"

    def test_one_that_cannot_be_written_keeps_none_of_the_others_back(
        self, acme: Business, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, draining: None
    ) -> None:
        real = deliveries.record

        def record(results: Sequence[Result]) -> None:
            if any(b"Bad" in result.task.body for result in results):
                raise TypeError("our own mistake")
            real(results)

        monkeypatch.setattr(deliveries, "record", record)
        endpoint = subscribe(acme, receiver.url())
        tell(acme, *(f"Good{number}" for number in range(10)), "Bad", *(f"Fine{number}" for number in range(10)))
        assert {one.state for one in settled(endpoint, 20)} == {"delivered"}
        assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id, state="pending").count() == 1


def test_in_order_does_not_mean_one_a_second(acme: Business, receiver: Receiver, draining: None) -> None:
    endpoint = subscribe(acme, receiver.url(), ordered=True)
    tell(acme, "Ann")
    began = time.monotonic()
    for number in range(50):
        customers.sync(acme, [{"email": "ann@example.com", "notes": f"Note {number}"}])
        db.session.commit()
    settled(endpoint, 51)
    assert time.monotonic() - began < 10
    notes = [got.event["data"]["customer"]["notes"] for got in receiver.on("/hook")]
    assert notes == [None, *(f"Note {number}" for number in range(50))]


def test_resuming_sends_what_was_to_be_tried_hours_from_now(acme: Business, receiver: Receiver, draining: None) -> None:
    receiver.will(status(200))
    endpoint = subscribe(acme, receiver.url(), policy="extended")
    webhooks.pause(endpoint, "A test.")
    db.session.commit()
    tell(acme, "Joe")
    db.session.query(Delivery).filter_by(endpoint_id=endpoint.id).update(
        {"next_attempt_at": now() + timedelta(hours=5), "attempt_count": 7}
    )
    webhooks.resume(endpoint)
    db.session.commit()
    assert settled(endpoint)[0].state == "delivered"
