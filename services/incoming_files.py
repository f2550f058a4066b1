"""Files that came in and are still at the provider: fetched by a job at once, since ids and links expire.

The worker calls `prepare`, fetches with no transaction open, stores the bytes, and calls `record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

import channels
from channels.base import Account, ChannelError, Media
from lib import sniff
from models import Attachment, Callback, ChannelAccount, Message, db, now
from services import channel_accounts, events, receipts

LEASE = timedelta(minutes=5)
KEPT = timedelta(days=7)  # after which no provider has a file any more that it keeps for us to fetch
HELD = timedelta(hours=1)  # how often a file looks again while the account may not have it
_BACKOFF = (10, 60, 300, 1800, 7200, 21_600)  # seconds


@dataclass(frozen=True, slots=True)
class Task:
    kind: str
    account: Account
    media: Media


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was fetched and is in the store."""

    key: str
    size: int
    mime: str
    filename: str


def prepare(business_id: UUID, attachment_id: UUID) -> Task | None:
    """Take a file under a lease; None if there is nothing to fetch (any more, or yet)."""
    query = select(Attachment).where(Attachment.business_id == business_id, Attachment.id == attachment_id)
    file = db.session.scalar(query.with_for_update(skip_locked=True))
    if file is None or file.next_attempt_at is None or file.next_attempt_at > now():
        return None
    file.attempts, file.next_attempt_at = file.attempts + 1, now() + LEASE
    message = db.session.get_one(Message, (business_id, file.message_id))
    account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
    if account.disconnected_at and not channels.get(account.kind).polled:  # a mail that we have needs no secret
        gone = ChannelError("The channel was disconnected before this file was fetched.", code="disconnected")
        record(business_id, attachment_id, gone)
        return None
    source = file.source
    media = Media(
        mime=source["mime"],
        filename=source["filename"],
        provider_id=source["provider_id"],
        url=source["url"],
        sha256=source["sha256"],
        voice=source["voice"],
        data=_brought(account, source),
    )
    return Task(account.kind, channel_accounts.to_channel(account), media)


def _brought(account: ChannelAccount, source: Mapping[str, Any]) -> bytes | None:
    """Give the mail that holds the file, where files come inside of what we have kept."""
    if not channels.get(account.kind).polled or not source.get("callback"):
        return None
    key = (account.business_id, UUID(source["callback"]))
    return db.session.scalar(select(Callback.body).where(Callback.business_id == key[0], Callback.id == key[1]))


def record(business_id: UUID, attachment_id: UUID, outcome: Stored | ChannelError) -> None:
    """Write down what became of a file; the message is announced once each of its files was tried."""
    file = db.session.get(Attachment, (business_id, attachment_id))
    if file is None or file.message_id is None:
        return
    query = select(Message).where(Message.business_id == business_id, Message.id == file.message_id)
    message = db.session.scalars(query.with_for_update()).one()
    if message.deleted_at:
        return
    before = (file.state, file.error)
    if isinstance(outcome, Stored):
        file.state, file.error, file.next_attempt_at = "ready", None, None
        file.storage_key, file.size = outcome.key, outcome.size
        file.mime, file.filename = outcome.mime, sniff.safe_filename(outcome.filename or file.filename)
    else:
        _missed(file, message, outcome)
    db.session.flush()
    if (file.state, file.error) != before:
        _announce(message)


def _missed(file: Attachment, message: Message, error: ChannelError) -> None:
    """Look again as long as the provider keeps the file; where it refuses the account, that is held.

    One file holds it once: if nothing but files is refused, messages are not to wait for the hourly looks.
    """
    wait = timedelta(seconds=max(error.retry_after or 0, _BACKOFF[min(file.attempts, len(_BACKOFF)) - 1]))
    if error.action == "account":
        wait = HELD
        if file.error != error.message:
            account = db.session.get_one(ChannelAccount, (message.business_id, message.account_id))
            channel_accounts.hold(account, error.message)
    again = error.action in ("account", "retry") and now() + wait < file.created_at + KEPT
    file.state, file.error = "pending" if again else "failed", error.message
    file.next_attempt_at = now() + wait if again else None


def _announce(message: Message) -> None:
    if message.announced or any(file.state == "pending" and file.error is None for file in message.attachments):
        events.append(message.business_id, "message.changed", message=message)
        return
    message.announced = True
    receipts.tell(message, "message.received" if message.direction == "inbound" else "message.sent")
