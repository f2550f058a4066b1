"""What a mail means: somebody wrote, or a program tells what became of a mail of ours.

Called by the channel's `parse`. Mails are taken apart in another process (`lib.letters`); one that cannot be is shown
as it came, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from channels.base import AccountNotice, Callback, Inbound, Item, Media, Person, Receipt, Thread
from channels.untrusted import text
from lib import addresses, letters, reply_marks
from lib.ids import is_uuid
from lib.letters import Letter, Report

WHOLE = "raw"  # the path of a file that is the whole mail
ORIGINAL = "message.eml"
NOBODY = "unknown-sender"
_MARK = re.compile(reply_marks.MARK.pattern, re.IGNORECASE)
_VERDICT = re.compile(r"\bdmarc\s*=\s*([a-z]+)", re.IGNORECASE)
_ROBOT = re.compile(r"(?:no-?_?reply|do-?_?not-?_?reply|mailer|bounces?|notifications?)(?:[+=._-].*)?", re.IGNORECASE)
_LEFT_OUT = {"parts": "some of its parts", "files": "some of its files", "text": "the end of its text"}

Pair = tuple[str, str]


def parse(callback: Callback) -> list[Item]:
    """Give the items of one mail: one, but for bounces that speak of several mails."""
    about = callback.headers
    if about.get("refused"):
        said = f"A mail could not be fetched from the mailbox: {about['refused']}"
        return [AccountNotice(about.get("account", ""), "unfetched", said)]
    try:
        letter = letters.read(callback.body)
    except letters.Unreadable:
        letter = letters.outline(callback.body)
    if letter.report:
        return _reported(letter, letter.report, about)
    return [_ours(letter, about) or _inbound(letter, callback)]


# --- programs ---


def _reported(letter: Letter, report: Report, about: Mapping[str, str]) -> list[Item]:
    account, at = about.get("account", ""), _at(letter, about)
    whom = f" to {report.recipient}" if report.recipient else ""
    said = f": {report.said}" if report.said else ""
    if report.what == "complaint":
        sentence = f"A recipient reported a mail of ours as {report.said or 'abuse'}."
        return [AccountNotice(account, "complaint", sentence, raw={"ids": report.ids})]
    if not report.ids:
        sentence = f"A mail{whom} was reported as {report.what}, and it is not known which{said}."
        return [AccountNotice(account, f"mail_{report.what}", sentence, "info")]
    if report.what != "failed":
        status = "sent" if report.what == "delayed" else "read" if report.what == "read" else "delivered"
        extra = {"delayed": report.said or True} if report.what == "delayed" else {}
        return [Receipt(account, status, at, extra=extra, **_named(one)) for one in report.ids]  # type: ignore[arg-type]
    sentence = f"The mail could not be delivered{whom}{said}"
    failed = {"error_code": report.status or "bounced", "error": sentence, "action": "permanent"}
    return [Receipt(account, "failed", at, **_named(one), **failed) for one in report.ids]  # type: ignore[arg-type]


def _named(message_id: str) -> dict[str, Any]:
    """Name a message by its Message-ID, and by our own id, which stands in those that we make."""
    mark = _MARK.search(message_id)
    hexa = mark[1].lower() if mark else ""
    ours = f"{hexa[:8]}-{hexa[8:12]}-{hexa[12:16]}-{hexa[16:20]}-{hexa[20:]}"
    return {"provider_id": message_id, "message_id": ours if is_uuid(ours) else None}


def _ours(letter: Letter, about: Mapping[str, str]) -> AccountNotice | None:
    """Stop what we sent ourselves, and what goes round in circles: neither is a customer."""
    account = about.get("account", "")
    if any(account and account in line.lower() for line in letter.loops):
        return AccountNotice(account, "mail_loop", "An automatic mail of ours came back, and was stopped.", "info")
    if not letter.sender or not _is_own(letter.sender[0][1], account):
        return None
    if any(not _is_own(address, account) for _, address in letter.reply_to):
        return None  # a form on the business's own site writes for the customer
    sentence = f"A mail from this mailbox itself was left alone: {letter.subject or 'no subject'}"
    return AccountNotice(account, "own_mail", sentence, "info")


# --- people ---


def _inbound(letter: Letter, callback: Callback) -> Inbound:
    about = callback.headers
    sender, person = _people(letter, about.get("account", ""))
    files = [
        Media(file.kind, file.filename, file.path, size=file.size, content_id=file.content_id or None)
        for file in letter.files
    ]
    readable = "everything" not in letter.incomplete
    if letter.incomplete:
        files.append(Media("message/rfc822", ORIGINAL, WHOLE, size=len(callback.body)))
    said = letter.text or letter.quoted
    if not said.strip() and not files:
        said = letter.subject or "[Empty mail]"
    if not readable:
        said = "[This mail could not be read. It is attached just as it came.]"
    return Inbound(
        provider_id=_provider_id(letter),
        account=about.get("account", ""),
        person=person,
        at=_at(letter, about),
        text=text("\n\n".join(part for part in (said, *_left_out(letter, about)) if part)),
        kind="text" if readable else "unsupported",
        media=files,
        subject=letter.subject or None,
        thread=_thread(letter, sender[1], about),
        automatic=bool(letter.automatic),
        extra=_extra(letter, sender, person, about),
    )


def _people(letter: Letter, account: str) -> tuple[Pair, Person]:
    """Give who sent a mail, and the person behind it: where a program writes for somebody, whom to answer tells."""
    sender = letter.sender[0] if letter.sender else ("", "")
    answer_to = next((pair for pair in letter.reply_to if not _is_own(pair[1], account)), None)
    writer = sender
    if answer_to and (not sender[1] or _is_own(sender[1], account) or _ROBOT.fullmatch(sender[1].partition("@")[0])):
        writer = answer_to
    address = (answer_to or writer)[1] or NOBODY
    name = writer[0] or ("" if writer[1] else "Unknown sender")
    return sender, Person(address, name=name, email=_normalised(writer[1]))


def _thread(letter: Letter, sender: str, about: Mapping[str, str]) -> Thread:
    to = [address for _, address in (*letter.to, *letter.cc)]
    carried = [one for one in (*letter.recipients, about.get("recipient", "")) if one]
    answers = dict.fromkeys((*letter.in_reply_to, *reversed(letter.references)))
    people = dict.fromkeys(
        found for one in to if (found := _normalised(one)) and not _is_own(one, about.get("account", ""))
    )
    return Thread(letter.message_id, tuple(answers), (*to, *carried), _normalised(sender) or sender, tuple(people))


def _extra(letter: Letter, sender: Pair, person: Person, about: Mapping[str, str]) -> dict[str, Any]:
    found = {
        "subject": letter.subject,
        "from": _shown(sender) if sender[1] else {},
        "to": [_shown(pair) for pair in letter.to],
        "cc": [_shown(pair) for pair in letter.cc],
        "reply_to": person.address if person.address not in (sender[1], NOBODY) else "",
        "html": letter.html,
        "quoted": letter.quoted if letter.text else "",
        "automatic": letter.automatic,
        "unverified": _is_unverified(letter, about),
        "message_id": letter.message_id,
        "written_at": letter.date,
        "incomplete": letter.incomplete + (["size"] if about.get("size") else []),
    }
    return {name: value for name, value in found.items() if value}


def _left_out(letter: Letter, about: Mapping[str, str]) -> list[str]:
    """Say what of a mail is not here."""
    lines = []
    if size := about.get("size"):
        lines.append(
            f"[This mail has {int(size) // 1_000_000} MB, which is too much: its files were left in the mailbox.]"
        )
    missing = [_LEFT_OUT[name] for name in letter.incomplete if name in _LEFT_OUT]
    if missing:
        lines.append(f"[This mail is too large to show {' and '.join(missing)}. It is attached just as it came.]")
    return lines


def _provider_id(letter: Letter) -> str:
    """Name a mail by its own id and by what it says: some programs give one id to all that they send."""
    return f"{letter.message_id}#{letter.digest[:16]}" if letter.message_id else f"sha256:{letter.digest}"


def _is_unverified(letter: Letter, about: Mapping[str, str]) -> bool:
    """Say whether the admin's own mail server found the sender forged; what others wrote there is worth nothing."""
    trusted = about.get("authserv", "").lower()
    if not trusted:
        return False
    for line in letter.verdicts:
        server = line.partition(";")[0].split()
        if server and server[0].lower() == trusted:
            found = _VERDICT.search(line)
            return bool(found) and found[1].lower() == "fail"  # type: ignore[index]
    return False


def _at(letter: Letter, about: Mapping[str, str]) -> datetime:
    """Give when a mail arrived, or was written if nobody noted that; never a time to come."""
    for written in (about.get("received"), letter.date):
        if written:
            return min(datetime.fromisoformat(written), datetime.now(UTC))
    return datetime.now(UTC)


def _shown(pair: Pair) -> dict[str, str]:
    return {"name": pair[0], "address": pair[1]}


def _normalised(address: str) -> str | None:
    try:
        return addresses.email(address)
    except ValueError:
        return None


def _is_own(address: str, account: str) -> bool:
    """Say whether an address is the mailbox's own, with a tag or without."""
    found = _normalised(address) or address.lower()
    local, _, domain = found.rpartition("@")
    return bool(account) and account in (found, f"{local.partition('+')[0]}@{domain}")
