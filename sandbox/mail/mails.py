"""Mails: written for a customer, kept as they are, and shown as a customer's own program shows them.

A mail to the business lies in its INBOX, whose UIDs are the store's sequence; a mail from it lies in the customer's
mailbox alone.
"""

from __future__ import annotations

import email
import io
import re
import secrets
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.policy import default as reading
from email.utils import format_datetime
from typing import Any

from sandbox.errors import Refused
from sandbox.mail.accounts import PROVIDER
from sandbox.store import Row
from sandbox.world import Upload, World

_LONGEST_SHOWN = 100_000


def write(
    world: World,
    sender: tuple[str, str],
    to: str,
    *,
    subject: str,
    text: str,
    answers: list[str],
    upload: Upload | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """Write a mail as an ordinary mail program does."""
    mail = EmailMessage(policy=SMTP)
    try:
        mail["From"] = Address(sender[0], addr_spec=sender[1])
        mail["To"] = to
    except (ValueError, email.errors.MessageError, IndexError):
        raise Refused(f"from: {sender[1]} is no email address") from None
    mail["Subject"] = " ".join(subject.split())
    mail["Date"] = format_datetime(datetime.fromtimestamp(world.clock.now(), UTC))
    mail["Message-ID"] = f"<{secrets.token_hex(12)}@{sender[1].rpartition('@')[2]}>"
    for name, value in (headers or {}).items():
        mail[name] = value
    mail.set_content(text + "\n")
    if upload:
        maintype, _, subtype = (upload.mime or "application/octet-stream").partition("/")
        mail.add_attachment(
            upload.stream.read(), maintype=maintype, subtype=subtype or "octet-stream", filename=upload.name
        )
    threading = f"In-Reply-To: {answers[-1]}\r\nReferences: {' '.join(answers)}\r\n" if answers else ""
    return threading.encode() + mail.as_bytes()


def put(world: World, account: str, person: str, raw: bytes, *, by_us: bool, kind: str = "mail") -> Row:
    """Lay a mail into the business's mailbox, or into the customer's (`by_us`)."""
    file = world.store.save_file(
        io.BytesIO(raw),
        provider=PROVIDER,
        account=account,
        source="raw",
        mime="message/rfc822",
        name="mail.eml",
        at=world.clock.now(),
    )
    view, mail = _view(world, account, raw)
    seq = world.store.put(
        "messages",
        provider=PROVIDER,
        account=account,
        person=person,
        id=f"{secrets.token_hex(6)} {mail['Message-ID'] or ''}"[:300],
        direction="from_business" if by_us else "from_customer",
        kind=kind,
        status="delivered" if by_us else "sent",
        at=world.clock.now(),
        data={"view": view, "file": file["id"], "size": len(raw), "message_id": str(mail["Message-ID"] or "")},
    )
    world.live.changed((PROVIDER, account, person))
    return world.store.get("messages", seq=seq)


def raw_of(world: World, row: Row) -> bytes:
    return world.store.path_of({"id": row["data"]["file"]}).read_bytes()


def inbox(world: World, account: str, after: int = 0) -> list[Row]:
    """List what lies in a business's INBOX, oldest first."""
    sql = (
        "SELECT * FROM messages WHERE provider = ? AND account = ? AND direction = 'from_customer' AND seq > ? "
        "ORDER BY seq"
    )
    return world.store.query(sql, PROVIDER, account, after)


def chat(world: World, account: str, person: str) -> list[dict[str, Any]]:
    """List what a customer wrote and got, oldest first; reports of their mail server they do not see."""
    rows = world.store.all("messages", provider=PROVIDER, account=account, person=person)
    return [shown(row) for row in rows if row["kind"] == "mail"]


def shown(row: Row) -> dict[str, Any]:
    """Write one mail for the control API and the page."""
    return {
        "seq": row["seq"],
        "id": row["data"]["message_id"] or row["id"],
        "direction": row["direction"],
        "type": row["kind"],
        "at": row["at"],
        "status": row["status"],
        "error": None,
        "reactions": [],
        **row["data"]["view"],
    }


def seen(world: World, account: str, person: str) -> None:
    """Note that a customer has their mailbox before their eyes."""
    where = {"provider": PROVIDER, "account": account, "person": person, "direction": "from_business"}
    if world.store.one("messages", **where, status="delivered"):
        world.store.update("messages", {**where, "status": "delivered"}, status="read")
        world.live.changed((PROVIDER, account, person))


def _view(world: World, account: str, raw: bytes) -> tuple[dict[str, Any], Message]:
    """Read what a mail says, as far as the standard library can; and keep its files."""
    mail = email.message_from_bytes(raw, policy=reading)
    view: dict[str, Any] = {"header": "(no subject)", "text": "", "more": []}
    try:
        view["header"] = str(mail["Subject"] or "") or view["header"]
        view["ids"] = [one for one in re.findall(r"<[^<>\s]+>", str(mail["References"] or "")) if "@" in one]
        view["reply_to"] = str(mail["Reply-To"] or mail["From"] or "")
        body = mail.get_body(("plain", "html"))
        text = body.get_content() if body else ""
        view["text"] = (
            (text if body and body.get_content_subtype() == "plain" else re.sub(r"<[^<>]*>", " ", text))[
                :_LONGEST_SHOWN
            ]
            .strip()
            .replace("\r\n", "\n")
        )
        for part in mail.iter_attachments() if mail.is_multipart() else ():
            view["more"].append(_kept(world, account, part))
    except (LookupError, ValueError, TypeError, KeyError, AttributeError, email.errors.MessageError):
        view["text"] = view["text"] or "(This mail program cannot read it.)"
    return view, mail


def _kept(world: World, account: str, part: Any) -> dict[str, Any]:
    data = part.get_payload(decode=True) or b""
    file = world.store.save_file(
        io.BytesIO(data),
        provider=PROVIDER,
        account=account,
        source="part",
        mime=part.get_content_type(),
        name=part.get_filename() or "file",
        at=world.clock.now(),
    )
    return {
        "type": "image" if part.get_content_maintype() == "image" else "document",
        "id": file["id"],
        "mime": file["mime"],
        "size": file["size"],
        "filename": file["name"],
        "url": f"/phone/files/{file['id']}",
    }
