"""A chat as its customer sees it: messages of both sides with ticks, quotes and reactions. Sends nothing."""

from __future__ import annotations

import time
from typing import Any

from sandbox.numbers import digits
from sandbox.store import Row
from sandbox.whatsapp import people
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import World


def view_of_item(item: dict[str, Any], file: Row | None) -> dict[str, Any]:
    """Make the view of what a customer wrote."""
    kind = item["type"]
    content = item.get(kind)
    view: dict[str, Any] = {}
    context = item.get("context")
    if isinstance(context, dict) and context.get("id"):
        view["quoted"] = str(context["id"])
    if file:
        view["media"] = {"type": kind, "file": file["id"], "filename": file["name"]}
    if kind == "contacts":
        view["contacts"] = content
    elif kind == "reaction" and isinstance(content, dict):
        view |= {"target": content.get("message_id"), "emoji": content.get("emoji", "")}
    elif kind == "location":
        view["location"] = content
    elif isinstance(content, dict):
        reply = content.get("button_reply") or content.get("list_reply") or {}
        view["text"] = next(
            (
                str(one)
                for one in (content.get("body"), content.get("caption"), content.get("text"), reply.get("title"))
                if one
            ),
            "",
        )
    return view


def apply_change(world: World, item: dict[str, Any]) -> None:
    """Let an edit or a revoke change the message that it speaks of."""
    content = item.get(item["type"])
    if item["type"] not in ("edit", "revoke") or not isinstance(content, dict):
        return
    row = world.store.one("messages", provider=PROVIDER, id=str(content.get("original_message_id")))
    if row is None:
        return
    if item["type"] == "revoke":
        row["data"]["view"] = {"deleted": True}
    else:
        message = content.get("message", {})
        text = message.get("text", {}).get("body", "")
        row["data"]["view"] |= {"text": text, "edited": True}
    world.store.update("messages", {"seq": row["seq"]}, data=row["data"])


def read(world: World, query: dict[str, str]) -> dict[str, Any]:
    """List a chat as the customer sees it; `after` skips what is known, `wait` waits some seconds for news.

    Messages that failed never reached the phone: `all=1` lists them too.
    """
    account = world.account(PROVIDER, query.get("account"))
    person = people.find(world, account, query.get("person", ""))
    person = person or people.find(world, account, digits(query.get("person")))
    after, everything = int(query.get("after") or 0), query.get("all") in ("1", "true")
    until = time.monotonic() + min(float(query.get("wait") or 0), 60)
    while True:
        found = history(world, account["id"], person["id"] if person else "", everything)
        found = [one for one in found if one["seq"] > after]
        if found or time.monotonic() >= until:
            return {"person": people.shown(world, person) if person else None, "messages": found}
        time.sleep(0.05)
        person = person or people.find(world, account, digits(query.get("person")))


def history(world: World, account: str, person: str, everything: bool = False) -> list[dict[str, Any]]:
    """List the messages of a chat, oldest first, each with the reactions it has."""
    rows = world.store.all("messages", provider=PROVIDER, account=account, person=person)
    reactions: dict[str, dict[str, str]] = {}
    out = []
    for row in rows:
        if row["kind"] == "reaction" and row["status"] not in ("accepted", "failed"):
            of = reactions.setdefault(str(row["data"]["view"].get("target")), {})
            of[row["direction"]] = row["data"]["view"].get("emoji", "")
        on_phone = row["direction"] == "from_customer" or row["status"] in ("sent", "delivered", "read", "played")
        if on_phone or everything:
            out.append(shown(world, row))
    for message in out:
        message["reactions"] = [emoji for emoji in reactions.get(message["id"], {}).values() if emoji]
    return out


def shown(world: World, row: Row) -> dict[str, Any]:
    """Write one message for the control API and the phone page."""
    data = row["data"]
    view = dict(data["view"])
    for part in ("media", "header_media"):
        if view.get(part, {}).get("file"):
            view[part] = _file(world, view[part])
    return {
        "seq": row["seq"],
        "id": row["id"],
        "direction": row["direction"],
        "type": row["kind"],
        "at": row["at"],
        "status": _status(world, row),
        "error": data["error"],
        **view,
        "callback_data": data["request"].get("biz_opaque_callback_data"),
    }


def _status(world: World, row: Row) -> str:
    """Give a status; a customer's own message is delivered once the business has answered its callback."""
    if row["direction"] == "from_business" or row["status"] == "read":
        return str(row["status"])
    delivery = world.store.one("deliveries", id=row["data"]["delivery"]) if row["data"]["delivery"] else None
    return "sent" if delivery is None or delivery["state"] != "delivered" else "delivered"


def _file(world: World, part: dict[str, Any]) -> dict[str, Any]:
    file = world.store.one("files", id=part["file"])
    if file is None:
        return {**part, "url": None}
    return {
        "type": part["type"],
        "id": file["id"],
        "mime": file["mime"],
        "size": file["size"],
        "filename": part.get("filename") or file["name"],
        "sha256": file["sha256"],
        "url": f"/phone/files/{file['id']}",
    }
