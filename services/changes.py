"""What somebody did to an earlier message: a reaction, an edit, a deletion. One that comes before its message waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

import jobs
from channels.base import Change
from models import Attachment, ChannelAccount, Conversation, Message, ParkedReceipt, ProviderId, db, now
from services import events


def apply(account: ChannelAccount, change: Change) -> None:
    """Apply a change to the message it names, or keep it until that message comes."""
    known = db.session.get(ProviderId, (account.business_id, account.id, change.target))
    if known is None:
        _park(account, change)
        return
    query = select(Message).where(Message.business_id == account.business_id, Message.id == known.message_id)
    if message := db.session.scalar(query.with_for_update()):
        apply_to(message, change)


def apply_to(message: Message, change: Change) -> None:
    """Apply a change; an edit that an even later one overtook changes nothing, nor does one of a deleted message."""
    extra: dict[str, Any] = dict(message.extra)
    if change.kind == "reaction":
        extra["reactions"] = _reactions(extra.get("reactions", {}), change)
    elif change.kind == "edit":
        if message.deleted_at or extra.get("edited_at", "") > change.at.isoformat():
            return
        extra.setdefault("first_content", message.content)
        extra["edited_at"] = change.at.isoformat()
        message.content = change.text or ""
    else:
        # What the customer took back is erased, not hidden.
        extra, message.content, message.deleted_at = {}, "", change.at
        _drop_files(message)
    message.extra, message.updated_at = extra, now()
    if change.opens_window:
        conversation = db.session.get_one(Conversation, (message.business_id, message.conversation_id))
        conversation.last_inbound_at = max(change.at, conversation.last_inbound_at or change.at)
    events.append(message.business_id, "message.changed", message=message)


def taken_back(account: ChannelAccount, provider_id: str) -> bool:
    """Say whether a message that comes only now was deleted already: nothing of it is to be stored."""
    query = select(ParkedReceipt.receipt).where(
        ParkedReceipt.provider_id == provider_id,
        ParkedReceipt.business_id == account.business_id,
        ParkedReceipt.account_id == account.id,
    )
    return any(told.get("change", {}).get("kind") == "delete" for told in db.session.scalars(query))


def from_plain(told: Mapping[str, Any]) -> Change:
    """Give back a change that was kept as JSON."""
    return Change("", target="", **{**told, "at": datetime.fromisoformat(told["at"])})


def _park(account: ChannelAccount, change: Change) -> None:
    told = {
        "kind": change.kind,
        "at": change.at.isoformat(),
        "emoji": change.emoji,
        "text": change.text,
        "by_customer": change.by_customer,
        "opens_window": change.opens_window,
    }
    row = ParkedReceipt(
        business_id=account.business_id, account_id=account.id, provider_id=change.target, receipt={"change": told}
    )
    db.session.add(row)


def _reactions(shown: Mapping[str, str], change: Change) -> dict[str, str]:
    who = "customer" if change.by_customer else "business"
    kept = {name: emoji for name, emoji in shown.items() if name != who}
    return kept | {who: change.emoji} if change.emoji else kept


def _drop_files(message: Message) -> None:
    """Take a message's files away: from sight now, their bytes by a job."""
    query = select(Attachment).where(Attachment.business_id == message.business_id, Attachment.message_id == message.id)
    for file in db.session.scalars(query):
        file.message_id, file.state, file.filename, file.source, file.next_attempt_at = None, "erased", "", {}, now()
    jobs.run_later("erase_files", message.business_id)
