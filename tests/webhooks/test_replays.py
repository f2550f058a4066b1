"""Telling again: one delivery, what failed, a window, a backfill; counted first, stoppable, with the same event ids."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import Business, db
from services import replays, webhooks
from tests.people import Somebody
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import settled

API = "/functions/v1"


def sweep_until_done(replay_id: str, business: Business, seconds: float = 20) -> Any:
    for _ in range(int(seconds * 10)):
        replays.step()
        db.session.commit()
        replay = replays.get(business, replay_id)  # type: ignore[arg-type]
        if replay.state != "running":
            return replay
        time.sleep(0.1)
    raise AssertionError("the replay did not end")


def test_what_failed_is_sent_again_with_the_same_ids(
    alice: Somebody, receiver: Receiver, draining: None, client: FlaskClient
) -> None:
    receiver.will(status(400))
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, *(f"P{i}" for i in range(30)))
    settled(endpoint, 30)
    first = {got.headers["x-webhook-id"]: got.body for got in receiver.on("/hook")}
    receiver.will(status(200))
    headers = {"x-api-key": alice.key}
    ask = {"webhook_id": str(endpoint.id), "failed": True}
    counted = client.post(f"{API}/api-webhook-replays", json=ask | {"dry_run": True}, headers=headers)
    assert counted.json["replay"]["total"] == 30
    begun = client.post(f"{API}/api-webhook-replays", json=ask, headers=headers)
    assert begun.status_code == 202
    replay = sweep_until_done(begun.json["replay"]["id"], alice.business)
    assert (replay.state, replay.done) == ("done", 30)
    settled(endpoint, 60)
    again = {got.headers["x-webhook-id"]: got.body for got in receiver.on("/hook")[30:]}
    assert again == first
    assert (
        client.post(f"{API}/api-webhook-replays", json=ask | {"dry_run": True}, headers=headers).json["replay"]["total"]
        == 0
    )


def test_one_delivery_is_sent_again_and_the_log_shows_both(
    alice: Somebody, receiver: Receiver, draining: None, client: FlaskClient
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann", "Bea")
    one, _ = settled(endpoint, 2)
    headers = {"x-api-key": alice.key}
    ask = {"webhook_id": str(endpoint.id), "delivery_ids": [str(one.id)]}
    begun = client.post(f"{API}/api-webhook-replays", json=ask, headers=headers)
    sweep_until_done(begun.json["replay"]["id"], alice.business)
    settled(endpoint, 3)
    listed = client.get(f"{API}/api-webhook-deliveries?webhook_id={endpoint.id}&state=delivered", headers=headers).json
    assert [row["reason"] for row in listed["deliveries"]] == ["replay", "live", "live"]
    shown = client.get(f"{API}/api-webhook-deliveries?id={listed['deliveries'][0]['id']}", headers=headers).json
    assert shown["body"]["event"] == "customer.created"
    assert [(item["number"], item["status"]) for item in shown["attempts"]] == [(1, 200)]


def test_a_new_endpoint_is_filled_from_the_log_and_can_be_stopped(
    alice: Somebody, receiver: Receiver, draining: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "STEP", 10)
    tell(alice.business, *(f"P{i}" for i in range(45)))
    endpoint = subscribe(alice.business, receiver.url())
    replay = replays.start(alice.business, endpoint)
    db.session.commit()
    assert replay.total == 45
    replays.step()
    db.session.commit()
    settled(endpoint, 10)
    replays.step()
    replays.stop(replay)  # what the second step made has not gone out, and is taken back
    db.session.commit()
    assert (replay.state, replay.done) == ("stopped", 10)
    names = [got.event["data"]["customer"]["name"] for got in receiver.on("/hook")]
    assert set(names) == {f"P{i}" for i in range(10)}


def test_another_business_finds_no_delivery_and_no_replay(
    alice: Somebody, charlie: Somebody, receiver: Receiver, client: FlaskClient
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann")
    replay = replays.start(alice.business, endpoint)
    db.session.commit()
    headers = {"x-api-key": charlie.key}
    for path in (f"api-webhook-deliveries?webhook_id={endpoint.id}", f"api-webhook-replays?id={replay.id}"):
        assert client.get(f"{API}/{path}", headers=headers).status_code == 404
    ask = {"webhook_id": str(endpoint.id), "failed": True}
    assert client.post(f"{API}/api-webhook-replays", json=ask, headers=headers).status_code == 404
    assert webhooks.get(alice.business, endpoint.id).state == "active"
