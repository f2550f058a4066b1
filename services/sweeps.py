"""What time brings: due work whose wake-up was lost, snoozes that end, old rows that go. The worker calls each step.

Each step is one short transaction, bounded in rows, so that nothing is locked for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import delete, select, text

import jobs
from models import Attachment, ChannelAccount, Message, ParkedReceipt, ProviderId, WebhookEndpoint, db, now
from services import conversations, deliveries, embeds, receipts, replays

BATCH = 500
GRACE = timedelta(seconds=3)  # a row younger than this still has its wake-up under way
BEHIND = timedelta(seconds=60)  # the same while the queue holds any: asking again for those would only lengthen it


def lost_messages() -> None:
    _ask_again("trace_message", Message, Message.next_attempt_at, Message.status == "unknown")


def due_files() -> None:
    _ask_again("fetch_attachment", Attachment, Attachment.next_attempt_at, Attachment.state == "pending")


def due_erasures() -> None:
    query = select(Attachment.business_id).where(
        Attachment.next_attempt_at <= now() - GRACE, Attachment.state == "erased"
    )
    for business_id in db.session.scalars(query.distinct()):
        jobs.run_later("erase_files", business_id)


def greet_held_accounts() -> None:
    """Look whether a provider has come round."""
    _greet(ChannelAccount.state == "attention")


def greet_accounts() -> None:
    """Look after every account's credentials, token and templates, once a day."""
    _greet(ChannelAccount.state.in_(("connected", "attention")))


def _greet(which: Any) -> None:
    query = select(ChannelAccount.business_id, ChannelAccount.id).where(which)
    for business_id, account_id in db.session.execute(query).all():
        jobs.run_later("greet_account", business_id, account_id)


def step_replays() -> None:
    replays.step()


def wake_conversations() -> None:
    conversations.wake_due()


def apply_parked() -> None:
    """Apply receipts whose message has become known since, by a path that did not look."""
    query = (
        select(Message, ParkedReceipt.provider_id)
        .join(
            ProviderId,
            (ProviderId.business_id == Message.business_id) & (ProviderId.message_id == Message.id),
        )
        .join(
            ParkedReceipt,
            (ParkedReceipt.business_id == ProviderId.business_id)
            & (ParkedReceipt.account_id == ProviderId.account_id)
            & (ParkedReceipt.provider_id == ProviderId.value),
        )
        .limit(BATCH)
        .with_for_update(of=Message, skip_locked=True)
    )
    for message, provider_id in db.session.execute(query).all():
        receipts.apply_parked(message, provider_id)


def _ask_again(job: str, table: Any, due: Any, *where: Any) -> None:
    queue = current_app.extensions["queues"][jobs.QUEUES[job]]
    waiting = len(queue)
    if waiting > BATCH:  # the wake-ups are there; the workers are behind
        return
    late = now() - (BEHIND if waiting else GRACE)
    query = select(table.business_id, table.id).where(due <= late, *where).order_by(due).limit(BATCH)
    for business_id, row_id in db.session.execute(query).all():
        jobs.run_later(job, business_id, row_id)


# --- old rows go ---


def _trim(table: str, column: str, days: Callable[[], float], extra: str = "") -> Callable[[], None]:
    statement = text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM {table} WHERE {column} < :before {extra} LIMIT 5000 FOR UPDATE SKIP LOCKED))"
    )

    def step() -> None:
        db.session.execute(statement, {"before": now() - timedelta(days=days())})

    step.__name__ = f"trim_{table}"
    return step


def _days(setting: str) -> Callable[[], float]:
    return lambda: getattr(current_app.extensions["settings"], setting)


_STILL_USED = timedelta(seconds=2 * deliveries.LEASE_SECONDS)  # whoever saw a webhook before it went is done by then
_OF_DELETED = text("""
    DELETE FROM deliveries WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM deliveries WHERE business_id = :business_id AND endpoint_id = :id
        LIMIT 5000 FOR UPDATE SKIP LOCKED))""")
_DELETED = text("""
    DELETE FROM webhook_endpoints WHERE business_id = :business_id AND id = :id AND NOT EXISTS (
        SELECT FROM deliveries WHERE business_id = :business_id AND endpoint_id = :id)""")


def remove_deleted_webhooks() -> None:
    """Remove what a deleted webhook was sent, with the attempts, and the webhook itself when nothing is left of it."""
    gone = (WebhookEndpoint.state == "deleted", WebhookEndpoint.updated_at < now() - _STILL_USED)
    query = select(WebhookEndpoint.business_id, WebhookEndpoint.id).where(*gone).order_by(WebhookEndpoint.updated_at)
    found = db.session.execute(query.limit(1).with_for_update(skip_locked=True, key_share=True)).first()
    if found:
        for statement in (_OF_DELETED, _DELETED):
            db.session.execute(statement, {"business_id": found.business_id, "id": found.id})


# (every so many seconds, step)
STEPS: Sequence[tuple[int, Callable[[], None]]] = (
    (1, step_replays),
    (2, due_files),
    (2, remove_deleted_webhooks),
    (10, lost_messages),
    (10, due_erasures),
    (10, wake_conversations),
    (15, apply_parked),
    (300, greet_held_accounts),
    (86_400, greet_accounts),
    (60, _trim("idempotency_records", "created_at", lambda: 1)),
    (5, _trim("api_calls", "at", _days("usage_log_days"))),
    (5, _trim("callbacks", "received_at", lambda: 14, "AND processed_at IS NOT NULL")),
    (60, _trim("parked_receipts", "created_at", lambda: 7)),
    (60, embeds.sweep_expired),
    (3600, _trim("ended_sessions", "ended_at", lambda: 15)),  # a cookie lives for 14
    (60, _trim("webhook_endpoints", "updated_at", lambda: 1, "AND state = 'draft'")),
    (5, _trim("deliveries", "created_at", _days("webhook_retention_days"), "AND state <> 'pending'")),
)


# --- files that nobody may have any more ---


def erased_files(business_id: UUID) -> list[tuple[UUID, str | None]]:
    """List the files whose bytes are to go."""
    query = select(Attachment.id, Attachment.storage_key).where(
        Attachment.business_id == business_id, Attachment.state == "erased", Attachment.next_attempt_at.is_not(None)
    )
    return [(file_id, key) for file_id, key in db.session.execute(query.limit(BATCH))]


def forget_files(business_id: UUID, file_ids: Sequence[UUID]) -> None:
    """Remove the rows of files whose bytes are gone."""
    db.session.execute(delete(Attachment).where(Attachment.business_id == business_id, Attachment.id.in_(file_ids)))
