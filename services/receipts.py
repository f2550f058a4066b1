"""What became of messages that we sent. A status only rises; one that comes before its message waits for it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select

from channels.base import Account, Receipt
from lib.ids import is_uuid
from models import ChannelAccount, Conversation, Customer, Message, ParkedReceipt, ProviderId, db, now
from services import channel_accounts, events, payloads

RANK = {"queued": 0, "sending": 0, "unknown": 0, "sent": 1, "failed": 1, "delivered": 2, "read": 3}


def apply(account: ChannelAccount, receipt: Receipt) -> None:
    """Apply one receipt; unknown messages park it, repeats and stragglers change nothing."""
    messages = _meant(account, receipt)
    if not messages and receipt.provider_id:
        _park(account, receipt)
    for message in messages:
        if receipt.status == "failed":
            if receipt.action == "account":
                channel_accounts.hold(account, receipt.error or "The provider refused the account.")
            fail(message, receipt.error_code, receipt.error or "The provider could not deliver it.")
        else:
            advance(message, receipt.status, at=receipt.at)


def apply_parked(message: Message, provider_id: str) -> None:
    """Apply what came before we knew which message it meant."""
    query = select(ParkedReceipt).where(
        ParkedReceipt.provider_id == provider_id,
        ParkedReceipt.business_id == message.business_id,
        ParkedReceipt.account_id == message.account_id,
    )
    for parked in db.session.scalars(query.order_by(ParkedReceipt.id)):
        receipt = parked.receipt
        if receipt["status"] == "failed":
            fail(message, receipt["error_code"], receipt["error"] or "The provider could not deliver it.")
        else:
            advance(message, receipt["status"], at=datetime.fromisoformat(receipt["at"]))
        db.session.delete(parked)


def advance(message: Message, status: str, *, at: datetime) -> None:
    """Raise a message to `sent`, `delivered` or `read`; each implies the ones before it."""
    if RANK[status] <= RANK[message.status] and not (message.status == "failed" and RANK[status] > 1):
        return
    first = message.sent_at is None
    message.sent_at = message.sent_at or at
    if RANK[status] >= RANK["delivered"]:
        message.delivered_at = message.delivered_at or at
    if status == "read":
        message.read_at = at
    if message.status in ("failed", "unknown") and message.error:
        message.extra = message.extra | {"earlier_error": {"code": message.error_code, "message": message.error}}
    message.status, message.next_attempt_at, message.updated_at = status, None, now()
    message.error, message.error_code = None, None
    if first:
        tell(message, "message.sent")
    if status != "sent":
        tell(message, "message.status_changed")
    elif not first:
        events.append(message.business_id, "message.changed", message=message)


def fail(message: Message, code: str | None, why: str) -> None:
    """Give a message up, unless it has arrived after all."""
    if RANK[message.status] >= RANK["delivered"] or message.status == "failed":
        return
    message.status, message.next_attempt_at, message.updated_at = "failed", None, now()
    message.error_code, message.error = code, why
    tell(message, "message.status_changed")


def to_show(business_id: UUID, conversation_id: UUID) -> tuple[Account, str, str] | None:
    """Find what to tell the provider so that the customer sees their last message as read."""
    of_conversation = (Message.business_id == Conversation.business_id, Message.conversation_id == Conversation.id)
    of_message = (ProviderId.business_id == Message.business_id, ProviderId.message_id == Message.id)
    query = (
        select(Conversation, ProviderId.value)
        .join(Message, and_(*of_conversation))
        .join(ProviderId, and_(*of_message))
        .where(
            Conversation.business_id == business_id,
            Conversation.id == conversation_id,
            Message.direction == "inbound",
        )
        .order_by(Message.created_at.desc())
        .limit(1)
    )
    row = db.session.execute(query).first()
    account = db.session.get(ChannelAccount, (business_id, row[0].account_id)) if row else None
    if row is None or account is None or account.state != "connected":
        return None
    return channel_accounts.to_channel(account), row[0].address, row[1]


def tell(message: Message, kind: str) -> None:
    """Append an event about a message as it stands when the transaction settles."""
    key = message.business_id
    customer = db.session.get_one(Customer, (key, message.customer_id))
    conversation = db.session.get_one(Conversation, (key, message.conversation_id))
    files = message.attachments

    def data() -> dict[str, Any]:
        return payloads.message_event(message, customer, conversation, files)

    events.append(key, kind, data, message=message)


def _meant(account: ChannelAccount, receipt: Receipt) -> list[Message]:
    query = select(Message).where(Message.business_id == account.business_id, Message.direction == "outbound")
    if receipt.watermark:
        person = select(Conversation.id).where(
            Conversation.business_id == account.business_id,
            Conversation.account_id == account.id,
            Conversation.address == receipt.person,
        )
        query = query.where(
            Message.conversation_id.in_(person),
            Message.sent_at <= receipt.watermark,
            Message.status.in_([status for status, rank in RANK.items() if rank < RANK[receipt.status]]),
        )
    else:
        message_id = _message_id(account, receipt)
        if message_id is None:
            return []
        query = query.where(Message.id == message_id, Message.account_id == account.id)
    return list(db.session.scalars(query.order_by(Message.id).with_for_update()))


def _message_id(account: ChannelAccount, receipt: Receipt) -> UUID | None:
    known = db.session.get(ProviderId, (account.business_id, account.id, receipt.provider_id))
    if known:
        return known.message_id
    # Our own id comes back with the status where the provider allows it, before we may have saved the provider's.
    return UUID(receipt.message_id) if receipt.message_id and is_uuid(receipt.message_id) else None


def _park(account: ChannelAccount, receipt: Receipt) -> None:
    shown = asdict(receipt) | {"at": receipt.at.isoformat(), "watermark": None, "extra": {}}
    row = ParkedReceipt(
        business_id=account.business_id, account_id=account.id, provider_id=receipt.provider_id or "", receipt=shown
    )
    db.session.add(row)
