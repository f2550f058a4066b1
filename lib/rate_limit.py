"""How often somebody may do a thing: token buckets in Valkey, shared by all processes.

While Valkey cannot be reached, each process counts for itself: nobody is shut out, and nobody is let in without end.
A bucket is one number, the moment at which it will be full again; taking a token moves that moment further away.
Whoever calls fast takes several tokens at a time and spends them here, so that most calls ask nobody.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from time import monotonic, time_ns
from typing import Any, NamedTuple

from redis import Redis, RedisError
from redis.exceptions import NoScriptError

LEASE_SECONDS = 0.25  # how long tokens that were taken in advance may be spent
MOST_LEASED = 64
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
_leases: dict[str, Lease] = {}


@dataclass(slots=True)
class Lease:
    """Tokens in hand: how many were taken, when, and how many are left; `full` is the bucket's fill time then."""

    size: int
    left: int
    taken_at: float
    full: int


class Verdict(NamedTuple):
    """May they? `remaining` tokens are left; whole seconds to the next one, and until the bucket is full."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: int
    reset: int


def take(redis: Redis, name: str, limit: int, period: float = 60.0) -> Verdict:
    """Take one token of a bucket that holds `limit` and fills within `period` seconds."""
    step = max(1, round(period * 1_000_000) // limit)
    lease = _leases.get(name)
    if lease and lease.left and monotonic() - lease.taken_at < LEASE_SECONDS:
        lease.left -= 1
        return _allowed(limit, step, lease.full - lease.left * step)
    size = _size(lease, limit)
    if len(_leases) >= MOST_BUCKETS:
        _leases.clear()
    # Who comes while we ask spends what we are about to get; else a whole crowd would ask at once.
    lease = _leases[name] = Lease(size, size - 1, monotonic(), (lease.full if lease else 0) + size * step)
    answer = _ask(redis, name, step * size, step * limit)
    if answer < 0 and size > 1:
        lease.size, lease.left = 1, 0
        answer = _ask(redis, name, step, step * limit)
    if answer < 0:
        _leases.pop(name, None)
        return Verdict(False, limit, 0, math.ceil(-answer / 1_000_000), math.ceil(period))
    lease.full = answer
    return _allowed(limit, step, answer - lease.left * step)


def draw(redis: Redis, name: str, limit: int, period: float = 60.0, tokens: int = 1) -> float:
    """Take so many tokens together, at most all that the bucket holds; give 0, or the seconds until they are there."""
    step = max(1, round(period * 1_000_000) // limit)
    return max(0, -_ask(redis, name, step * min(tokens, limit), step * limit)) / 1_000_000


def _size(lease: Lease | None, limit: int) -> int:
    """Decide how many tokens to take: twice as many as last time if those went at once, else one."""
    if lease is None or lease.left or monotonic() - lease.taken_at >= LEASE_SECONDS / 2:
        return 1
    return max(1, min(lease.size * 2, MOST_LEASED, limit // 20))


def _allowed(limit: int, step: int, full: int) -> Verdict:
    return Verdict(True, limit, max(0, limit - -(-full // step)), 0, math.ceil(full / 1_000_000))


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
