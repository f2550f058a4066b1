"""Unpack `winmail.dat` (MS-OXTNEF), in which Outlook wraps what it sends: its files, its text, its HTML.

https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxtnef. What cannot be read is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from lib.letters import words

KINDS = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
MOST_FILES = 60

_SIGNATURE = 0x223E9F78
_TITLE, _DATA, _RENDERING, _ATTACHMENT = 0x18010, 0x6800F, 0x69002, 0x69005
_BODY, _PROPERTIES, _CODEPAGE = 0x2800C, 0x69003, 0x69007
_TEXT, _HTML, _LONG_NAME, _MIME, _BYTES = 0x1000, 0x1013, 0x3707, 0x370E, 0x3701
_FIXED = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 20: 8, 64: 8, 72: 16}
_VARIABLE = frozenset({13, 30, 31, 258})
_STRING, _WIDE = 30, 31


@dataclass(slots=True)
class Packed:
    """A file inside."""

    filename: str = ""
    kind: str = "application/octet-stream"
    data: bytes = b""


@dataclass(slots=True)
class Unpacked:
    """What was found."""

    files: list[Packed] = field(default_factory=list)
    text: str = ""
    html: str = ""


def unpack(data: bytes) -> Unpacked:
    """Give all that can be read; nothing of what is no TNEF."""
    found = Unpacked()
    if len(data) < 6 or struct.unpack_from("<I", data)[0] != _SIGNATURE:
        return found
    charset = ""
    for attribute, value in _attributes(data):
        if attribute == _CODEPAGE and len(value) >= 4:
            charset = f"cp{struct.unpack_from('<I', value)[0]}"
        elif attribute == _RENDERING and len(found.files) < MOST_FILES:
            found.files.append(Packed())
        elif attribute == _BODY:
            found.text = words.decode(value.rstrip(b"\0"), charset)
        elif attribute == _PROPERTIES:
            _take_body(found, value, charset)
        elif found.files:
            _take_file(found.files[-1], attribute, value, charset)
    found.files = [file for file in found.files if file.data]
    return found


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 6
    while at + 9 <= len(data):
        attribute, size = struct.unpack_from("<II", data, at + 1)
        at += 9
        if at + size > len(data):
            return
        yield attribute, data[at : at + size]
        at += size + 2


def _take_body(found: Unpacked, value: bytes, charset: str) -> None:
    for name, kind, content in _properties(value):
        if name == _TEXT and not found.text:
            found.text = _string(kind, content, charset)
        elif name == _HTML and not found.html:
            found.html = _string(kind, content, charset)


def _take_file(file: Packed, attribute: int, value: bytes, charset: str) -> None:
    if attribute == _TITLE and not file.filename:
        file.filename = words.decode(value.rstrip(b"\0"), charset)
    elif attribute == _DATA:
        file.data = value
    elif attribute == _ATTACHMENT:
        for name, kind, content in _properties(value):
            if name == _LONG_NAME:
                file.filename = _string(kind, content, charset) or file.filename
            elif name == _MIME:
                file.kind = _string(kind, content, charset).lower() or file.kind
            elif name == _BYTES and not file.data:
                file.data = content


def _string(kind: int, content: bytes, charset: str) -> str:
    if kind == _WIDE:
        return words.storable(content.decode("utf-16-le", "replace")).rstrip("\0")
    return words.decode(content.rstrip(b"\0"), charset)


def _properties(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give (name, type, value) of each MAPI property, until one makes no sense."""
    try:
        count, at = struct.unpack_from("<I", data)[0], 4
        for _ in range(min(count, 2000)):
            kind, name = struct.unpack_from("<HH", data, at)
            at += 4
            if name >= 0x8000:
                at = _after_name(data, at)
            many, kind = bool(kind & 0x1000), kind & 0xEFFF
            if kind in _VARIABLE or many:
                values, at = struct.unpack_from("<I", data, at)[0], at + 4
            else:
                values = 1
            for _ in range(min(values, 2000)):
                size = _FIXED.get(kind)
                if kind in _VARIABLE:
                    size, at = struct.unpack_from("<I", data, at)[0], at + 4
                if size is None or at + size > len(data):
                    return
                yield name, kind, data[at : at + size]
                at += size + (-size % 4)
    except struct.error:
        return


def _after_name(data: bytes, at: int) -> int:
    """Skip the GUID and the id or the words of a named property."""
    by_words = struct.unpack_from("<I", data, at + 16)[0] == 1
    at += 20
    if not by_words:
        return at + 4
    size = int(struct.unpack_from("<I", data, at)[0])
    return at + 4 + size + (-size % 4)
