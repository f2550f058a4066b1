"""Mails that programs send: bounces, receipts, complaints, and answers that nobody wrote.

RFC 3464 (delivery status), RFC 8098 (disposition), RFC 5965 (feedback), RFC 3834 (automatic answers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lib.letters import words
from lib.letters.structure import Headers, Part, head

_MARKS = ("x-autoreply", "x-autorespond", "x-autoresponse", "x-mail-autoreply", "x-auto-reply")
_ROBOT = re.compile(
    r"(?:mailer-daemon|postmaster|no-?_?reply|do-?_?not-?_?reply|bounces?)(?:[+=._-].*)?", re.IGNORECASE
)
_DAEMON = re.compile(r"(?:mailer-daemon|postmaster|mail-daemon)(?:[+=._-].*)?", re.IGNORECASE)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_COPIED_ID = re.compile(r"^[> \t]*message-id:\s*(<[^<>\s]{3,400}>)", re.IGNORECASE | re.MULTILINE)
_LOOKED_AT = 64 * 1024


@dataclass(slots=True)
class Report:
    """What a program tells of a mail sent before. `what` is one of failed, delayed, delivered, read, complaint."""

    what: str
    ids: list[str] = field(default_factory=list)
    recipient: str = ""
    status: str = ""  # 5.1.1
    said: str = ""


def find(whole: Part, sender: str, text: str) -> Report | None:
    """Give the report that a mail is, if it is one."""
    parts = list(whole.walk())
    for part in parts:
        if part.kind == "message/delivery-status":
            return _delivery(part, _original_ids(parts, text))
        if part.kind in ("message/disposition-notification", "message/global-disposition-notification"):
            return _disposition(part, parts, text)
        if part.kind == "message/feedback-report":
            return Report("complaint", _original_ids(parts, text), said=_fields(part).get("feedback-type", ""))
    local = sender.partition("@")[0]
    if "x-failed-recipients" in whole.headers or _DAEMON.fullmatch(local):
        return _old_bounce(whole, parts, text)
    return None


def automatic(headers: Headers, sender: str) -> str:
    """Say why a mail counts as written by no person; empty if nothing says so."""
    submitted = words.header(headers.get("auto-submitted", [b""])[0], 200).partition(";")[0].strip().lower()
    if submitted and submitted != "no":
        return submitted
    if mark := next((name for name in _MARKS if name in headers), ""):
        return mark
    precedence = words.header(headers.get("precedence", [b""])[0], 100).strip().lower()
    if precedence in ("bulk", "junk", "list", "auto_reply"):
        return f"precedence {precedence}"
    if listed := next(
        (name for name in ("list-id", "list-unsubscribe", "x-loop", "x-alc-loop") if name in headers), ""
    ):
        return listed
    if any(value.strip() == b"<>" for value in headers.get("return-path", [])):
        return "empty return path"
    return "sender takes no answers" if _ROBOT.fullmatch(sender.partition("@")[0]) else ""


def _delivery(part: Part, ids: list[str]) -> Report:
    """Read the recipients' blocks; one that failed counts more than one that is only late."""
    found = Report("delivered", ids)
    rank = {"failed": 3, "delayed": 2, "delivered": 1}
    for block in re.split(r"\n\s*\n", part.text()[:_LOOKED_AT])[:200]:
        fields = _fields_of(block)
        action = fields.get("action", "").lower()
        status = _STATUS.search(fields.get("status", "") or fields.get("diagnostic-code", ""))
        code = status[0] if status else ""
        what = {"failed": "failed", "delayed": "delayed"}.get(action, "delivered" if action else "")
        if what == "failed" and code.startswith("4"):
            what = "delayed"
        if what and rank[what] >= rank[found.what]:
            recipient = fields.get("original-recipient") or fields.get("final-recipient", "")
            said = fields.get("diagnostic-code", "").partition(";")[2].strip() or fields.get("diagnostic-code", "")
            found = Report(what, ids, recipient.partition(";")[2].strip() or recipient, code, said[:500])
    return found


def _disposition(part: Part, parts: list[Part], text: str) -> Report:
    fields = _fields(part)
    ids = words.ids(fields.get("original-message-id", "").encode()) or _original_ids(parts, text)
    done = fields.get("disposition", "").partition(";")[2].strip().lower()
    return Report("read" if done.startswith("displayed") else "delivered", ids, said=done)


def _old_bounce(whole: Part, parts: list[Part], text: str) -> Report:
    """Read a bounce from before there was a form for it: Exim's header, qmail's prose, a copy of the mail."""
    recipient = words.header(whole.first("x-failed-recipients"), 1000).partition(",")[0].strip()
    status = _STATUS.search(text[:_LOOKED_AT])
    code = status[0] if status else ""
    late = code.startswith("4") or re.search(r"delayed|still trying|not yet been delivered", text[:4000], re.IGNORECASE)
    said = next((line.strip() for line in text[:_LOOKED_AT].splitlines() if _STATUS.search(line)), "")
    return Report("delayed" if late else "failed", _original_ids(parts, text), recipient, code, said[:500])


def _original_ids(parts: list[Part], text: str) -> list[str]:
    """Find the id of the mail that is spoken of: in its copied headers, else wherever they were pasted."""
    for part in parts:
        if part.kind in ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global"):
            found = words.ids(b" ".join(head(part.data()).get("message-id", [])))
            if found:
                return found
    return _COPIED_ID.findall(text[: 4 * _LOOKED_AT])[:5]


def _fields(part: Part) -> dict[str, str]:
    return _fields_of(part.text()[:_LOOKED_AT])


def _fields_of(block: str) -> dict[str, str]:
    joined = re.sub(r"\n[ \t]+", " ", block)
    pairs = (line.partition(":") for line in joined.splitlines())
    return {name.strip().lower(): words.header(value.encode("utf-8", "replace"), 2000) for name, _, value in pairs}
