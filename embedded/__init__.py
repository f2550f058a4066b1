"""The real PostgreSQL and Valkey, from their wheels, for a machine that has neither.

run.py and the tests call `start()`; production names servers of its own and never comes here. Takes nothing but the
wheels' programs, and imports nothing but the standard library. docs/decisions/0002-embedded-servers.md says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

from embedded.postgres import DATABASE, Postgres
from embedded.server import EmbeddedError, dies_with_us
from embedded.valkey import Valkey

__all__ = ["NAMES", "EmbeddedError", "Servers", "dies_with_us", "socket_dir", "start"]

NAMES = ("postgres", "valkey")


def start(
    data_dir: Path, *, only: Collection[str] = NAMES, durable: bool = True, connections: int = 100, attach: bool = True
) -> Servers:
    """Start the servers on what `data_dir` holds, or attach to them when another process of ours runs them.

    They end with the process that started them, however it ends. `durable=False` trades safety for speed.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (data_dir / "servers.lock").open("a+")
    except PermissionError:
        raise EmbeddedError(
            f"DATA_DIR {data_dir} is not yours to write; name another, or start as its owner."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            owner = lock.read().strip() or "?"
        if attach:
            return Servers(data_dir, only, durable, connections).attach()
        raise EmbeddedError(
            f"DATA_DIR {data_dir} is in use by process {owner}. Stop that one first, or give this one a DATA_DIR and "
            "a PORT of its own."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return Servers(data_dir, only, durable, connections, lock).start()


class Servers:
    """The servers of one data directory; the address of one that was not asked for leads nowhere."""

    def __init__(
        self, data_dir: Path, only: Collection[str], durable: bool, connections: int, lock: IO[str] | None = None
    ) -> None:
        self._lock = lock
        self._sockets = socket_dir(data_dir)
        self.postgres = Postgres(data_dir, self._sockets, durable, connections)
        self.valkey = Valkey(data_dir, self._sockets, durable)
        self.each = [server for server in (self.postgres, self.valkey) if server.name in only]
        self.database_url = f"postgresql+psycopg://postgres@/{DATABASE}?host={self.postgres.socket.parent}"
        self.redis_url = f"unix://{self.valkey.socket}"

    def start(self) -> Servers:
        try:
            for server in self.each:
                server.evict()
            _clear(self._sockets)
            for server in self.each:
                server.prepare()
                server.launch()
            return self.attach()
        except BaseException:
            self.stop()
            raise

    def attach(self) -> Servers:
        for server in self.each:
            server.wait()
        return self

    def mend(self) -> list[str]:
        """Start again what has died, once a second at most; return the names."""
        dead = [server for server in self.each if server.died() and time.monotonic() - server.launched > 1]
        for server in dead:
            server.launch()
        return [server.name for server in dead]

    def stop(self) -> None:
        """Stop what this process started; does nothing after an attach."""
        for server in self.each:
            server.stop()
        if self._lock:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._lock.close()
            self._lock = None


def socket_dir(data_dir: Path) -> Path:
    """Name a short folder for the sockets, whose paths may have 107 bytes only."""
    key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path("/tmp") / f"alacarte-{os.geteuid()}-{key}"


def _clear(sockets: Path) -> None:
    """Make the folder anew; refuse one that another user put there."""
    with suppress(FileNotFoundError):
        if sockets.lstat().st_uid != os.geteuid():
            raise EmbeddedError(f"{sockets} belongs to another user; remove it.")
        shutil.rmtree(sockets)
    sockets.mkdir(mode=0o711)
