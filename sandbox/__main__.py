"""`python -m sandbox`: read the environment, open the memory, serve until told to stop."""

from __future__ import annotations

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from threading import Thread  # noqa: E402
from typing import Any  # noqa: E402

from gevent.pywsgi import WSGIHandler, WSGIServer  # type: ignore[import-untyped] # noqa: E402

from sandbox.app import create_app  # noqa: E402
from sandbox.callbacks import Sender  # noqa: E402
from sandbox.clock import Clock  # noqa: E402
from sandbox.faults import Faults  # noqa: E402
from sandbox.live import Live  # noqa: E402
from sandbox.log import Log  # noqa: E402
from sandbox.store import Store  # noqa: E402
from sandbox.world import World  # noqa: E402


class _Handler(WSGIHandler):  # type: ignore[misc]
    """Hand the socket to the application, which cuts it when a fault says so."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "sandbox.socket": self.socket}


def build(environ: dict[str, str]) -> World:
    """Make the world that the environment describes."""
    folder = environ.get("SANDBOX_DATA", "")
    store = Store(Path(folder) if folder else None)
    clock = Clock(store, float(environ.get("SANDBOX_CLOCK_OFFSET", "0")))
    live, log = Live(), Log(store, clock)
    return World(
        store=store,
        clock=clock,
        live=live,
        faults=Faults(store),
        log=log,
        sender=Sender(store, clock, log, live),
        base_url=environ.get("SANDBOX_URL", "").rstrip("/"),
        pace=float(environ.get("SANDBOX_PACE", "0.3")),
    )


def main() -> None:
    """Serve."""
    host, port = os.environ.get("SANDBOX_HOST", "127.0.0.1"), int(os.environ.get("SANDBOX_PORT", "8001"))
    world = build(dict(os.environ))
    server = WSGIServer((host, port), create_app(world), handler_class=_Handler, log=None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop(timeout=0.5))
    Thread(target=world.sender.run, daemon=True).start()
    for room in world.rooms.values():
        room.resume(world)
    server.start()
    if not os.environ.get("SANDBOX_URL"):
        world.base_url = f"http://{host}:{server.server_port}"
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or every second answer waits for an ACK
    print(f"Provider sandbox on http://{host}:{server.server_port}", file=sys.stderr, flush=True)
    server._stop_event.wait()


if __name__ == "__main__":
    main()
