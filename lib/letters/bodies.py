"""What a mail says and what it brings: its text, its HTML made harmless, and its files.

Text comes from plain text where that says something, else from the HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

import inscriptis  # type: ignore[import-untyped]
import nh3
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]
from lxml.etree import LxmlError  # type: ignore[import-untyped]

from lib.letters import tnef
from lib.letters.structure import Part

LONGEST_TEXT = 256_000  # characters
LONGEST_HTML = 1_000_000  # characters that are read
LONGEST_SHOWN = 256_000  # characters of what is kept of it
MOST_FILES = 60
DEEPEST = 400

_HOLLOW = re.compile(r"html|browser|view|anzeigen|afficher|visualizza|navegador|webversion", re.IGNORECASE)
_TAGS = nh3.ALLOWED_TAGS - {"map", "area"}
_SCHEMES = {"http", "https", "mailto", "tel", "cid"}
_STYLED = {"align", "valign", "bgcolor", "border", "cellpadding", "cellspacing", "width", "height", "dir", "color"}
_ATTRIBUTES = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
_ATTRIBUTES["*"] = {"title", "lang"} | _STYLED
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
_LOOSE = frozenset({
    *("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "wbr"),
    *("p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "option"),
})  # fmt: skip
_AGAIN = frozenset({"text/x-amp-html", "text/watch-html"})  # the same once more, for others to show


@dataclass(slots=True)
class File:
    """A file that a mail brings. `path` names it: a part's path, or a file's within a winmail.dat (`2#1`)."""

    path: str
    filename: str
    kind: str
    size: int
    content_id: str = ""


@dataclass(slots=True)
class Body:
    """What was found. `encrypted`: somebody else's key would be needed for more."""

    text: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    encrypted: bool = False


@dataclass(slots=True)
class _Pieces:
    """The pieces that are read one after the other, each as plain text, as HTML or as both."""

    told: list[tuple[str, str]] = field(default_factory=list)
    files: list[Part] = field(default_factory=list)


def read(whole: Part) -> Body:
    """Gather text, HTML and files of a whole mail."""
    pieces = _gather(whole)
    body = Body()
    for part in pieces.files:
        _attach(body, part, pieces)
    if len(body.files) > MOST_FILES:
        body.files = body.files[:MOST_FILES]
        body.incomplete.append("files")
    texts = [_text_of(plain, html) for plain, html in pieces.told]
    body.text = "\n\n".join(text for text in (text.strip("\n") for text in texts) if text.strip())
    if any(html for _, html in pieces.told):
        body.html = "\n<hr>\n".join(html or _as_html(plain) for plain, html in pieces.told)
    body.encrypted = any(part.kind in _ENCRYPTED for part in whole.walk())
    if len(body.text) > LONGEST_TEXT:
        body.text = body.text[:LONGEST_TEXT] + "\n[…]"
        body.incomplete.append("text")
    return body


_ENCRYPTED = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def html_to_text(html: str) -> str:
    """Write HTML as text: lists, tables and links as far as text can; nothing if it cannot be read."""
    html = html[:LONGEST_HTML]
    try:
        if is_deep(html):
            raise ValueError
        text = inscriptis.get_text(html, ParserConfig(display_links=False))
    except (LxmlError, ValueError, AssertionError, IndexError, KeyError):
        text = re.sub(r"<[^<>]*>", " ", html)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.replace("\xa0", " ").splitlines()))


def harmless(html: str) -> str:
    """Leave of HTML what can only be looked at. Pictures keep their addresses: whoever shows them decides."""
    if is_deep(html):
        return ""
    cleaned = nh3.clean(
        html[:LONGEST_HTML],
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        clean_content_tags={"script", "style", "title"},
    )
    return cleaned if len(cleaned) <= LONGEST_SHOWN else ""


def is_deep(html: str) -> bool:
    """Say whether HTML is nested so deeply that libraries take minutes for it, and no mail program would show it."""
    depth = deepest = 0
    for match in _TAG.finditer(html):
        if match[2].lower() not in _LOOSE:
            depth = max(depth - 1, 0) if match[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest > DEEPEST


def flowed(text: str, delsp: bool) -> str:
    """Join the lines of `format=flowed` (RFC 3676): a blank at the end means that the paragraph goes on."""
    out: list[str] = []
    open_depth: int | None = None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        said = line[depth:].removeprefix(" ")
        if open_depth == depth and said != "-- ":
            out[-1] += said
        else:
            out.append(">" * depth + (" " if depth and said else "") + said)
        goes_on = said.endswith(" ") and said != "-- "
        if goes_on and delsp:
            out[-1] = out[-1][:-1]
        open_depth = depth if goes_on else None
    return "\n".join(line if line == "-- " else line.rstrip() for line in out)


def _gather(part: Part) -> _Pieces:
    if part.parts:
        inner = [_gather(child) for child in part.parts]
        files = [file for pieces in inner for file in pieces.files]
        if part.kind == "multipart/alternative":
            return _Pieces(_one_of([pieces.told for pieces in inner]), files)
        return _Pieces([told for pieces in inner for told in pieces.told], files)
    if part.kind in _AGAIN:
        return _Pieces()
    if part.is_file:
        return _Pieces(files=[part])
    text = part.text()
    if part.kind == "text/html":
        return _Pieces([("", text)])
    if part.params.get("format", "").lower() == "flowed":
        text = flowed(text, part.params.get("delsp", "").lower() == "yes")
    return _Pieces([(text, "")])


def _one_of(choices: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Make one piece of alternatives: the first plain text, and the last HTML."""
    plain = next((told for told in choices if any(text.strip() for text, _ in told)), [])
    html = next((told for told in reversed(choices) if any(code for _, code in told)), [])
    if not html:
        return plain
    said = "\n\n".join(text for text, _ in plain)
    return [(said, "\n".join(code for _, code in html))]


def _text_of(plain: str, html: str) -> str:
    """Choose between the two: plain text that only points to the HTML says nothing."""
    if not html:
        return plain
    said = plain.strip()
    if said and not (len(said) < 400 and _HOLLOW.search(said)):
        return plain
    from_html = html_to_text(html)
    return from_html if len(from_html.strip()) > len(said) else plain


def _attach(body: Body, part: Part, pieces: _Pieces) -> None:
    if part.kind in tnef.KINDS or part.filename.lower() == "winmail.dat":
        unpacked = tnef.unpack(part.data())
        if unpacked.files or unpacked.html or unpacked.text:
            for number, file in enumerate(unpacked.files, 1):
                body.files.append(File(f"{part.path}#{number}", file.filename, file.kind, len(file.data)))
            if not any(text.strip() or html for text, html in pieces.told):
                pieces.told.append((unpacked.text, unpacked.html))
            return
    filename = part.filename or _name(part)
    kind = "application/octet-stream" if part.kind.startswith("multipart/") else part.kind
    body.files.append(File(part.path, filename, kind, _size(part), part.content_id))


def _size(part: Part) -> int:
    """Say how large a file is without decoding it where that can be reckoned."""
    if part.first("content-transfer-encoding").strip().lower() == b"base64":
        digits = part.raw.rstrip(b"=\r\n \t")
        return (len(digits) - digits.count(b"\n") - digits.count(b"\r")) * 3 // 4
    return len(part.data())


def _name(part: Part) -> str:
    if part.kind == "message/rfc822":
        return "forwarded.eml"
    return {"text/calendar": "invitation.ics", "message/delivery-status": "report.txt"}.get(part.kind, "")


def _as_html(plain: str) -> str:
    return f"<div>{escape(plain)}</div>".replace("\n", "<br>") if plain else ""
