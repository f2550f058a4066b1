"""A chat as its customer sees it: messages of both sides with ticks, quotes and reactions. Sends nothing."""

from __future__ import annotations

import time
from typing import Any

from sandbox.messaging import files, people
from sandbox.messaging.network import Network
from sandbox.store import Row
from sandbox.world import World

ARRIVED = ("sent", "delivered", "read")


def read(net: Network, world: World, query: dict[str, str]) -> dict[str, Any]:
    """List a chat as the customer sees it; `after` skips what is known, `wait` waits some seconds for news."""
    account = world.account(net.provider, query.get("account"))
    after = int(query.get("after") or 0)
    until = time.monotonic() + min(float(query.get("wait") or 0), 60)
    while True:
        person = people.find(net, world, account, query.get("person", ""))
        found = history(net, world, account["id"], person["id"]) if person else []
        found = [one for one in found if one["seq"] > after]
        if found or time.monotonic() >= until:
            return {"person": people.shown(world, person) if person else None, "messages": found}
        time.sleep(0.05)


def history(net: Network, world: World, account: str, person: str) -> list[dict[str, Any]]:
    """List the messages of a chat, oldest first, each with the reactions it has."""
    rows = world.store.all("messages", provider=net.provider, account=account, person=person)
    reactions: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["kind"] == "reaction":
            view = row["data"]["view"]
            reactions.setdefault(str(view.get("target")), {})[row["direction"]] = view.get("emoji", "")
    shown_ = [shown(world, row) for row in rows]
    for message in shown_:
        message["reactions"] = [emoji for emoji in reactions.get(message["id"], {}).values() if emoji]
    return shown_


def shown(world: World, row: Row) -> dict[str, Any]:
    """Write one message for the control API and the phone page."""
    data = row["data"]
    view = dict(data["view"])
    parts = [files.shown(world, part) for part in view.pop("parts", []) if part.get("file")]
    if parts:
        view |= {"media": parts[0], "more": parts[1:]}
    return {
        "seq": row["seq"],
        "id": row["id"],
        "direction": row["direction"],
        "type": row["kind"],
        "at": row["at"],
        "status": _status(world, row),
        "error": None,
        **view,
        "metadata": data["request"].get("message", {}).get("metadata"),
        "tag": data["request"].get("tag"),
    }


def _status(world: World, row: Row) -> str:
    """Give a status; a customer's own message is delivered once the business has answered its callback."""
    if row["direction"] == "from_business" or row["status"] == "read":
        return str(row["status"])
    delivery = world.store.one("deliveries", id=row["data"]["delivery"]) if row["data"]["delivery"] else None
    return "sent" if delivery is None or delivery["state"] != "delivered" else "delivered"


def put(
    net: Network, world: World, account: Row, person: Row, *, id_: str, kind: str, by_us: bool, status: str, at: float,
    view: dict[str, Any], request: dict[str, Any] | None = None,
) -> Row:  # fmt: skip
    """Write one message down."""
    seq = world.store.put(
        "messages",
        provider=net.provider,
        account=account["id"],
        person=person["id"],
        id=id_,
        direction="from_business" if by_us else "from_customer",
        kind=kind,
        status=status,
        at=at,
        data={"view": view, "request": request or {}, "history": [], "delivery": None},
    )
    world.live.changed((net.provider, account["id"], person["id"]))
    return world.store.get("messages", seq=seq)


def kind_of(view: dict[str, Any]) -> str:
    """Name a message by what it mostly is."""
    parts = view.get("parts")
    return str(parts[0]["type"]) if parts else "text"


def change(net: Network, world: World, id_: str, **view: Any) -> None:
    """Change how an earlier message looks, if it is here."""
    row = world.store.one("messages", provider=net.provider, id=id_)
    if row:
        row["data"]["view"] = view if view.get("deleted") else row["data"]["view"] | view
        world.store.update("messages", {"seq": row["seq"]}, data=row["data"])
