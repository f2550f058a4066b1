"""Ports for the programs that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on, below those that the system gives to connections that go out."""
    anywhere = random.SystemRandom()  # not the seeded one, which is the same in every process of a run
    found: set[int] = set()
    while len(found) < count:
        port = anywhere.randrange(12_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)
