"""What goes in time: the log of a deleted webhook, and old deliveries. Neither holds anybody up."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from errors import NotFound
from models import Attempt, Business, Delivery, WebhookEndpoint, db, now
from services import customers, deliveries, sweeps, webhooks
from tests.receivers import Receiver
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import settled


def step(name: str) -> None:
    """Let the sweeps take every step of a name once."""
    for _, each in sweeps.STEPS:
        if each.__name__ == name:
            each()
    db.session.commit()


def left(table: Any, *where: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def backlog(business: Business, endpoint: WebhookEndpoint, count: int) -> None:
    """Give an endpoint a long log, written directly."""
    tell(business, "Joe")
    first = db.session.query(Delivery).filter_by(endpoint_id=endpoint.id).one()
    db.session.execute(
        db.text(
            "INSERT INTO deliveries (business_id, id, endpoint_id, event_sequence, event_type, reason, state,"
            " attempt_count, next_attempt_at, created_at) SELECT business_id, uuidv7(), endpoint_id, event_sequence,"
            " event_type, 'live', 'delivered', 1, now(), now() FROM deliveries, generate_series(1, :count)"
            " WHERE id = :id"
        ),
        {"count": count, "id": first.id},
    )
    db.session.commit()


def test_a_deleted_webhook_is_gone_at_once_and_nobody_who_writes_for_it_waits_or_fails(
    app: Flask, acme: Business
) -> None:
    endpoint = subscribe(acme, "http://127.0.0.1:9/")
    backlog(acme, endpoint, 12_000)
    stop, failures, waits = threading.Event(), [], [0.0]

    def write() -> None:
        with app.app_context():
            business = db.session.get_one(Business, acme.id)
            number = 0
            while not stop.is_set():
                began = time.monotonic()
                try:
                    customers.sync(business, [{"name": "Ann", "email": "ann@example.com", "notes": str(number)}])
                    db.session.commit()
                except Exception as exc:
                    failures.append(exc)
                    db.session.rollback()
                waits.append(time.monotonic() - began)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.3)
        webhooks.delete(endpoint)
        db.session.commit()
        assert endpoint not in webhooks.page(acme)
        with pytest.raises(NotFound):
            webhooks.get(acme, endpoint.id)
        for _ in range(4):
            step("empty_deleted_webhooks")
        time.sleep(0.3)
    finally:
        stop.set()
        writer.join(30)
    assert failures == []
    assert len(waits) > 20
    assert max(waits) < 1
    step("empty_deleted_webhooks")
    assert left(Delivery, Delivery.endpoint_id == endpoint.id) == 0
    step("trim_webhook_endpoints")
    assert left(WebhookEndpoint, WebhookEndpoint.id == endpoint.id) == 1, "somebody may still be writing for it"
    endpoint.updated_at = now() - timedelta(minutes=2)
    db.session.commit()
    step("trim_webhook_endpoints")
    assert left(WebhookEndpoint, WebhookEndpoint.id == endpoint.id) == 0


def test_a_deleted_webhook_gets_nothing_and_keeps_no_secret(acme: Business, receiver: Receiver, draining: None) -> None:
    endpoint = subscribe(acme, receiver.url(), headers={"X-Token": "very secret"})
    webhooks.pause(endpoint, "A test.")
    db.session.commit()
    tell(acme, "Waits")
    webhooks.delete(endpoint)
    db.session.commit()
    assert (webhooks.secret(endpoint), endpoint.headers) == ("", None)
    tell(acme, "Later")
    assert deliveries.claim({endpoint.id: 5}) == []
    time.sleep(1.5)
    assert receiver.got == []


def test_old_deliveries_go_with_their_attempts_and_young_or_pending_ones_stay(
    app: Flask, acme: Business, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(acme, receiver.url())
    tell(acme, "Old", "Young")
    old, young = settled(endpoint, 2)
    webhooks.pause(endpoint, "A test.")
    db.session.commit()
    tell(acme, "Pending")
    pending = db.session.query(Delivery).filter_by(endpoint_id=endpoint.id, state="pending").one()
    days = app.extensions["settings"].webhook_retention_days
    for delivery in (old, pending):
        delivery.created_at = now() - timedelta(days=days, hours=1)
    db.session.commit()
    step("trim_deliveries")
    kept = set(db.session.scalars(select(Delivery.id).where(Delivery.endpoint_id == endpoint.id)))
    assert kept == {young.id, pending.id}
    assert left(Attempt, Attempt.delivery_id == old.id) == 0
    assert left(Attempt, Attempt.delivery_id == young.id) == 1


def test_trimming_goes_by_bounded_steps_and_around_what_others_hold(acme: Business, app: Flask) -> None:
    endpoint = subscribe(acme, "http://127.0.0.1:9/")
    backlog(acme, endpoint, 6000)
    of_it = Delivery.endpoint_id == endpoint.id
    db.session.query(Delivery).filter(of_it).update({"created_at": now() - timedelta(days=90), "state": "delivered"})
    db.session.commit()
    with app.app_context():
        held = db.session.scalars(select(Delivery.id).where(of_it).limit(10).with_for_update()).all()

        def trim() -> None:
            with app.app_context():
                step("trim_deliveries")

        thread = threading.Thread(target=trim)
        thread.start()
        thread.join(5)
        assert not thread.is_alive(), "it waits for nobody"
        db.session.rollback()
    assert len(held) == 10
    assert left(Delivery, of_it) == 1001
    step("trim_deliveries")
    assert left(Delivery, of_it) == 0
