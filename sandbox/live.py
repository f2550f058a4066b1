"""Who looks at which chat right now, and how they hear that it changed. Kept in memory only, like the open pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

Chat = tuple[str, str, str]  # provider, account, person


@dataclass(eq=False)
class Watcher:
    """One open page. `chat` of None hears of every change."""

    chat: Chat | None
    event: Event = field(default_factory=Event)

    def wait(self, seconds: float) -> bool:
        """Wait for a change; say whether there was one."""
        changed = self.event.wait(seconds)
        self.event.clear()
        return changed


class Live:
    """The open pages of this process."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    @contextmanager
    def watch(self, chat: Chat | None) -> Iterator[Watcher]:
        """Count as looking at a chat for as long as the block runs."""
        watcher = Watcher(chat)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def is_open(self, chat: Chat) -> bool:
        """Say whether a customer's phone shows this chat."""
        return any(watcher.chat == chat for watcher in self._watchers)

    def changed(self, chat: Chat) -> None:
        """Wake everybody who looks at this chat, or at all of them."""
        for watcher in self._watchers:
            if watcher.chat in (None, chat):
                watcher.event.set()
