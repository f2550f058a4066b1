"""A WhatsApp customer writes: the item as documented, in its envelope, signed and called back.

Called by the control API and by the phone page. Also the owner's own phone (`echo`), batches, and raw bodies.
"""

from __future__ import annotations

import base64
import binascii
import io
import mimetypes
from typing import Any

from sandbox.errors import Refused
from sandbox.meta import apps
from sandbox.meta.errors import item as error_item
from sandbox.numbers import digits
from sandbox.store import Row
from sandbox.whatsapp import chats, envelopes, media, people
from sandbox.whatsapp.accounts import PROVIDER
from sandbox.world import Upload, World

FILES = ("image", "video", "audio", "document", "sticker")
CONTENT = (
    "text",
    *FILES,
    "location",
    "contacts",
    "reaction",
    "interactive",
    "button",
    "order",
    "system",
    "edit",
    "revoke",
    "unsupported",
    "request_welcome",
)
_YES = (True, "true", "1")  # as JSON, or as a form has it
_SILENT = ("system", "edit", "revoke", "unsupported")  # what does not open the window


def say(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Let a customer (or with `echo` the owner, on the phone app) write; wait for the first callback attempt."""
    account = world.account(PROVIDER, body.get("account"))
    person = people.who(world, account, body)
    entry, row = _written(world, account, person, body, upload)
    id_ = envelopes.post(world, account, [entry], person=person["id"], label=f"message {row['kind']}")
    row["data"]["delivery"] = id_
    world.store.update("messages", {"seq": row["seq"]}, data=row["data"])
    world.live.changed((PROVIDER, account["id"], person["id"]))
    wait = body.get("wait", True)
    delivery = world.sender.wait(id_, 15) if id_ and wait not in (False, "false", "0") else None
    return {
        "message": chats.shown(world, row),
        "item": row["data"]["item"],
        "delivery": delivered(delivery),
        **({} if id_ else {"note": "The WABA is not subscribed to the app, so nothing was called back"}),
    }


def batch(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
    """Call back many items in one envelope: each is a `say` body of its own account; all share one app."""
    items = body.get("items")
    if not isinstance(items, list) or not items or not all(isinstance(one, dict) for one in items):
        raise Refused("items: give a list of objects, each like the body of say")
    entries, rows, accounts = [], [], []
    for one in items:
        account = world.account(PROVIDER, one.get("account") or body.get("account"))
        entry, row = _written(world, account, people.who(world, account, one), one, None)
        entries.append(entry)
        rows.append(row)
        accounts.append(account)
    if len({account["data"]["app"] for account in accounts}) > 1:
        raise Refused("items: these accounts belong to different apps, which never share a callback")
    id_ = envelopes.post(world, accounts[0], entries, person="batch", label=f"batch of {len(entries)}")
    for row in rows:
        row["data"]["delivery"] = id_
        world.store.update("messages", {"id": row["id"]}, data=row["data"])
    delivery = world.sender.wait(id_, 15) if id_ else None
    return {"messages": [chats.shown(world, row) for row in rows], "delivery": delivered(delivery)}


def raw(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
    """Call back a whole body just as given (an object, or `text` byte for byte), with this account's signature."""
    account = world.account(PROVIDER, body.get("account"))
    if isinstance(body.get("text"), str):
        content = body["text"].encode()
    elif "body" in body:
        content = apps.dump(body["body"])
    else:
        raise Refused("body: give the JSON to call back, or text with the exact bytes", code="missing")
    id_ = envelopes.post(world, account, None, person="raw", label="raw", body=content)
    return {"delivery": delivered(world.sender.wait(id_, 15) if id_ else None)}


def delivered(row: Row | None) -> dict[str, Any] | None:
    """Write what became of a callback so far."""
    if row is None:
        return None
    return {"id": row["id"], "state": row["state"], "url": row["url"], "attempts": row["attempts"]}


def _written(
    world: World, account: Row, person: Row, body: dict[str, Any], upload: Upload | None
) -> tuple[dict[str, Any], Row]:
    """Write one message down; give its entry and its row."""
    echo = body.get("echo") in _YES
    at = _time(body) or world.clock.now()
    file = _file(world, account, body, upload)
    item = _item(world, account, person, body, file)
    data: dict[str, Any] = {
        "item": item,
        "view": chats.view_of_item(item, file),
        "request": {},
        "history": [],
        "error": None,
    }
    seq = world.store.put(
        "messages",
        provider=PROVIDER,
        account=account["id"],
        person=person["id"],
        id=item["id"],
        direction="from_business" if echo else "from_customer",
        kind=item["type"],
        status="read" if echo else "sent",
        at=at,
        data={**data, "delivery": None},
    )
    row = world.store.get("messages", seq=seq)
    if echo:
        return envelopes.entry(account, "smb_message_echoes", message_echoes=[item]), row
    contacts: dict[str, Any] = {} if item["type"] == "system" else {"contacts": [envelopes.contact(account, person)]}
    _consequences(world, person, item, at)
    return envelopes.entry(account, **contacts, messages=[item]), row


def _consequences(world: World, person: Row, item: dict[str, Any], at: float) -> None:
    """Open the window; let an edit or a revoke change its message, and a changed number the person."""
    chats.apply_change(world, item)
    changed = item.get("system")
    if isinstance(changed, dict) and changed.get("type") == "user_changed_number" and changed.get("wa_id"):
        people.change(world, person, phone=digits(changed["wa_id"]))
    if item["type"] not in _SILENT:
        people.change(world, person, last_inbound=max(at, person["data"]["last_inbound"] or 0))


def _item(world: World, account: Row, person: Row, body: dict[str, Any], file: Row | None) -> dict[str, Any]:
    """Write a message as it stands in a callback; `raw` has the last word."""
    kind = _kind(body, file)
    item: dict[str, Any] = {}
    if quoted := body.get("context"):
        business = digits(account["data"]["display_phone_number"])
        item["context"] = quoted if isinstance(quoted, dict) else {"from": business, "id": str(quoted)}
    echo = body.get("echo") in _YES
    item |= _echo_sender(account, person) if echo else envelopes.sender(account, person)
    at = _time(body) or world.clock.now()
    item |= {"id": str(body.get("id") or envelopes.new_id(person)), "timestamp": str(int(at)), "type": kind}
    item |= _content(world, kind, body, file)
    if isinstance(body.get("referral"), dict):
        item["referral"] = body["referral"]
    item |= body["raw"] if isinstance(body.get("raw"), dict) else {}
    if not isinstance(item["id"], str) or not isinstance(item["type"], str):
        raise Refused("raw: id and type must be texts")
    return item


def _time(body: dict[str, Any]) -> float:
    """Give the time that a message claims, in Unix seconds; 0 for now."""
    try:
        return float(body.get("timestamp") or 0)
    except (TypeError, ValueError):
        raise Refused("timestamp: give Unix seconds") from None


def _echo_sender(account: Row, person: Row) -> dict[str, str]:
    known = envelopes.contact(account, person, profile=False)
    pairs = {
        "from": digits(account["data"]["display_phone_number"]),
        "to": known.get("wa_id"),
        "to_user_id": known.get("user_id"),
    }
    return {name: value for name, value in pairs.items() if value}


def _kind(body: dict[str, Any], file: Row | None) -> str:
    raw = body.get("raw")
    if named := body.get("type") or (isinstance(raw, dict) and raw.get("type")):
        return str(named)
    if file:
        kind = file["mime"].partition("/")[0]
        return kind if kind in ("image", "video", "audio") else "document"
    return next((kind for kind in CONTENT if isinstance(body.get(kind), (dict, list))), "text")


def _content(world: World, kind: str, body: dict[str, Any], file: Row | None) -> dict[str, Any]:
    """Write the part of an item that is named like its type."""
    given = body.get(kind)
    if isinstance(body.get("raw"), dict) and kind in body["raw"]:
        return {}
    if file and kind in FILES:
        return {kind: _media(world, kind, body, file)}
    if kind == "text":
        text = given.get("body") if isinstance(given, dict) else given
        if not isinstance(text, str) or not text:
            raise Refused("text: give what the customer writes", code="missing")
        return {"text": {"body": text}}
    if kind == "unsupported":
        details = "Message type is currently not supported."
        unsupported = given if isinstance(given, dict) else {"type": "poll_creation"}
        return {"errors": [error_item(131051, details, "Message type unknown")], "unsupported": unsupported}
    if isinstance(given, (dict, list)):
        return {kind: given}
    raise Refused(f"{kind}: give the content of a message of this type, as documented", code="missing")


def _media(world: World, kind: str, body: dict[str, Any], file: Row) -> dict[str, Any]:
    content = {
        "id": file["id"],
        "mime_type": file["mime"],
        "sha256": base64.b64encode(bytes.fromhex(file["sha256"])).decode(),
        "url": media.url_of(world, file, world.base_url).replace("source=getMedia", "source=webhook"),
    }
    caption = body.get("caption") or (body.get("text") if isinstance(body.get("text"), str) else "")
    if caption and kind not in ("audio", "sticker"):
        content["caption"] = caption
    if kind == "document":
        content["filename"] = file["name"]
    elif kind == "audio":
        content["voice"] = body.get("voice") in _YES
    elif kind == "sticker":
        content["animated"] = body.get("animated") in _YES
    return content


def _file(world: World, account: Row, body: dict[str, Any], upload: Upload | None) -> Row | None:
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
    if mime in ("audio/ogg", "audio/opus") and body.get("voice"):
        mime = "audio/ogg; codecs=opus"
    return world.store.save_file(
        upload.stream,
        provider=PROVIDER,
        account=account["id"],
        source="callback",
        mime=mime,
        name=upload.name,
        at=world.clock.now(),
    )
