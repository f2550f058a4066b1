"""The people of a page or an Instagram account: found or made by scoped id, by name or by handle. Sends nothing."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.errors import Refused
from sandbox.messaging.network import Network
from sandbox.store import Row
from sandbox.world import Upload, World

WINDOW, HUMAN_WINDOW = 86400.0, 7 * 86400.0
_NEW: dict[str, Any] = {
    "name": "",
    "username": "",
    "online": True,
    "auto_read": False,
    "blocked": False,
    "standby": False,
    "hides_name": False,
    "last_inbound": None,
    "typing_until": 0.0,
}
_SWITCHES = ("online", "auto_read", "blocked", "standby", "hides_name")


def find(net: Network, world: World, account: Row, address: str) -> Row | None:
    """Find a person by scoped id, else by name or handle."""
    where = {"provider": net.provider, "account": account["id"]}
    key = _key(address)
    return world.store.one("people", **where, id=address) or (
        world.store.one("people", **where, match_key=key) if key else None
    )


def make(net: Network, world: World, account: Row, *, id_: str = "", **facts: Any) -> Row:
    """Make a person with a scoped id of their own."""
    id_ = id_ or str(secrets.randbelow(9 * 10**15) + 10**15)
    data = {**_NEW, **facts}
    world.store.put(
        "people",
        provider=net.provider,
        account=account["id"],
        id=id_,
        user_id=id_,
        match_key=_key(data["username"] or data["name"]),
        data=data,
    )
    return world.store.get("people", provider=net.provider, account=account["id"], id=id_)


def change(world: World, person: Row, **data: Any) -> Row:
    """Change what is known of a person."""
    person["data"].update(data)
    where = {name: person[name] for name in ("provider", "account", "id")}
    key = _key(person["data"]["username"] or person["data"]["name"])
    world.store.update("people", where, data=person["data"], match_key=key)
    world.live.changed((person["provider"], person["account"], person["id"]))
    return person


def who(net: Network, world: World, account: Row, body: dict[str, Any]) -> Row:
    """Find or make the person that a control request names by `from` (or `person`): a scoped id, a name or a handle."""
    address = str(body.get("from") or body.get("person") or body.get("username") or "").strip().lstrip("@+")
    if not address:
        raise Refused("from: give a scoped id (digits), or a name or handle to find or make somebody", code="missing")
    facts = {name: body[name] for name in _SWITCHES if isinstance(body.get(name), bool)}
    facts |= {name: str(body[name]).lstrip("@") for name in ("name", "username") if body.get(name)}
    person = find(net, world, account, address)
    if person is None:
        is_id = address.isdecimal() and len(address) <= 32
        guess = {} if is_id else {"name": address} if " " in address else {"username": address, "name": address}
        return make(net, world, account, id_=address if is_id else "", **(guess | facts))
    return change(world, person, **facts) if facts else person


def window_left(world: World, person: Row, seconds: float = WINDOW) -> float:
    """Say how many seconds one may still answer; 0 when that is over."""
    last = person["data"]["last_inbound"]
    return max(0.0, last + seconds - world.clock.now()) if last is not None else 0.0


def declare(net: Network, world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a person; `window` opens or closes their 24-hour window."""
    account = world.account(net.provider, body.get("account"))
    person = who(net, world, account, body)
    if body.get("window") in ("closed", "open"):
        person = change(world, person, last_inbound=world.clock.now() if body["window"] == "open" else None)
    return {"person": shown(world, person)}


def shown(world: World, person: Row) -> dict[str, Any]:
    """Write a person for the control API."""
    data = {name: value for name, value in person["data"].items() if name not in ("last_inbound", "typing_until")}
    window = round(window_left(world, person))
    return {"person": person["id"], "account": person["account"], **data, "window_seconds": window}


def listed(net: Network, world: World, query: dict[str, str]) -> dict[str, Any]:
    """List the people who know an account."""
    account = world.account(net.provider, query.get("account"))
    rows = world.store.all("people", provider=net.provider, account=account["id"])
    return {"people": [shown(world, row) for row in rows]}


def _key(name: str) -> str:
    return name.strip().lstrip("@").casefold()
