"""Write one mail of ours. Called by the channel's `send`; calls nobody.

What ties it to its conversation comes from services (`Outgoing.thread`): the ids before it, its own mark, and the
conversation's token, which stands in the address to answer to and as the root of the thread.
"""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, localtime
from html import escape

from channels.base import Account, ChannelError, Outgoing
from lib import addresses

KEPT_IDS = 21  # of a long thread: its root and the last twenty
_REPLY = re.compile(r"\s*(?:re|aw|antw|sv|vs|odp|ynt|rif|res|回复|答复|回覆)(?:\[\d+\])?\s*[:：]", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_KIND = re.compile(r"[a-zA-Z0-9!#$&^_.+-]{1,80}/[a-zA-Z0-9!#$&^_.+-]{1,80}")
_LINK = re.compile(r"(https?://[^\s<>\"]*[^\s<>\".,;:!?)\]'])")
_STYLE = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif;font-size:15px;line-height:1.5"


def recipient(to: str) -> str:
    """Give the address to send to, as it came in where that is plain; raise `ChannelError`."""
    try:
        normalised = addresses.email(to)
    except ValueError as exc:
        raise ChannelError(f"Mail cannot be sent to this address: {exc}", code="bad_recipient") from None
    return to if _PLAIN.fullmatch(to) else normalised


def message_id(account: Account, message: Outgoing) -> str:
    """Give the Message-ID, the same at every try."""
    return f"<{message.thread.get('mark') or f'm.{message.id}'}@{account.config['address'].rpartition('@')[2]}>"


def write(account: Account, message: Outgoing, to: str) -> bytes:
    """Give the bytes of the whole mail."""
    config = account.config
    utf8 = not (to.isascii() and config["address"].isascii())
    mail = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    own = message_id(account, message)
    before = _shortened([one for one in message.thread.get("references", []) if one != own])
    mail["From"] = Address(config["display_name"], addr_spec=config["address"])
    mail["To"] = to
    mail["Subject"] = _subject(message, answers=bool(before))
    mail["Date"] = format_datetime(localtime())
    token = message.thread.get("token")
    if token and config["plus_addressing"] == "yes":
        local, _, domain = config["address"].rpartition("@")
        mail["Reply-To"] = Address(config["display_name"], addr_spec=f"{local}+{token}@{domain}")
    if message.automatic:
        mail["Auto-Submitted"] = "auto-replied"
        mail["X-Auto-Response-Suppress"] = "All"
        mail["Precedence"] = "auto_reply"
        mail["X-ALC-Loop"] = config["address"]
    text = _text(message.text, config["signature"])
    mail.set_content(text)
    mail.add_alternative(_html(text), subtype="html")
    for file in message.files:
        kind = file.mime.partition(";")[0].strip()
        if not _KIND.fullmatch(kind) or kind.startswith(("message/", "multipart/")):
            kind = "application/octet-stream"
        maintype, _, subtype = kind.partition("/")
        mail.add_attachment(file.read(), maintype=maintype, subtype=subtype, filename=file.filename)
    return _threading(own, before, token, config["address"], message.reply_to) + mail.as_bytes()


def _threading(own: str, before: list[str], token: str | None, address: str, reply_to: str | None) -> bytes:
    """Write the headers that hold ids ourselves: the library folds long ids into encoded words."""
    root = [f"<{token}@{address.rpartition('@')[2]}>"] if token else []
    answered = (reply_to or "").partition("#")[0]
    lines = [f"Message-ID: {own}"]
    if before:
        lines.append(f"In-Reply-To: {answered if answered in before else before[-1]}")
    if root or before:
        lines.append("References: " + "\r\n ".join([*root, *before]))
    return "".join(f"{line}\r\n" for line in lines).encode()


def _shortened(references: list[str]) -> list[str]:
    sound = [one for one in references if re.fullmatch(r"<[!-;=?-~]{1,400}>", one)]
    return sound if len(sound) < KEPT_IDS else [sound[0], *sound[2 - KEPT_IDS :]]


def _subject(message: Outgoing, *, answers: bool) -> str:
    subject = " ".join((message.subject or "").split()) or " ".join(message.text.split())[:60] or "Message"
    return subject if not answers or _REPLY.match(subject) else f"Re: {subject}"


def _text(text: str, signature: str) -> str:
    signed = signature.replace("\\n", "\n").strip()
    return f"{text}\n\n-- \n{signed}\n" if signed else f"{text}\n"


def _html(text: str) -> str:
    """Write the text as HTML, with links that one can follow."""
    parts = _LINK.split(text.rstrip("\n"))
    written = "".join(
        f'<a href="{escape(part)}">{escape(part)}</a>' if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )
    return f'<html><body><div style="{_STYLE}">{written.replace(chr(10), "<br>" + chr(10))}</div></body></html>\n'
