"""Tests of a webhook: one delivery of a sample event, asked for by somebody who waits for what comes of it.

The drain sends it like any other, ahead of them all and once, whatever the endpoint's state. Settings call this.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

import jobs
from errors import Invalid
from lib.ids import uuid7
from models import Business, Delivery, WebhookEndpoint, db, now
from services import audit, events, webhook_samples

PATIENCE = timedelta(seconds=10)  # beyond the endpoint's time-out; then no worker is about


def send(business: Business, endpoint: WebhookEndpoint, kind: str, by: Any) -> Delivery:
    """Send a sample event of this kind."""
    if kind not in events.TYPES:
        raise Invalid("Choose one of the listed events.", field="event")
    event = events.write_test(business.id, webhook_samples.data(kind), kind)
    delivery = Delivery(
        business_id=business.id,
        id=uuid7(),
        endpoint_id=endpoint.id,
        event_sequence=event.sequence,
        event_type=kind,
        reason="test",
        state="pending",
        attempt_count=0,
        next_attempt_at=now(),
        created_at=now(),
    )
    db.session.add(delivery)
    audit.note(business.id, "webhook.tested", by, endpoint.id, event=kind, url=endpoint.url)
    jobs.ring("webhooks", endpoint.id)
    return delivery


def is_overdue(delivery: Delivery, endpoint: WebhookEndpoint) -> bool:
    """Say whether a result should have come by now."""
    return delivery.state == "pending" and now() - delivery.created_at > PATIENCE + timedelta(seconds=endpoint.timeout)


def last(business: Business, endpoint: WebhookEndpoint) -> Delivery | None:
    """Find the newest test of an endpoint that came to an end."""
    where = (Delivery.business_id == business.id, Delivery.endpoint_id == endpoint.id, Delivery.reason == "test")
    query = select(Delivery).where(*where, Delivery.state != "pending").order_by(Delivery.id.desc()).limit(1)
    return db.session.scalar(query)
