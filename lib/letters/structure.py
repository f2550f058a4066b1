"""A mail's tree of parts: split in linear time, with bounds on depth, parts and headers. Decodes nothing it need not.

Our own splitter, for the standard library's takes seconds for a deep tree, and minutes for a deep and long one.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value

from lib.letters import words

MOST_PARTS = 300
DEEPEST = 20
LONGEST_HEAD = 2 * 1024 * 1024
MOST_HEADERS = 1000

_BLANK = re.compile(rb"\r?\n\r?\n|\r\r")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE = re.compile(rb"\r\n|\n|\r")
_NAME = re.compile(rb"[!-9;-~]{1,80}")
_FIRST_DELIMITER = re.compile(rb"^--([^\r\n]{1,200}?)[ \t]*\r?$", re.MULTILINE)

Headers = dict[str, list[bytes]]


@dataclass(slots=True)
class Part:
    """One part, or the whole. `path` names it within its mail: `1.2` is the second part of the first."""

    path: str
    headers: Headers
    kind: str
    params: dict[str, str]
    disposition: str
    filename: str
    raw: bytes
    parts: list[Part] = field(default_factory=list)

    @property
    def is_file(self) -> bool:
        """Say whether this leaf is to be saved rather than read."""
        if self.kind not in ("text/plain", "text/html"):
            return not self.kind.startswith("text/") or self.kind == "text/calendar" or bool(self.filename)
        return self.disposition == "attachment" or bool(self.filename)

    @property
    def content_id(self) -> str:
        return words.header(self.first("content-id"), 500).strip("<> ")

    def first(self, name: str) -> bytes:
        return self.headers.get(name, [b""])[0]

    def data(self) -> bytes:
        """Give the content, its transfer encoding undone as far as it goes."""
        encoding = words.header(self.first("content-transfer-encoding"), 80).lower()
        if encoding == "base64":
            return words.base64(self.raw)
        if encoding == "quoted-printable":
            return binascii.a2b_qp(self.raw)
        if encoding in ("x-uuencode", "uuencode", "x-uue"):
            return _uudecoded(self.raw)
        return self.raw

    def text(self) -> str:
        text = words.decode(self.data(), self.params.get("charset", ""))
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def walk(self) -> Iterator[Part]:
        """Give this part and all below, in their order."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(slots=True)
class _Budget:
    parts: int = MOST_PARTS
    spent: bool = False


def split(mail: bytes) -> tuple[Part, bool]:
    """Give the tree of a mail, and whether it was cut off by a bound."""
    start = re.match(rb"(?:[ \t\r\n]|From [^\r\n]*\r?\n)*", mail[:4096])
    budget = _Budget()
    whole = _part(mail[start.end() if start else 0 :], "", 0, budget, "text/plain")
    return whole, budget.spent


def head(mail: bytes) -> Headers:
    """Read the headers alone."""
    return _head(mail)[0]


def _part(mail: bytes, path: str, depth: int, budget: _Budget, default: str) -> Part:
    headers, body = _head(mail)
    kind, params, filename = _content(headers, default)
    disposition = words.header(headers.get("content-disposition", [b""])[0], 200).partition(";")[0].strip().lower()
    part = Part(path, headers, kind, params, disposition, filename, body)
    if kind.startswith("multipart/"):
        if depth < DEEPEST:
            inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            part.parts = _split_body(part, depth, budget, inner)
            part.kind = kind if part.parts else "text/plain"  # no boundary: what is there is read as it is
        else:
            budget.spent = True
    return part


def _split_body(part: Part, depth: int, budget: _Budget, default: str) -> list[Part]:
    body = part.raw
    boundary = part.params.get("boundary", "").encode("utf-8", "replace").rstrip()
    if not boundary or b"--" + boundary not in body:
        guess = _FIRST_DELIMITER.search(body)
        boundary = guess[1] if guess else b""
    if not boundary:
        return []
    delimiter = re.compile(rb"^--" + re.escape(boundary) + rb"(--)?[ \t]*\r?$\n?", re.MULTILINE)
    found: list[Part] = []
    start: int | None = None
    for match in delimiter.finditer(body):
        if start is not None:
            _add(found, body[start : match.start()], part.path, depth, budget, default)
        start = None if match[1] else match.end()
        if match[1] or budget.spent:
            break
    if start is not None and not budget.spent:
        _add(found, body[start:], part.path, depth, budget, default)
    return found


def _add(found: list[Part], piece: bytes, path: str, depth: int, budget: _Budget, default: str) -> None:
    if budget.parts <= 0:
        budget.spent = True
        return
    budget.parts -= 1
    piece = piece.removesuffix(b"\n").removesuffix(b"\r")
    number = f"{path}.{len(found) + 1}" if path else str(len(found) + 1)
    found.append(_part(piece, number, depth + 1, budget, default))


def _head(mail: bytes) -> tuple[Headers, bytes]:
    if mail.startswith((b"\n", b"\r\n")):
        return {}, mail.partition(b"\n")[2]
    blank = _BLANK.search(mail)
    block, body = (mail[: blank.start()], mail[blank.end() :]) if blank else (mail, b"")
    headers: Headers = {}
    for line in _LINE.split(_FOLD.sub(b" ", block[:LONGEST_HEAD]))[:MOST_HEADERS]:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and _NAME.fullmatch(name):
            headers.setdefault(name.decode("ascii").lower(), []).append(value.strip())
    return (headers, body) if headers else ({}, mail)


def _content(headers: Headers, default: str) -> tuple[str, dict[str, str], str]:
    """Read type, parameters and file name; RFC 2231 is the standard library's, for short values."""
    stub = Message()
    for name in ("content-type", "content-disposition"):
        if name in headers:
            stub[name] = words.plain(headers[name][0][:4096])
    try:
        given = dict(stub.get_params(failobj=[], unquote=True) or [])
        params = {key.lower(): words.storable(collapse_rfc2231_value(value)) for key, value in given.items()}
        filename = stub.get_filename("") or ""
    except (ValueError, LookupError, TypeError, IndexError):
        params, filename = {}, ""
    declared = words.header(headers.get("content-type", [b""])[0], 200).partition(";")[0].strip().lower()
    kind = declared if re.fullmatch(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80}", declared) else default
    return kind, params, words.header(filename.encode("utf-8", "replace"), 2000)


def _uudecoded(raw: bytes) -> bytes:
    out = []
    for line in raw.splitlines():
        if line and not line.startswith((b"begin ", b"end")):
            try:
                out.append(binascii.a2b_uu(line))
            except binascii.Error:
                continue
    return b"".join(out)
