"""Webhooks with a past: one whose receiver was down and came back, one that is paused, and the CRM's own.

Rows are written directly, since a past cannot be had from the verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from lib.ids import uuid7
from lib.signing import guide_signature
from models import Attempt, Business, Delivery, Event, User, WebhookEndpoint, db, now
from services import events, webhook_samples, webhooks


@dataclass
class Webhooks:
    """Their ids, and those of deliveries worth a look."""

    main: UUID
    paused: UUID
    crm: UUID
    failed: UUID
    delivered: UUID


def build(business: Business, by: User, url: str, *, busy: int = 400) -> Webhooks:
    """Make the three and commit; `url` is where the receiver listens, `busy` how many deliveries a day."""
    main, _ = webhooks.create(business, name="My CRM Webhook", url=url, events=["*"], by=by.id)
    paused, _ = webhooks.create(
        business, name="Warehouse", url="https://hooks.warehouse.example/orders", events=["message.received"], by=by.id
    )
    crm, _ = webhooks.create(
        business, name="CRM Integration", url=url, events=["message.received"], is_crm=True, by=by.id
    )
    past = _Past(business, Random(7))
    start = now() - timedelta(hours=24)
    for number in range(busy):
        at = start + timedelta(hours=24) * (number / busy)
        down = timedelta(hours=2) < now() - at < timedelta(hours=3)
        past.deliver(main, at, [502, 502, 503, None] if down else [500, 200] if number % 37 == 0 else [200])
    failed = past.last_failed
    delivered = past.deliver(main, now() - timedelta(seconds=40), [200])
    reason = "Paused after failing for a day; the last error was: The connection was refused."
    webhooks.pause(paused, reason)
    webhooks.warn(paused, reason)
    for number in range(3):
        past.deliver(paused, now() - timedelta(hours=3 + number), [])
    past.deliver(crm, now() - timedelta(minutes=2), [200], reason="test")
    db.session.commit()
    return Webhooks(main.id, paused.id, crm.id, failed, delivered)


class _Past:
    def __init__(self, business: Business, chance: Random) -> None:
        self.business, self.chance = business, chance
        self.last_failed: Any = None
        self.kinds = [kind for kind in events.TYPES if kind.startswith("message")] * 3 + ["conversation.created"]

    def deliver(self, endpoint: WebhookEndpoint, at: datetime, answers: list[int | None], reason: str = "live") -> UUID:
        """Write an event, its delivery and its attempts; an empty list of answers leaves it waiting."""
        kind = self.chance.choice(self.kinds)
        event = events.write_test(self.business.id, webhook_samples.data(kind), kind)
        db.session.query(Event).filter_by(business_id=self.business.id, sequence=event.sequence).update(
            {"type": "webhook.test" if reason == "test" else kind, "created_at": at}
        )
        last = answers[-1] if answers else None
        state = "pending" if not answers else "delivered" if last and last < 300 else "failed"
        delivery = Delivery(
            business_id=self.business.id,
            id=_id_of(at),
            endpoint_id=endpoint.id,
            event_sequence=event.sequence,
            event_type=kind,
            reason=reason,
            state=state,
            attempt_count=len(answers),
            next_attempt_at=at,
            created_at=at,
            last_status=last,
            last_error=None if state == "delivered" else f"The receiver answered {answers[0]}." if answers else None,
            finished_at=at + timedelta(seconds=14) if answers else None,
        )
        db.session.add(delivery)
        db.session.flush()
        for number, status in enumerate(answers, 1):
            self._attempt(endpoint, delivery, event, number, status)
        if state == "failed":
            self.last_failed = delivery.id
        return delivery.id

    def _attempt(
        self, endpoint: WebhookEndpoint, delivery: Delivery, event: Event, number: int, status: int | None
    ) -> None:
        at = delivery.created_at + timedelta(seconds=(0, 2, 6, 14)[number - 1])
        stamp = int(at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Signature": guide_signature(webhooks.secret(endpoint), stamp, event.body),
            "X-Webhook-Timestamp": str(stamp),
            "X-Webhook-Id": str(event.id),
            "X-Webhook-Event": delivery.event_type,
            "X-Webhook-Attempt": str(number),
        }
        failed = {None: ("timeout", "There was no whole answer within 15 seconds.")}
        kind, error = failed.get(
            status, (None, None) if status == 200 else ("server_error", f"The receiver answered {status}.")
        )
        db.session.add(
            Attempt(
                business_id=self.business.id,
                delivery_id=delivery.id,
                number=number,
                part=1,
                started_at=at,
                duration_ms=15000 if status is None else self.chance.randint(40, 190),
                status=status,
                error_kind=kind,
                error=error,
                address="203.0.113.7" if status else None,
                request_headers=headers,
                response_headers={"content-type": "application/json"} if status else {},
                response=b'{"success":true}' if status == 200 else b"upstream connect error" if status else None,
            )
        )


def _id_of(at: datetime) -> UUID:
    """Make the id that a row of that time would have."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (uuid7().int & ((1 << 80) - 1)))
