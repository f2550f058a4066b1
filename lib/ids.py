"""Ids that sort by the time of their making (UUIDv7, RFC 9562)."""

from __future__ import annotations

import os
import re
import time
from threading import Lock
from uuid import UUID

_SHAPE = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_lock = Lock()
_last = 0


def uuid7() -> UUID:
    """Make an id greater than every one this process made before, whatever the clock does.

    48 bits of milliseconds, 12 bits of their fraction (RFC 9562, method 3), then 62 random bits.
    """
    global _last
    millis, nanos = divmod(time.time_ns(), 1_000_000)
    stamp = millis << 12 | (nanos << 12) // 1_000_000
    with _lock:
        _last = stamp = max(stamp, _last + 1)
    tail = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | tail)


def is_uuid(text: object) -> bool:
    """Say whether this is text in the one usual form of a UUID, of any version."""
    return isinstance(text, str) and _SHAPE.fullmatch(text) is not None
