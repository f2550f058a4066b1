"""The WhatsApp room: Cloud API, its webhooks, and the customers who write.

Floors, lowest first: accounts, people < envelopes < media, templates, interactive, rules < statuses, messages,
chats < customers, phones, nodes.
"""

from __future__ import annotations

from sandbox.whatsapp import accounts, chats, customers, nodes, people, phones, statuses
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Room

room = Room(
    provider=PROVIDER,
    label="WhatsApp",
    verbs={
        "accounts": accounts.declare,
        "forget": accounts.forget,
        "templates": accounts.set_templates,
        "people": phones.declare,
        "say": customers.say,
        "batch": customers.batch,
        "raw": customers.raw,
        "status": statuses.by_hand(None),
        "deliver": statuses.by_hand("delivered"),
        "read": statuses.by_hand("read"),
        "play": statuses.by_hand("played"),
        "fail": statuses.by_hand("failed"),
    },
    reads={"accounts": accounts.listed, "people": people.listed, "messages": chats.read},
    resume=statuses.resume,
    business=phones.business,
    customer=phones.customer,
    chat=phones.chat,
    seen=statuses.seen,
    new_person=phones.new_person,
    gesture=phones.gesture,
    node=nodes.find,
    tokens=nodes.tokens,
)
