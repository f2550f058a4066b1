"""What IMAP clients write: words, sets of UIDs, searches and parts of mails (RFC 3501). Knows no connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from sandbox.store import Row

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\((?:[^()]|\([^()]*\))*\))|(\S+)')
_ITEM = re.compile(r"BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?|[A-Z0-9.]+", re.IGNORECASE)


class Bad(Exception):
    """The command makes no sense."""


def words(text: str) -> list[str]:
    """Split into words, quoted ones unquoted."""
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted or not (list_ or bare) else list_ or bare
            for quoted, list_, bare in _WORD.findall(text)]  # fmt: skip


def items(text: str) -> list[re.Match[str]]:
    """Read what is to be fetched."""
    names = text.strip().removeprefix("(").removesuffix(")")
    return list(_ITEM.finditer("FLAGS INTERNALDATE RFC822.SIZE" if names.upper() in ("ALL", "FAST") else names))


def among(text: str, rows: list[Row]) -> Callable[[int], bool]:
    """Read a set of UIDs: `4`, `4:7`, `4:*`; `*` is the last one that there is."""
    last = rows[-1]["seq"] if rows else 0
    ranges = []
    for part in text.split(","):
        if not re.fullmatch(r"(\d+|\*)(:(\d+|\*))?", part):
            raise Bad("That is no set of UIDs")
        ends = [last if end == "*" else int(end) for end in part.split(":")]
        ranges.append((min(ends), max(ends)))
    return lambda uid: any(low <= uid <= high for low, high in ranges)


def chosen(rows: list[Row], criteria: str, flags: dict[int, set[str]]) -> Iterator[Row]:
    """Give the rows that fit every criterion."""
    tests: list[Callable[[Row], bool]] = []
    rest = iter(words(criteria.replace("(", " ").replace(")", " ")))
    for word in rest:
        name = word.upper()
        if name == "CHARSET":
            next(rest, "")
        elif name == "UID":
            inside = among(next(rest, ""), rows)
            tests.append(lambda row, inside=inside: inside(row["seq"]))  # type: ignore[misc]
        elif name in ("SINCE", "BEFORE"):
            day = _day(next(rest, ""))
            tests.append(lambda row, day=day, name=name: (row["at"] >= day) == (name == "SINCE"))  # type: ignore[misc]
        elif name in ("UNSEEN", "SEEN"):
            tests.append(lambda row, name=name: ("\\Seen" in flags.get(row["seq"], ())) == (name == "SEEN"))  # type: ignore[misc]
        elif name != "ALL":
            raise Bad(f"Cannot search by {name[:40]}")
    return (row for row in rows if all(test(row) for test in tests))


def _day(text: str) -> float:
    found = re.fullmatch(r"(\d{1,2})-(\w{3})-(\d{4})", text)
    if found is None or found[2].title() not in _MONTHS:
        raise Bad("A date is written 3-Nov-2026")
    try:
        return datetime(int(found[3]), _MONTHS.index(found[2].title()) + 1, int(found[1]), tzinfo=UTC).timestamp()
    except ValueError:
        raise Bad("There is no such day") from None


def date(at: float) -> str:
    then = datetime.fromtimestamp(at, UTC)
    return f"{then.day:2d}-{_MONTHS[then.month - 1]}-{then:%Y %H:%M:%S} +0000"


def section(raw: bytes, match: re.Match[str]) -> bytes:
    """Give a part of a mail as a literal: all of it, its headers, some of them, its text; or a piece of that."""
    section = match[1].upper()
    head, blank, body = raw.partition(b"\r\n\r\n")
    if section.startswith("HEADER.FIELDS"):
        names = {name.encode().lower() for name in re.findall(r"[A-Z0-9-]+", section.partition("(")[2])}
        lines = re.split(rb"\r\n(?![ \t])", head)
        kept = [line for line in lines if line.partition(b":")[0].strip().lower() in names]
        data = b"".join(line + b"\r\n" for line in kept) + b"\r\n"
    elif section in ("", "HEADER", "TEXT"):
        data = {"": raw, "HEADER": head + blank, "TEXT": body}[section]
    else:
        raise Bad(f"Cannot fetch BODY[{section[:40]}]")
    name = f"BODY[{match[1]}]"
    if match[2] is not None:
        start, size = int(match[2]), int(match[3])
        data, name = data[start : start + size], f"{name}<{start}>"
    return f"{name} {{{len(data)}}}\r\n".encode() + data
