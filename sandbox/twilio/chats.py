"""A chat as its customer sees it. Sends nothing."""

from __future__ import annotations

import time
from typing import Any

from sandbox.store import Row
from sandbox.twilio import accounts, media, people
from sandbox.twilio.accounts import PROVIDER
from sandbox.world import World


def read(world: World, query: dict[str, str]) -> dict[str, Any]:
    """List a chat; `after` skips what is known, `wait` waits some seconds for news, `all=1` lists what failed too."""
    account = accounts.named(world, query.get("account"))
    address = people.address_of(query.get("person"))
    after, everything = int(query.get("after") or 0), query.get("all") in ("1", "true")
    until = time.monotonic() + min(float(query.get("wait") or 0), 60)
    while True:
        person = people.find(world, account, address)
        found = history(world, account["id"], address, everything)
        found = [one for one in found if one["seq"] > after]
        if found or time.monotonic() >= until:
            return {"person": people.shown(person) if person else None, "messages": found}
        time.sleep(0.05)


def history(world: World, account: str, person: str, everything: bool = True) -> list[dict[str, Any]]:
    """List the messages of a chat, oldest first; those that never arrived only if `everything` is wanted."""
    rows = world.store.all("messages", provider=PROVIDER, account=account, person=person)
    return [
        shown(world, row)
        for row in rows
        if everything or row["direction"] == "from_customer" or row["status"] not in ("accepted", "failed")
    ]


def shown(world: World, row: Row) -> dict[str, Any]:
    """Write one message for the control API and the phone page."""
    data = row["data"]
    files = [media.shown(world, part) for part in data["parts"]]
    return {
        "seq": row["seq"],
        "id": row["id"],
        "direction": row["direction"],
        "type": row["kind"],
        "at": row["at"],
        "status": _status(world, row),
        "error": data["error"],
        "reactions": [],
        **data["view"],
        **({"media": files[0], "more": files[1:]} if files else {}),
    }


def _status(world: World, row: Row) -> str:
    """Give a status; a customer's own message is delivered once the business has answered its callback."""
    if row["direction"] == "from_business":
        return str(row["status"])
    delivery = world.store.one("deliveries", id=row["data"]["delivery"]) if row["data"]["delivery"] else None
    return "sent" if delivery is None or delivery["state"] != "delivered" else "delivered"
