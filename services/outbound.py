"""The worker's side of sending: take a message under a lease, record what became of it. Every step is repeatable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import selectinload

import channels
import jobs
from channels.base import Account, ChannelError, File, Outgoing, Sent, Template
from models import Attachment, ChannelAccount, Conversation, Message, ProviderId, db, now
from services import channel_accounts, payloads, receipts, threads, traces

LEASE = timedelta(minutes=5)
HELD = timedelta(seconds=60)  # how often a message on a held account looks again
LINK = timedelta(hours=1)  # how long a provider may fetch a file of ours, which it does at once
MAX_ATTEMPTS = 8
_BACKOFF = (5, 15, 45, 120, 300, 600, 900)  # seconds


@dataclass(frozen=True, slots=True)
class Task:
    """All that a channel needs, with nothing left to ask the database."""

    kind: str
    account: Account
    message: Outgoing


def prepare(business_id: UUID, message_id: UUID) -> Task | None:
    """Take a queued message under a lease; None if there is nothing to do (any more, or yet)."""
    message = _locked(business_id, message_id)
    if message is None or message.next_attempt_at is None or message.next_attempt_at > now():
        return None
    if message.status == "sending":  # a worker died between asking the provider and recording its answer
        if message.attempts != 1 or not _ids(message):
            account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
            _lose(message, account, "The worker stopped while sending; the message may have gone out.")
            return None
        message.status = "queued"  # an echo tells what went; what did not goes now
    if message.status != "queued":
        message.next_attempt_at = None
        return None
    account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
    if account.disconnected_at:
        receipts.fail(message, "disconnected", "The channel was disconnected before this went out.")
        return None
    if account.state != "connected":
        message.next_attempt_at = now() + HELD
        return None
    message.status, message.attempts = "sending", message.attempts + 1
    message.next_attempt_at = now() + LEASE
    return Task(account.kind, channel_accounts.to_channel(account), _outgoing(message, account))


def record(business_id: UUID, message_id: UUID, outcome: Sent | ChannelError) -> None:
    """Write down what the provider said."""
    message = _locked(business_id, message_id)
    if message is None:
        return
    account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
    sent_ids = outcome.provider_ids if isinstance(outcome, Sent) else outcome.sent_ids
    receipts.remember(message, sent_ids)
    if isinstance(outcome, Sent):
        _went_out(message, account, outcome)
    elif outcome.unknown and set(_ids(message)) <= set(sent_ids):
        _lose(message, account, outcome.message)
    elif outcome.unknown:  # an echo or a receipt came, so that call went: go on with what is missing, if anything is
        message.status, message.next_attempt_at = "queued", now()
        jobs.run_later("deliver_message", business_id, message_id)
    elif outcome.action == "account":
        channel_accounts.hold(account, outcome.message)
        message.status, message.next_attempt_at = "queued", now() + HELD
    elif outcome.action == "retry" and message.attempts < MAX_ATTEMPTS:
        wait = outcome.retry_after or _BACKOFF[min(message.attempts, len(_BACKOFF)) - 1]
        message.status, message.next_attempt_at = "queued", now() + timedelta(seconds=wait)
        message.error_code, message.error = outcome.code, outcome.message
    else:
        receipts.fail(message, outcome.code, outcome.message, arrived_in_part=bool(sent_ids))
    message.updated_at = now()


def _went_out(message: Message, account: ChannelAccount, sent: Sent) -> None:
    message.next_attempt_at, message.error, message.error_code = None, None, None
    channel_accounts.touch(account, outbound=now())
    channel_accounts.release(account)
    conversation = db.session.get_one(Conversation, (message.business_id, message.conversation_id))
    if sent.address:
        conversation.address = sent.address
    if sent.thread:
        conversation.thread = conversation.thread | dict(sent.thread)
    if channels.get(account.kind).limits.threads:
        threads.add(conversation, sent.provider_ids)
    if message.attempts > 1 and message.delivered_at:  # told of an earlier try, whose answer was lost
        message.status = "read" if message.read_at else "delivered"
    receipts.advance(message, "sent", at=now())
    for provider_id in sent.provider_ids:
        receipts.apply_parked(message, provider_id)
    receipts.catch_up(message)


def _lose(message: Message, account: ChannelAccount, why: str) -> None:
    """Say honestly that nobody knows; a receipt or the provider's list may still tell, and an agent may try again."""
    message.status, message.next_attempt_at, message.updated_at = "unknown", None, now()
    message.error_code, message.error = "unknown", why
    traces.begin(message, account.kind)
    receipts.tell(message, "message.status_changed")


def _locked(business_id: UUID, message_id: UUID) -> Message | None:
    query = select(Message).where(Message.business_id == business_id, Message.id == message_id)
    loads = selectinload(Message.attachments)
    return db.session.scalar(query.options(loads).with_for_update(of=Message))


def _outgoing(message: Message, account: ChannelAccount) -> Outgoing:
    conversation = db.session.get_one(Conversation, (message.business_id, message.conversation_id))
    template = message.extra.get("template")
    return Outgoing(
        id=str(message.id),
        to=conversation.address,
        text="" if template else message.content,
        files=[_file(attachment) for attachment in message.attachments],
        template=Template(template["name"], template["language"], template["parameters"]) if template else None,
        reply_to=_provider_id(message.business_id, message.reply_to_id),
        subject=message.extra.get("subject") or conversation.subject,
        thread=_thread(conversation, message, account),
        sender_name=message.sender_name or None,
        window_open=_window_open(account.kind, conversation),
        by_person=message.sender_kind != "automation",
        attempt=message.attempts,
        sent_ids=_ids(message) if message.attempts > 1 else [],
    )


def _thread(conversation: Conversation, message: Message, account: ChannelAccount) -> dict[str, Any]:
    """Give what the channel kept of the conversation, and where it has threads, what ties this message to its own."""
    has_threads = channels.get(account.kind).limits.threads
    return conversation.thread | (threads.marks(conversation, message.id) if has_threads else {})


def _window_open(kind: str, conversation: Conversation) -> bool:
    hours = channels.get(kind).limits.window_hours
    opened = conversation.last_inbound_at
    return not hours or (opened is not None and now() - opened < timedelta(hours=hours))


def _file(attachment: Attachment) -> File:
    read = partial(current_app.extensions["storage"].get, attachment.storage_key or "")
    url = payloads.signed_link(attachment.id, LINK)
    return File(str(attachment.id), attachment.filename, attachment.mime, attachment.size, read, url)


def _provider_id(business_id: UUID, message_id: UUID | None) -> str | None:
    if message_id is None:
        return None
    query = select(ProviderId.value).where(ProviderId.business_id == business_id, ProviderId.message_id == message_id)
    return db.session.scalar(query.limit(1))


def _ids(message: Message) -> list[str]:
    query = select(ProviderId.value).where(
        ProviderId.business_id == message.business_id, ProviderId.message_id == message.id
    )
    return list(db.session.scalars(query))
