"""A WhatsApp customer's phone: what its page shows, its switches, and what a tap on it says."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sandbox.errors import Refused
from sandbox.whatsapp import accounts, chats, people, statuses
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Upload, World

SWITCHES = {
    "online": ("Phone is on", "Off: messages stay at one tick until it is on again"),
    "blocked": ("Blocks the business", "Messages fail with 131026"),
    "marketing_opt_out": ("Stopped marketing", "Marketing templates fail with 131050"),
    "hide_phone": ("Hides the number", "Callbacks name the person by BSUID only"),
}


def declare(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Make or change a person; if the phone went on, what waited for it arrives."""
    answer = people.declare(world, body, upload)
    person = answer["person"]
    if body.get("online") is True:
        statuses.switched_on(world, person["account"], person["person"])
    if body.get("auto_read") is True:
        statuses.seen(world, person["account"], person["person"])
    return answer


def new_person(world: World, account: str, name: str, address: str) -> str:
    """Make a customer for the phone page; without a number they get a made-up one."""
    number = address.strip() or f"+35389{secrets.randbelow(10**7):07d}"
    row = people.who(world, world.account(PROVIDER, account), {"from": number, "name": name.strip()})
    return str(row["id"])


def business(world: World, account: str) -> dict[str, Any]:
    """Say what the page shows of the business."""
    shown = accounts.shown(world, world.account(PROVIDER, account))
    return {"title": shown["verified_name"], "subtitle": shown["display_phone_number"], **shown}


def customer(world: World, account: str, person: str) -> dict[str, Any]:
    """Say what the page shows of the customer."""
    row = people.find(world, world.account(PROVIDER, account), person)
    if row is None:
        raise Refused(f"Nobody with {person} knows this number", code="not_found", status=404)
    data = row["data"]
    return {
        "id": row["id"],
        "name": data["name"],
        "address": f"+{data['phone']}" if data["phone"] else f"@{data['username']}",
        "handle": data["user_id"],
        "switches": [
            {"name": name, "label": label, "hint": hint, "on": data[name]} for name, (label, hint) in SWITCHES.items()
        ],
        "window": round(people.window_left(world, row)),
        "typing": data["typing_until"] > world.clock.now(),
    }


def chat(world: World, account: str, person: str) -> list[dict[str, Any]]:
    """List the chat, with what never arrived, which the page shows apart."""
    return chats.history(world, account, person, everything=True)


def gesture(done: dict[str, str]) -> dict[str, Any]:
    """Turn what was done on the page into the body of `say`."""
    kind, target = done.get("kind", "text"), done.get("message", "")
    if kind == "react":
        return {"reaction": {"message_id": target, "emoji": done.get("emoji", "")}}
    if kind == "reply":
        choice = {"id": done.get("id"), "title": done.get("title")}
        return {"context": target, "interactive": {"type": "button_reply", "button_reply": choice}}
    if kind == "row":
        row = {name: done[name] for name in ("id", "title", "description") if done.get(name)}
        return {"context": target, "interactive": {"type": "list_reply", "list_reply": row}}
    if kind == "quick_reply":
        return {"context": target, "button": {"payload": done.get("id"), "text": done.get("title")}}
    if kind == "send_location":
        return {"context": target, "location": {"latitude": 53.3498, "longitude": -6.2603, "name": "GPO, Dublin"}}
    if kind == "request_contact_info":
        card = json.loads(done.get("card") or "{}")
        return {"context": target, "contacts": [card or {"name": {"formatted_name": "Me"}}]}
    return {"text": done.get("text", "").strip(), **({"context": target} if target else {})}
