"""A customer of Messenger or Instagram writes, taps, reacts, edits, takes back: the event as documented, called back.

Called by the control API and by the phone page. Also the owner in Meta's own inbox (`echo`), batches, and raw bodies.
"""

from __future__ import annotations

import base64
import binascii
import io
import mimetypes
from collections.abc import Callable
from typing import Any

from sandbox.errors import Refused
from sandbox.messaging import chats, events, files, messages, people
from sandbox.messaging.network import Network
from sandbox.meta import apps
from sandbox.store import Row
from sandbox.world import Upload, World

PAGE_INBOX = 26390203743090
SHARES = ("ig_post", "ig_reel", "ig_story", "post", "reel", "share")
Written = tuple[dict[str, Any], str, dict[str, Any], bool]  # parts of the event, kind, view, opens the window


def say(net: Network, world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Let a customer (or with `echo` the owner, elsewhere) do something; wait for the first callback attempt."""
    account = world.account(net.provider, body.get("account"))
    person = people.who(net, world, account, body)
    entry, row = _written(net, world, account, person, body, upload)
    id_ = events.post(net, world, account, [entry], person=person["id"], label=f"message {row['kind']}")
    _note_delivery(world, [row], id_)
    wait = body.get("wait", True)
    delivery = world.sender.wait(id_, 15) if id_ and wait not in (False, "false", "0") else None
    return {
        "message": chats.shown(world, row),
        "item": (entry.get("messaging") or entry.get("standby") or [None])[0],
        "delivery": delivered(delivery),
        **({} if id_ else {"note": "The app is not subscribed to this field, so nothing was called back"}),
    }


def batch(net: Network, world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
    """Call back many events in one envelope: each is a `say` body of its own account; all share one app."""
    items = body.get("items")
    if not isinstance(items, list) or not items or not all(isinstance(one, dict) for one in items):
        raise Refused("items: give a list of objects, each like the body of say")
    entries, rows, accounts = [], [], []
    for one in items:
        account = world.account(net.provider, one.get("account") or body.get("account"))
        entry, row = _written(net, world, account, people.who(net, world, account, one), one, None)
        entries.append(entry)
        rows.append(row)
        accounts.append(account)
    if len({account["data"]["app"] for account in accounts}) > 1:
        raise Refused("items: these accounts belong to different apps, which never share a callback")
    id_ = events.post(net, world, accounts[0], entries, person="batch", label=f"batch of {len(entries)}")
    _note_delivery(world, rows, id_)
    delivery = world.sender.wait(id_, 15) if id_ else None
    return {"messages": [chats.shown(world, row) for row in rows], "delivery": delivered(delivery)}


def raw(net: Network, world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
    """Call back a whole body just as given (an object, or `text` byte for byte), with this account's signature."""
    account = world.account(net.provider, body.get("account"))
    if isinstance(body.get("text"), str):
        content = body["text"].encode()
    elif "body" in body:
        content = apps.dump(body["body"])
    else:
        raise Refused("body: give the JSON to call back, or text with the exact bytes", code="missing")
    id_ = events.post(net, world, account, None, person="raw", label="raw", body=content)
    return {"delivery": delivered(world.sender.wait(id_, 15) if id_ else None)}


def delivered(row: Row | None) -> dict[str, Any] | None:
    """Write what became of a callback so far."""
    if row is None:
        return None
    return {"id": row["id"], "state": row["state"], "url": row["url"], "attempts": row["attempts"]}


def _note_delivery(world: World, rows: list[Row], id_: int | None) -> None:
    for row in rows:
        row["data"]["delivery"] = id_
        world.store.update("messages", {"seq": row["seq"]}, data=row["data"])
        world.live.changed((row["provider"], row["account"], row["person"]))


def _written(
    net: Network, world: World, account: Row, person: Row, body: dict[str, Any], upload: Upload | None
) -> tuple[dict[str, Any], Row]:
    """Write one event down; give its entry and its row."""
    at, by_us = float(body.get("timestamp") or world.clock.now()), body.get("echo") in (True, "true", "1")
    name = next((name for name in _HAPPENINGS if isinstance(body.get(name), dict)), "")
    over = body["raw"] if isinstance(body.get("raw"), dict) else {}
    if name:
        part, kind, view, opens = _HAPPENINGS[name](net, world, body[name])
    elif over and not (body.get("text") or upload or body.get("file")):
        part, kind, view, opens = {}, "unsupported", {}, False
    else:
        part, kind, view, opens = _message(net, world, account, body, upload, by_us)
    part |= over
    said = part.get("message") if name != "delete" else None
    mid = next((one["mid"] for one in (said, part.get("postback")) if isinstance(one, dict) and one.get("mid")), "")
    row = chats.put(
        net, world, account, person, id_=str(mid) or f"{name or 'event'} {events.new_mid(net)}", kind=kind, by_us=by_us,
        status="read" if by_us else "sent", at=at, view=view,
    )  # fmt: skip
    if opens and not by_us:
        people.change(world, person, last_inbound=max(at, person["data"]["last_inbound"] or 0))
    event = events.event(account, person["id"], at, by_us=by_us, **part)
    return events.entry(world, account, [event], standby=person["data"]["standby"]), row


def _message(
    net: Network, world: World, account: Row, body: dict[str, Any], upload: Upload | None, by_us: bool
) -> Written:
    mid = str(body.get("id") or events.new_mid(net))
    view, extra = _content(net, world, account, body, upload)
    message = {
        "mid": mid,
        **({"is_echo": True} if by_us else {}),
        **messages.content(world, view | {"text": body.get("text")}),
    }
    if by_us and net.delivers:
        message["app_id"] = int(body.get("app_id") or PAGE_INBOX)
    if body.get("reply_to"):
        quoted = body["reply_to"]
        message["reply_to"] = quoted if isinstance(quoted, dict) else {"mid": str(quoted)}
        view["quoted"] = message["reply_to"].get("mid", "")
    for name in ("quick_reply", "referral"):
        if isinstance(body.get(name), dict):
            message[name] = body[name]
    message["attachments"] = [*message.get("attachments", []), *extra.pop("attachments", [])]
    message = {name: value for name, value in (message | extra).items() if value not in ("", [])}
    return {"message": message}, chats.kind_of(view) if view.get("parts") else str(body.get("type", "text")), view, True


def _content(
    net: Network, world: World, account: Row, body: dict[str, Any], upload: Upload | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what the phone shows, and what else stands in the message."""
    text = body.get("text")
    view: dict[str, Any] = {"text": text} if isinstance(text, str) and text else {}
    extra: dict[str, Any] = {"attachments": [one for one in body.get("attachments") or [] if isinstance(one, dict)]}
    file = _file(net, world, account, body, upload)
    if file and body.get("story_mention"):
        extra["attachments"].append({"type": "story_mention", "payload": {"url": files.url_of(world, file)}})
        view["parts"] = [{"type": "image", "file": file["id"]}]
        return {"text": "[Mentioned the business in a story]"}, extra
    if file and body.get("story_reply"):
        extra["reply_to"] = {"story": {"id": "17900000000000001", "url": files.url_of(world, file)}}
    elif file:
        family = str(file["mime"]).partition("/")[0]
        kind = family if family in ("image", "video", "audio") else "file"
        view["parts"] = [{"type": kind, "file": file["id"]}]
    if isinstance(body.get("sticker"), dict):
        extra["attachments"].append({"type": "sticker", "payload": body["sticker"]})
        view.setdefault("text", "👍")
    for share in SHARES:
        if isinstance(body.get(share), dict):
            extra["attachments"].append({"type": share, "payload": body[share]})
            view.setdefault("text", body[share].get("title") or body[share].get("url", ""))
    if isinstance(body.get("link"), dict):
        extra["attachments"].append({"type": "fallback", "payload": body["link"]})
        view.setdefault("text", body["link"].get("url", ""))
    if body.get("unsupported") is True:
        extra["is_unsupported"] = True
        view.setdefault("text", "[Something that only the app shows]")
        return view, extra
    if not view and not extra["attachments"]:
        raise Refused("text: give what the customer writes", code="missing")
    return view, extra


def _file(net: Network, world: World, account: Row, body: dict[str, Any], upload: Upload | None) -> Row | None:
    """Keep the file that came along: as multipart, or as `{"filename", "mime", "data": base64}`."""
    given = body.get("file")
    if upload is None and isinstance(given, dict):
        try:
            stream = io.BytesIO(base64.b64decode(given.get("data", ""), validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise Refused("file.data: give the bytes in base64") from None
        upload = Upload(str(given.get("filename") or "file"), str(given.get("mime") or ""), stream)
    if upload is None:
        return None
    mime = upload.mime
    if not mime or mime == "application/octet-stream":
        mime = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
    return files.keep(net, world, account, upload.stream, mime=mime, name=upload.name, source="callback")


def _reaction(net: Network, world: World, given: dict[str, Any]) -> Written:
    del world
    target, emoji = str(given.get("mid") or given.get("message_id") or ""), str(given.get("emoji") or "")
    word = given.get("reaction") or ("love" if emoji.startswith("❤") else "other")
    part: dict[str, Any] = {"mid": target, "action": "react" if emoji or given.get("reaction") else "unreact"}
    if part["action"] == "react":
        part |= {"reaction": word, **({"emoji": emoji} if emoji else {})}
    view = {"target": target, "emoji": emoji}
    return {"reaction": part}, "reaction", view, part["action"] == "react" and net.light_touch_opens


def _edit(net: Network, world: World, given: dict[str, Any]) -> Written:
    target, text = str(given.get("mid") or ""), str(given.get("text") or "")
    chats.change(net, world, target, text=text, edited=True)
    return {"message_edit": {"mid": target, "text": text, "num_edit": 1, **given}}, "edit", {}, False


def _delete(net: Network, world: World, given: dict[str, Any]) -> Written:
    target = str(given.get("mid") or "")
    chats.change(net, world, target, deleted=True)
    return {"message": {"mid": target, "is_deleted": True}}, "revoke", {}, False


def _postback(net: Network, world: World, given: dict[str, Any]) -> Written:
    del world
    part = {"mid": events.new_mid(net), "title": "Get started", "payload": "GET_STARTED", **given}
    return {"postback": part}, "text", {"text": part["title"]}, True


def _referral(net: Network, world: World, given: dict[str, Any]) -> Written:
    del world
    return {"referral": {"source": "SHORTLINK", "type": "OPEN_THREAD", **given}}, "system", {}, net.light_touch_opens


def _optin(net: Network, world: World, given: dict[str, Any]) -> Written:
    del net, world
    return {"optin": {"type": "notification_messages", **given}}, "system", {}, False


_HAPPENINGS: dict[str, Callable[[Network, World, dict[str, Any]], Written]] = {
    "reaction": _reaction,
    "edit": _edit,
    "delete": _delete,
    "postback": _postback,
    "referral_event": _referral,
    "optin": _optin,
}
