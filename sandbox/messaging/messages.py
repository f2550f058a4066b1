"""`POST /{page or account}/messages`: what it refuses, what it takes, and the echo of that. Nothing fails later.

Also `/message_attachments`, which keeps a file for later.
"""

from __future__ import annotations

import json
from typing import Any

from flask import request

from sandbox.messaging import chats, events, files, people, receipts, rules
from sandbox.messaging.network import UNAVAILABLE, Network
from sandbox.meta import graph
from sandbox.meta.errors import GraphError
from sandbox.store import Row
from sandbox.world import World

PER_SECOND = 300
APP_NUMBER = 1517776481860111


def post(net: Network, world: World, account: Row) -> dict[str, Any]:
    """Answer one call of the messages endpoint."""
    if not world.rates.take(net.provider, account["id"], size=PER_SECOND, per_second=PER_SECOND):
        raise GraphError(613)
    body, upload = asked(net)
    if "sender_action" in body:
        return _act(net, world, account, body)
    tag, view = rules.check(net, body, has_file=upload is not None)
    person = _recipient(net, world, account, body)
    _may_answer(net, world, account, person, tag)
    for part in view.get("parts", []):
        file = _file(net, world, account, part, upload)
        part.clear()
        part |= {"type": _shown_as(file), "file": file["id"]}
    mid = events.new_mid(net)
    row = chats.put(
        net, world, account, person, id_=mid, kind=chats.kind_of(view), by_us=True, status="sent",
        at=world.clock.now(), view=view, request=body,
    )  # fmt: skip
    people.change(world, person, typing_until=0.0)
    _echo(net, world, account, person, row)
    receipts.start(net, world, mid)
    return {"recipient_id": person["id"], "message_id": mid}


def _echo(net: Network, world: World, account: Row, person: Row, row: Row) -> None:
    """Call back what was taken; Instagram tells neither the app nor our metadata."""
    message: dict[str, Any] = {"mid": row["id"], "is_echo": True}
    if net.delivers:
        metadata = row["data"]["request"]["message"].get("metadata")
        message |= {"app_id": APP_NUMBER} | ({"metadata": metadata} if metadata else {})
    message |= content(world, row["data"]["view"])
    event = events.event(account, person["id"], row["at"], by_us=True, message=message)
    events.post(net, world, account, [events.entry(world, account, [event])], person=person["id"], label="echo")


def content(world: World, view: dict[str, Any]) -> dict[str, Any]:
    """Write a view as a message has it: text, and attachments on the CDN."""
    found: dict[str, Any] = {"text": view["text"]} if view.get("text") else {}
    parts = [(part, world.store.get("files", id=part["file"])) for part in view.get("parts", []) if part.get("file")]
    if parts:
        found["attachments"] = [
            {"type": part["type"], "payload": {"url": files.url_of(world, file)}} for part, file in parts
        ]
    return found


def attach(net: Network, world: World, account: Row) -> dict[str, Any]:
    """Answer one call of the message_attachments endpoint."""
    body, upload = asked(net)
    body.setdefault("recipient", {"id": "0"})
    _, view = rules.check(net, body | {"messaging_type": "RESPONSE"}, has_file=upload is not None)
    parts = view.get("parts") or []
    if len(parts) != 1:
        raise GraphError(100, "An upload is one attachment.")
    file = _file(net, world, account, parts[0], upload)
    world.store.update("files", {"id": file["id"]}, source="attachment")
    return {"attachment_id": file["id"]}


def asked(net: Network) -> tuple[dict[str, Any], Any]:
    """Read a call: JSON, or where that is allowed a form whose values are JSON, with a file."""
    if request.mimetype != "multipart/form-data":
        return graph.body(), None
    if not net.multipart:
        raise GraphError(100, "Files cannot be uploaded here: give the url of one.")
    return {name: _json(value) for name, value in request.form.items()}, request.files.get("filedata")


def _json(value: str) -> Any:
    try:
        return json.loads(value) if value.startswith(("{", "[")) else value
    except ValueError:
        raise GraphError(100, f"A value of the form is not valid JSON: {value[:80]}") from None


def _recipient(net: Network, world: World, account: Row, body: dict[str, Any]) -> Row:
    id_ = rules.recipient(body)
    person = world.store.one("people", provider=net.provider, account=account["id"], id=id_)
    if person is None:
        raise net.nobody.error()
    return person


def _may_answer(net: Network, world: World, account: Row, person: Row, tag: str) -> None:
    """Refuse what comes too late, without the right to be late, to somebody who will not have it, or out of turn."""
    allowed = people.HUMAN_WINDOW if tag and account["data"]["human_agent"] else people.WINDOW
    if not people.window_left(world, person, allowed):
        raise net.closed.error()
    if person["data"]["blocked"]:
        raise UNAVAILABLE.error()
    if person["data"]["standby"]:
        raise net.elsewhere.error()


def _file(net: Network, world: World, account: Row, part: dict[str, Any], upload: Any) -> Row:
    kind = part["type"]
    if "along" in part:
        return files.sent(net, world, account, kind, upload)
    if "url" in part:
        return files.fetched(net, world, account, kind, part["url"])
    return files.uploaded(net, world, account, kind, part["attachment_id"])


def _shown_as(file: Row) -> str:
    family = str(file["mime"]).partition("/")[0]
    return family if family in ("image", "video", "audio") else "file"


def _act(net: Network, world: World, account: Row, body: dict[str, Any]) -> dict[str, Any]:
    """Show that the business types, has seen the chat, or reacts."""
    action = rules.action(net, body)
    person = _recipient(net, world, account, body)
    if action == "mark_seen":
        where = {"provider": net.provider, "account": account["id"], "person": person["id"]}
        world.store.update("messages", {**where, "direction": "from_customer"}, status="read")
    elif action.startswith("typing"):
        people.change(world, person, typing_until=world.clock.now() + 20 if action == "typing_on" else 0.0)
    else:
        payload = body["payload"]
        if not world.store.one("messages", provider=net.provider, account=account["id"], id=payload["message_id"]):
            raise GraphError(100, "The message to react to does not exist.")
        emoji = payload.get("reaction", "") if action == "react" else ""
        view = {"target": payload["message_id"], "emoji": "❤️" if emoji == "love" else emoji}
        chats.put(
            net, world, account, person, id_=f"reaction {events.new_mid(net)}", kind="reaction", by_us=True,
            status="read", at=world.clock.now(), view=view,
        )  # fmt: skip
    world.live.changed((net.provider, account["id"], person["id"]))
    return {"recipient_id": person["id"]}
