"""The event log as a stream for API keys: what was missed, then what happens; it ends with the key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import urllib3

from lib.ids import uuid7
from models import db
from services import events
from tests.callers import Caller, business
from tests.live.streams import Screen, until
from tests.processes import Live

API = "/functions/v1"


def call(live: Live, key: str, method: str, path: str, body: Any = None) -> Any:
    answer = urllib3.request(method, live.base_url + API + path, json=body, headers={"x-api-key": key})
    assert answer.status < 300, answer.data
    return answer.json()


def event(stream: Any) -> tuple[int, str, Any]:
    """Read the next event of a stream."""
    found: dict[str, str] = {}
    while raw := stream.readline():
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if value:
            found[name] = value
        if "data" in found:
            return int(found["id"]), found["event"], json.loads(found["data"])
    raise AssertionError("the stream ended")


def test_a_key_hears_what_it_missed_and_then_what_happens_until_it_is_revoked(live: Live) -> None:
    made = live.flask("business", "create", "Streamed", "--admin-email", f"stream{time.time_ns()}@example.com")
    key = made["api_key"]
    call(live, key, "POST", "/api-customers", {"name": "Ann", "email": "ann@example.com"})
    spare = call(live, key, "POST", "/api-keys", {"name": "listens", "scopes": ["messages:read"]})["api_key"]
    url = f"{live.base_url}{API}/api-events?stream=true&after=0"
    stream = urllib3.request("GET", url, headers={"x-api-key": spare["key"]}, preload_content=False, timeout=20)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    sequence, kind, body = event(stream)
    assert (sequence, kind, body["data"]["customer"]["name"]) == (1, "customer.created", "Ann")
    call(live, key, "POST", "/api-customers", {"name": "Bea", "email": "bea@example.com"})
    sequence, kind, body = event(stream)
    assert (sequence, kind, body["data"]["customer"]["name"]) == (2, "customer.created", "Bea")
    call(live, key, "DELETE", f"/api-keys?id={spare['id']}")
    assert b"event: bye" in stream.read()


@pytest.fixture
def caller(live: Live) -> Caller:
    return business(live, "Streamed")


@pytest.fixture
def hear(live: Live, caller: Caller) -> Iterator[Callable[..., Screen]]:
    """Open streams of the caller's key that are closed in the end."""
    screens: list[Screen] = []

    def open_(query: str = "") -> Screen:
        screens.append(Screen(live.base_url, f"{API}/api-events?stream=true{query}", {"x-api-key": caller.key}))
        return screens[-1]

    yield open_
    for screen in screens:
        screen.close()


def make(caller: Caller, *names: str) -> list[str]:
    """Make customers, each of which is an event; give their ids."""
    wish = [{"name": name, "email": f"{name.lower()}@example.com"} for name in names]
    return [row["customer_id"] for row in caller.post("/api-customers-sync", {"customers": wish})["results"]["details"]]


def told(screen: Screen) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in screen.heard if one.data]


def test_without_a_sequence_a_stream_says_where_it_stands_and_tells_what_happens_from_now_on(
    caller: Caller, hear: Callable[..., Screen]
) -> None:
    make(caller, "Ann", "Bea")
    screen = hear()
    until(lambda: screen.heard)
    assert screen.heard == [("", 2, "")]
    make(caller, "Cid")
    until(lambda: told(screen))
    assert [event["data"]["customer"]["name"] for event in told(screen)] == ["Cid"]


def test_a_stream_tells_the_types_that_were_asked_for_and_how_far_it_is(
    caller: Caller, hear: Callable[..., Screen]
) -> None:
    (ann,) = make(caller, "Ann")
    missed, now = hear("&after=0&type=customer.updated,customer.deleted"), hear("&type=customer.updated")
    until(lambda: now.heard)
    caller.patch(f"/api-customers?id={ann}", {"name": "Anna"})
    make(caller, "Bea")
    for screen in (missed, now):
        until(lambda screen=screen: screen.heard[-1].id == 3)  # type: ignore[misc]
        assert [one.event for one in screen.heard if one.data] == ["customer.updated"]
    assert hear("&type=customer.nonsense").answer.status == 422


def test_a_stream_tells_of_tests_only_to_those_who_name_them(
    live: Live, caller: Caller, hear: Callable[..., Screen]
) -> None:
    with live.app.app_context():
        events.write_test(UUID(caller.business_id), {"test": True})
        db.session.commit()
    make(caller, "Ann")
    plain, named = hear("&after=0"), hear("&after=0&type=webhook.test")
    until(lambda: told(plain) and told(named))
    assert [event["event"] for event in told(plain)] == ["customer.created"]
    assert [event["event"] for event in told(named)] == ["webhook.test"]


def test_a_stream_tells_the_very_envelopes_of_the_log_and_of_the_erased_no_data(
    caller: Caller, hear: Callable[..., Screen]
) -> None:
    ann, _ = make(caller, "Ann", "Bea")
    caller.call("DELETE", f"/api-customers?id={ann}")
    screen = hear("&after=0")
    until(lambda: len(told(screen)) == 3)
    logged = caller.get("/api-events")["events"]
    assert [{"sequence": one.id} | json.loads(one.data) for one in screen.heard if one.data] == logged
    assert [event["data"] is None for event in logged] == [True, False, False]
    assert logged[0].keys() == logged[1].keys()
    assert logged[0]["event"] == "customer.created"


def test_a_key_that_missed_too_much_is_told_to_read_the_log(
    live: Live, caller: Caller, hear: Callable[..., Screen]
) -> None:
    make(caller, "Ann")
    flood(live, caller)
    screen = hear("&after=1")
    until(lambda: screen.heard)
    assert (screen.heard[0].event, screen.heard[0].id, told(screen)) == ("reset", 2101, [])
    make(caller, "Bea")
    until(lambda: told(screen))
    assert told(screen)[0]["data"]["customer"]["name"] == "Bea"


def flood(live: Live, caller: Caller) -> None:
    """Let more happen than a stream makes up for."""
    with live.app.app_context():
        for _ in range(2100):
            events.append(UUID(caller.business_id), "customer.updated", customer_id=uuid7())
        db.session.commit()
