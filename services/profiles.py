"""The names of people who come as a bare id: asked for by a job after their message, until they have one.

The worker calls `prepare`, asks the channel with no transaction open, and calls `record`.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from channels.base import Account, Person
from models import Business, ChannelAccount, Conversation, Customer, db
from services import channel_accounts, customers

LONGEST = 200


@dataclass(frozen=True, slots=True)
class Task:
    account: Account
    address: str


def prepare(business_id: UUID, conversation_id: UUID) -> Task | None:
    """Say whom to ask for; None where the customer has a name by now."""
    conversation = db.session.get(Conversation, (business_id, conversation_id))
    if conversation is None or not _is_nameless(conversation):
        return None
    account = db.session.get_one(ChannelAccount, (business_id, conversation.account_id))
    if account.state != "connected":
        return None
    return Task(channel_accounts.to_channel(account), conversation.address)


def record(business_id: UUID, conversation_id: UUID, person: Person) -> None:
    """Name the customer, unless somebody else has done so meanwhile or the provider knows no name either."""
    conversation = db.session.get(Conversation, (business_id, conversation_id))
    name = " ".join((person.name or person.username).split())[:LONGEST]
    if conversation and name and name != person.address and _is_nameless(conversation):
        business = db.session.get_one(Business, business_id)
        customers.update(business, conversation.customer_id, {"name": name})


def _is_nameless(conversation: Conversation) -> bool:
    customer = db.session.get(Customer, (conversation.business_id, conversation.customer_id))
    return customer is not None and customer.name == conversation.address
