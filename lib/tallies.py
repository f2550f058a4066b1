"""Counters and histograms that all processes share, on whatever machine they run: samples in one Valkey hash.

A field of the hash is a sample as Prometheus' text format names it (`name_total{label="value"}`), so that reading is
printing. They start from nothing when Valkey does, as a scraper expects of any restart. Nothing depends on them: while
Valkey is away, what would be counted is not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence

from redis import Redis, RedisError

KEY = "tallies"

Tally = Counter[str]  # sample → how much to add


def sample(name: str, **labels: str) -> str:
    """Name a sample. Labels are our own short words: nothing in them needs escaping."""
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def observe(tally: Tally, name: str, values: Collection[float], bounds: Sequence[float]) -> None:
    """Put values into a histogram with these upper bounds."""
    ordered = sorted(values)
    tally[f"{name}_sum"] += sum(ordered)  # type: ignore[assignment]  # a counter counts in fractions, too
    tally[f"{name}_count"] += len(ordered)
    for bound in bounds:
        tally[sample(f"{name}_bucket", le=f"{bound:g}")] += bisect_right(ordered, bound)
    tally[sample(f"{name}_bucket", le="+Inf")] += len(ordered)


def add(redis: Redis, tally: Tally) -> None:
    """Add what was counted, in one round trip; never raises because of Valkey."""
    try:
        with redis.pipeline(transaction=False) as pipe:
            for name, amount in tally.items():
                pipe.hincrbyfloat(KEY, name, amount)
            pipe.execute()
    except RedisError:
        pass


def read(redis: Redis) -> dict[str, float]:
    """Give every sample that was ever counted; none while Valkey is away."""
    try:
        raw: dict[bytes, bytes] = redis.hgetall(KEY)  # type: ignore[assignment]  # our connections do not decode
    except RedisError:
        return {}
    return {name.decode(): float(value) for name, value in raw.items()}
