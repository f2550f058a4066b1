"""Figures that cost more the more there is to count, counted no more often than is worth it.

A figure is kept in Valkey for twenty times as long as it took: over a small log it is always fresh, and over a large
one it takes at most a twentieth of the database's time, however many screens ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

import orjson
from redis import Redis, RedisError

TIMES = 20
LONGEST = 60.0  # seconds


def sparingly(redis: Redis, name: str, count: Callable[[], Any]) -> Any:
    """Give what `count` gives (anything that is JSON), now or a while ago; without Valkey, now."""
    with suppress(RedisError):
        if kept := redis.get(f"figure:{name}"):
            return orjson.loads(kept)
    began = perf_counter()
    counted = count()
    kept_for = min(LONGEST, TIMES * (perf_counter() - began))
    with suppress(RedisError):
        redis.set(f"figure:{name}", orjson.dumps(counted), px=max(1, round(kept_for * 1000)))
    return counted
