"""A webhook goes, and what came before it with it: under traffic, in small steps, and with nobody kept waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text

from models import Attempt, Business, Delivery, Event, Replay, WebhookEndpoint, db, now
from services import customers, deliveries, events, replays, sweeps, webhooks
from tests import servers
from tests.people import Somebody
from tests.receivers import Receiver
from tests.webhooks.conftest import subscribe, tell

API = "/functions/v1"
TRIM = next(step for _, step in sweeps.STEPS if step.__name__ == "trim_deliveries")


def count(table: Any, *where: Any) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def fill(endpoint: WebhookEndpoint, rows: int, state: str = "delivered", days: float = 0) -> None:
    """Give an endpoint deliveries of its business's newest event, each with an attempt."""
    params = {"business": endpoint.business_id, "id": endpoint.id, "rows": rows, "state": state, "days": days}
    db.session.execute(
        text("""
            WITH made AS (
                INSERT INTO deliveries (business_id, id, endpoint_id, event_sequence, event_type, reason, state,
                                        attempt_count, next_attempt_at, created_at)
                SELECT :business, gen_random_uuid(), :id, max(sequence), 'customer.created', 'live', :state, 1, now(),
                       now() - :days * interval '1 day'
                FROM events, generate_series(1, :rows) AS n WHERE business_id = :business GROUP BY n
                RETURNING business_id, id, created_at)
            INSERT INTO attempts (business_id, delivery_id, number, part, started_at, duration_ms, request_headers,
                                  response_headers)
            SELECT business_id, id, 1, 1, created_at, 5, '{}', '{}' FROM made"""),
        params,
    )
    db.session.commit()


def age(endpoint_id: Any) -> None:
    """Let an endpoint have been deleted some minutes ago."""
    db.session.execute(
        text("UPDATE webhook_endpoints SET updated_at = now() - interval '5 minutes' WHERE id = :id"),
        {"id": endpoint_id},
    )
    db.session.commit()


def sweep(step: Any) -> None:
    step()
    db.session.commit()


@contextmanager
def telling(app: Flask, business_id: Any) -> Iterator[list[Any]]:
    """Append events in other sessions all the while; give how long each took, or what it died of."""
    stop, told = threading.Event(), []

    def run(number: int) -> None:
        with app.app_context():
            business, turn = db.session.get_one(Business, business_id), 0
            while not stop.is_set():
                began, turn = time.monotonic(), turn + 1
                try:
                    tell(business, f"Teller{number}x{turn}")
                    told.append(time.monotonic() - began)
                except Exception as exc:
                    db.session.rollback()
                    told.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    yield told
    stop.set()
    for thread in threads:
        thread.join(30)


# --- a webhook is deleted ---


def test_a_webhook_deleted_under_traffic_fails_no_event_and_makes_none_wait(
    in_app: Flask, acme: Business, receiver: Receiver
) -> None:
    endpoint = subscribe(acme, receiver.url())
    endpoint_id = endpoint.id
    tell(acme, "First")
    fill(endpoint, 12_000)
    with telling(in_app, acme.id) as told:
        time.sleep(0.5)
        webhooks.delete(endpoint)
        db.session.commit()
        time.sleep(0.3)
        age(endpoint_id)
        for _ in range(5):
            sweep(sweeps.remove_deleted_webhooks)
        time.sleep(0.3)
    assert [item for item in told if isinstance(item, Exception)] == []
    assert len(told) > 20
    assert max(told) < 1.5
    assert count(WebhookEndpoint, WebhookEndpoint.id == endpoint_id) == 0
    assert count(Delivery, Delivery.endpoint_id == endpoint_id) == 0
    assert count(Attempt, Attempt.business_id == acme.id) == 0
    assert count(Event, Event.business_id == acme.id) > 20


def test_a_commit_that_saw_the_webhook_just_before_it_went_succeeds(
    in_app: Flask, acme: Business, receiver: Receiver
) -> None:
    endpoint = subscribe(acme, receiver.url())
    business_id, endpoint_id = acme.id, endpoint.id
    seen, go_on, ended = threading.Event(), threading.Event(), []

    def slow() -> None:
        with in_app.app_context():
            customers.sync(db.session.get_one(Business, business_id), [{"name": "Joe", "email": "joe@example.com"}])
            events.settle()
            seen.set()
            go_on.wait(20)
            db.session.commit()
            ended.append("well")

    thread = threading.Thread(target=slow)
    thread.start()
    assert seen.wait(10)
    began = time.monotonic()
    webhooks.delete(endpoint)
    db.session.commit()
    sweep(sweeps.remove_deleted_webhooks)
    assert time.monotonic() - began < 2
    go_on.set()
    thread.join(20)
    assert ended == ["well"]
    assert count(Delivery, Delivery.endpoint_id == endpoint_id) == 1
    assert count(WebhookEndpoint, WebhookEndpoint.id == endpoint_id) == 1
    age(endpoint_id)
    sweep(sweeps.remove_deleted_webhooks)
    assert count(WebhookEndpoint, WebhookEndpoint.id == endpoint_id) == 0


def test_a_deleted_webhook_goes_in_steps_of_5000_and_others_keep_theirs(acme: Business, receiver: Receiver) -> None:
    gone, kept = subscribe(acme, receiver.url()), subscribe(acme, receiver.url("/other"))
    gone_id, kept_id = gone.id, kept.id
    tell(acme, "Joe")
    fill(gone, 6_000)
    fill(kept, 10)
    webhooks.delete(gone)
    db.session.commit()
    sweep(sweeps.remove_deleted_webhooks)
    assert count(Delivery, Delivery.endpoint_id == gone_id) == 6_001  # whoever is at it still may end
    age(gone_id)
    left = []
    for _ in range(2):
        sweep(sweeps.remove_deleted_webhooks)
        left.append(count(Delivery, Delivery.endpoint_id == gone_id))
    assert left == [1_001, 0]
    assert count(Delivery, Delivery.endpoint_id == kept_id) == 11
    assert count(Attempt, Attempt.business_id == acme.id) == 10


def test_a_deleted_webhook_is_nowhere_to_be_seen_and_its_place_is_free(
    alice: Somebody, client: FlaskClient, receiver: Receiver
) -> None:
    endpoint = subscribe(alice.business, receiver.url(), is_crm=True)
    endpoint_id = endpoint.id
    tell(alice.business, "Joe")
    (delivery_id,) = db.session.scalars(select(Delivery.id).where(Delivery.endpoint_id == endpoint_id))
    fill(endpoint, 1, "failed")
    replay = replays.start(alice.business, endpoint, failed=True)
    db.session.commit()
    replay_id, headers = replay.id, {"x-api-key": alice.key}
    assert client.delete(f"{API}/api-webhooks?id={endpoint_id}", headers=headers).status_code == 200
    for path in (
        f"api-webhooks?id={endpoint_id}",
        f"api-webhook-deliveries?webhook_id={endpoint_id}",
        f"api-webhook-deliveries?id={delivery_id}",
        f"api-webhook-replays?id={replay_id}",
        f"api-webhook-replays?webhook_id={endpoint_id}",
    ):
        assert client.get(f"{API}/{path}", headers=headers).status_code == 404, path
    assert client.delete(f"{API}/api-webhooks?id={endpoint_id}", headers=headers).status_code == 404
    assert client.get(f"{API}/api-webhooks", headers=headers).json["webhooks"] == []
    assert client.get(f"{API}/api-webhook-deliveries", headers=headers).json["deliveries"] == []
    assert str(endpoint_id) not in client.get("/metrics").text
    assert endpoint_id not in deliveries.due_endpoints()
    assert deliveries.claim({endpoint_id: 8}) == []
    assert count(Replay, Replay.endpoint_id == endpoint_id) == 0
    subscribe(alice.business, receiver.url(), is_crm=True)  # at once, under the same name and address
    tell(alice.business, "Zoë")
    assert count(Delivery, Delivery.endpoint_id == endpoint_id) == 2


def test_a_test_that_waits_does_not_outlive_its_webhook(acme: Business, receiver: Receiver) -> None:
    endpoint = subscribe(acme, receiver.url())
    endpoint_id = endpoint.id
    tell(acme, "Joe")
    fill(endpoint, 1, "pending")
    db.session.execute(text("UPDATE deliveries SET reason = 'test' WHERE endpoint_id = :id"), {"id": endpoint_id})
    db.session.commit()
    assert endpoint_id in deliveries.due_endpoints()
    webhooks.delete(endpoint)
    db.session.commit()
    assert endpoint_id not in deliveries.due_endpoints()
    assert deliveries.claim({endpoint_id: 8}) == []


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_webhook_back(
    acme: Business, receiver: Receiver
) -> None:
    endpoint = subscribe(acme, receiver.url())
    endpoint_id = endpoint.id
    tell(acme, "Joe")
    (task,) = deliveries.claim({endpoint_id: 8})
    assert task.api_version == endpoint.api_version
    db.session.commit()
    webhooks.delete(webhooks.get(acme, endpoint_id))
    db.session.commit()
    gone = deliveries.Try(now(), 5, status=410, error_kind="client_error", error="The receiver answered 410.")
    deliveries.record([deliveries.Result(task, [gone])])
    db.session.commit()
    db.session.expire_all()
    assert db.session.get_one(WebhookEndpoint, (acme.id, endpoint_id)).state == "deleted"


# --- retention ---


def test_old_deliveries_go_in_steps_and_what_waits_or_is_young_stays(
    in_app: Flask, acme: Business, receiver: Receiver
) -> None:
    endpoint = subscribe(acme, receiver.url(), "customer.updated")
    tell(acme, "Joe")
    days = in_app.extensions["settings"].webhook_retention_days
    fill(endpoint, 5_400, "delivered", days + 1)
    fill(endpoint, 10, "failed", days + 1)
    fill(endpoint, 20, "pending", days + 1)
    fill(endpoint, 30, "delivered", days - 1)
    mine = Delivery.endpoint_id == endpoint.id
    sweep(TRIM)
    assert 400 <= count(Delivery, mine) - 50 <= 460  # one step takes 5,000, of other tests too
    for _ in range(3):
        sweep(TRIM)
    assert count(Delivery, mine, Delivery.state == "pending") == 20
    assert count(Delivery, mine, Delivery.state == "delivered") == 30
    assert count(Delivery, mine) == 50
    assert count(Attempt, Attempt.business_id == acme.id) == 50
    assert count(Event, Event.business_id == acme.id) == 1  # the event log stays: see docs/operations.md


def test_trimming_blocks_no_claim_and_no_event_and_is_blocked_by_none(
    in_app: Flask, acme: Business, receiver: Receiver, services: servers.Services
) -> None:
    endpoint = subscribe(acme, receiver.url(), "customer.created")
    tell(acme, "Joe")
    days = in_app.extensions["settings"].webhook_retention_days
    fill(endpoint, 200, "delivered", days + 1)
    with psycopg.connect(services.psycopg()) as other:
        other.execute(
            "SELECT FROM deliveries WHERE id = (SELECT min(id::text)::uuid FROM deliveries"
            " WHERE endpoint_id = %s AND state = 'delivered') FOR UPDATE",
            (endpoint.id,),
        )
        TRIM()  # and the commit comes later: its locks are held all the while
        with in_app.app_context():
            db.session.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert len(deliveries.claim({endpoint.id: 8})) == 1
            db.session.commit()
            db.session.execute(text("SET LOCAL lock_timeout = '2s'"))
            tell(db.session.get_one(Business, acme.id), "Zoë")
        db.session.commit()
        mine = (Delivery.endpoint_id == endpoint.id, Delivery.state == "delivered")
        assert count(Delivery, *mine) == 1  # whoever holds one keeps it until the next step
    sweep(TRIM)
    assert count(Delivery, *mine) == 0
