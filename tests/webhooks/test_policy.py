"""When an attempt is followed by another, and what is said of how it ended: arithmetic, and answers of all kinds."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import select

from drain import retry_after
from lib.ids import uuid7
from models import Attempt, Business, Delivery, db, now
from services.deliveries import MAX_RETRY_AFTER, SCHEDULES, Result, Task, Try
from tests import receivers
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell


def after(number: int, policy: str = "standard", reason: str = "live", **attempt: Any) -> float | None:
    """Give the seconds from one attempt to the next."""
    some = uuid7()
    task = Task(some, some, some, number, some, "x", b"{}", "http://x/", 15, policy, [], {}, reason)
    return Result(task, [Try(now(), 1, **attempt)]).retry_in


@pytest.mark.parametrize("policy", sorted(SCHEDULES))
def test_each_attempt_waits_as_long_as_its_schedule_says_and_never_less(policy: str) -> None:
    schedule = SCHEDULES[policy]
    for number, seconds in enumerate(schedule, 1):
        waits = [after(number, policy, status=500) or 0 for _ in range(200)]
        assert all(seconds <= wait <= seconds * 1.1 for wait in waits), number
        assert max(waits) > min(waits), "not all at once"
    assert after(len(schedule) + 1, policy, status=500) is None


def test_the_extended_schedule_lasts_a_day() -> None:
    assert timedelta(hours=23) < timedelta(seconds=sum(SCHEDULES["extended"])) < timedelta(hours=24)


@pytest.mark.parametrize(
    ("attempt", "again"),
    [
        ({"status": 200}, False),
        ({"status": 204}, False),
        ({"status": 301}, False),
        ({"status": 302}, False),
        ({"status": 400}, False),
        ({"status": 404}, False),
        ({"status": 410}, False),
        ({"status": 429}, True),
        ({"status": 500}, True),
        ({"status": 503}, True),
        ({"error_kind": "dns"}, True),
        ({"error_kind": "refused"}, True),
        ({"error_kind": "reset"}, True),
        ({"error_kind": "timeout"}, True),
        ({"error_kind": "tls"}, True),
        ({"error_kind": "blocked"}, False),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_only_what_may_pass_is_tried_again(attempt: dict[str, Any], again: bool) -> None:
    assert (after(1, **attempt) is not None) is again
    assert after(1, reason="test", **attempt) is None, "a test is tried once"


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [(None, 2, 2.2), (1.0, 2, 2.2), (30.0, 30, 30), (3600.0, MAX_RETRY_AFTER, MAX_RETRY_AFTER)],
    ids=["nothing", "less", "more", "an-hour"],
)
def test_a_429_waits_as_long_as_it_is_told_within_reason(told: float | None, least: float, most: float) -> None:
    wait = after(1, status=429, retry_after=told)
    assert wait is not None
    assert least <= wait <= most


def test_a_503_is_not_asked_how_long_it_takes() -> None:
    assert (after(1, status=503, retry_after=50.0) or 0) < 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 400, 999_999_999),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
    ids=["zero", "two-minutes", "spaces", "empty", "word", "minus", "point", "arabic", "endless", "past", "no-date"],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_a_date_that_is_to_come_is_so_many_seconds_away() -> None:
    when = retry_after({"retry-after": format_datetime(now() + timedelta(seconds=40), usegmt=True)})
    assert when is not None
    assert 38 <= when <= 40


def first_attempt(acme: Business, url: str, **options: object) -> tuple[Delivery, Attempt]:
    """Let one event go to an address, and give what its first attempt came to."""
    endpoint = subscribe(acme, url, **options)
    tell(acme, "Joe")
    query = select(Delivery, Attempt).join(Attempt, Attempt.delivery_id == Delivery.id)
    for _ in range(200):
        db.session.rollback()
        if found := db.session.execute(query.where(Delivery.endpoint_id == endpoint.id)).first():
            return found[0], found[1]
        time.sleep(0.05)
    raise AssertionError("nothing was tried")


def comes_again(delivery: Delivery) -> bool:
    wait = (delivery.next_attempt_at - now()).total_seconds()
    return delivery.state == "pending" and delivery.attempt_count == 1 and wait < 2.5


@pytest.fixture
def plain() -> Iterator[str]:
    """An https address at which somebody speaks plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    peer.recv(1000)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    peer.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)


def test_a_receiver_without_tls_is_a_tls_error_and_tried_again(acme: Business, plain: str, draining: None) -> None:
    delivery, attempt = first_attempt(acme, plain)
    assert (attempt.status, attempt.error_kind) == (None, "tls")
    assert comes_again(delivery)


def test_a_429_without_a_word_is_tried_again_by_schedule(acme: Business, receiver: Receiver, draining: None) -> None:
    receiver.will(status(429))
    delivery, attempt = first_attempt(acme, receiver.url())
    assert (attempt.status, attempt.error_kind) == (429, "client_error")
    assert comes_again(delivery)


def test_endless_headers_end_by_themselves_and_are_tried_again(
    acme: Business, receiver: Receiver, draining: None
) -> None:
    receiver.will(receivers.endless_headers)
    delivery, attempt = first_attempt(acme, receiver.url(), timeout=2)
    assert attempt.status is None
    assert attempt.error_kind in ("timeout", "protocol")
    assert attempt.duration_ms < 3000
    assert comes_again(delivery)


def test_a_gzip_bomb_stays_packed(acme: Business, receiver: Receiver, draining: None) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    receiver.will(status(200, bomb, content_encoding="gzip"))
    delivery, attempt = first_attempt(acme, receiver.url())
    assert delivery.state == "delivered"
    assert attempt.response == bomb[:2048]
