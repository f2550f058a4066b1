"""Mails and their conversations: which one an answer belongs to, and what ours carry so that answers find it.

Called by arrivals and outbound. A signed token or mark proves a place; ids of others' mails count only from somebody
who takes part. Whoever joins by proof alone is shown as new and learns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import select

from channels.base import Thread
from lib import addresses, reply_marks, signing
from models import Business, ChannelAccount, Conversation, Customer, Message, ProviderId, db
from services import conversations, identities

MOST_ADDRESSES = 200
MOST_IDS = 60
KEPT_IDS = 40  # in their order; mails themselves carry fewer
KEPT_PEOPLE = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mail belongs, and who its sender is there: the customer, somebody else who takes part, or neither."""

    conversation: Conversation
    customer: Customer
    is_customer: bool
    takes_part: bool


def find(business: Business, account: ChannelAccount, thread: Thread) -> Place | None:
    """Find the conversation that a mail continues; holds its customer's row until the commit."""
    for conversation_id, proven in _candidates(business, account, thread):
        conversation = _open(account, conversation_id)
        if conversation is None:
            continue
        place = _place(business, conversation, thread.sender)
        if proven or place.takes_part:
            return place
    return None


def note(place: Place | None, conversation: Conversation, thread: Thread) -> None:
    """Keep what later mails of the thread are matched by, and who reads along; a stranger brings nobody in."""
    add(conversation, [thread.id] if thread.id else [])
    if thread.people and (place is None or place.takes_part):
        people = dict.fromkeys((*conversation.thread.get("people", []), *thread.people))
        conversation.thread = conversation.thread | {"people": list(people)[:KEPT_PEOPLE]}


def add(conversation: Conversation, ids: Sequence[str]) -> None:
    """Keep the ids of mails as the last of a thread: its root and its end go into the headers of the next one."""
    before = conversation.thread.get("references", [])
    references = [*(one for one in before if one not in ids), *ids]
    if len(references) > KEPT_IDS:
        references = [references[0], *references[1 - KEPT_IDS :]]
    conversation.thread = conversation.thread | {"references": references}


def marks(conversation: Conversation, message_id: UUID) -> dict[str, str]:
    """Give what a mail of ours carries: its conversation's token and its own mark."""
    return {
        "token": reply_marks.token(_key(), str(conversation.business_id), conversation.number),
        "mark": reply_marks.mark(_key(), message_id),
    }


def _key() -> bytes:
    return signing.derive(current_app.extensions["settings"].secret_key, "mail")


def _candidates(business: Business, account: ChannelAccount, thread: Thread) -> Iterator[tuple[UUID, bool]]:
    """Give the conversations that a mail may mean, the surest first, and whether it proves that."""
    scope, key = str(business.id), _key()
    for address in thread.addressed[:MOST_ADDRESSES]:
        yield from _numbered(business, reply_marks.number_in(key, scope, address))
    known = _known(account, thread.answers[:MOST_IDS])
    for one in thread.answers[:MOST_IDS]:
        yield from _numbered(business, reply_marks.number_in(key, scope, one))
        if message_id := reply_marks.message_in(key, one):
            for conversation_id in _of_messages(business.id, [message_id]).values():
                yield conversation_id, True
        elif one in known:
            yield known[one], False


def _numbered(business: Business, number: int | None) -> Iterator[tuple[UUID, bool]]:
    if number is None or number >= 2**31:
        return
    query = select(Conversation.id).where(Conversation.business_id == business.id, Conversation.number == number)
    for conversation_id in db.session.scalars(query):
        yield conversation_id, True


def _known(account: ChannelAccount, ids: Sequence[str]) -> dict[str, UUID]:
    """Find the conversations of messages by the ids that their mails had."""
    query = select(ProviderId.value, ProviderId.message_id).where(
        ProviderId.business_id == account.business_id,
        ProviderId.account_id == account.id,
        ProviderId.value.in_(ids),
    )
    found = dict(db.session.execute(query).all()) if ids else {}
    places = _of_messages(account.business_id, found.values())
    return {value: places[message_id] for value, message_id in found.items() if message_id in places}


def _of_messages(business_id: UUID, ids: Iterable[UUID]) -> dict[UUID, UUID]:
    query = select(Message.id, Message.conversation_id).where(
        Message.business_id == business_id, Message.id.in_(list(ids))
    )
    return dict(db.session.execute(query).all())


def _open(account: ChannelAccount, conversation_id: UUID) -> Conversation | None:
    """Take a conversation of this very mailbox for changing."""
    key = (account.business_id, conversation_id)
    conversation = db.session.get(Conversation, key)
    if conversation is None or conversation.account_id != account.id:
        return None
    conversations.lock(conversation.business_id, conversation.customer_id)
    db.session.refresh(conversation)
    return conversation


def _place(business: Business, conversation: Conversation, sender: str) -> Place:
    customer = db.session.get_one(Customer, (business.id, conversation.customer_id))
    own: set[Any] = {_normalised(conversation.address)}
    own |= {key.value for key, _ in identities.of_customers(business.id, [customer.id]) if key.kind == "email"}
    is_customer = bool(sender) and sender in own
    takes_part = is_customer or (bool(sender) and sender in conversation.thread.get("people", []))
    return Place(conversation, customer, is_customer, takes_part)


def _normalised(address: str) -> str | None:
    try:
        return addresses.email(address)
    except ValueError:
        return None
