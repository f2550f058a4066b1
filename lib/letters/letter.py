"""A mail taken apart, as plain values: what every other part of this package finds, in one place."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from lib.letters import bodies, quotes, reports, structure, tnef, words
from lib.letters.bodies import File
from lib.letters.reports import Report
from lib.letters.structure import Headers

LONGEST_SUBJECT = 500
LONGEST_REFERENCES = 60
_TRACES = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to", "x-forwarded-to")
_COMMENT = re.compile(r"\([^()]*\)")
_ENCRYPTED = "[This mail is encrypted, so that it cannot be read here.]"

Pair = tuple[str, str]


@dataclass(slots=True)
class Letter:
    """Everything that is known of a mail. Addresses are (name, address) pairs, just as they were written."""

    message_id: str = ""
    digest: str = ""  # of what its author wrote: equal for copies that came by different ways
    date: str = ""  # RFC 3339, or nothing
    subject: str = ""
    sender: list[Pair] = field(default_factory=list)
    reply_to: list[Pair] = field(default_factory=list)
    to: list[Pair] = field(default_factory=list)
    cc: list[Pair] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)  # whom it was carried to, by its trace
    in_reply_to: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    text: str = ""
    quoted: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)
    automatic: str = ""
    loops: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)  # Authentication-Results, the topmost first
    report: Report | None = None
    incomplete: list[str] = field(default_factory=list)  # what a bound cut off: parts, files, text

    @classmethod
    def from_plain(cls, tree: dict[str, Any]) -> Letter:
        """Give back a letter that was written as JSON."""
        report = tree["report"] and Report(**tree["report"])
        pairs = {name: [tuple(pair) for pair in tree[name]] for name in ("sender", "reply_to", "to", "cc")}
        return cls(**{**tree, **pairs, "files": [File(**file) for file in tree["files"]], "report": report})

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def take_apart(mail: bytes) -> Letter:
    """Read a whole mail."""
    whole, cut_off = structure.split(mail)
    letter = _envelope(whole.headers, mail)
    body = bodies.read(whole)
    sender = letter.sender[0][1] if letter.sender else ""
    letter.automatic = reports.automatic(whole.headers, sender)
    letter.report = reports.find(whole, sender, body.text)
    letter.text, letter.quoted = quotes.split(body.text, body.html)
    if body.encrypted and not letter.text:
        letter.text = _ENCRYPTED
    letter.html = bodies.harmless(body.html)
    letter.files = body.files
    letter.incomplete = body.incomplete + (["parts"] if cut_off else [])
    if body.html and not letter.html.strip():
        letter.incomplete.append("html")
    return letter


def outline(mail: bytes) -> Letter:
    """Read the headers alone, of a mail whose rest nobody can read."""
    letter = _envelope(structure.head(mail.lstrip()[: structure.LONGEST_HEAD]), mail)
    letter.incomplete = ["everything"]
    return letter


def file_in(mail: bytes, path: str) -> bytes:
    """Give one file of a mail by its path; raise `KeyError`."""
    whole, _ = structure.split(mail)
    path, _, number = path.partition("#")
    for part in whole.walk():
        if part.path == path:
            return tnef.unpack(part.data()).files[int(number) - 1].data if number else part.data()
    raise KeyError(path)


def _envelope(headers: Headers, mail: bytes) -> Letter:
    def pairs(*names: str) -> list[Pair]:
        return [pair for name in names for value in headers.get(name, [])[:5] for pair in words.addresses(value)]

    def ids(name: str) -> list[str]:
        return words.ids(b" ".join(headers.get(name, [])[:5]))

    def lines(name: str, most: int) -> list[str]:
        return [words.header(value, 4000) for value in headers.get(name, [])[:most]]

    references = ids("references")
    return Letter(
        message_id=next(iter(ids("message-id")), ""),
        digest=_digest(headers, mail),
        date=_date(headers),
        subject=words.header(headers.get("subject", [b""])[0])[:LONGEST_SUBJECT],
        sender=(pairs("from") or pairs("sender") or pairs("return-path"))[:5],
        reply_to=pairs("reply-to")[:5],
        to=pairs("to")[: words.MOST_ADDRESSES],
        cc=pairs("cc")[: words.MOST_ADDRESSES],
        recipients=[
            found for name in _TRACES for value in headers.get(name, [])[:5] if (found := words.address(value))
        ],
        in_reply_to=ids("in-reply-to")[:10],
        references=references[: LONGEST_REFERENCES // 2] + references[LONGEST_REFERENCES // 2 :][-30:],
        loops=lines("x-alc-loop", 5),
        verdicts=lines("authentication-results", 10),
    )


def _digest(headers: Headers, mail: bytes) -> str:
    taken = hashlib.sha256()
    for name in ("from", "date", "subject", "message-id"):
        taken.update(headers.get(name, [b""])[0] + b"\n")
    taken.update(mail.replace(b"\r\n", b"\n").partition(b"\n\n")[2].rstrip())
    return taken.hexdigest()


def _date(headers: Headers) -> str:
    written = _COMMENT.sub("", words.header(headers.get("date", [b""])[0], 200))
    try:
        found = parsedate_to_datetime(written)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.astimezone(UTC).isoformat() if 1990 <= found.year <= 2100 else ""
    except (ValueError, TypeError, OverflowError, IndexError):
        return ""
