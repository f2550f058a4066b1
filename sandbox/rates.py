"""Token buckets: how often somebody may still call. In memory; a restart fills them."""

from __future__ import annotations

from sandbox.clock import Clock


class Rates:
    """The buckets of all rooms, each under a name of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}  # name → (tokens left, when)

    def take(self, *name: str, size: float, per_second: float) -> bool:
        """Take a token; say whether there was one."""
        now = self._clock.now()
        tokens, since = self._buckets.get(name, (size, now))
        tokens = min(size, tokens + max(0.0, now - since) * per_second)
        self._buckets[name] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    def clear(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()
