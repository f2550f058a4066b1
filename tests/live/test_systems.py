"""The event log as a stream for API keys: what was missed, then what happens; it ends with the key."""

from __future__ import annotations

import json
import time
from typing import Any

import urllib3

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
