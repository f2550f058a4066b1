"""The callbacks of Messenger and Instagram: `entry` → `messaging` (or `standby`) → one event, as documented."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from sandbox.messaging.network import Network
from sandbox.meta import apps
from sandbox.store import Row
from sandbox.world import World


def new_mid(net: Network) -> str:
    """Make a message id that looks like the network's."""
    return net.mid + base64.urlsafe_b64encode(secrets.token_bytes(36)).decode()


def event(account: Row, person: str, at: float, *, by_us: bool = False, **part: Any) -> dict[str, Any]:
    """Write one event: from the person to the account, or of what the account itself did."""
    us = account["id"]
    sender, recipient = (us, person) if by_us else (person, us)
    return {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": int(at * 1000), **part}


def entry(world: World, account: Row, events: list[dict[str, Any]], *, standby: bool = False) -> dict[str, Any]:
    """Wrap events of one account."""
    return {"id": account["id"], "time": int(world.clock.now() * 1000), "standby" if standby else "messaging": events}


def wanted(net: Network, account: Row, one: dict[str, Any]) -> bool:
    """Say whether the account's app is subscribed to the field that brings this event."""
    name = next((name for name in one if name in net.field_of), "message")
    message = one.get("message")
    if isinstance(message, dict) and message.get("is_echo"):
        name = "echo"
    return net.field_of[name] in account["data"]["fields"]


def post(
    net: Network,
    world: World,
    account: Row,
    entries: list[dict[str, Any]] | None,
    *,
    person: str,
    label: str,
    body: bytes | None = None,
) -> int | None:
    """Queue a callback; None if nothing in it is subscribed to."""
    if entries is not None:
        lists = [entry.get("standby") or entry.get("messaging") or [] for entry in entries]
        if not any(wanted(net, account, one) for events in lists for one in events):
            return None
    return apps.post(
        world,
        account["data"]["app"],
        net.object,
        entries,
        provider=net.provider,
        account=account["id"],
        person=person,
        label=label,
        body=body,
        override=account["data"]["override"],
    )
