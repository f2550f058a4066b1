"""Counters and histograms that all processes share, on whatever machine they run: samples in one Valkey hash.

A field of the hash is a sample as Prometheus' text format names it (`name_total{label="value"}`), so that reading is
printing. They start from nothing when Valkey does, as a scraper expects of any restart. Nothing depends on them: while
Valkey is away, what would be counted is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from redis import Redis, RedisError

KEY = "tallies"

Tally = Counter[str]  # sample → how much to add


def sample(name: str, **labels: str) -> str:
    """Name a sample. Labels are our own short words: nothing in them needs escaping."""
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def observe(tally: Tally, name: str, value: float, bounds: Sequence[float]) -> None:
    """Put one value into a histogram with these upper bounds."""
    tally[f"{name}_sum"] += value  # type: ignore[assignment]  # a counter counts in fractions, too
    tally[f"{name}_count"] += 1
    for bound in (*bounds, float("inf")):
        if value <= bound:
            tally[sample(f"{name}_bucket", le="+Inf" if bound == float("inf") else f"{bound:g}")] += 1


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
