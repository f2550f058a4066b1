"""The echo of what went out: proof that a message of ours did, or a message that the owner wrote in another app.

Called by arrivals. An echo may come before the answer to our call, or in place of an answer that was lost.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

from channels.base import Inbound
from lib.ids import is_uuid
from models import ChannelAccount, Conversation, Message, ProviderId, db, now
from services import parts, receipts

RECENT = timedelta(days=1)  # an echo comes at once; a message older than this is not what it speaks of


def confirm(account: ChannelAccount, echo: Inbound) -> bool:
    """Take an echo as proof that a message of ours went; False if it was written elsewhere and is not stored yet."""
    known = db.session.get(ProviderId, (account.business_id, account.id, echo.provider_id))
    message = _locked(account, known.message_id) if known else _ours(account, echo)
    if message is None:
        return known is not None
    if parts.is_earlier(message, echo.provider_id):
        return True
    message.provider_at = max(echo.at, message.provider_at or echo.at)
    if known is None:
        parts.remember(message, (echo.provider_id,))
        if message.status == "unknown":
            receipts.go_on(message)
        receipts.apply_parked(message, echo.provider_id)
    receipts.catch_up(message)
    return True


def _ours(account: ChannelAccount, echo: Inbound) -> Message | None:
    """Find the message by our own id, or where the provider keeps none, one under way that says the same."""
    if echo.message_id is not None:
        return _locked(account, UUID(echo.message_id)) if is_uuid(echo.message_id) else None
    query = (
        select(Message)
        .join(
            Conversation,
            (Conversation.business_id == Message.business_id) & (Conversation.id == Message.conversation_id),
        )
        .where(
            Message.business_id == account.business_id,
            Message.account_id == account.id,
            Message.direction == "outbound",
            Message.status.in_(("sending", "unknown")),
            Message.created_at > now() - RECENT,
            Conversation.address == echo.person.address,
        )
        .order_by(Message.created_at)
    )
    locked = query.with_for_update(of=Message).execution_options(populate_existing=True)
    return next((message for message in db.session.scalars(locked) if _says(message, echo)), None)


def _says(message: Message, echo: Inbound) -> bool:
    """Compare by the words: a long text goes out in pieces, and a file comes back from another address."""
    if echo.text and not echo.media:
        return " ".join(echo.text.split()) in " ".join(message.content.split())
    return bool(echo.media) and bool(message.attachments)


def _locked(account: ChannelAccount, message_id: UUID) -> Message | None:
    query = select(Message).where(
        Message.business_id == account.business_id,
        Message.id == message_id,
        Message.account_id == account.id,
        Message.direction == "outbound",
    )
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
