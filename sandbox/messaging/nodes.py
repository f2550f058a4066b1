"""The Graph API's nodes of Messenger and Instagram: a page, an Instagram account, `me`, a person, a token's renewal."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from flask import request

from sandbox.messaging import accounts, messages
from sandbox.messaging.network import Network
from sandbox.meta import graph
from sandbox.meta.errors import GraphError
from sandbox.store import Row
from sandbox.world import Node, World

Verbs = dict[tuple[str, str], Callable[[], Any]]
DAY, LIFE = 86400.0, 60 * 86400


def find(net: Network, world: World, id_: str) -> Node | None:
    """Find a node by its id."""
    caller = _caller(net, world)
    if caller and id_ == "refresh_access_token" and not by_page(caller):
        return node(caller, "token", {("GET", ""): partial(_refresh, world, caller)})
    if caller and id_ == "me" and not (by_page(caller) and net.provider == "instagram"):
        return node(caller, "account", _own(net, world, caller))
    if account := world.store.one("accounts", provider=net.provider, id=id_):
        return _account(net, world, account)
    if owner := _by_page(net, world, id_):
        return node(owner, "page", _page_of(net, world, owner))
    if caller and (person := world.store.one("people", provider=net.provider, account=caller["id"], id=id_)):
        return node(caller, "person", {("GET", ""): partial(_profile, net, person)})
    return None


def tokens(net: Network, world: World) -> frozenset[str]:
    """Give every access token that was declared, and those they replaced."""
    rows = world.store.all("accounts", provider=net.provider)
    return frozenset(token for row in rows for token in accounts.tokens(row))


def by_page(account: Row) -> bool:
    """Say whether an account is reached with a page's token."""
    return bool(account["data"]["login"] == "facebook")


def node(account: Row, kind: str, verbs: Verbs) -> Node:
    """Make a node of an account."""
    data, allowed = account["data"], accounts.tokens(account)
    secret, proof = data["proof_secret"], data["require_app_secret"]
    return Node(account["provider"], account["id"], kind, allowed, secret, proof, verbs)


def _account(net: Network, world: World, account: Row) -> Node:
    """Give an Instagram account, or a page, which is one node for both rooms if an Instagram account is behind it."""
    own = node(account, "account", _own(net, world, account))
    if net.provider == "instagram":
        return replace(own, verbs={("GET", ""): own.verbs[("GET", "")]}) if by_page(account) else own
    room = world.rooms.get("instagram")
    behind = room.node(world, account["id"]) if room and room.node else None
    if behind is None:
        return own
    subscribe = ("POST", "subscribed_apps")
    both = {
        ("POST", "messages"): partial(_send_as_either, world, own, behind),
        subscribe: lambda: behind.verbs[subscribe]() and own.verbs[subscribe](),
    }
    return replace(own, verbs={**own.verbs, **both}, tokens=own.tokens | behind.tokens)


def _own(net: Network, world: World, account: Row) -> Verbs:
    return {
        ("GET", ""): lambda: _about(net, account),
        ("POST", "messages"): lambda: messages.post(net, world, account),
        ("POST", "message_attachments"): lambda: messages.attach(net, world, account),
        ("GET", "subscribed_apps"): lambda: {"data": [{"id": account["data"]["app"], **_subscribed(account)}]},
        ("POST", "subscribed_apps"): lambda: _subscribe(net, world, account),
        ("DELETE", "subscribed_apps"): lambda: _set_fields(world, account, []),
    }


def _page_of(net: Network, world: World, account: Row) -> Verbs:
    """Give what the page behind an Instagram account can do for it."""
    about = {"id": account["data"]["page"], "name": account["data"]["name"]}
    return {
        ("GET", ""): lambda: about,
        ("POST", "messages"): lambda: messages.post(net, world, account),
        ("POST", "message_attachments"): lambda: messages.attach(net, world, account),
        ("POST", "subscribed_apps"): lambda: _subscribe_page(net, world, account),
    }


def _by_page(net: Network, world: World, page: str) -> Row | None:
    rows = world.store.all("accounts", provider=net.provider) if net.provider == "instagram" else []
    return next((row for row in rows if by_page(row) and row["data"]["page"] == page), None)


def _send_as_either(world: World, own: Node, behind: Node) -> Any:
    """Send from a page to somebody on Messenger, or on Instagram."""
    return (behind if _is_for(world, behind) else own).verbs[("POST", "messages")]()


def _is_for(world: World, node_: Node) -> bool:
    recipient = graph.body().get("recipient") if request.is_json else None
    id_ = recipient.get("id") if isinstance(recipient, dict) else None
    where = {"provider": node_.provider, "account": node_.account, "id": id_}
    return isinstance(id_, str) and world.store.one("people", **where) is not None


def _caller(net: Network, world: World) -> Row | None:
    """Find whose token this is; refuse one whose 60 days are over. Pages' tokens do not end."""
    presented = graph.token()
    rows = world.store.all("accounts", provider=net.provider)
    caller = next((row for row in rows if presented in accounts.tokens(row)), None)
    if caller and not by_page(caller) and world.clock.now() > caller["data"]["token_until"]:
        raise GraphError(190, subcode=463, message="Error validating access token: Session has expired.")
    return caller


def _refresh(world: World, account: Row) -> dict[str, Any]:
    """Give a new token for one that is at least a day old; the old one goes on working."""
    if request.args.get("grant_type") != "ig_refresh_token" or not request.args.get("access_token"):
        raise GraphError(100, "The parameters grant_type=ig_refresh_token and access_token are required.")
    now, data = world.clock.now(), account["data"]
    if now - data["token_since"] < DAY:
        raise GraphError(100, "The access token must be at least 24 hours old to be refreshed.")
    new = f"IGAA{secrets.token_hex(24)}"
    former = [*data["former_tokens"], data["access_token"]][-3:]
    accounts.change(world, account, access_token=new, former_tokens=former, token_since=now, token_until=now + LIFE)
    return {"access_token": new, "token_type": "bearer", "expires_in": LIFE}


def _about(net: Network, account: Row) -> dict[str, Any]:
    data = account["data"]
    if net.provider == "facebook":
        everything = {"id": account["id"], "name": data["name"], "category": "Shopping & retail", "link": ""}
        return _fields(everything, ("name",), "Page")
    everything = {
        "id": f"26{account['id'][2:]}" if not by_page(account) else account["id"],  # app-scoped with Instagram Login
        "user_id": account["id"],
        "username": data["username"],
        "name": data["name"],
        "account_type": "BUSINESS",
        "followers_count": 1204,
        "media_count": 88,
    }
    if by_page(account):
        everything.pop("user_id")
    return _fields(everything, ("id",), "IGUser")


def _profile(net: Network, person: Row) -> dict[str, Any]:
    """Tell who somebody is, once they have written and if they let us know."""
    data = person["data"]
    if data["hides_name"] or data["last_inbound"] is None:
        raise GraphError(100, status=400, subcode=2018218, message="(#100) No profile available for this user.")
    first, _, last = data["name"].partition(" ")
    if net.provider == "facebook":
        everything = {"id": person["id"], "first_name": first, "last_name": last, "name": data["name"]}
        everything = {name: value for name, value in everything.items() if value} | {"profile_pic": ""}
    else:
        everything = {
            "id": person["id"],
            "name": data["name"] or None,
            "username": data["username"] or None,
            "profile_pic": None,
            "follower_count": 12,
            "is_user_follow_business": True,
        }
    return _fields(everything, ("name",), "User", lenient=True)


def _fields(
    everything: dict[str, Any], default: tuple[str, ...], kind: str, *, lenient: bool = False
) -> dict[str, Any]:
    """Keep the fields asked for, and the id, which always comes."""
    asked = [name.strip() for name in request.args.get("fields", "").split(",") if name.strip()]
    for name in asked:
        if name not in everything and not lenient:
            raise GraphError(100, f"Tried accessing nonexisting field ({name}) on node type ({kind})")
    return {name: everything[name] for name in (*(asked or default), "id") if name in everything}


def _subscribe(net: Network, world: World, account: Row) -> dict[str, bool]:
    """Subscribe to the fields that are named, all of which must exist."""
    given = request.values.get("subscribed_fields", "") or ""
    if not given and request.is_json:
        body = graph.body().get("subscribed_fields", "")
        given = ",".join(body) if isinstance(body, list) else str(body)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        raise GraphError(100, "The parameter subscribed_fields is required.")
    for place, name in enumerate(names):
        if name not in (*net.fields, "feed", "comments"):
            allowed = ", ".join(net.fields)
            raise GraphError(100, f'Param subscribed_fields[{place}] must be one of {{{allowed}}} - got "{name}".')
    return _set_fields(world, account, names)


def _subscribe_page(net: Network, world: World, account: Row) -> dict[str, bool]:
    """With Facebook Login, any field of the page turns on all that the app has chosen in its dashboard."""
    if not request.values.get("subscribed_fields"):
        raise GraphError(100, "The parameter subscribed_fields is required.")
    return _set_fields(world, account, list(net.fields))


def _set_fields(world: World, account: Row, names: list[str]) -> dict[str, bool]:
    accounts.change(world, account, fields=names)
    return {"success": True}


def _subscribed(account: Row) -> dict[str, Any]:
    return {"name": account["data"]["app"], "subscribed_fields": account["data"]["fields"]}
