"""Pages and Instagram accounts, as the control API declares them. Sends nothing but the handshake."""

from __future__ import annotations

from typing import Any

from sandbox.errors import Refused
from sandbox.messaging.network import Network
from sandbox.meta import apps
from sandbox.store import Row
from sandbox.world import Upload, World

_SWITCHES = {"auto_read": False, "require_app_secret": False}


def declare(net: Network, world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change an account: the handshake first, then its app, then the account itself."""
    for name in (net.key, "access_token"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise Refused(f"{name}: give a text", code="missing")
    secret = _signing_secret(body)
    override, shake_hands = body.get("override_callback_url") or "", body.get("handshake", True) is True
    if override and shake_hands:
        apps.handshake(world, override, body.get("verify_token", ""))
    app = apps.declare(
        world,
        app_id=body.get("app_id", ""),
        secret=secret,
        object_=net.object,
        url=body.get("callback_url") or "",
        verify_token=body.get("verify_token", ""),
        shake_hands=shake_hands,
        needs_url=not override,
    )
    name = body.get("verified_name") or body.get("page_name") or body.get("username") or f"Sandbox {net.label}"
    data = {
        "app": app,
        "proof_secret": body.get("app_secret") or secret,
        "access_token": body["access_token"],
        "former_tokens": [],
        "token_since": body.get("token_since", world.clock.now() - 2 * 86400),
        "token_until": body.get("token_until", world.clock.now() + 60 * 86400),
        "login": body.get("login", "facebook" if net.object == "page" else "instagram"),
        "page": body.get("page_id", ""),
        "username": body.get("username", ""),
        "name": name,
        "override": override,
        "human_agent": body.get("human_agent") in (True, "yes"),
        "fields": list(net.fields) if body.get("subscribed", True) is True else [],
        **{switch: body.get(switch, default) is True for switch, default in _SWITCHES.items()},
    }
    world.store.put("accounts", provider=net.provider, id=body[net.key], data=data)
    return {"account": shown(net, world, world.account(net.provider, body[net.key]))}


def _signing_secret(body: dict[str, Any]) -> str:
    """Choose the secret that signs: with Instagram Login the app has one of its own."""
    by_page = body.get("login") == "facebook"
    secrets = [body.get(name) for name in ("instagram_app_secret", "app_secret")]
    found = next((one for one in (secrets[::-1] if by_page else secrets) if one), None)
    if not isinstance(found, str):
        raise Refused("app_secret: give a text", code="missing")
    return found


def shown(net: Network, world: World, account: Row) -> dict[str, Any]:
    """Write an account for the control API: everything but the secrets."""
    hidden = ("access_token", "former_tokens", "proof_secret", "override")
    data = {name: value for name, value in account["data"].items() if name not in hidden}
    app = world.store.thing("meta_app", data.pop("app"))
    url = account["data"]["override"] or app["callbacks"][net.object]["url"]
    return {net.key: account["id"], "app_id": app["id"], **data, "callback_url": url}


def listed(net: Network, world: World, _: dict[str, str]) -> dict[str, Any]:
    """List the declared accounts."""
    return {"accounts": [shown(net, world, row) for row in world.store.all("accounts", provider=net.provider)]}


def forget(net: Network, world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Remove an account with its people and messages; its app stays."""
    account = world.account(net.provider, body.get("account"))
    for table in ("people", "messages", "files"):
        world.store.delete(table, provider=net.provider, account=account["id"])
    world.store.delete("accounts", provider=net.provider, id=account["id"])
    return {"forgotten": account["id"]}


def change(world: World, account: Row, **data: Any) -> None:
    """Change what is known of an account."""
    account["data"].update(data)
    where = {"provider": account["provider"], "id": account["id"]}
    world.store.update("accounts", where, data=account["data"])


def tokens(account: Row) -> frozenset[str]:
    """Give the access tokens of an account: the new one, and those it replaced."""
    return frozenset([account["data"]["access_token"], *account["data"]["former_tokens"]])
