"""Customers with mailboxes of their own: who they are, what they write, and what their mail server does by itself."""

from __future__ import annotations

import base64
import binascii
import io
import re
import secrets
import time
from threading import Thread
from typing import Any

from sandbox.errors import Refused
from sandbox.mail import mails
from sandbox.mail.accounts import PROVIDER
from sandbox.store import Row
from sandbox.world import Upload, World

SWITCHES = {
    "away": ("Out of office", "Every mail is answered by a program"),
    "unknown": ("No such mailbox", "Mails are refused at once, with 550 5.1.1"),
    "bounces": ("Bounces later", "Mails are taken, and a report says that they could not be delivered"),
}
_NEW = {"name": "", **dict.fromkeys(SWITCHES, False)}
_ADDRESS = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,250}")


def find(world: World, account: str, address: str) -> Row | None:
    return world.store.one("people", provider=PROVIDER, account=account, id=address.strip().lower())


def make(world: World, account: str, address: str, **facts: Any) -> Row:
    """Find or make the customer with an address, and change what is told of them."""
    address = address.strip().lower()
    if not _ADDRESS.fullmatch(address):
        raise Refused(f"from: {address or 'nothing'} is no email address", code="invalid_address")
    row = find(world, account, address)
    data = {**_NEW, **(row["data"] if row else {}), **facts}
    key = {"provider": PROVIDER, "account": account, "id": address}
    if row is None:
        world.store.put("people", **key, user_id=address, match_key=address, data=data)
    else:
        world.store.update("people", key, data=data)
    world.live.changed((PROVIDER, account, address))
    return world.store.get("people", **key)


def declare(world: World, body: dict[str, Any], _: Upload | None = None) -> dict[str, Any]:
    """Make or change a customer: `name` and the switches."""
    account = world.account(PROVIDER, body.get("account"))
    facts: dict[str, Any] = {name: body[name] for name in SWITCHES if isinstance(body.get(name), bool)}
    facts |= {"name": str(body["name"])} if body.get("name") else {}
    row = make(world, account["id"], str(body.get("from") or body.get("person") or ""), **facts)
    return {"person": _shown(row)}


def say(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Let a customer write: `text`, `subject`, a file. Without a subject it answers `context`, or the last mail."""
    account = world.account(PROVIDER, body.get("account"))
    facts = {"name": str(body["name"])} if body.get("name") else {}
    person = make(world, account["id"], str(body.get("from") or body.get("person") or ""), **facts)
    answered = None if body.get("subject") else _answered(world, account["id"], person["id"], body.get("context"))
    view = answered["data"]["view"] if answered else {}
    subject = str(body.get("subject") or "") or _reply(view.get("header", "")) or "Question"
    answers = [*view.get("ids", []), answered["data"]["message_id"]] if answered else []
    raw = mails.write(
        world,
        (person["data"]["name"], person["id"]),
        view.get("reply_to") or account["id"],
        subject=subject,
        text=str(body.get("text") or ""),
        answers=[one for one in answers if one],
        upload=upload or _given(body.get("file")),
    )
    row = mails.put(world, account["id"], person["id"], raw, by_us=False)
    fault = world.faults.take("callback", PROVIDER, account=account["id"], person=person["id"])
    if fault and fault.kind == "duplicate_callbacks":
        mails.put(world, account["id"], person["id"], raw, by_us=False)
    return {"message": mails.shown(row)}


def raw(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Lay any bytes into the business's mailbox: `data` in base64, or an uploaded file."""
    account = world.account(PROVIDER, body.get("account"))
    file = upload or _given({"data": body.get("data")})
    if file is None:
        raise Refused("data: give the mail in base64, or upload it as `file`", code="missing")
    person = make(world, account["id"], str(body.get("from") or "somebody@nowhere.example"))
    row = mails.put(world, account["id"], person["id"], file.stream.read(), by_us=False)
    return {"message": mails.shown(row)}


def listed(world: World, query: dict[str, str]) -> dict[str, Any]:
    account = world.account(PROVIDER, query.get("account"))
    rows = world.store.all("people", provider=PROVIDER, account=account["id"])
    return {"people": [_shown(row) for row in rows]}


def read(world: World, query: dict[str, str]) -> dict[str, Any]:
    """List a customer's mails; `after` skips what is known, `wait` waits some seconds for news."""
    account = world.account(PROVIDER, query.get("account"))
    after, until = int(query.get("after") or 0), time.monotonic() + min(float(query.get("wait") or 0), 60)
    while True:
        person = find(world, account["id"], query.get("person", ""))
        found = mails.chat(world, account["id"], person["id"]) if person else []
        found = [one for one in found if one["seq"] > after]
        if found or time.monotonic() >= until:
            return {"person": _shown(person) if person else None, "messages": found}
        time.sleep(0.05)


def take(world: World, account: Row, address: str, sent: bytes) -> None:
    """Take a mail from the business into a customer's mailbox, and let their server do what it does by itself."""
    person = make(world, account["id"], address)
    fault = world.faults.take("status", PROVIDER, account=account["id"], person=person["id"])
    if person["data"]["bounces"] or (fault and fault.kind in ("failed_status", "wrong_number_error")):
        _aside(world, account["id"], person, _report(world, account["id"], person["id"], sent), kind="report")
        return
    mails.put(world, account["id"], person["id"], sent, by_us=True)
    if world.live.is_open((PROVIDER, account["id"], person["id"])):
        mails.seen(world, account["id"], person["id"])
    automatic = re.search(rb"^auto-submitted: *(?!no\b)", sent.partition(b"\r\n\r\n")[0], re.IGNORECASE | re.MULTILINE)
    if person["data"]["away"] and not automatic:
        answer = mails.write(
            world,
            (person["data"]["name"], person["id"]),
            account["id"],
            subject="Out of office",
            text="I am away until Monday.",
            answers=re.findall(r"<[^<>\s]+>", _header(sent, b"message-id")),
            headers={"Auto-Submitted": "auto-replied", "X-Auto-Response-Suppress": "All"},
        )
        _aside(world, account["id"], person, b"Return-Path: <>\r\n" + answer, kind="mail")


def customer(world: World, account: str, person: str) -> dict[str, Any]:
    """Say what the page shows of the customer."""
    row = find(world, account, person)
    if row is None:
        raise Refused(f"Nobody with {person} is known here", code="not_found", status=404)
    return {
        "id": row["id"],
        "name": row["data"]["name"],
        "address": row["id"],
        "handle": "",
        "switches": [
            {"name": name, "label": label, "hint": hint, "on": row["data"][name]}
            for name, (label, hint) in SWITCHES.items()
        ],
        "window": None,
        "typing": False,
    }


def new_person(world: World, account: str, name: str, address: str) -> str:
    """Make a customer for the page; without an address they get a made-up one."""
    made_up = f"{re.sub(r'[^a-z0-9]+', '.', name.lower()).strip('.') or secrets.token_hex(4)}@customers.example"
    return str(make(world, world.account(PROVIDER, account)["id"], address or made_up, name=name.strip())["id"])


def gesture(done: dict[str, str]) -> dict[str, Any]:
    """Turn what was done on the page into the body of `say`."""
    target = done.get("message", "")
    return {"text": done.get("text", "").strip(), **({"context": target} if target else {})}


def _answered(world: World, account: str, person: str, context: Any) -> Row | None:
    """Find the mail that is answered: the one named, or the last one that came from the business."""
    rows = world.store.all("messages", provider=PROVIDER, account=account, person=person, direction="from_business")
    if context:
        rows = [row for row in rows if context in (row["data"]["message_id"], row["id"])]
    return rows[-1] if rows else None


def _reply(subject: str) -> str:
    return subject if not subject or subject.lower().startswith("re:") else f"Re: {subject}"


def _given(file: Any) -> Upload | None:
    if not isinstance(file, dict) or not isinstance(file.get("data"), str):
        return None
    try:
        data = base64.b64decode(file["data"], validate=True)
    except binascii.Error:
        raise Refused("file.data: give base64") from None
    return Upload(str(file.get("filename") or "file"), str(file.get("mime") or ""), io.BytesIO(data))


def _header(sent: bytes, name: bytes) -> str:
    head = re.sub(rb"\r\n[ \t]+", b" ", sent.partition(b"\r\n\r\n")[0])
    found = re.search(rb"^" + name + rb": *([^\r\n]*)", head, re.IGNORECASE | re.MULTILINE)
    return found[1].decode("utf-8", "replace") if found else ""


def _report(world: World, account: str, person: str, sent: bytes) -> bytes:
    """Write the report of a mail server that could not deliver (RFC 3464)."""
    head = sent.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    to = re.sub(r".*<|>.*", "", _header(sent, b"reply-to")) or account
    lines = f"""Return-Path: <>
From: Mail Delivery System <mailer-daemon@{person.rpartition("@")[2]}>
To: {to}
Subject: Undelivered Mail Returned to Sender
Message-ID: <{secrets.token_hex(12)}@{person.rpartition("@")[2]}>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain; charset=utf-8

Your message to {person} could not be delivered.
--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.{person.rpartition("@")[2]}

Final-Recipient: rfc822; {person}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such mailbox
--B
Content-Type: text/rfc822-headers

{head}
--B--
"""
    return lines.replace("\r\n", "\n").replace("\n", "\r\n").encode()


def _aside(world: World, account: str, person: Row, raw: bytes, *, kind: str) -> None:
    """Lay a program's mail into the business's mailbox a little later."""

    def run() -> None:
        time.sleep(world.pace)
        mails.put(world, account, person["id"], raw, by_us=False, kind=kind)

    Thread(target=run, daemon=True).start()


def _shown(person: Row) -> dict[str, Any]:
    return {"person": person["id"], "account": person["account"], **person["data"]}
