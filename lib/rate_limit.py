"""How often somebody may do a thing: token buckets in Valkey, shared by all processes.

While Valkey cannot be reached, each process counts for itself: nobody is shut out, and nobody is let in without end.
A bucket is one number, the moment at which it will be full again; taking a token moves that moment further away.
"""

from __future__ import annotations

import hashlib
import math
from time import monotonic, time_ns
from typing import Any, NamedTuple

from redis import NoScriptError, Redis, RedisError

BREAK_SECONDS = 1.0  # after a failure, how long to count alone instead of waiting for Valkey each time
MOST_BUCKETS = 100_000

_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[1])
if full - now > tonumber(ARGV[2]) then return now + tonumber(ARGV[2]) - full end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return full - now"""

_SHA = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()

_broken_until = 0.0
_buckets: dict[str, int] = {}


class Verdict(NamedTuple):
    """May they? `remaining` tokens are left; whole seconds to the next one, and until the bucket is full."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: int
    reset: int


def take(redis: Redis, name: str, limit: int, period: float = 60.0) -> Verdict:
    """Take one token of a bucket that holds `limit` and fills within `period` seconds."""
    size = round(period * 1_000_000)
    step = max(1, size // limit)
    answer = _ask(redis, name, step, step * limit)
    if answer < 0:
        return Verdict(False, limit, 0, math.ceil(-answer / 1_000_000), math.ceil(period))
    return Verdict(True, limit, limit - -(-answer // step), 0, math.ceil(answer / 1_000_000))


def _ask(redis: Redis, name: str, step: int, size: int) -> int:
    """Give the microseconds until the bucket is full, or, below zero, until it has a token."""
    global _broken_until
    if monotonic() >= _broken_until:
        try:
            return _evaluate(redis, name, step, size)
        except (RedisError, OSError):
            _broken_until = monotonic() + BREAK_SECONDS
    now = time_ns() // 1000
    full = max(_buckets.get(name, 0), now) + step
    if full - now > size:
        return now + size - full
    if len(_buckets) >= MOST_BUCKETS:
        _drop_full(now)
    _buckets[name] = full
    return full - now


def _evaluate(redis: Redis, name: str, step: int, size: int) -> int:
    arguments: Any = (1, name, step, size)
    try:
        return int(redis.evalsha(_SHA, *arguments))
    except NoScriptError:  # Valkey was restarted: `eval` remembers the script again
        return int(redis.eval(_TAKE, *arguments))


def _drop_full(now: int) -> None:
    for name, full in list(_buckets.items()):
        if full <= now:
            del _buckets[name]
    if len(_buckets) >= MOST_BUCKETS:
        _buckets.clear()
