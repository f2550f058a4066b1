"""The worker's side of files that came in: take one under a lease, keep what the provider gave, tell when all are in.

Every step is repeatable. The bytes are stored before the database is asked, so no transaction waits for the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from flask import current_app
from sqlalchemy import func, select

from channels.base import Account, ChannelError, Media
from lib import sniff, storage
from models import Attachment, ChannelAccount, Message, db, now
from services import channel_accounts, events, receipts

LEASE = timedelta(minutes=5)
LARGEST = 100 * 1024 * 1024  # bytes; the largest that any of the channels sends
MAX_ATTEMPTS = 8
PATIENCE = 4  # tries, about half a minute, after which a message is told of without its file
_BACKOFF = (2, 5, 15, 60, 300, 900, 1800)  # seconds


@dataclass(frozen=True, slots=True)
class Task:
    """All that a channel needs to fetch one file."""

    kind: str
    account: Account
    media: Media
    max_bytes: int = LARGEST


def due(limit: int = 200) -> Sequence[tuple[UUID, UUID]]:
    """List what is owed a try, as (business id, attachment id); a sweep calls this."""
    query = select(Attachment.business_id, Attachment.id).where(Attachment.next_attempt_at <= now())
    return [tuple(row) for row in db.session.execute(query.order_by(Attachment.next_attempt_at).limit(limit))]  # type: ignore[misc]


def prepare(business_id: UUID, attachment_id: UUID) -> Task | None:
    """Take a file under a lease; None if there is nothing to do (any more, or yet)."""
    file = _locked(business_id, attachment_id)
    if file is None or file.next_attempt_at is None or file.next_attempt_at > now() or file.message_id is None:
        return None
    message = db.session.get_one(Message, (business_id, file.message_id))
    account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
    file.attempts, file.next_attempt_at = file.attempts + 1, now() + LEASE
    if account.disconnected_at:
        _give_up(file, "The channel account was disconnected before the file could be fetched.")
        _tell_if_complete(message)
        return None
    named = {"mime", "filename", "provider_id", "url", "sha256", "voice"}
    media = Media(**{name: value for name, value in file.source.items() if name in named}, size=file.size or None)
    return Task(account.kind, channel_accounts.to_channel(account), media)


def record(business_id: UUID, attachment_id: UUID, outcome: tuple[bytes, str, str] | ChannelError) -> None:
    """Keep the file (bytes, declared type, name), or note why it could not be had; tell of its message when it can be."""
    key, failure = "", outcome if isinstance(outcome, ChannelError) else None
    if not isinstance(outcome, ChannelError):
        key = storage.new_key(business_id)
        try:
            current_app.extensions["storage"].put(key, outcome[0])
        except storage.StorageError:
            failure = ChannelError("The file store does not answer.", action="retry")
    file = _locked(business_id, attachment_id)
    if file is None or file.next_attempt_at is None or file.message_id is None:
        return
    message = _message(business_id, file.message_id)
    if failure is None and not isinstance(outcome, ChannelError):
        _keep(file, key, *outcome)
    elif failure and (failure.permanent or file.attempts >= MAX_ATTEMPTS):
        _give_up(file, failure.message)
    elif failure:
        wait = failure.retry_after or _BACKOFF[min(file.attempts, len(_BACKOFF)) - 1]
        file.error, file.next_attempt_at = failure.message, now() + timedelta(seconds=wait)
    message.updated_at = now()
    if message.announced:
        events.append(business_id, "message.changed", message=message)
    else:
        _tell_if_complete(message, waited=file.attempts >= PATIENCE)


def _keep(file: Attachment, key: str, data: bytes, declared: str, name: str) -> None:
    name = sniff.safe_filename(name or file.filename)
    if not sniff.extension(name) and (extension := sniff.extension_for(declared)):
        name = f"{name or 'file'}.{extension}"
    file.filename, file.mime, file.size = name or file.filename, sniff.mime_of(data, name), len(data)
    file.storage_key, file.state, file.error, file.next_attempt_at = key, "ready", None, None


def _give_up(file: Attachment, why: str) -> None:
    file.state, file.error, file.next_attempt_at = "failed", why, None


def _tell_if_complete(message: Message, *, waited: bool = False) -> None:
    """Append the event that waited for the message's files."""
    if message.announced:
        return
    db.session.flush()
    pending = select(func.count()).where(
        Attachment.business_id == message.business_id,
        Attachment.message_id == message.id,
        Attachment.state == "pending",
    )
    if waited or not db.session.scalar(pending):
        message.announced = True
        receipts.tell(message, "message.received" if message.direction == "inbound" else "message.sent")


def _message(business_id: UUID, message_id: UUID) -> Message:
    """Hold the message, so that of two files that arrive at once the second one tells."""
    query = select(Message).where(Message.business_id == business_id, Message.id == message_id).with_for_update()
    return db.session.scalars(query.execution_options(populate_existing=True)).one()


def _locked(business_id: UUID, attachment_id: UUID) -> Attachment | None:
    query = select(Attachment).where(Attachment.business_id == business_id, Attachment.id == attachment_id)
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
