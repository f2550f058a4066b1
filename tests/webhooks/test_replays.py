"""Telling again: one delivery, what failed, a window, a backfill; counted first, stoppable, with the same event ids."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from models import AuditEntry, Business, Customer, Delivery, Event, WebhookEndpoint, db
from services import customer_lifecycle, events, replays, webhooks
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


# --- erasure ---


def erase(business: Business, name: str) -> None:
    """Erase a customer that `tell` has made."""
    customer = db.session.query(Customer).filter_by(business_id=business.id, name=name).one()
    customer_lifecycle.erase(business, customer.id)
    db.session.commit()


def waiting(endpoint: WebhookEndpoint) -> list[int]:
    """Give the sequences of what would still be sent."""
    db.session.rollback()
    query = select(Delivery.event_sequence).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "pending")
    return list(db.session.scalars(query))


def test_a_backfill_passes_over_who_was_erased(
    alice: Somebody, receiver: Receiver, draining: None, client: FlaskClient
) -> None:
    tell(alice.business, "Ann", "Bea")
    erase(alice.business, "Ann")
    endpoint = subscribe(alice.business, receiver.url())
    ask = {"webhook_id": str(endpoint.id), "since": "2020-01-01T00:00:00Z"}
    begun = client.post(f"{API}/api-webhook-replays", json=ask, headers={"x-api-key": alice.key})
    assert begun.json["replay"]["total"] == 1
    assert sweep_until_done(begun.json["replay"]["id"], alice.business).done == 1
    settled(endpoint, 1)
    assert [got.event["data"]["customer"]["name"] for got in receiver.got] == ["Bea"]


@pytest.mark.parametrize("what", ["chosen", "failed", "events"])
def test_a_replay_that_runs_when_its_customer_is_erased_sends_nothing_of_them(
    alice: Somebody, receiver: Receiver, what: str
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann", "Bea")
    db.session.execute(text("UPDATE deliveries SET state = 'failed' WHERE endpoint_id = :id"), {"id": endpoint.id})
    both = db.session.scalars(select(Delivery.id).where(Delivery.endpoint_id == endpoint.id)).all()
    said: dict[str, Any] = {"chosen": {"delivery_ids": both}, "failed": {"failed": True}, "events": {}}[what]
    replay = replays.start(alice.business, endpoint, **said)
    db.session.commit()
    assert replay.total == 2
    erase(alice.business, "Ann")
    assert sweep_until_done(replay.id, alice.business).done == 1  # type: ignore[arg-type]
    (sequence,) = waiting(endpoint)
    assert db.session.get_one(Event, (alice.business.id, sequence)).body != events.ERASED


def test_an_erasure_takes_back_what_waits(alice: Somebody, receiver: Receiver) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann", "Bea")
    assert len(waiting(endpoint)) == 2
    erase(alice.business, "Ann")
    assert len(waiting(endpoint)) == 1


def test_the_log_shows_no_body_of_what_was_erased(alice: Somebody, receiver: Receiver, client: FlaskClient) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann")
    (delivery,) = db.session.scalars(select(Delivery).where(Delivery.endpoint_id == endpoint.id))
    delivery.event.body = events.ERASED
    db.session.commit()
    path = f"{API}/api-webhook-deliveries?id={delivery.id}"
    assert client.get(path, headers={"x-api-key": alice.key}).json["body"] is None


@pytest.mark.parametrize("first", ["erasure", "step"])
def test_an_erasure_and_a_replays_step_at_the_same_time_leave_nothing_to_send(
    in_app: Flask, alice: Somebody, receiver: Receiver, first: str
) -> None:
    tell(alice.business, "Ann")
    endpoint = subscribe(alice.business, receiver.url())
    replays.start(alice.business, endpoint)
    customer = db.session.query(Customer).filter_by(business_id=alice.business.id, name="Ann").one()
    business_id, customer_id = alice.business.id, customer.id
    db.session.commit()

    def run(what: str) -> None:
        if what == "step":
            replays.step()
        else:
            customer_lifecycle.erase(db.session.get_one(Business, business_id), customer_id)

    def second() -> None:
        with in_app.app_context():
            run("step" if first == "erasure" else "erasure")
            db.session.commit()

    run(first)
    db.session.flush()
    thread = threading.Thread(target=second)
    thread.start()
    thread.join(1)  # it waits for the first's commit
    assert thread.is_alive()
    db.session.commit()
    thread.join(10)
    assert waiting(endpoint) == []


# --- what became of it ---


def test_the_api_tells_what_became_of_a_replay_and_not_only_that_it_was_made(
    alice: Somebody, receiver: Receiver, client: FlaskClient
) -> None:
    tell(alice.business, "Ann", "Bea", "Cid")
    endpoint, headers = subscribe(alice.business, receiver.url()), {"x-api-key": alice.key}
    ask = {"webhook_id": str(endpoint.id), "since": "2020-01-01T00:00:00Z"}
    begun = client.post(f"{API}/api-webhook-replays", json=ask, headers=headers).json["replay"]
    assert [begun[name] for name in ("state", "total", "done", "pending")] == ["running", 3, 0, 0]
    sweep_until_done(begun["id"], alice.business)
    for state, sequence in zip(("delivered", "failed"), waiting(endpoint), strict=False):
        done = "UPDATE deliveries SET state = :state WHERE endpoint_id = :id AND event_sequence = :sequence"
        db.session.execute(text(done), {"state": state, "id": endpoint.id, "sequence": sequence})
    db.session.commit()
    shown = client.get(f"{API}/api-webhook-replays?id={begun['id']}", headers=headers).json["replay"]
    told = {name: shown[name] for name in ("state", "done", "pending", "delivered", "failed")}
    assert told == {"state": "done", "done": 3, "pending": 1, "delivered": 1, "failed": 1}
    assert client.get(f"{API}/api-webhook-replays", headers=headers).json["replays"] == [shown]


def test_a_stop_through_the_api_takes_back_what_waits_and_is_written_down(
    alice: Somebody, receiver: Receiver, client: FlaskClient
) -> None:
    tell(alice.business, "Ann", "Bea")
    endpoint = subscribe(alice.business, receiver.url())
    replay = replays.start(alice.business, endpoint)
    replays.step()
    db.session.commit()
    path, headers = f"{API}/api-webhook-replays?id={replay.id}", {"x-api-key": alice.key}
    shown = client.delete(path, headers=headers).json["replay"]
    assert (shown["state"], shown["done"], shown["pending"]) == ("stopped", 0, 0)
    entry = db.session.query(AuditEntry).filter_by(action="webhook.replay_stopped", business_id=alice.business.id).one()
    assert (entry.subject_id, entry.actor_kind, entry.details) == (str(endpoint.id), "api_key", {"done": 0})
    assert waiting(endpoint) == []


def test_a_stop_counts_the_step_that_was_taken_meanwhile(in_app: Flask, alice: Somebody, receiver: Receiver) -> None:
    tell(alice.business, "Ann", "Bea")
    endpoint = subscribe(alice.business, receiver.url())
    replay = replays.start(alice.business, endpoint)
    db.session.commit()
    assert replay.done == 0  # read here before the sweep, in a session of its own, steps

    def step() -> None:
        with in_app.app_context():
            replays.step()
            db.session.commit()

    thread = threading.Thread(target=step)
    thread.start()
    thread.join(10)
    replays.stop(replay)
    db.session.commit()
    assert (replay.state, replay.done) == ("stopped", 0)
