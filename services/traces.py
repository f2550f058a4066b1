"""What became of a message whose answer was lost, where the provider lists what an account sent. Worker only.

A message is `unknown` then. It is looked for a few times: found, it goes on with what the list says of it; not found at
the last look, it never got there. See `Channel.trace`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

import channels
from channels.base import Account, ChannelError, Receipt
from models import ChannelAccount, Conversation, Message, ProviderId, db, now
from services import channel_accounts, parts, receipts

LOOKS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))  # pauses before each look
EARLIER = timedelta(minutes=2)  # how far the provider's clock may be behind ours


@dataclass(frozen=True, slots=True)
class Task:
    """What to look for: this text to this address, since that time."""

    kind: str
    account: Account
    to: str
    text: str
    since: datetime


def begin(message: Message, kind: str) -> None:
    """Have a message that has just become `unknown` looked for, where the channel can."""
    if channels.get(kind).traces:
        message.extra = message.extra | {"lost_at": now().isoformat(), "looks": 0}
        message.next_attempt_at = now() + LOOKS[0]


def prepare(business_id: UUID, message_id: UUID) -> Task | None:
    """Take a lost message for one look; None if its fate is known by now."""
    message = _locked(business_id, message_id)
    if message is None or message.next_attempt_at is None or message.next_attempt_at > now():
        return None
    account = db.session.get_one(ChannelAccount, (business_id, message.account_id))
    if account.disconnected_at:
        message.next_attempt_at = None
        return None
    looks = message.extra.get("looks", 0) + 1
    message.extra = message.extra | {"looks": looks}
    message.next_attempt_at = now() + LOOKS[min(looks, len(LOOKS) - 1)]
    conversation = db.session.get_one(Conversation, (business_id, message.conversation_id))
    since = datetime.fromisoformat(message.extra["lost_at"]) - EARLIER
    return Task(account.kind, channel_accounts.to_channel(account), conversation.address, message.content, since)


def record(business_id: UUID, message_id: UUID, outcome: Sequence[Receipt] | ChannelError) -> None:
    """Take the oldest that no other message of ours is; give up after the last look that the provider answered."""
    message = _locked(business_id, message_id)
    if message is None:
        return
    last = message.extra.get("looks", 0) >= len(LOOKS)
    if isinstance(outcome, ChannelError):
        if last:
            message.next_attempt_at = None  # nobody knows, and it says so
        return
    for receipt in outcome:
        if not _is_known(message, receipt.provider_id or ""):
            parts.remember(message, [receipt.provider_id or ""])
            _go_on(message, receipt)
            return
    if last:
        receipts.fail(message, "not_sent", "The provider's list does not have this message, so it did not go out.")


def _go_on(message: Message, receipt: Receipt) -> None:
    part = receipt.provider_id or ""
    if receipt.status == "failed":
        receipts.fail(message, receipt.error_code, receipt.error or "The provider could not deliver it.", part=part)
    else:
        receipts.advance(message, receipt.status, at=receipt.at, part=part)
    receipts.apply_parked(message, part)


def _locked(business_id: UUID, message_id: UUID) -> Message | None:
    query = select(Message).where(
        Message.business_id == business_id, Message.id == message_id, Message.status == "unknown"
    )
    found: Message | None = db.session.scalar(query.with_for_update())
    return found


def _is_known(message: Message, provider_id: str) -> bool:
    query = select(ProviderId.message_id).where(
        ProviderId.business_id == message.business_id,
        ProviderId.account_id == message.account_id,
        ProviderId.value == provider_id,
    )
    return db.session.scalar(query) is not None
