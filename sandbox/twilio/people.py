"""Those who text: found or made by number, what their phones do, and who wants to hear no more.

A person's id is what Twilio calls `From`: a number in E.164, a short code or a sender's name. Opt-out words:
https://help.twilio.com/articles/223134027
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from sandbox import numbers
from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.twilio import accounts
from sandbox.twilio.accounts import PROVIDER
from sandbox.world import Upload, World

STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START = frozenset({"START", "UNSTOP"})
HELP = frozenset({"HELP", "INFO"})
SWITCHES = {
    "online": ("Phone is on", "Off: texts stay at “sent” until it is on again"),
    "opted_out": ("Opted out", "As after STOP: sends are refused with 21610"),
    "unreachable": ("Out of reach", "Texts come back as undelivered, 30003"),
    "filtered": ("Carrier filters", "Texts come back as undelivered, 30007"),
    "landline": ("Landline", "Sends are refused with 21614"),
    "no_receipts": ("Carrier tells nothing", "“Sent” is the last that is heard of a text"),
}
_NEW = {"name": "", **dict.fromkeys(SWITCHES, False), "online": True}


def find(world: World, account: Row, address: str) -> Row | None:
    """Find a person by their address."""
    return world.store.one("people", provider=PROVIDER, account=account["id"], id=address)


def make(world: World, account: Row, address: str, **facts: Any) -> Row:
    """Find or make the person with an address, and change what is told of them."""
    row = find(world, account, address)
    data = {**_NEW, **(row["data"] if row else {}), **facts}
    key = {"provider": PROVIDER, "account": account["id"], "id": address}
    if row is None:
        world.store.put("people", **key, user_id=address, match_key=address, data=data)
    else:
        world.store.update("people", key, data=data)
    world.live.changed((PROVIDER, account["id"], address))
    return world.store.get("people", **key)


def who(world: World, account: Row, body: dict[str, Any]) -> Row:
    """Find or make the person that a control request names by `from` (or `person`)."""
    facts: dict[str, Any] = {name: body[name] for name in SWITCHES if isinstance(body.get(name), bool)}
    facts |= {"name": str(body["name"])} if body.get("name") else {}
    return make(world, account, address_of(body.get("from") or body.get("person")), **facts)


def address_of(given: Any) -> str:
    """Write an address as Twilio has it: E.164, unless it is a short code or a sender's name."""
    text = str(given or "").strip()
    if re.search(r"[A-Za-z]", text):
        if re.fullmatch(r"[A-Za-z0-9 &+_-]{1,11}", text):
            return text
        raise Refused("from: a sender's name has up to 11 letters and digits")
    digits = numbers.digits(text).removeprefix("00")
    if re.fullmatch(r"[0-9]{3,6}", digits) and not text.startswith("+"):
        return digits
    if not re.fullmatch(r"[1-9][0-9]{6,14}", digits):
        raise Refused("from: give a phone number with its country code, like +353871234567")
    return f"+{digits}"


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a person: `name` and the switches."""
    return {"person": shown(who(world, accounts.named(world, body.get("account")), body))}


def shown(person: Row) -> dict[str, Any]:
    """Write a person for the control API."""
    return {"person": person["id"], "account": person["account"], **person["data"]}


def listed(world: World, query: dict[str, str]) -> dict[str, Any]:
    """List the people who know a sender."""
    account = accounts.named(world, query.get("account"))
    return {"people": [shown(row) for row in world.store.all("people", provider=PROVIDER, account=account["id"])]}


def customer(world: World, account: str, person: str) -> dict[str, Any]:
    """Say what the phone page shows of the customer."""
    row = find(world, world.account(PROVIDER, account), person)
    if row is None:
        raise Refused(f"Nobody with {person} knows this number", code="not_found", status=404)
    return {
        "id": row["id"],
        "name": row["data"]["name"],
        "address": row["id"],
        "handle": "",
        "switches": [
            {"name": name, "label": label, "hint": hint, "on": row["data"][name]}
            for name, (label, hint) in SWITCHES.items()
        ],
        "window": None,
        "typing": False,
    }


def new_person(world: World, account: str, name: str, address: str) -> str:
    """Make a customer for the phone page; without a number they get a made-up one."""
    number = address.strip() or f"+35389{secrets.randbelow(10**7):07d}"
    return str(make(world, world.account(PROVIDER, account), address_of(number), name=name.strip())["id"])


def wish(world: World, account: Row, person: Row, text: str) -> str:
    """Note an opt-out or opt-in if this text is one of the words; give `STOP`, `START`, `HELP` or nothing."""
    word = text.strip().upper()
    if word in STOP:
        make(world, account, person["id"], opted_out=True)
        return "STOP"
    if word in START or (word == "YES" and person["data"]["opted_out"]):
        make(world, account, person["id"], opted_out=False)
        return "START"
    return "HELP" if word in HELP else ""
