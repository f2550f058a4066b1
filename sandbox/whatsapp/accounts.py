"""WhatsApp numbers and the business accounts (WABAs) that own them, as the control API declares them."""

from __future__ import annotations

from typing import Any

from sandbox.errors import Refused
from sandbox.meta import apps
from sandbox.numbers import digits
from sandbox.store import Row
from sandbox.whatsapp import templates
from sandbox.world import Upload, World

PROVIDER = "whatsapp"
OBJECT = "whatsapp_business_account"
_REQUIRED = ("phone_number_id", "business_account_id", "display_phone_number", "access_token", "app_secret")
_OPTIONAL = ("app_id", "callback_url", "override_callback_url", "verify_token", "verified_name", "business_name",
             "quality_rating")  # fmt: skip
_SWITCHES = {"subscribed": True, "auto_read": False, "bsuids": True, "pair_limit": True, "require_app_secret": False}


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a number: handshake first, then its app, its WABA with templates, and the number itself."""
    _check(body)
    new = templates.complete(body["templates"]) if "templates" in body else None
    override = body.get("override_callback_url", "")
    shake_hands = body.get("handshake", True) is True
    if override and shake_hands:
        apps.handshake(world, override, body.get("verify_token", ""))
    app = apps.declare(
        world,
        app_id=body.get("app_id", ""),
        secret=body["app_secret"],
        object_=OBJECT,
        url=body.get("callback_url", ""),
        verify_token=body.get("verify_token", ""),
        shake_hands=shake_hands,
        needs_url=not override,
    )
    waba = world.store.thing("waba", body["business_account_id"]) or {
        "templates": templates.complete(templates.DEFAULTS)
    }
    name = body.get("business_name") or waba.get("name") or body.get("verified_name") or "Sandbox business"
    waba |= {"id": body["business_account_id"], "name": name}
    world.store.keep("waba", waba["id"], waba if new is None else {**waba, "templates": new})
    data = {
        "app": app,
        "waba": waba["id"],
        "access_token": body["access_token"],
        "override": override,
        "display_phone_number": body["display_phone_number"],
        "verified_name": body.get("verified_name") or name,
        "quality_rating": body.get("quality_rating", "GREEN"),
        "messages_per_second": body.get("messages_per_second", 80),
        **{switch: body.get(switch, default) is True for switch, default in _SWITCHES.items()},
    }
    world.store.put("accounts", provider=PROVIDER, id=body["phone_number_id"], data=data)
    return {"account": shown(world, world.account(PROVIDER, body["phone_number_id"]))}


def _check(body: dict[str, Any]) -> None:
    """Refuse a declaration of which something is missing or of the wrong kind."""
    for name in _REQUIRED:
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise Refused(f"{name}: give a text", code="missing")
    for name in _OPTIONAL:
        if not isinstance(body.get(name, ""), str):
            raise Refused(f"{name}: give a text")
    rate = body.get("messages_per_second", 80)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or rate <= 0:
        raise Refused("messages_per_second: give a number over 0")
    if not digits(body["display_phone_number"]):
        raise Refused("display_phone_number: give a phone number")


def shown(world: World, account: Row) -> dict[str, Any]:
    """Write an account for the control API: everything but the token."""
    data = {name: value for name, value in account["data"].items() if name != "access_token"}
    app = world.store.thing("meta_app", data["app"])
    data["callback_url"] = data.pop("override") or app["callbacks"][OBJECT]["url"]
    return {
        "phone_number_id": account["id"],
        "business_account_id": data.pop("waba"),
        "app_id": data.pop("app"),
        **data,
    }


def listed(world: World, _: dict[str, str]) -> dict[str, Any]:
    """List the declared numbers."""
    return {"accounts": [shown(world, row) for row in world.store.all("accounts", provider=PROVIDER)]}


def forget(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Remove a number with its people and messages; its WABA and its app stay."""
    account = world.account(PROVIDER, body.get("account"))
    for table in ("people", "messages", "files"):
        world.store.delete(table, provider=PROVIDER, account=account["id"])
    world.store.delete("accounts", provider=PROVIDER, id=account["id"])
    return {"forgotten": account["id"]}


def set_templates(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Add templates to a WABA, in place of those with the same name and language; `replace` drops the others."""
    id_ = body.get("business_account_id") or world.account(PROVIDER, body.get("account"))["data"]["waba"]
    waba = world.store.thing("waba", id_)
    if waba is None:
        raise Refused(f"business_account_id: {id_} is not declared here", code="unknown_account", status=404)
    new = templates.complete(body.get("templates"))
    names = {(one["name"], one["language"]) for one in new}
    kept = [] if body.get("replace") is True else waba["templates"]
    waba["templates"] = [one for one in kept if (one["name"], one["language"]) not in names] + new
    world.store.keep("waba", id_, waba)
    return {"templates": waba["templates"]}


def of_waba(world: World, waba: str) -> list[Row]:
    """List the numbers of a WABA."""
    return [row for row in world.store.all("accounts", provider=PROVIDER) if row["data"]["waba"] == waba]
