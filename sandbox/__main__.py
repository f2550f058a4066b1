"""`python -m sandbox`: read the environment, open the memory, serve until told to stop."""

from __future__ import annotations

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from threading import Event, Thread  # noqa: E402
from typing import Any  # noqa: E402

from gevent.pywsgi import WSGIHandler, WSGIServer  # type: ignore[import-untyped] # noqa: E402

from sandbox import mail  # noqa: E402
from sandbox.app import create_app  # noqa: E402
from sandbox.world import World, build  # noqa: E402


class _Handler(WSGIHandler):  # type: ignore[misc]
    """Hand the socket to the application, which cuts it when a fault says so."""

    def get_environ(self) -> dict[str, Any]:
        return {**super().get_environ(), "sandbox.socket": self.socket}


def _number(environ: Mapping[str, str], name: str, default: str) -> float:
    try:
        return float(environ.get(name) or default)
    except ValueError:
        sys.exit(f"{name}: “{environ[name]}” is not a number")


def _world(environ: Mapping[str, str]) -> World:
    folder = environ.get("SANDBOX_DATA")
    return build(
        folder=Path(folder) if folder else None,
        clock_offset=_number(environ, "SANDBOX_CLOCK_OFFSET", "0"),
        pace=_number(environ, "SANDBOX_PACE", "0.3"),
        base_url=environ.get("SANDBOX_URL", ""),
    )


def _serve_mail(world: World, host: str) -> None:
    """Start the mail servers where they are wanted; a port that is taken is no reason to do without the rest."""
    ports = {name: os.environ.get(f"SANDBOX_{name}_PORT", "") for name in ("SMTP", "IMAP")}
    for name, given in ports.items():
        try:
            for server, port in mail.serve(world, host, {name: int(given)} if given.isdigit() else {}).items():
                print(f"{server} on {host}:{port}", file=sys.stderr, flush=True)
        except OSError as exc:
            print(f"No {name} on {host}:{given}: {exc.strerror}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve."""
    host, port = os.environ.get("SANDBOX_HOST", "127.0.0.1"), int(_number(os.environ, "SANDBOX_PORT", "8001"))
    world, stopped = _world(os.environ), Event()
    server = WSGIServer((host, port), create_app(world), handler_class=_Handler, log=None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server.start()
    except OSError as exc:
        sys.exit(
            f"Cannot listen on {host}:{port}: {exc.strerror}. Is another sandbox running? SANDBOX_PORT sets the port"
        )
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or every second answer waits for an ACK
    world.base_url = world.base_url or f"http://{host}:{server.server_port}"
    Thread(target=world.sender.run, daemon=True).start()
    for room in world.rooms.values():
        room.resume(world)
    _serve_mail(world, host)
    print(f"Provider sandbox on http://{host}:{server.server_port}", file=sys.stderr, flush=True)
    stopped.wait()
    server.stop(timeout=0.5)


if __name__ == "__main__":
    main()
