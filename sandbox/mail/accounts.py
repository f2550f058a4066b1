"""The mailboxes that businesses have at this provider, as the control API declares them."""

from __future__ import annotations

import time
from typing import Any

from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.world import Upload, World

PROVIDER = "email"
_SHOWN = ("user", "verified_name", "callback_url", "uidvalidity")


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a mailbox: its address, and what its owner signs in with."""
    for name in ("address", "password"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise Refused(f"{name}: give a text", code="missing")
    address = body["address"].strip().lower()
    if "@" not in address:
        raise Refused("address: give an email address")
    before = world.store.one("accounts", provider=PROVIDER, id=address)
    data = {
        "user": body.get("user") or address,
        "password": body["password"],
        "verified_name": body.get("verified_name") or address,
        "callback_url": body.get("override_callback_url") or body.get("callback_url") or "",
        "uidvalidity": before["data"]["uidvalidity"] if before else int(time.time()),
    }
    world.store.put("accounts", provider=PROVIDER, id=address, data=data)
    return {"account": _shown(world.account(PROVIDER, address))}


def forget(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Remove a mailbox with all that is in it."""
    account = world.account(PROVIDER, body.get("account"))
    for table in ("messages", "people"):
        world.store.delete(table, provider=PROVIDER, account=account["id"])
    world.store.delete("accounts", provider=PROVIDER, id=account["id"])
    return {"forgotten": account["id"]}


def listed(world: World, _: dict[str, str]) -> dict[str, Any]:
    return {"accounts": [_shown(row) for row in world.store.all("accounts", provider=PROVIDER)]}


def business(world: World, account: str) -> dict[str, Any]:
    """Say what the page shows of the business."""
    shown = _shown(world.account(PROVIDER, account))
    return {"title": shown["verified_name"], "subtitle": shown["address"], **shown}


def signed_in(world: World, user: str, password: str) -> Row | None:
    """Find the mailbox that a user and a password open."""
    rows = world.store.all("accounts", provider=PROVIDER)
    return next((row for row in rows if (row["data"]["user"], row["data"]["password"]) == (user, password)), None)


def _shown(account: Row) -> dict[str, Any]:
    """Write a mailbox for the control API: everything but the password."""
    return {"address": account["id"], **{name: account["data"][name] for name in _SHOWN}}
