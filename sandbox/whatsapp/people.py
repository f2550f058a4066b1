"""WhatsApp's people: found or made by number, username or business-scoped id (BSUID), and what their phones do.

A person's id here is the `wa_id` (digits), or the BSUID of someone whose number nobody gave us.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

from sandbox import numbers
from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Upload, World

WINDOW = 86400.0
BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_NEW: dict[str, Any] = {
    "name": "",
    "username": "",
    "user_id": "",
    "phone": None,
    "hide_phone": False,
    "online": True,
    "on_whatsapp": True,
    "auto_read": False,
    "blocked": False,
    "marketing_opt_out": False,
    "last_inbound": None,
    "typing_until": 0.0,
}
_SWITCHES = ("hide_phone", "online", "on_whatsapp", "auto_read", "blocked", "marketing_opt_out")


def find(world: World, account: Row, address: str) -> Row | None:
    """Find a person by number, in any spelling that is the same mobile, or by BSUID."""
    where = {"provider": PROVIDER, "account": account["id"]}
    key = numbers.match_key(numbers.digits(address)) if not BSUID.fullmatch(address) else ""
    return (
        world.store.one("people", **where, id=address)
        or world.store.one("people", **where, user_id=address)
        or (world.store.one("people", **where, match_key=key) if key else None)
    )


def make(world: World, account: Row, *, phone: str = "", username: str = "", **facts: Any) -> Row:
    """Make a person; someone without a number is known by a BSUID only."""
    user_id = facts.pop("user_id", "") or _bsuid(account, phone or username or secrets.token_hex(8), phone)
    data = {**_NEW, "phone": phone or None, "username": username, "user_id": user_id, "hide_phone": not phone, **facts}
    id_ = phone or user_id
    world.store.put(
        "people",
        provider=PROVIDER,
        account=account["id"],
        id=id_,
        user_id=user_id,
        data=data,
        match_key=numbers.match_key(phone),
    )
    return world.store.get("people", provider=PROVIDER, account=account["id"], id=id_)


def change(world: World, person: Row, **data: Any) -> Row:
    """Change what is known of a person."""
    person["data"].update(data)
    where = {"provider": PROVIDER, "account": person["account"], "id": person["id"]}
    key = numbers.match_key(person["data"]["phone"] or "")
    world.store.update("people", where, data=person["data"], user_id=person["data"]["user_id"], match_key=key)
    world.live.changed((PROVIDER, person["account"], person["id"]))
    return person


def who(world: World, account: Row, body: dict[str, Any]) -> Row:
    """Find or make the person that a control request names by `from` (or `person`), `user_id` or `username`."""
    address, user_id = str(body.get("from") or body.get("person") or ""), str(body.get("user_id") or "")
    username = str(body.get("username") or "").lstrip("@")
    if BSUID.fullmatch(address):
        address, user_id = "", address
    phone = numbers.digits(address)
    if address and not 5 <= len(phone) <= 15:
        raise Refused("from: give a phone number with its country code, like +353871234567")
    if user_id and not BSUID.fullmatch(user_id):
        raise Refused("user_id: a BSUID looks like IE.13491208655302741918")
    if not (phone or user_id or username):
        raise Refused("from: give a phone number (or a username, or a user_id)", code="missing")
    person = find(world, account, phone or user_id) if phone or user_id else _by_username(world, account, username)
    facts = {name: body[name] for name in _SWITCHES if isinstance(body.get(name), bool)}
    if body.get("name"):
        facts["name"] = str(body["name"])
    if person is None:
        return make(world, account, phone=phone, username=username, user_id=user_id, **facts)
    facts |= {"username": username} if username else {}
    facts |= {"user_id": user_id} if user_id else {}
    return change(world, person, **facts) if facts else person


def _by_username(world: World, account: Row, username: str) -> Row | None:
    rows = world.store.all("people", provider=PROVIDER, account=account["id"])
    return next((row for row in rows if row["data"]["username"] == username), None)


def window_left(world: World, person: Row) -> float:
    """Say how many seconds the 24-hour window is still open; 0 when it is closed."""
    last = person["data"]["last_inbound"]
    return max(0.0, last + WINDOW - world.clock.now()) if last is not None else 0.0


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a person; `window` opens or closes their 24-hour window."""
    account = world.account(PROVIDER, body.get("account"))
    person = who(world, account, body)
    if body.get("window") == "closed":
        person = change(world, person, last_inbound=None)
    elif body.get("window") == "open":
        person = change(world, person, last_inbound=world.clock.now())
    return {"person": shown(world, person)}


def shown(world: World, person: Row) -> dict[str, Any]:
    """Write a person for the control API."""
    data = {name: value for name, value in person["data"].items() if name not in ("last_inbound", "typing_until")}
    return {
        "person": person["id"],
        "account": person["account"],
        **data,
        "window_seconds": round(window_left(world, person)),
    }


def listed(world: World, query: dict[str, str]) -> dict[str, Any]:
    """List the people who know a number."""
    account = world.account(PROVIDER, query.get("account"))
    rows = world.store.all("people", provider=PROVIDER, account=account["id"])
    return {"people": [shown(world, row) for row in rows]}


def _bsuid(account: Row, seed: str, phone: str) -> str:
    """Make the BSUID that this person always has with the businesses of one Meta app."""
    number = int(hashlib.sha256(f"{account['data']['app']}|{seed}".encode()).hexdigest(), 16) % 10**20
    land = numbers.country(phone or numbers.digits(account["data"]["display_phone_number"]))
    return f"{land if land != 'XX' else 'IE'}.{number:020d}"
