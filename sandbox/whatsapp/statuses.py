"""What becomes of a message after 200: sent, delivered, read, or failed, each as a callback of its own.

A phone that is on gets it; a phone that shows the chat (or `auto_read`) reads it. Started by `messages`, moved along by
the phone page and by the control verbs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from sandbox.errors import Refused
from sandbox.meta.errors import item
from sandbox.store import Row
from sandbox.whatsapp import envelopes, media
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Upload, World

RANK = {"accepted": 0, "sent": 1, "delivered": 2, "read": 3, "played": 4, "failed": 5}


def start(world: World, id_: str) -> None:
    """Let a message take its course."""
    _aside(_course, world, id_)


def resume(world: World) -> None:
    """Take up the messages that were under way when the process ended."""
    for status in ("accepted", "sent"):
        for row in world.store.all("messages", provider=PROVIDER, direction="from_business", status=status):
            start(world, row["id"])


def _aside(step: Callable[[World, str], None], world: World, id_: str) -> None:
    """Do a step of a message's course beside the request; a message that is reset meanwhile has none."""

    def run() -> None:
        with suppress(Refused, KeyError):
            step(world, id_)

    Thread(target=run, daemon=True).start()


def _course(world: World, id_: str) -> None:
    time.sleep(world.pace / 2)
    message = get(world, id_)
    data = message["data"]
    if message["status"] == "accepted":
        data["fate"] = data["fate"] or media.fetch_links(world, message)
        world.store.update("messages", {"seq": message["seq"]}, data=data)
        if data["fate"]:
            move(world, id_, "failed", error=item(**data["fate"]))
            return
        move(world, id_, "sent")
        time.sleep(world.pace)
    if message["kind"] != "reaction" and _person(world, message)["data"]["online"]:
        _arrive(world, id_, data.get("skip_delivered", False))


def _arrive(world: World, id_: str, skip_delivered: bool = False) -> None:
    """The phone is on: the message arrives, and is read if the chat is on the screen."""
    if not skip_delivered:
        move(world, id_, "delivered")
        time.sleep(world.pace)
    message = get(world, id_)
    chat = (PROVIDER, message["account"], message["person"])
    person, account = _person(world, message), world.account(PROVIDER, message["account"])
    if skip_delivered or person["data"]["auto_read"] or account["data"]["auto_read"] or world.live.is_open(chat):
        move(world, id_, "read")


def switched_on(world: World, account: str, person: str) -> None:
    """The phone is on again: what waited arrives."""
    for row in _of(world, account, person, "sent"):
        if row["kind"] != "reaction":
            _aside(_arrive, world, row["id"])


def seen(world: World, account: str, person: str) -> None:
    """The phone shows the chat: what had arrived is read."""
    for row in _of(world, account, person, "delivered"):
        move(world, row["id"], "read")


def move(world: World, id_: str, status: str, *, error: dict[str, Any] | None = None, force: bool = False) -> None:
    """Move a message on and call it back; a step back, or the same one twice, is nothing unless forced."""
    message = get(world, id_)
    if not force and RANK[status] <= RANK[message["status"]]:
        return
    data = message["data"]
    data["history"].append({"status": status, "at": world.clock.now()})
    data["error"] = error or data["error"]
    now = status if RANK[status] > RANK[message["status"]] else message["status"]
    world.store.update("messages", {"seq": message["seq"]}, status=now, data=data)
    world.live.changed((PROVIDER, message["account"], message["person"]))
    if not data.get("silent"):
        account = world.account(PROVIDER, message["account"])
        entry = entry_of(world, account, message, status, error)
        envelopes.post(world, account, [entry], person=message["person"], label=f"status {status}")


def entry_of(world: World, account: Row, message: Row, status: str, error: dict[str, Any] | None) -> dict[str, Any]:
    """Write one status as it stands in a callback."""
    person, data = _person(world, message), message["data"]
    known = envelopes.contact(account, person, profile=False)
    to_bsuid = data["request"].get("recipient") and not data["request"].get("to")
    entry: dict[str, Any] = {"id": message["id"], "status": status, "timestamp": str(int(world.clock.now()))}
    if not to_bsuid or "wa_id" in known:
        entry["recipient_id"] = known.get("wa_id") or person["data"]["phone"]
    if "user_id" in known:
        entry["recipient_user_id"] = known["user_id"]
    if data["request"].get("biz_opaque_callback_data"):
        entry["biz_opaque_callback_data"] = data["request"]["biz_opaque_callback_data"]
    if status == "failed":
        entry["errors"] = [error or item(131000)]
        return envelopes.entry(account, statuses=[entry])
    if status in ("sent", "delivered"):
        category = data["view"].get("category", "SERVICE").lower()
        entry["pricing"] = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": category}
    return envelopes.entry(account, contacts=[known], statuses=[entry])


def get(world: World, id_: str) -> Row:
    """Give a message by its id."""
    row = world.store.one("messages", provider=PROVIDER, id=id_)
    if row is None:
        raise Refused(f"id: there is no message {id_}", code="not_found", status=404)
    return row


def by_hand(status: str | None) -> Any:
    """Make the control verb that sets a status: on one message (`id`), or on all of a person that are not so far."""

    def verb(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
        wanted = status or body.get("status")
        if wanted not in RANK or wanted == "accepted":
            raise Refused(f"status: one of {', '.join(list(RANK)[1:])}")
        error = item(body.get("code", 131000), body.get("details", ""), body.get("title", ""))
        ids = (
            [body["id"]]
            if body.get("id")
            else [
                row["id"]
                for row in _of(world, world.account(PROVIDER, body.get("account"))["id"], body.get("person"))
                if RANK[row["status"]] < RANK[wanted]
            ]
        )
        for id_ in ids:
            move(world, id_, wanted, error=error if wanted == "failed" else None, force=bool(body.get("id")))
        return {"status": wanted, "ids": ids}

    return verb


def _of(world: World, account: str, person: str | None, status: str | None = None) -> list[Row]:
    where = {"provider": PROVIDER, "account": account, "person": person, "status": status}
    given = {name: value for name, value in where.items() if value}
    return world.store.all("messages", direction="from_business", **given)


def _person(world: World, message: Row) -> Row:
    where = {"provider": PROVIDER, "account": message["account"], "id": message["person"]}
    return world.store.get("people", **where)
