"""The SMS room: Twilio's Programmable Messaging over REST, its signed callbacks, and the customers who text.

Floors, lowest first: errors, accounts, people < hooks, media < messages, chats < rules, statuses < customers < api.
"""

from __future__ import annotations

from typing import Any

from sandbox.twilio import accounts, chats, customers, people, statuses
from sandbox.twilio.accounts import PROVIDER
from sandbox.world import Room, Upload, World


def _people(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Make or change a person; if the phone went on, what waited for it arrives."""
    answer = people.declare(world, body, upload)
    if body.get("online") is True:
        statuses.switched_on(world, answer["person"]["account"], answer["person"]["person"])
    return answer


room = Room(
    provider=PROVIDER,
    label="SMS",
    verbs={
        "accounts": accounts.declare,
        "forget": accounts.forget,
        "people": _people,
        "say": customers.say,
        "raw": customers.raw,
        "status": statuses.by_hand(None),
        "deliver": statuses.by_hand("delivered"),
        "undeliver": statuses.by_hand("undelivered"),
        "fail": statuses.by_hand("failed"),
    },
    reads={"accounts": accounts.listed, "people": people.listed, "messages": chats.read},
    resume=statuses.resume,
    business=accounts.business,
    customer=people.customer,
    chat=chats.history,
    seen=statuses.seen,
    new_person=people.new_person,
    gesture=customers.gesture,
    heard=customers.heard,
)
