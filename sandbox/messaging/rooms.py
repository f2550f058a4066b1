"""Make a room of a network."""

from __future__ import annotations

from functools import partial

from sandbox.messaging import accounts, chats, customers, nodes, people, phones, receipts
from sandbox.messaging.network import Network
from sandbox.world import Room

TROUBLE = {"rate_limit": 613, "pair_rate_limit": 613, "server_error": 1, "unavailable": 2}


def room(net: Network) -> Room:
    """Give the room."""
    return Room(
        provider=net.provider,
        label=net.label,
        verbs={
            "accounts": partial(accounts.declare, net),
            "forget": partial(accounts.forget, net),
            "people": partial(phones.declare, net),
            "say": partial(customers.say, net),
            "batch": partial(customers.batch, net),
            "raw": partial(customers.raw, net),
            "deliver": receipts.by_hand(net, "delivered"),
            "read": receipts.by_hand(net, "read"),
        },
        reads={
            "accounts": partial(accounts.listed, net),
            "people": partial(people.listed, net),
            "messages": partial(chats.read, net),
        },
        resume=partial(receipts.resume, net),
        business=partial(phones.business, net),
        customer=partial(phones.customer, net),
        chat=partial(phones.chat, net),
        seen=partial(receipts.seen, net),
        new_person=partial(phones.new_person, net),
        gesture=phones.gesture,
        node=partial(nodes.find, net),
        tokens=partial(nodes.tokens, net),
        trouble=TROUBLE,
        address=("Handle or scoped id", "aoife.b, or empty for any"),
        closed="Closed: nothing arrives, but for 7 days what people with the Human Agent feature write",
    )
