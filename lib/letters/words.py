"""Bytes of mails as text: character sets under any name, encoded words, addresses and ids. Never raises on content.

Every pattern here is linear, for the longest header that strangers can think of is one of theirs.
"""

from __future__ import annotations

import binascii
import codecs
import re

import charset_normalizer

LONGEST = 20_000  # bytes of one header's value that are looked at
LONGEST_ID = 400
MOST_ADDRESSES = 100
_DETECTED_IN = 8192  # bytes: guessing takes a second for each megabyte

# What Python does not know, or knows as a poorer set than the one that is meant.
_ALIASES = {
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "iso8859-1"), "cp1252"),
    **dict.fromkeys(("windows-874", "iso-8859-11", "tis-620"), "cp874"),
    **dict.fromkeys(("iso-8859-8-i", "iso-8859-8-e", "visual"), "iso8859-8"),
    **dict.fromkeys(("windows-31j", "x-sjis", "shift-jis", "sjis", "ms-kanji"), "cp932"),
    **dict.fromkeys(("x-gbk", "gbk", "gb2312", "gb-2312-80", "x-euc-cn", "hz-gb"), "gb18030"),
    **dict.fromkeys(("ks-c-5601-1987", "ks-c-5601", "euc-kr", "x-windows-949", "korean"), "cp949"),
    **dict.fromkeys(("big5", "x-x-big5", "cn-big5"), "big5hkscs"),
    **dict.fromkeys(("iso-2022-jp", "csiso2022jp", "iso-2022-jp-ms"), "iso2022_jp_ext"),
    **dict.fromkeys(("iso-8859-9", "latin5"), "cp1254"),
    **dict.fromkeys(("utf8mb4", "utf8mb3", "unicode-1-1-utf-8", "x-utf-8", "unicode"), "utf-8"),
    **{"unicode-1-1-utf-7": "utf-7", "cp-850": "cp850", "x-mac-roman": "mac-roman", "macintosh": "mac-roman"},
    **{"x-mac-cyrillic": "mac-cyrillic", "koi8": "koi8-r", "dos-874": "cp874", "ibm-437": "cp437"},
}
# Python has codecs that are no character sets (punycode takes minutes), so what may be used is listed.
_KNOWN = frozenset({
    *(f"iso8859-{number}" for number in (*range(2, 12), 13, 14, 15, 16)),
    *(f"cp125{digit}" for digit in range(9)),
    *("ascii", "cp437", "cp850", "cp852", "cp855", "cp858", "cp862", "cp866", "cp874", "cp932", "cp949", "cp1125"),
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7"),
    *("gb18030", "hz", "big5", "big5hkscs", "cp950", "euc_jp", "euc_jis_2004", "shift_jis_2004", "iso2022_jp_ext"),
    *("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_kr", "koi8-r", "koi8-u", "kz1048", "ptcp154"),
    *("mac-roman", "mac-cyrillic", "mac-greek", "mac-turkish", "mac-latin2", "mac-iceland"),
})  # fmt: skip

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_WORD = re.compile(r"=\?([^\s?]{1,60})\?([bBqQ])\?([^?]*)\?=")
_TORN_WORD = re.compile(r"\s*=\?[^\s?]{0,60}\?[bBqQ]\?[^?]*$")
_ID = re.compile(r"<([^<>]{1,998})>")
_ANGLE = re.compile(r"<([^<>]*)>")
_OPEN = {'"': '"', "(": ")", "<": ">"}
_NO_ADDRESS = re.compile(r"[\s<>()\[\],;:\"\\]+")
_COMMENT = re.compile(r"\(([^()]{1,200})\)")
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+")


def decode(data: bytes, charset: str = "") -> str:
    """Give the text of some bytes: as declared if they are so, else as UTF-8 or whatever they look like."""
    for codec in (_marked(data), _codec(charset), "utf-8"):
        if codec is None or (codec == "cp1252" and not data.isascii() and _is_utf8(data)):
            continue
        try:
            return storable(data.decode(codec))
        except (UnicodeError, ValueError):
            continue
    declared = _codec(charset)
    if declared and declared not in ("cp1252", "ascii"):  # a few wrong bytes are worth less than the rest
        lenient = data.decode(declared, "replace")
        if lenient.count("\ufffd") * 50 < len(lenient):
            return storable(lenient)
    best = charset_normalizer.from_bytes(data[:_DETECTED_IN]).best()
    return storable(data.decode(best.encoding if best else "cp1252", "replace"))


def storable(text: str) -> str:
    """Leave out what no database takes: NUL and half a surrogate pair."""
    return _UNSTORABLE.sub("", text)


def header(raw: bytes, longest: int = LONGEST) -> str:
    """Give a header's value as text on one line: encoded words decoded, no control or direction characters."""
    value = plain(raw[:longest])
    if len(raw) > longest:
        value = _TORN_WORD.sub("…", value)
    return " ".join(_UNSEEN.sub(" ", _decode_words(value)).split())


def plain(raw: bytes) -> str:
    """Give a header's raw value as text, its encoded words as they are: to be taken apart before it is decoded."""
    return raw.decode() if raw.isascii() else decode(raw)


def addresses(raw: bytes) -> list[tuple[str, str]]:
    """List the (name, address) pairs of a header, whatever state it is in; what holds no address is left out.

    Taken apart before decoding: an encoded name may not bring in an address of its own. By our own hand, for the
    standard library needs seconds for some headers and dies of others.
    """
    value = plain(raw[:LONGEST])
    angles = _ANGLE.findall(value)
    one = len(angles) == 1 and value.count("@") == angles[0].count("@")  # unquoted commas are of the name
    pieces = [value] if one else _pieces(value)
    found = (_pair(piece) for piece in pieces[: 2 * MOST_ADDRESSES])
    return [pair for pair in found if pair][:MOST_ADDRESSES]


def _pieces(value: str) -> list[str]:
    """Split at the commas and semicolons that stand outside quotes, comments and brackets; drop names of groups."""
    out, piece, closers = [], list[str](), list[str]()
    chars = iter(value)
    for char in chars:
        if char == "\\":
            piece += (char, next(chars, ""))
            continue
        if closers and char == closers[-1]:
            closers.pop()
        elif char in _OPEN and (not closers or closers[-1] == char == "("):
            closers.append(_OPEN[char])
        elif not closers and char in ",;:":
            if char != ":":
                out.append("".join(piece))
            piece = []
            continue
        piece.append(char)
    last = "".join(piece)
    return [*out, last] if not closers else [*out, *(word for word in _NO_ADDRESS.split(last) if "@" in word)]


def _pair(piece: str) -> tuple[str, str] | None:
    before, bracket, inside = piece.partition("<")
    comment = _COMMENT.search(piece)
    written = _UNSEEN.sub("", (inside if bracket else piece).partition(">")[0])
    at = written.find("@")
    bare = _ADDRESS.search(written[max(0, at - 330) : at + 330]) if at >= 0 else None
    if bare is None or len(bare[0]) > 320:
        return None
    name = before if bracket else comment[1] if comment else ""
    unquoted = re.sub(r"\\(.)", r"\1", name.strip().strip('"'))
    return header(unquoted.encode("utf-8", "replace"), 1000)[:200], bare[0]


def address(raw: bytes) -> str:
    """Give the one address of a trace header, such as Delivered-To."""
    return next((pair[1] for pair in addresses(raw[:1000])), "")


def ids(raw: bytes) -> list[str]:
    """List the message ids of a header, in its order: prose, missing blanks and folded ids are survived."""
    if len(raw) > LONGEST:
        raw = raw[: LONGEST // 2] + b" " + raw[-LONGEST // 2 :]
    value = plain(raw)
    found = [f"<{''.join(part.split())}>" for part in _ID.findall(value)]
    if not found:
        found = [f"<{word}>" for word in value.split() if re.fullmatch(r"[^<>@]+@[^<>@]+", word)]
    cleaned = (storable(_UNSEEN.sub("", one)) for one in found)
    return list(dict.fromkeys(one for one in cleaned if "@" in one and len(one) <= LONGEST_ID))


def _decode_words(value: str) -> str:
    """Decode encoded words; neighbours of one set are joined first, for some cut characters in two."""
    out: list[str] = []
    pending, charset, end = b"", "", 0
    for match in _WORD.finditer(value):
        between, name = value[end : match.start()], match[1].partition("*")[0].lower()
        adjacent = bool(end) and not between.strip()
        if pending and not (adjacent and name == charset):
            out.append(decode(pending, charset))
            pending = b""
        if not adjacent:
            out.append(between)
        pending, charset, end = pending + _word_bytes(match[2], match[3]), name, match.end()
    if pending:
        out.append(decode(pending, charset))
    return "".join([*out, value[end:]])


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    return base64(raw)


def base64(raw: bytes) -> bytes:
    """Decode base64 as far as it goes: strange characters and missing padding are survived."""
    kept = re.sub(rb"[^A-Za-z0-9+/=]", b"", raw.translate(None, b"\r\n\t "))
    kept = kept.rstrip(b"=")
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    try:
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        return b""


def _marked(data: bytes) -> str | None:
    """Give the set that a byte order mark proves."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(data) % 2 == 0 else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeError:
        return False
    return True


def _codec(charset: str) -> str | None:
    name = charset.strip().strip("\"'").lower().replace("_", "-")
    if not name or len(name) > 40 or not name.isascii():
        return None
    name = _ALIASES.get(name) or re.sub(r"^windows-(\d+)$", r"cp\1", name)
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return found if found in _KNOWN else None
