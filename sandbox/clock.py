"""The sandbox's own time: the machine's, plus an offset that tests may move. The rooms ask here, never `time`."""

from __future__ import annotations

import time

from sandbox.store import Store


class Clock:
    """Tell the time in Unix seconds; the offset outlives a restart."""

    def __init__(self, store: Store, offset: float = 0.0) -> None:
        self._store = store
        self.offset = float(store.thing("clock", "offset") or offset)

    def now(self) -> float:
        """Give the sandbox's time."""
        return time.time() + self.offset

    def move(self, *, advance: float = 0.0, offset: float | None = None) -> None:
        """Go forward (or back) by some seconds, or stand a fixed number of seconds away from the machine's time."""
        self.offset = (self.offset if offset is None else offset) + advance
        self._store.keep("clock", "offset", self.offset)
