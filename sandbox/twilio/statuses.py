"""What becomes of a text after 201: queued, sent, delivered, or undelivered or failed, each a callback of its own.

The first status is in the answer and is not called back. Which come:
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread
from typing import Any

from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.twilio import accounts, hooks, media, people
from sandbox.twilio.accounts import PROVIDER
from sandbox.twilio.errors import FAILED, LATER
from sandbox.twilio.messages import VERSION
from sandbox.world import Upload, World

RANK = {"accepted": 0, "queued": 1, "sending": 2, "sent": 3, "delivered": 4, "undelivered": 5, "failed": 5}
_ON_PHONE = {"sent": "sent", "delivered": "delivered", "undelivered": "failed", "failed": "failed"}


def start(world: World, sid: str) -> None:
    """Let a message take its course."""
    _aside(_course, world, sid)


def resume(world: World) -> None:
    """Take up the messages that were under way when the process ended."""
    for status in ("accepted", "sent"):
        for row in world.store.all("messages", provider=PROVIDER, direction="from_business", status=status):
            start(world, row["id"])


def _aside(step: Callable[[World, str], None], world: World, sid: str) -> None:
    """Do a step of a message's course beside the request; a message that is reset meanwhile has none."""

    def run() -> None:
        with suppress(Refused, KeyError):
            step(world, sid)

    Thread(target=run, daemon=True).start()


def _course(world: World, sid: str) -> None:
    time.sleep(world.pace / 2)
    message = get(world, sid)
    data = message["data"]
    if RANK[data["twilio"]] < RANK["sent"]:
        move(world, sid, "queued")
        code = media.fetch(world, world.account(PROVIDER, message["account"]), data["parts"])
        code = code or (data["fate"] if data["fate"] in FAILED else 0)
        kind = data["parts"][0].get("mime", "").partition("/")[0] if data["parts"] else "text"
        kind = kind if kind in ("text", "image", "audio", "video") else "document"
        _change(world, sid, {"parts": data["parts"]}, kind=kind)
        if code:
            move(world, sid, "failed", code=code)
            return
        move(world, sid, "sent")
        time.sleep(world.pace)
    _arrive(world, sid)


def _arrive(world: World, sid: str) -> None:
    """The carrier has it: it arrives if the phone is on, and the carrier tells, or fails there."""
    message = get(world, sid)
    data, person = message["data"], _person(world, message)["data"]
    code = data["fate"] or (30003 if person["unreachable"] else 30007 if person["filtered"] else 0)
    if code:
        move(world, sid, "undelivered", code=code)
    elif person["online"] and not person["no_receipts"] and not data["skip_delivered"]:
        move(world, sid, "delivered")
    if world.live.is_open((PROVIDER, message["account"], message["person"])):
        seen(world, message["account"], message["person"])


def switched_on(world: World, account: str, person: str) -> None:
    """The phone is on again: what waited arrives."""
    where = {"provider": PROVIDER, "account": account, "person": person, "direction": "from_business"}
    for row in world.store.all("messages", **where, status="sent"):
        _aside(_arrive, world, row["id"])


def seen(world: World, account: str, person: str) -> None:
    """The phone shows the chat; nobody hears of it, since texts have no read receipts."""
    where = {"provider": PROVIDER, "account": account, "person": person, "direction": "from_business"}
    if world.store.one("messages", **where, status="delivered"):
        world.store.update("messages", {**where, "status": "delivered"}, status="read")
        world.live.changed((PROVIDER, account, person))


def move(world: World, sid: str, status: str, *, code: int = 0, force: bool = False) -> None:
    """Move a message on and call it back; a step back, or the same one twice, is nothing unless forced."""
    message = get(world, sid)
    data = message["data"]
    ahead = RANK[status] > RANK[data["twilio"]]
    if not force and not ahead:
        return
    now = world.clock.now()
    error = {"code": code, "title": LATER.get(code, "Unknown error")} if code else None
    facts = {"history": [*data["history"], {"status": status, "at": now}], "updated": now}
    facts |= {"error": error} if error else {}
    facts |= {"sent": now} if status == "sent" else {}
    facts |= {"twilio": status} if ahead else {}
    _change(world, sid, facts, **({"status": _ON_PHONE[status]} if ahead and status in _ON_PHONE else {}))
    world.live.changed((PROVIDER, message["account"], message["person"]))
    if not data["silent"]:
        account = world.account(PROVIDER, message["account"])
        form = form_of(account, message, status, code, now)
        hooks.post(world, account, data["callback"], form, person=message["person"], label=f"status {status}")


def form_of(account: Row, message: Row, status: str, code: int, now: float) -> dict[str, str]:
    """Write a status as it stands in a callback."""
    data = message["data"]
    form = {"SmsSid": message["id"], "SmsStatus": status, "MessageStatus": status, "To": data["to"]}
    form |= {"MessagingServiceSid": data["service"]} if data["service"] else {}
    form |= {"MessageSid": message["id"], "AccountSid": account["data"]["account_sid"], "From": data["from"]}
    form |= {"ErrorCode": str(code)} if code else {}
    if status in ("delivered", "undelivered"):  # when the carrier says that it was
        form["RawDlrDoneDate"] = datetime.fromtimestamp(now, UTC).strftime("%y%m%d%H%M")
    return form | {"ApiVersion": VERSION}


def get(world: World, sid: str) -> Row:
    """Give a message by its SID."""
    row = world.store.one("messages", provider=PROVIDER, id=sid)
    if row is None:
        raise Refused(f"id: there is no message {sid}", code="not_found", status=404)
    return row


def by_hand(status: str | None) -> Any:
    """Make the control verb that sets a status: on one message (`id`), or on all of a person that are not so far."""

    def verb(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
        wanted = str(status or body.get("status"))
        if wanted not in RANK:
            raise Refused(f"status: one of {', '.join(RANK)}")
        code = body.get("code") or (30008 if RANK[wanted] == RANK["failed"] else 0)
        if not isinstance(code, int) or isinstance(code, bool):
            raise Refused("code: give one of Twilio's error codes, as a number")
        account = accounts.named(world, body.get("account")) if not body.get("id") else None
        ids = [str(body["id"])] if account is None else _behind(world, account, body.get("person"), wanted)
        for sid in ids:
            move(world, sid, wanted, code=code, force=account is None)
        return {"status": wanted, "ids": ids}

    return verb


def _behind(world: World, account: Row, person: Any, status: str) -> list[str]:
    where = {"provider": PROVIDER, "account": account["id"], "direction": "from_business"}
    where |= {"person": people.address_of(person)} if person else {}
    return [row["id"] for row in world.store.all("messages", **where) if RANK[row["data"]["twilio"]] < RANK[status]]


def _change(world: World, sid: str, facts: dict[str, Any], **columns: Any) -> None:
    """Change what is known of a message, on the row as it stands now."""
    row = get(world, sid)
    world.store.update("messages", {"seq": row["seq"]}, data={**row["data"], **facts}, **columns)


def _person(world: World, message: Row) -> Row:
    where = {"provider": PROVIDER, "account": message["account"], "id": message["person"]}
    return world.store.get("people", **where)
