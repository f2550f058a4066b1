"""Conversations: find, open, assign, tag, snooze and close them. Called by the edges, by messages and by inbound."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import joinedload

import channels
import jobs
from errors import Invalid, NotFound
from lib.ids import uuid7
from models import Business, ChannelAccount, Conversation, Customer, User, db, now
from services import events, payloads

STATUSES = ("open", "pending", "snoozed", "closed")
REOPEN_WITHIN = timedelta(hours=72)  # a later message starts a new conversation


def get(business: Business, conversation_id: UUID) -> Conversation:
    return _one(business, Conversation.id == conversation_id)


def by_number(business: Business, number: int) -> Conversation:
    return _one(business, Conversation.number == number)


def _one(business: Business, which: Any) -> Conversation:
    query = select(Conversation).where(Conversation.business_id == business.id, which)
    loads = (joinedload(Conversation.customer), joinedload(Conversation.account), joinedload(Conversation.assignee))
    row: Conversation | None = db.session.scalar(query.options(*loads))
    if row is None:
        raise NotFound("No conversation of this business has that id.", code="conversation_not_found")
    return row


def latest(business: Business, customer_id: UUID, account_id: UUID | None = None) -> Conversation | None:
    """Find the customer's last conversation, on one account if it is named."""
    query = select(Conversation).where(Conversation.business_id == business.id, Conversation.customer_id == customer_id)
    if account_id:
        query = query.where(Conversation.account_id == account_id)
    query = query.order_by(Conversation.last_message_at.desc(), Conversation.id.desc()).limit(1)
    return db.session.scalar(query, execution_options={"populate_existing": True})


def open_for(
    business: Business,
    customer: Any,
    account: ChannelAccount,
    address: str,
    *,
    subject: str | None = None,
    reopen: bool = True,
    fresh: bool = False,
) -> Conversation:
    """Give the conversation that a new message belongs to: the open one, one closed lately, or a new one.

    Where a channel has threads, another subject begins another one; `fresh` says that this message does. Holds the
    customer's row until the commit, so that two messages at once do not open two.
    """
    lock(business.id, customer.id)
    found = None if fresh else latest(business, customer.id, account.id)
    if found and subject not in (None, found.subject) and channels.get(account.kind).limits.threads:
        found = None
    if found and (found.status != "closed" or (reopen and now() - (found.closed_at or now()) < REOPEN_WITHIN)):
        return found
    opened = Conversation(
        business_id=business.id,
        id=uuid7(),
        customer_id=customer.id,
        account_id=account.id,
        channel=account.kind,
        address=address,
        subject=subject,
        status="open",
        tags=[],
        unread_count=0,
        preview="",
        thread={},
        last_message_at=now(),
        created_at=now(),
        updated_at=now(),
    )
    events.hold(opened)
    events.append(
        business.id,
        "conversation.created",
        lambda: payloads.conversation_event(opened, customer),
        conversation=opened,
    )
    return opened


def readdress(business: Business, customer_id: UUID, account: ChannelAccount, old: str, new: str) -> None:
    """Answer a customer elsewhere from now on: their address on this account has become somebody else's."""
    statement = text("""
        UPDATE conversations SET address = :new WHERE business_id = :business_id AND customer_id = :customer_id
        AND account_id = :account_id AND address = :old""")
    params = {"business_id": business.id, "customer_id": customer_id, "account_id": account.id}
    db.session.execute(statement, params | {"old": old, "new": new})


def lock(business_id: UUID, customer_id: UUID) -> None:
    """Hold a customer's row until the commit: whoever changes their conversations waits for the others."""
    statement = text("SELECT 1 FROM customers WHERE business_id = :business_id AND id = :id FOR NO KEY UPDATE")
    db.session.execute(statement, {"business_id": business_id, "id": customer_id})


def assign(business: Business, conversation: Conversation, user: User | None, *, by: str = "") -> None:
    """Give a conversation to an agent, or to nobody."""
    if user and (user.business_id != business.id or not user.is_active):
        raise NotFound("No active user of this business has that id.", code="user_not_found")
    if conversation.assignee_id == (user.id if user else None):
        return
    conversation.assignee_id = user.id if user else None
    _tell(business, conversation, "conversation.assigned", assignee=user, assigned_by=by)


def set_status(
    business: Business,
    conversation: Conversation,
    status: str,
    *,
    snoozed_until: datetime | None = None,
    by: str = "",
) -> None:
    """Open, close, park or snooze a conversation; `snoozed` needs a time ahead."""
    if status not in STATUSES:
        raise Invalid(f"status is one of {', '.join(STATUSES)}.", code="invalid_field", field="status")
    if status == "snoozed" and (snoozed_until is None or snoozed_until <= now()):
        raise Invalid("snoozed_until must be a time ahead.", code="invalid_field", field="snoozed_until")
    before = conversation.status
    conversation.snoozed_until = snoozed_until if status == "snoozed" else None
    if status == before and status != "snoozed":
        return
    conversation.status = status
    conversation.closed_at = now() if status == "closed" else None
    if status == "closed":
        conversation.waiting_since = None
    _tell(business, conversation, "conversation.status_changed", previous_status=before, changed_by=by)


def set_tags(business: Business, conversation: Conversation, tags: Sequence[str]) -> None:
    cleaned = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(cleaned) > 50 or any(len(tag) > 64 for tag in cleaned):
        raise Invalid("At most 50 tags of at most 64 characters each.", code="invalid_field", field="tags")
    if cleaned != conversation.tags:
        conversation.tags = cleaned
        _show(business, conversation)


def mark_read(business: Business, conversation: Conversation) -> None:
    if conversation.unread_count:
        conversation.unread_count = 0
        _show(business, conversation)
        jobs.run_later("show_read", business.id, conversation.id)


def mark_unread(business: Business, conversation: Conversation) -> None:
    if not conversation.unread_count:
        conversation.unread_count = 1
        _show(business, conversation)


def wake_due(limit: int = 200) -> list[Conversation]:
    """Reopen conversations whose snooze is over; a sweep calls this."""
    query = select(Conversation).where(Conversation.status == "snoozed", Conversation.snoozed_until <= now())
    due = list(db.session.scalars(query.limit(limit).with_for_update(skip_locked=True)))
    for conversation in due:
        business = db.session.get_one(Business, conversation.business_id)
        set_status(business, conversation, "open", by="snooze")
    return due


def saw_message(
    conversation: Conversation, *, text_shown: str, inbound: bool, at: datetime | None, waits: bool = True
) -> bool:
    """Bring the conversation up to date with a message; tell whether that opened it again.

    `at`: when the customer opened the reply window with it, if they did. `waits`: somebody waits for an answer.
    """
    conversation.preview = text_shown[:200]
    conversation.last_direction = "inbound" if inbound else "outbound"
    conversation.last_message_at = conversation.updated_at = now()
    if not inbound:
        conversation.waiting_since = None
        conversation.unread_count = 0
        return False
    conversation.unread_count += 1
    if at:
        conversation.last_inbound_at = max(at, conversation.last_inbound_at or at)
    if waits:
        conversation.waiting_since = conversation.waiting_since or now()
    return waits and conversation.status != "open"


def _tell(business: Business, conversation: Conversation, kind: str, **changed: Any) -> None:
    conversation.updated_at = now()
    customer = db.session.get_one(Customer, (business.id, conversation.customer_id))
    assignee = changed.pop("assignee", None) or _assignee(conversation)

    def data() -> dict[str, Any]:
        return payloads.conversation_event(conversation, customer, assignee, **changed)

    events.append(business.id, kind, data, conversation=conversation)


def _show(business: Business, conversation: Conversation) -> None:
    conversation.updated_at = now()
    events.append(business.id, "conversation.changed", conversation=conversation)


def _assignee(conversation: Conversation) -> User | None:
    if conversation.assignee_id is None:
        return None
    return db.session.get(User, (conversation.business_id, conversation.assignee_id))
