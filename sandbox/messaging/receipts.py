"""What becomes of a message that was taken: its echo, its delivery, and that it was read. Nothing fails later here.

A phone that is on gets it; a phone that shows the chat (or `auto_read`) reads it. Messenger tells of both by a
watermark, Instagram only of reading, by the last message read.
"""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

from sandbox.errors import Refused
from sandbox.messaging import events
from sandbox.messaging.network import Network
from sandbox.store import Row
from sandbox.world import Upload, World

RANK = {"sent": 1, "delivered": 2, "read": 3}


def start(net: Network, world: World, id_: str) -> None:
    """Let a message take its course."""
    Thread(target=_course, args=(net, world, id_), daemon=True).start()


def resume(net: Network, world: World) -> None:
    """Take up the messages that were under way when the process ended."""
    for row in world.store.all("messages", provider=net.provider, direction="from_business", status="sent"):
        start(net, world, row["id"])


def _course(net: Network, world: World, id_: str) -> None:
    time.sleep(world.pace)
    message = get(net, world, id_)
    if not _person(world, message)["data"]["online"]:
        return
    fault = world.faults.take("status", net.provider, account=message["account"], person=message["person"])
    if fault and fault.kind == "no_statuses":
        return
    if not (fault and fault.kind == "skip_delivered"):
        move(net, world, [message], "delivered")
        time.sleep(world.pace)
    person, account = _person(world, message), world.account(net.provider, message["account"])
    chat = (net.provider, message["account"], message["person"])
    if fault or person["data"]["auto_read"] or account["data"]["auto_read"] or world.live.is_open(chat):
        move(net, world, [get(net, world, id_)], "read")


def switched_on(net: Network, world: World, account: str, person: str) -> None:
    """The phone is on again: what waited arrives."""
    for row in _of(net, world, account, person, "sent"):
        start(net, world, row["id"])


def seen(net: Network, world: World, account: str, person: str) -> None:
    """The phone shows the chat: what had arrived is read."""
    if rows := _of(net, world, account, person, "delivered"):
        move(net, world, rows, "read")


def move(net: Network, world: World, rows: list[Row], status: str, *, force: bool = False) -> None:
    """Move messages of one chat on, and call that back once; a step back is nothing unless forced."""
    moved = [row for row in rows if force or RANK[status] > RANK[row["status"]]]
    if not moved:
        return
    for row in moved:
        row["data"]["history"].append({"status": status, "at": world.clock.now()})
        higher = status if RANK[status] > RANK[row["status"]] else row["status"]
        world.store.update("messages", {"seq": row["seq"]}, status=higher, data=row["data"])
    last = max(moved, key=lambda row: row["at"])
    world.live.changed((net.provider, last["account"], last["person"]))
    account = world.account(net.provider, last["account"])
    if part := _part(net, moved, last, status):
        event = events.event(account, last["person"], world.clock.now(), **part)
        entry = events.entry(world, account, [event])
        events.post(net, world, account, [entry], person=last["person"], label=f"{status} receipt")


def _part(net: Network, moved: list[Row], last: Row, status: str) -> dict[str, Any]:
    watermark = int(last["at"] * 1000)
    if status == "delivered" and net.delivers:
        return {"delivery": {"mids": [row["id"] for row in moved], "watermark": watermark}}
    if status == "read":
        return {"read": {"watermark": watermark} if net.delivers else {"mid": last["id"]}}
    return {}


def get(net: Network, world: World, id_: str) -> Row:
    """Give a message by its id."""
    row = world.store.one("messages", provider=net.provider, id=id_)
    if row is None:
        raise Refused(f"id: there is no message {id_}", code="not_found", status=404)
    return row


def by_hand(net: Network, status: str) -> Any:
    """Make the control verb that sets a status: on one message (`id`), or on all of a person that are not so far."""

    def verb(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
        if body.get("id"):
            rows = [get(net, world, body["id"])]
        else:
            account = world.account(net.provider, body.get("account"))
            rows = _of(net, world, account["id"], str(body.get("person") or ""))
        for person in dict.fromkeys(row["person"] for row in rows):
            move(net, world, [row for row in rows if row["person"] == person], status, force=bool(body.get("id")))
        return {"status": status, "ids": [row["id"] for row in rows]}

    return verb


def _of(net: Network, world: World, account: str, person: str, status: str = "") -> list[Row]:
    where = {"provider": net.provider, "account": account, "person": person, "status": status}
    given = {name: value for name, value in where.items() if value}
    rows = world.store.all("messages", direction="from_business", **given)
    return [row for row in rows if row["kind"] != "reaction"]


def _person(world: World, message: Row) -> Row:
    where = {name: message[name] for name in ("provider", "account")}
    return world.store.get("people", **where, id=message["person"])
