"""What may be done beside whoever asks for it: a thread per process takes what has come together since the last time.

Nothing that must not be lost goes here: a process that is killed forgets what it had not done yet.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from threading import Condition, Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Calls `do` with all that was put since it was last called, in its order and each thing once.

    The thread starts with the first thing, and anew in a forked child. `do` may take its time and must not raise.
    """

    def __init__(self, name: str, do: Callable[[list[T]], None]) -> None:
        self._name, self._do = name, do
        self._starting, self._pid = Lock(), 0

    def put(self, things: Iterable[T]) -> None:
        """Have these done soon; returns at once."""
        if self._pid != os.getpid():
            self._start()
        with self._changed:
            self._waiting.update(dict.fromkeys(things))
            self._changed.notify_all()

    def flush(self, seconds: float = 2.0) -> bool:
        """Wait until all is done; False if it was not in time."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._resting and not self._waiting, seconds)

    def _start(self) -> None:
        with self._starting:
            if self._pid == os.getpid():
                return
            self._changed, self._resting = Condition(), True
            self._waiting: dict[T, None] = {}
            Thread(target=self._run, name=self._name, daemon=True).start()
            atexit.register(self.flush)
            self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._resting = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                things, self._waiting, self._resting = list(self._waiting), {}, False
            self._do(things)
