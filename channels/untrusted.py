"""Read what strangers send, so that it can be stored: JSON of any shape, text, ids, times.

Called by every channel's parse. Nothing here raises on content: what has the wrong type reads as empty.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DEEPEST = 24  # levels that are kept; deeper ones would stop a JSON column
LONGEST_ID = 512
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither NUL nor half a surrogate pair
_MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138, as milliseconds 1973


def load(body: bytes) -> dict[str, Any]:
    """Give the JSON object in a body, safe to store, or an empty one.

    Integers beyond 15 digits become strings: they are ids, and JavaScript would round them.
    """
    try:
        tree = json.loads(
            body.decode("utf-8-sig", "replace"), parse_int=_integer, parse_float=_float, parse_constant=lambda _: None
        )
        return mapping(_safe(tree, DEEPEST))
    except (ValueError, RecursionError):
        return {}


def text(value: object) -> str:
    """Give a string, or a number as one; anything else is empty."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def identifier(value: object) -> str:
    """Give an id as a string; one that no provider would send (blank, endless) is empty."""
    found = text(value).strip()
    return found if len(found) <= LONGEST_ID else ""


def made_up_id(item: Mapping[str, Any]) -> str:
    """Name an item that came without an id, the same each time that it comes."""
    return "sha256:" + hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[dict[str, Any]]:
    """Give the objects of a list; whatever else lies between them is dropped."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def moment(value: object) -> datetime:
    """Read Unix seconds or milliseconds, as number or string; what cannot be a time is now."""
    try:
        number = float(text(value))
        found = datetime.fromtimestamp(number / 1000 if abs(number) >= _MILLISECONDS else number, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
    return found if 2000 <= found.year <= 2100 else datetime.now(UTC)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 15 else digits[:LONGEST_ID]


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _safe(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): _safe(part, depth - 1) for key, part in value.items()} if depth else None
    if isinstance(value, list):
        return [_safe(part, depth - 1) for part in value] if depth else None
    return value
