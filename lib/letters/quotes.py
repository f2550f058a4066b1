"""What somebody wrote now, and what they quote from before: found, set apart, never deleted.

Answers between or below what they quote are left as they are, and so is a mail of which nothing else would remain.
First by the marks that mail programs leave in HTML, then by the shape of the text, whatever its language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree  # type: ignore[import-untyped]
from lxml import html as lxml_html

from lib.letters.bodies import LONGEST_HTML, html_to_text, is_deep

Element = Any

# What begins a quote that goes on to the end, and what holds a whole one.
_BEGINS = (
    "@id='divRplyFwdMsg' or @id='appendonsend' or @id='mail-editor-reference-message-container' "
    "or contains(@class, 'moz-cite-prefix') or (contains(@style, 'border-top') and contains(@style, 'solid'))"
)
_HOLDS = (
    "contains(@class, 'gmail_quote') or contains(@class, 'yahoo_quoted') or contains(@class, 'protonmail_quote') "
    "or contains(@class, 'zmail_extra') or contains(@class, 'tutanota_quote') or @id='isForwardContent' "
    "or (self::blockquote and @type='cite')"
)
_begins, _quotes = etree.XPath(f"boolean(self::*[{_BEGINS}])"), etree.XPath(f"//*[{_BEGINS} or {_HOLDS}]")
_WORDS = (
    "wrote|writes|schrieb|geschrieben|a écrit|écrivait|escribió|ha scritto|scrisse|schreef|geschreven|skrev|escreveu|"
    "napisał|napisał\\(a\\)|pisze|napsal|napísal|пишет|писал|написал|пише|yazdı|kirjoitti|írta|scris|scrios|scríobh|έγραψε|"
    "כתב|كتب|写道|寫道|のメール|さんは書きました|작성|님이|viết|menulis"
)
_SAYS = re.compile(rf"(?:{_WORDS})", re.IGNORECASE)
_FROM = re.compile(
    r"[*_]{0,2}(From|Von|De|Da|Van|Fra|Från|Od|Lähettäjä|От|От кого|Від|Kimden|Gönderen|Feladó|Από|מאת|من|Ó|"
    r"差出人|送信者|发件人|寄件者|寄件人|보낸 ?사람)[*_]{0,2} ?[:：]",
)
_HEADER = re.compile(r"[*_]{0,2}[\w .'-]{1,24}[*_]{0,2} ?[:：]")
_RULE = re.compile(r"[ \t]*(?:[-_]{3,}[ \t]*[^-_\n]{3,60}[ \t]*[-_]{3,}|_{10,}|-{10,})[ \t]*")
_FORWARDED = re.compile(
    "forward|weitergeleitet|transféré|reenviad|encaminhad|inoltrat|doorgestuurd|videresend|vidarebefordra|przekazan|"
    "пересыла|пересланн|転送|转发|轉寄|전달",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+")
_DATE = re.compile(r"\b(?:19|20)\d\d\b|\d{1,2}[:.]\d\d|\d{1,4}\s?年|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
LONGEST_INTRO = 3  # lines
MOST_LINES = 20_000


def split(text: str, html: str = "") -> tuple[str, str]:
    """Give what was written now and what was quoted; together they are all that there is."""
    if html and (found := _by_html(html)):
        said, quoted = found
        said, rest = _by_lines(said)
        return said, f"{rest}\n\n{quoted}".strip() if rest else quoted
    return _by_lines(text)


# --- by the marks in HTML ---


def _by_html(html: str) -> tuple[str, str] | None:
    if len(html) > LONGEST_HTML or is_deep(html):
        return None
    try:
        root = lxml_html.document_fromstring(html)
    except (etree.LxmlError, ValueError, AssertionError):
        return None
    quote = next((one for one in _quotes(root) if one.getparent() is not None and _is_quote(one)), None)
    if quote is None:
        return None
    if _begins(quote):
        if _is_answered_below(quote):
            return None
        return _cut(root, [quote, *_following(quote)])
    return None if _says_more_after(quote) or _has_answers_inside(quote) else _cut(root, [quote])


def _is_quote(element: Element) -> bool:
    """Tell a quote from a forwarded mail, and the line above a header that Outlook copies from any other line."""
    text = _text(element)[:600].strip()
    if _FORWARDED.search(text[:120]):
        return False
    return "border-top" not in element.get("style", "") or bool(_FROM.match(text))


def _cut(root: Element, gone: list[Element]) -> tuple[str, str] | None:
    quoted = "".join(lxml_html.tostring(one, encoding="unicode", with_tail=False) for one in gone)
    for element in gone:
        element.drop_tree()
    said = html_to_text(lxml_html.tostring(root, encoding="unicode")).strip()
    return (said, html_to_text(quoted).strip()) if said else None


def _following(element: Element) -> Iterator[Element]:
    """Give all elements that come after this one and are not below it."""
    for here in (element, *element.iterancestors()):
        if here.tag != "html":
            yield from here.itersiblings()


def _says_more_after(element: Element) -> bool:
    for here in (element, *element.iterancestors()):
        if here.tag == "body":
            return False
        if (here.tail or "").strip() or any(_text(one).strip() for one in here.itersiblings()):
            return True
    return False


def _is_answered_below(prefix: Element) -> bool:
    """Say whether Thunderbird's quote, which stands after the words that introduce it, is followed by more."""
    if "moz-cite-prefix" not in prefix.get("class", ""):
        return False
    block = next((one for one in prefix.itersiblings() if one.tag == "blockquote"), None)
    return block is not None and (_says_more_after(block) or _has_answers_inside(block))


def _has_answers_inside(quote: Element) -> bool:
    """Say whether somebody wrote between the paragraphs of a quote that was torn into several for that."""
    blocks = [one for one in quote.iterchildren() if one.tag == "blockquote"]
    if quote.tag == "blockquote" or not blocks:
        return False
    after = list(blocks[0].itersiblings())
    return any(one.tag != "blockquote" and _text(one).strip() for one in after) or any(
        (one.tail or "").strip() for one in (blocks[0], *after)
    )


def _text(element: Element) -> str:
    if not isinstance(element.tag, str) or element.tag in ("script", "style"):
        return ""
    return "".join(element.itertext()).replace("\xa0", " ")


# --- by the shape of the text ---


def _by_lines(text: str) -> tuple[str, str]:
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        return text.strip(), ""
    candidates = (_marked_block(lines), _header_block(lines), _intro_alone(lines))
    start = min((place for place in candidates if place is not None), default=None)
    if start is None:
        return text.strip(), ""
    said, quoted = "\n".join(lines[:start]).strip(), "\n".join(lines[start:]).strip()
    return (said, quoted) if said else (quoted, "")


def _marked_block(lines: list[str]) -> int | None:
    """Find where lines marked with `>` begin that go on to the end, and the words that introduce them."""
    first = next((place for place, line in enumerate(lines) if line.startswith(">")), None)
    if first is None or any(line.strip() and not line.startswith(">") for line in lines[first:]):
        return None
    at = first
    while at and not lines[at - 1].strip():
        at -= 1
    for count in range(1, LONGEST_INTRO + 1):
        intro = lines[max(at - count, 0) : at]
        if len(intro) < count or not all(line.strip() for line in intro):
            break
        if _introduces(" ".join(intro), before_marks=True):
            return at - count
    return first


def _header_block(lines: list[str]) -> int | None:
    """Find the headers that Outlook copies: From and at least two more lines, with an address or a date."""
    for place, line in enumerate(lines):
        if not _FROM.match(line.strip()):
            continue
        block = [one.strip() for one in lines[place : place + 8] if one.strip()][:6]
        heads = sum(1 for one in block if _HEADER.match(one))
        if heads < 3 or not (_DATE.search(" ".join(block)) or _ADDRESS.search(" ".join(block))):
            continue
        return _with_rule_above(lines, place)
    return None


def _with_rule_above(lines: list[str], place: int) -> int | None:
    """Take along the line that some programs draw above; what they forwarded is no quote."""
    at = place
    while at and place - at < 2 and not lines[at - 1].strip():
        at -= 1
    if at and _RULE.fullmatch(lines[at - 1]):
        return None if _FORWARDED.search(lines[at - 1]) else at - 1
    if at and _FORWARDED.search(lines[at - 1]):
        return None
    return place


def _intro_alone(lines: list[str]) -> int | None:
    """Find words that introduce a quote which nothing marks. They must be unmistakable: who, when, and `wrote:`."""
    for place, line in enumerate(lines):
        if not line.rstrip().endswith((":", "：")):
            continue
        for count in range(1, LONGEST_INTRO + 1):
            intro = lines[max(place - count + 1, 0) : place + 1]
            if len(intro) < count or not all(one.strip() and not one.startswith(">") for one in intro):
                break
            if _introduces(" ".join(intro), before_marks=False):
                return place - count + 1
    return None


def _introduces(text: str, *, before_marks: bool) -> bool:
    text = text.strip()
    if len(text) > 400 or _FORWARDED.search(text):
        return False
    ends = text.endswith((":", "：")) or (before_marks and text.endswith((">", "-", "—")))
    address, date, says = (bool(found.search(text)) for found in (_ADDRESS, _DATE, _SAYS))
    if before_marks:
        return (ends and (address or date or says)) or (says and date)
    return ends and date and (address or says)
