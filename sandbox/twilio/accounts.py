"""The numbers and Messaging Services of Twilio accounts, as the control API declares them.

Our account is one sender: a number, a short code, a sender's name, or a service with a number in its pool. Several of
them may share an account SID, which is what the REST API knows.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from sandbox import numbers
from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.world import Upload, World

PROVIDER = "sms"
_SHAPES = {
    "account_sid": r"AC[0-9a-f]{32}",
    "auth_token": r"[!-~]+",
    "messaging_service_sid": r"(MG[0-9a-f]{32})?",
    "api_key_sid": r"(SK[0-9a-f]{32})?",
    "api_key_secret": r"[!-~]*",
    "webhook_shared_key": r"[!-~]*",
    "from_number": r"(\+[1-9][0-9]{6,14}|[0-9]{3,6}|(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11})?",
}
_SWITCHES = {"mms": True, "sms": True, "advanced_opt_out": False, "suspended": False, "empty_pool": False}
_SECRETS = ("auth_token", "api_key_secret", "webhook_shared_key")


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a sender. Twilio verifies no callback address, so neither is this one."""
    given = {name: _text(body, name, shape) for name, shape in _SHAPES.items()}
    key = given["messaging_service_sid"] or given["from_number"]
    if not key:
        raise Refused("from_number: give a number, or a messaging_service_sid", code="missing")
    if bool(given["api_key_sid"]) != bool(given["api_key_secret"]):
        raise Refused("api_key_secret: an API key has a SID and a secret")
    url = body.get("override_callback_url") or body.get("callback_url") or ""
    if not isinstance(url, str) or (url and not is_address(url)):
        raise Refused(f"callback_url: “{url}” is no http(s) address")
    rate = body.get("messages_per_second", 100)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or rate <= 0:
        raise Refused("messages_per_second: give a number over 0")
    data = {
        **given,
        "from_number": given["from_number"] or _pool_number(key),
        "callback_url": url,
        "verified_name": str(body.get("verified_name") or "Sandbox business"),
        "messages_per_second": rate,
        **{switch: body.get(switch, default) is True for switch, default in _SWITCHES.items()},
    }
    world.store.put("accounts", provider=PROVIDER, id=key, data=data)
    return {"account": shown(world.account(PROVIDER, key))}


def _text(body: dict[str, Any], name: str, shape: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str) or not re.fullmatch(shape, value):
        raise Refused(f"{name}: give a text of the form {shape}", code="missing" if not value else "invalid")
    return value


def _pool_number(service: str) -> str:
    """Make up the one number of a service's pool, always the same."""
    return f"+35386{int(hashlib.sha256(service.encode()).hexdigest(), 16) % 10**7:07}"


def is_address(url: str) -> bool:
    """Say whether this is an address that can be called."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def named(world: World, given: Any) -> Row:
    """Give the sender that a control request names; a `+` that a query turned into a space is one again."""
    text = str(given or "")
    return world.account(PROVIDER, f"+{text[1:]}" if re.fullmatch(r" [0-9]+", text) else text)


def shown(account: Row) -> dict[str, Any]:
    """Write a sender for the control API: everything but the secrets."""
    return {"account": account["id"], **{k: v for k, v in account["data"].items() if k not in _SECRETS}}


def listed(world: World, _: dict[str, str]) -> dict[str, Any]:
    """List the declared senders."""
    return {"accounts": [shown(row) for row in world.store.all("accounts", provider=PROVIDER)]}


def forget(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Remove a sender with its people, messages and files."""
    account = named(world, body.get("account"))
    for table in ("people", "messages", "files"):
        world.store.delete(table, provider=PROVIDER, account=account["id"])
    world.store.delete("accounts", provider=PROVIDER, id=account["id"])
    return {"forgotten": account["id"]}


def business(world: World, account: str) -> dict[str, Any]:
    """Say what the phone page shows of the business."""
    shown_ = shown(world.account(PROVIDER, account))
    return {"title": shown_["verified_name"], "subtitle": shown_["from_number"], **shown_}


def of_sid(world: World, sid: str) -> list[Row]:
    """List the senders of a Twilio account."""
    return [row for row in world.store.all("accounts", provider=PROVIDER) if row["data"]["account_sid"] == sid]


def country(account: Row) -> str:
    """Give the country of a sender's number."""
    return numbers.country(numbers.digits(account["data"]["from_number"]))
