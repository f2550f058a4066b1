"""A customer's phone: what its page shows, its switches, and what a tap on it says."""

from __future__ import annotations

from typing import Any

from sandbox.errors import Refused
from sandbox.messaging import accounts, chats, people, receipts
from sandbox.messaging.network import Network
from sandbox.world import Upload, World


def declare(net: Network, world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Make or change a person; if the phone went on, what waited for it arrives."""
    answer = people.declare(net, world, body, upload)
    person = answer["person"]
    if body.get("online") is True:
        receipts.switched_on(net, world, person["account"], person["person"])
    if body.get("auto_read") is True:
        receipts.seen(net, world, person["account"], person["person"])
    return answer


def new_person(net: Network, world: World, account: str, name: str, address: str) -> str:
    """Make a customer for the phone page: by handle where they have one, else with nothing but a name."""
    row, name, address = world.account(net.provider, account), name.strip(), address.strip()
    if address:
        return str(people.who(net, world, row, {"from": address, **({"name": name} if name else {})})["id"])
    return str(people.make(net, world, row, name=name)["id"])


def business(net: Network, world: World, account: str) -> dict[str, Any]:
    """Say what the page shows of the business."""
    shown = accounts.shown(net, world, world.account(net.provider, account))
    return {**shown, "title": shown["name"], "subtitle": f"@{shown['username']}" if shown["username"] else account}


def customer(net: Network, world: World, account: str, person: str) -> dict[str, Any]:
    """Say what the page shows of the customer."""
    row = people.find(net, world, world.account(net.provider, account), person)
    if row is None:
        raise Refused(f"Nobody with {person} knows this account", code="not_found", status=404)
    data = row["data"]
    switches = [
        {"name": name, "label": label, "hint": hint, "on": data[name]} for name, (label, hint) in net.switches.items()
    ]
    return {
        "id": row["id"],
        "name": data["name"] or data["username"],
        "address": f"@{data['username']}" if data["username"] else row["id"],
        "handle": row["id"] if data["username"] else "",
        "switches": switches,
        "window": round(people.window_left(world, row)),
        "typing": data["typing_until"] > world.clock.now(),
    }


def chat(net: Network, world: World, account: str, person: str) -> list[dict[str, Any]]:
    """List the chat."""
    return chats.history(net, world, account, person)


def gesture(done: dict[str, str]) -> dict[str, Any]:
    """Turn what was done on the page into the body of `say`."""
    kind, target = done.get("kind", "text"), done.get("message", "")
    if kind == "react":
        return {"reaction": {"mid": target, "emoji": done.get("emoji", "")}}
    if kind == "postback":
        return {"postback": {"title": done.get("title"), "payload": done.get("id")}}
    if kind == "quick_reply":
        return {"text": done.get("title"), "quick_reply": {"payload": done.get("id")}}
    return {"text": done.get("text", "").strip(), **({"reply_to": target} if target else {})}
