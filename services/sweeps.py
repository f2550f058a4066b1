"""What time brings: due work whose wake-up was lost, snoozes that end, old rows that go. The worker calls each step.

Each step is one short transaction, bounded in rows, so that nothing is locked for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import select, text

import jobs
from models import Attachment, Callback, Message, ParkedReceipt, ProviderId, db, now
from services import conversations, receipts

BATCH = 500
GRACE = timedelta(seconds=3)  # a row younger than this still has its wake-up under way


def due_callbacks() -> None:
    _ask_again("process_callback", Callback, Callback.next_attempt_at, Callback.processed_at.is_(None))


def due_messages() -> None:
    _ask_again("deliver_message", Message, Message.next_attempt_at)


def due_files() -> None:
    _ask_again("fetch_attachment", Attachment, Attachment.next_attempt_at)


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
    if len(queue) > BATCH:  # the wake-ups are there; the workers are behind
        return
    query = select(table.business_id, table.id).where(due <= now() - GRACE, *where).order_by(due).limit(BATCH)
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
    return lambda: getattr(current_app.extensions["settings"], setting)  # type: ignore[no-any-return]


# (every so many seconds, step)
STEPS: Sequence[tuple[int, Callable[[], None]]] = (
    (1, due_callbacks),
    (2, due_messages),
    (2, due_files),
    (10, wake_conversations),
    (15, apply_parked),
    (60, _trim("idempotency_records", "created_at", lambda: 1)),
    (60, _trim("api_calls", "at", _days("usage_log_days"))),
    (60, _trim("callbacks", "received_at", lambda: 14, "AND processed_at IS NOT NULL")),
    (60, _trim("parked_receipts", "created_at", lambda: 7)),
    (60, _trim("embed_sessions", "expires_at", lambda: 1)),
    (60, _trim("deliveries", "created_at", _days("webhook_retention_days"), "AND state <> 'pending'")),
)


# --- files that nobody holds any more ---


def orphaned_files(business_id: UUID, message_id: UUID) -> list[str]:
    """List the stored files of a message that was taken back, unless another message shares them."""
    query = text("""
        SELECT storage_key FROM attachments a WHERE business_id = :business_id AND message_id = :message_id
        AND storage_key IS NOT NULL AND NOT EXISTS (
            SELECT FROM attachments other WHERE other.business_id = a.business_id AND other.id <> a.id
            AND other.storage_key = a.storage_key AND other.state = 'ready')""")
    return list(db.session.scalars(query, {"business_id": business_id, "message_id": message_id}))


def forget_files(business_id: UUID, keys: Sequence[str]) -> None:
    query = text("UPDATE attachments SET storage_key = NULL WHERE business_id = :id AND storage_key = ANY(:keys)")
    db.session.execute(query, {"id": business_id, "keys": list(keys)})
