"""The drain: retry arithmetic, signatures, isolation, order, rotation, health of endpoints. Against a real receiver."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import socket
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from standardwebhooks import Webhook

from models import Attempt, Business, Delivery, Notice, WebhookEndpoint, db, now
from services import customers, deliveries, notices, webhooks
from services.deliveries import LEASE_SECONDS, SCHEDULES
from tests import receivers
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell


def settled(endpoint: WebhookEndpoint, count: int = 1, seconds: float = 25) -> list[Delivery]:
    """Wait until so many deliveries of an endpoint are finished."""
    query = select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.state != "pending")
    for _ in range(int(seconds * 20)):
        db.session.rollback()
        done = list(db.session.scalars(query.order_by(Delivery.id)))
        if len(done) >= count:
            return done
        time.sleep(0.05)
    raise AssertionError(f"{len(done)} of {count} deliveries settled")


def attempts(delivery: Delivery) -> list[Attempt]:
    query = select(Attempt).where(Attempt.delivery_id == delivery.id).order_by(Attempt.number, Attempt.part)
    return list(db.session.scalars(query))


def test_a_delivery_is_signed_for_the_guide_and_for_standard_webhooks(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Zoë")
    (got,) = receiver.wait(1)
    secret = webhooks.secret(endpoint)
    expected = hmac.new(secret.encode(), got.headers["x-webhook-timestamp"].encode() + b"." + got.body, hashlib.sha256)
    assert got.headers["x-webhook-signature"] == expected.hexdigest()
    Webhook(secret).verify(got.body, got.headers)
    assert got.headers["x-webhook-id"] == got.headers["webhook-id"] == got.event["id"]
    assert got.headers["x-webhook-event"] == got.event["event"] == "customer.created"
    assert abs(int(got.headers["x-webhook-timestamp"]) - time.time()) < 5
    (delivery,) = settled(endpoint)
    assert (delivery.state, delivery.attempt_count, delivery.last_status) == ("delivered", 1, 200)


@pytest.mark.parametrize("answer", [status(204), receivers.after(0.3, status(200)), status(299)])
def test_any_2xx_in_time_is_success(
    acme: Business, receiver: Receiver, draining: None, answer: receivers.Answer
) -> None:
    receiver.will(answer)
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    assert settled(endpoint)[0].state == "delivered"


@pytest.mark.parametrize("code", [301, 302, 307, 400, 401, 404, 422])
def test_other_answers_are_final(acme: Business, receiver: Receiver, draining: None, code: int) -> None:
    receiver.will(status(code, location=receiver.url("/elsewhere")))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    (delivery,) = settled(endpoint)
    assert (delivery.state, delivery.attempt_count, delivery.last_status) == ("failed", 1, code)
    assert not receiver.on("/elsewhere")


def test_four_attempts_at_0_2_6_and_14_seconds_and_then_it_failed(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    receiver.will(status(500, b"down"), receivers.reset, status(503), status(502))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    (delivery,) = settled(endpoint)
    assert (delivery.state, delivery.attempt_count) == ("failed", 4)
    tries = attempts(delivery)
    assert [(item.status, item.error_kind) for item in tries] == [
        (500, "server_error"),
        (None, "reset"),
        (503, "server_error"),
        (502, "server_error"),
    ]
    starts = [item.started_at for item in tries]
    for gap, planned in zip(itertools.pairwise(starts), (2, 4, 8), strict=True):
        assert planned <= (gap[1] - gap[0]).total_seconds() <= planned * 1.1 + 1
    requests = receiver.on("/hook")
    assert len({item.headers["x-webhook-id"] for item in requests}) == 1
    assert len({item.body for item in requests}) == 1
    assert [item.headers["x-webhook-attempt"] for item in requests] == ["1", "2", "3", "4"]
    assert requests[0].headers["x-webhook-timestamp"] != requests[3].headers["x-webhook-timestamp"]
    assert tries[0].response == b"down"


def test_a_429_waits_as_long_as_it_was_told(acme: Business, receiver: Receiver, draining: None) -> None:
    later = (now() + timedelta(seconds=5)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.will(status(429, retry_after="4"), status(429, retry_after=later), status(200))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    (delivery,) = settled(endpoint)
    first, second, third = receiver.on("/hook")
    assert delivery.state == "delivered"
    assert second.at - first.at >= 4
    assert third.at - second.at >= 4  # the schedule's own wait is longer than what is left of the date


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (receivers.after(30, status(200)), "timeout"),
        (receivers.drip, "timeout"),
        (receivers.endless_headers, None),
    ],
)
def test_a_receiver_that_never_finishes_costs_its_own_time_and_no_more(
    acme: Business, receiver: Receiver, draining: None, answer: receivers.Answer, kind: str | None
) -> None:
    receiver.will(answer)
    endpoint = subscribe(acme, receiver.url(), timeout=1)
    tell(acme, "Joe")
    receiver.wait(2)
    for _ in range(100):
        db.session.rollback()
        tries = db.session.scalars(
            select(Attempt)
            .join(Delivery, Delivery.id == Attempt.delivery_id)
            .where(Delivery.endpoint_id == endpoint.id)
        ).all()
        if tries:
            break
        time.sleep(0.05)
    assert tries[0].duration_ms < 2000
    assert kind is None or tries[0].error_kind == kind
    receiver.will(status(200))


def test_a_slow_endpoint_holds_nobody_elses_deliveries(acme: Business, receiver: Receiver, draining: None) -> None:
    receiver.will(receivers.after(5, status(200)), path="/slow")
    subscribe(acme, receiver.url("/slow"), timeout=5)
    healthy = subscribe(acme, receiver.url("/fast"))
    names = [f"Person{i}" for i in range(200)]
    began = time.monotonic()
    tell(acme, *names)
    settled(healthy, 200)
    assert time.monotonic() - began < 4


def test_ordered_mode_holds_back_only_what_follows_the_one_that_fails(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    receiver.will(status(500), status(200))
    endpoint = subscribe(acme, receiver.url(), ordered=True)
    tell(acme, "Ann")
    tell(acme, "Bea")
    customers.sync(acme, [{"email": "ann@example.com", "notes": "second"}])
    db.session.commit()
    settled(endpoint, 3)
    order = [(item.event["event"], item.event["data"]["customer"]["name"]) for item in receiver.on("/hook")]
    assert order.index(("customer.updated", "Ann")) == len(order) - 1
    assert order[-1] == ("customer.updated", "Ann")
    assert order.count(("customer.created", "Ann")) == 2
    assert order.index(("customer.created", "Bea")) < len(order) - 2


def test_a_rotation_is_survived_by_a_receiver_that_knows_one_secret(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(acme, receiver.url())
    known = [webhooks.secret(endpoint)]

    def verify(peer: object, got: receivers.Got) -> None:
        message = got.headers["x-webhook-timestamp"].encode() + b"." + got.body
        right = hmac.new(known[0].encode(), message, hashlib.sha256).hexdigest() == got.headers["x-webhook-signature"]
        status(200 if right else 401)(peer, got)  # type: ignore[arg-type]

    receiver.will(verify)
    fresh = webhooks.rotate(endpoint)
    db.session.commit()
    tell(acme, "Old")
    (first,) = settled(endpoint)
    assert (first.state, len(attempts(first))) == ("delivered", 1)
    known[0] = fresh
    tell(acme, "New")
    second = settled(endpoint, 2)[1]
    assert (second.state, second.attempt_count) == ("delivered", 1)
    assert [(item.part, item.status) for item in attempts(second)] == [(1, 401), (2, 200)]
    tell(acme, "Newer")
    third = settled(endpoint, 3)[2]
    assert [(item.part, item.status) for item in attempts(third)] == [(1, 200)]


def test_410_disables_at_once_and_tells_the_admins(acme: Business, receiver: Receiver, draining: None) -> None:
    receiver.will(status(410))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    settled(endpoint)
    db.session.refresh(endpoint)
    assert endpoint.state == "disabled"
    assert db.session.scalar(select(Notice.text).where(Notice.subject_id == endpoint.id))


def test_a_day_of_failure_pauses_and_what_waits_goes_out_on_resume(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    receiver.will(status(400), status(200))
    endpoint = subscribe(acme, receiver.url())
    endpoint.failing_since = now() - timedelta(days=1, minutes=1)
    db.session.commit()
    tell(acme, "Joe")
    settled(endpoint)
    db.session.refresh(endpoint)
    assert endpoint.state == "paused"
    (notice,) = notices.unread(acme)
    assert (notice.kind, notice.subject_id) == ("webhook", endpoint.id)
    assert notice.text == (
        "Webhook CRM: Paused after failing for a day; the last error was: The receiver answered 400."
    )
    tell(acme, "Kept")
    time.sleep(1.5)
    assert len(receiver.on("/hook")) == 1
    webhooks.resume(endpoint)
    db.session.commit()
    assert notices.unread(acme) == []
    assert settled(endpoint, 2)[1].state == "delivered"


def test_an_address_that_may_not_be_reached_is_refused_and_says_which_setting_would_allow_it(
    in_app: Flask, acme: Business, draining: None
) -> None:
    endpoint = subscribe(acme, "http://10.1.2.3/hook")
    tell(acme, "Joe")
    (delivery,) = settled(endpoint)
    (attempt,) = attempts(delivery)
    assert (delivery.state, attempt.error_kind) == ("failed", "blocked")
    assert "WEBHOOK_ALLOWED_NETWORKS" in (attempt.error or "")


def test_headers_that_are_no_text_are_logged_like_any_other(acme: Business, receiver: Receiver, draining: None) -> None:
    def answer(peer: socket.socket, got: receivers.Got) -> None:
        peer.sendall(
            b"HTTP/1.1 200 OK\r\nX-Place: Caf\xe9 \xff\r\nX-Name: Zo\xc3\xab\r\nContent-Length: 3\r\n\r\n\0\xff!"
        )

    receiver.will(answer)
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    (delivery,) = settled(endpoint)
    (attempt,) = attempts(delivery)
    assert attempt.response_headers["x-place"] == "Caf\ufffd \ufffd"
    assert attempt.response_headers["x-name"] == "Zoë"
    assert attempt.response == b"\0\xff!"


def test_a_batch_that_cannot_be_written_down_stops_nothing_else(
    acme: Business, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, draining: None
) -> None:
    real, batches = deliveries.record, []

    def record(results: Sequence[deliveries.Result]) -> None:
        batches.append(results)
        if len(batches) == 1:
            raise TypeError("our own mistake")
        real(results)

    monkeypatch.setattr(deliveries, "record", record)
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Joe")
    receiver.wait(1)
    until_recorded = time.time() + 10
    while not batches and time.time() < until_recorded:
        time.sleep(0.05)
    tell(acme, "Zoë")
    assert settled(endpoint)[0].state == "delivered"


def test_no_attempt_outlives_its_lease() -> None:
    assert LEASE_SECONDS > 30 + 5
    assert sum(SCHEDULES["standard"]) == 14
    assert 23 * 3600 < sum(SCHEDULES["extended"]) < 24 * 3600
