"""The webhook envelopes of WhatsApp: `entry` → `changes` → `value`, with metadata and contacts as documented."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from sandbox.meta import apps
from sandbox.numbers import digits
from sandbox.store import Row
from sandbox.whatsapp.accounts import OBJECT, PROVIDER
from sandbox.world import World


def new_id(person: Row | None) -> str:
    """Make a message id that looks like WhatsApp's."""
    number = (person["data"]["phone"] if person else None) or "0"
    raw = b"\x1c\x18" + bytes([len(number)]) + number.encode() + b"\x15\x02\x00\x11\x18" + secrets.token_bytes(20)
    return "wamid." + base64.b64encode(raw).decode()


def metadata(account: Row) -> dict[str, str]:
    """Name the number in a value."""
    return {"display_phone_number": digits(account["data"]["display_phone_number"]), "phone_number_id": account["id"]}


def contact(account: Row, person: Row, *, profile: bool = True) -> dict[str, Any]:
    """Name a person in a value: without a number when they hide it, without a BSUID on accounts of the old kind."""
    data = person["data"]
    entry: dict[str, Any] = {}
    if profile:
        entry["profile"] = {"name": data["name"] or data["username"] or "WhatsApp user"}
        if data["username"]:
            entry["profile"]["username"] = data["username"]
    if data["phone"] and not data["hide_phone"]:
        entry["wa_id"] = data["phone"]
    if account["data"]["bsuids"] or "wa_id" not in entry:
        entry["user_id"] = data["user_id"]
    return entry


def sender(account: Row, person: Row) -> dict[str, str]:
    """Give `from` and `from_user_id` of a message."""
    known = contact(account, person, profile=False)
    pairs = {"from": known.get("wa_id"), "from_user_id": known.get("user_id")}
    return {name: value for name, value in pairs.items() if value}


def entry(account: Row, field: str = "messages", **value: Any) -> dict[str, Any]:
    """Wrap what happened in an entry."""
    full = {"messaging_product": "whatsapp", "metadata": metadata(account), **value}
    return {"id": account["data"]["waba"], "changes": [{"field": field, "value": full}]}


def post(
    world: World,
    account: Row,
    entries: list[dict[str, Any]] | None,
    *,
    person: str,
    label: str,
    body: bytes | None = None,
) -> int | None:
    """Queue a callback to this number's address; None when its WABA is not subscribed to the app."""
    if not account["data"]["subscribed"]:
        return None
    return apps.post(
        world,
        account["data"]["app"],
        OBJECT,
        entries,
        provider=PROVIDER,
        account=account["id"],
        person=person,
        label=label,
        body=body,
        override=account["data"]["override"],
    )
