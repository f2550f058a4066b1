"""The Graph API's nodes of WhatsApp: a phone number, a business account (WABA), a media object, and their edges."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from flask import request

from sandbox.meta.errors import GraphError
from sandbox.numbers import calling_code, digits
from sandbox.store import Row
from sandbox.whatsapp import accounts, media, messages
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Node, World

_Verbs = dict[tuple[str, str], Callable[[], Any]]
_NUMBER_DEFAULT = (
    "verified_name",
    "code_verification_status",
    "display_phone_number",
    "quality_rating",
    "platform_type",
    "throughput",
)
_TEMPLATE_DEFAULT = ("name", "parameter_format", "components", "language", "status", "category")


def find(world: World, id_: str) -> Node | None:
    """Find a node by its id."""
    if account := world.store.one("accounts", provider=PROVIDER, id=id_):
        return _node(world, "account", [account], _number_verbs(world, account))
    if waba := world.store.thing("waba", id_):
        numbers = accounts.of_waba(world, id_)
        return _node(world, "waba", numbers, _waba_verbs(world, waba, numbers)) if numbers else None
    if file := media.find(world, id_):
        return _node(world, "media", [world.account(PROVIDER, file["account"])], _media_verbs(world, file))
    return None


def tokens(world: World) -> frozenset[str]:
    """Give every access token that was declared."""
    return frozenset(row["data"]["access_token"] for row in world.store.all("accounts", provider=PROVIDER))


def _node(world: World, kind: str, owners: list[Row], verbs: _Verbs) -> Node:
    account = owners[0]
    app = world.store.thing("meta_app", account["data"]["app"])
    allowed = frozenset(owner["data"]["access_token"] for owner in owners)
    return Node(PROVIDER, account["id"], kind, allowed, app["secret"], account["data"]["require_app_secret"], verbs)


def _number_verbs(world: World, account: Row) -> _Verbs:
    return {
        ("GET", ""): lambda: _fields(_number(account), _NUMBER_DEFAULT, "WhatsAppBusinessPhoneNumber"),
        ("POST", "messages"): lambda: messages.post(world, account),
        ("POST", "media"): lambda: media.upload(world, account),
    }


def _media_verbs(world: World, file: Row) -> _Verbs:
    return {("GET", ""): lambda: media.describe(world, file), ("DELETE", ""): lambda: _delete(world, file)}


def _waba_verbs(world: World, waba: dict[str, Any], numbers: list[Row]) -> _Verbs:
    about = {
        "id": waba["id"],
        "name": waba["name"],
        "currency": "EUR",
        "timezone_id": "59",
        "account_review_status": "APPROVED",
        "message_template_namespace": "0a1b2c3d_sandbox",
    }
    return {
        ("GET", ""): lambda: _fields(
            about, ("id", "name", "timezone_id", "message_template_namespace"), "WhatsAppBusinessAccount"
        ),
        ("GET", "phone_numbers"): lambda: _paged(
            [_fields(_number(row), _NUMBER_DEFAULT, "WhatsAppBusinessPhoneNumber") for row in numbers]
        ),
        ("GET", "message_templates"): lambda: _paged(
            [_fields(one, _TEMPLATE_DEFAULT, "WhatsAppMessageTemplate") for one in waba["templates"] if _wanted(one)]
        ),
        ("GET", "subscribed_apps"): lambda: {
            "data": [
                {"whatsapp_business_api_data": {"id": app, "name": app}}
                for app in dict.fromkeys(row["data"]["app"] for row in numbers if row["data"]["subscribed"])
            ]
        },
        ("POST", "subscribed_apps"): lambda: _subscribe(world, numbers, True),
        ("DELETE", "subscribed_apps"): lambda: _subscribe(world, numbers, False),
    }


def _number(account: Row) -> dict[str, Any]:
    """Give the fields of a phone number, the number written as people read it."""
    data = account["data"]
    plain = digits(data["display_phone_number"])
    code = calling_code(plain)
    given = data["display_phone_number"]
    return {
        "id": account["id"],
        "verified_name": data["verified_name"],
        "quality_rating": data["quality_rating"],
        "display_phone_number": given if " " in given else f"+{code} {plain[len(code) :]}",
        "code_verification_status": "VERIFIED",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
        "name_status": "APPROVED",
        "status": "CONNECTED",
        "account_mode": "LIVE",
        "is_official_business_account": False,
        "messaging_limit_tier": "TIER_1K",
        "webhook_configuration": {},
    }


def _fields(everything: dict[str, Any], default: tuple[str, ...], node: str) -> dict[str, Any]:
    """Keep the fields asked for, and the id, which always comes."""
    asked = [name.strip() for name in request.args.get("fields", "").split(",") if name.strip()]
    for name in asked:
        if name not in everything:
            raise GraphError(100, f"Tried accessing nonexisting field ({name}) on node type ({node})")
    return {name: everything[name] for name in (*(asked or default), "id") if name in everything}


def _wanted(template: dict[str, Any]) -> bool:
    asked = {name: request.args.get(name) for name in ("name", "status", "language", "category")}
    return all(value in (None, template[name]) for name, value in asked.items())


def _paged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Cut a list into a page with cursors, as Graph does."""
    given = request.args.get("limit", "25")
    if not given.isdigit() or not 1 <= int(given) <= 1000:
        raise GraphError(100, "Param limit must be a number between 1 and 1000")
    limit, start = int(given), 0
    if after := request.args.get("after"):
        start = _place(after) + 1
    elif before := request.args.get("before"):
        start = max(0, _place(before) - limit)
    page = rows[start : start + limit]
    if not page:
        return {"data": []}
    last = start + len(page) - 1
    paging: dict[str, Any] = {"cursors": {"before": _cursor(start), "after": _cursor(last)}}
    if last + 1 < len(rows):
        paging["next"] = f"{request.base_url}?limit={limit}&after={_cursor(last)}"
    return {"data": page, "paging": paging}


def _cursor(place: int) -> str:
    return base64.b64encode(f"cursor:{place}".encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    try:
        word, _, place = base64.b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if word == "cursor":
            return int(place)
    except ValueError:
        pass
    raise GraphError(100, "Invalid cursors values")


def _subscribe(world: World, numbers: list[Row], subscribed: bool) -> dict[str, bool]:
    for row in numbers:
        row["data"]["subscribed"] = subscribed
        world.store.update("accounts", {"provider": PROVIDER, "id": row["id"]}, data=row["data"])
    return {"success": True}


def _delete(world: World, file: Row) -> dict[str, bool]:
    world.store.delete_file(file)
    return {"success": True}
