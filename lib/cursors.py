"""Opaque cursors of keyset pages: where the last page ended. Readable to us alone, harmless if changed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson


def write(*parts: Any) -> str:
    """Pack times, ids, numbers and texts; the reverse of `read`."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def read(text: str, *kinds: type) -> list[Any]:
    """Unpack a cursor of exactly these kinds (datetime, UUID, int, str); raise `ValueError` on any other."""
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(parts, list) or len(parts) != len(kinds):
            raise ValueError
        return [_PARSERS[kind](part) for kind, part in zip(kinds, parts, strict=True)]
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise ValueError("the cursor is not one that we gave out") from None


def _time(part: Any) -> datetime:
    value = datetime.fromisoformat(part)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _int(part: Any) -> int:
    if not isinstance(part, int) or isinstance(part, bool) or abs(part) >= 2**63:
        raise ValueError
    return part


def _str(part: Any) -> str:
    if not isinstance(part, str) or "\x00" in part:
        raise ValueError
    return part


_PARSERS: dict[type, Callable[[Any], Any]] = {datetime: _time, UUID: UUID, int: _int, str: _str}
