"""Connections of the outbound door: looked up, judged, dialled, encrypted, all before one deadline; a few kept alive.

Called by `calls` alone. Plain sockets and threads, so it works under gevent as well as without.
"""

from __future__ import annotations

import http.client
import io
import os
import queue
import select
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

from lib.fetch.rules import FetchError, Policy, Target, is_address, vet

DNS_SECONDS = 5.0
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0  # Node closes after five, and a request that meets the closing is lost
IDLE_CONNECTIONS = 4  # of one host


class Clock:
    """The time that a whole exchange may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    def left(self, at_most: float = 3600.0) -> float:
        """Give the seconds left; raise `TimeoutError` when there are none."""
        left = self.seconds - (time.monotonic() - self._start)
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self._start) * 1000)


class _Reader(io.BufferedReader):
    """`http.client` closes it with each answer; the wire stays open for the next."""

    def close(self) -> None:
        pass


class Wire(io.RawIOBase):
    """A connected socket, each of whose waits ends with the clock. To `http.client` it looks like a socket."""

    def __init__(self, sock: socket.socket, address: str, clock: Clock) -> None:
        self.sock, self.address, self.clock = sock, address, clock
        self._reader = _Reader(self, 64 * 1024)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.sock.settimeout(self.clock.left())
        return self.sock.recv_into(buffer)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return self._reader

    def send_all(self, data: bytes) -> None:
        """Send piece by piece: `sendall` over TLS would give each piece the whole time anew."""
        view = memoryview(data)
        while view:
            self.sock.settimeout(self.clock.left())
            view = view[self.sock.send(view[: 64 * 1024]) :]

    def is_quiet(self) -> bool:
        """Say whether an idle connection is still open and has nothing unasked for to tell."""
        return not select.select([self.sock], [], [], 0)[0]

    def hang_up(self) -> None:
        self.sock.close()


@cache
def tls_context() -> ssl.SSLContext:
    """Give the one TLS context of the process; making it takes 40 ms, so a forking parent calls this first."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial(target: Target, policy: Policy, clock: Clock, *, tls: bool) -> Wire:
    """Connect to one of the target's addresses, all of which have been judged before the first is dialled."""
    found = look_up(target, clock)
    vet(target, [place[0] for _, place in found], policy)
    failure: OSError = OSError("no address")
    for family, place in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(clock.left(CONNECT_SECONDS))
            sock.connect(place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return Wire(_encrypted(sock, target.host, clock) if tls else sock, place[0], clock)
    if isinstance(failure, TimeoutError):
        raise FetchError("timeout", "No connection could be made in time.")
    raise failure


def _encrypted(sock: socket.socket, host: str, clock: Clock) -> ssl.SSLSocket:
    try:
        sock.settimeout(clock.left())
        return tls_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def look_up(target: Target, clock: Clock) -> list[tuple[int, Any]]:
    """Give a target's addresses, each as (family, socket address)."""
    if is_address(target.host):
        return [(socket.AF_INET6 if ":" in target.host else socket.AF_INET, (target.host, target.port))]
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ask(target.host, target.port, answer.put)
    try:
        found = answer.get(timeout=clock.left(DNS_SECONDS))
    except queue.Empty:
        raise FetchError("dns", f"The name {target.host} was not found in time.") from None
    return places(target.host, found)


def ask(host: str, port: int, tell: Callable[[Any], None]) -> None:
    """Look a name up in a thread, for the system's look-up knows no deadline; tell what it gave or raised."""

    def look() -> None:
        try:
            tell(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except BaseException as exc:  # the asker raises it
            tell(exc)

    threading.Thread(target=look, daemon=True).start()


def places(host: str, found: Any) -> list[tuple[int, Any]]:
    """Read what `ask` told."""
    if isinstance(found, (OSError, UnicodeError)):
        raise FetchError("dns", f"The name {host} was not found.") from None
    if isinstance(found, BaseException):
        raise found
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


_idle: defaultdict[str, list[tuple[Wire, float]]] = defaultdict(list)
_idle_lock = threading.Lock()


def keep(target: Target, wire: Wire) -> None:
    """Keep a connection for the next call to the same place."""
    with _idle_lock:
        kept = _idle[target.scheme + target.place]
        if len(kept) < IDLE_CONNECTIONS:
            kept.append((wire, time.monotonic()))
            return
    wire.hang_up()


def kept(target: Target, clock: Clock) -> Wire | None:
    """Give a kept connection that is still open, or None."""
    while True:
        with _idle_lock:
            wires = _idle[target.scheme + target.place]
            if not wires:
                return None
            wire, since = wires.pop()
        if time.monotonic() - since < IDLE_SECONDS and wire.is_quiet():
            wire.clock = clock
            return wire
        wire.hang_up()


def forget_kept() -> None:
    """Drop every kept connection: two processes after a fork must not speak on one."""
    for wires in _idle.values():
        for wire, _ in wires:
            wire.hang_up()
    _idle.clear()


os.register_at_fork(after_in_child=forget_kept)


def explain(exc: BaseException, seconds: float, *, sent: bool) -> FetchError:
    """Turn what the libraries raise into the door's one error."""
    match exc:
        case FetchError():
            exc.sent = exc.sent or sent
            return exc
        case ssl.SSLCertVerificationError():
            return FetchError("tls", f"The certificate is not valid: {exc.verify_message.rstrip('.')}.", sent=sent)
        case TimeoutError():
            return FetchError("timeout", f"There was no whole answer within {seconds:g} seconds.", sent=sent)
        case ConnectionRefusedError():
            return FetchError("refused", "The connection was refused.", sent=sent)
        case ConnectionError() | ssl.SSLEOFError() | http.client.IncompleteRead() if sent:
            return FetchError("reset", "The connection was closed before the whole answer came.", sent=sent)
        case ssl.SSLError():
            return FetchError("tls", f"The encrypted connection failed: {exc.reason or 'no TLS there'}.", sent=sent)
        case http.client.HTTPException() | ValueError():
            return FetchError("protocol", "The answer is not HTTP.", sent=sent)
        case ConnectionError():
            return FetchError("reset", "The connection was closed at once.", sent=sent)
        case _:
            said = getattr(exc, "strerror", None) or type(exc).__name__
            return FetchError("refused", f"The address cannot be reached: {said}.", sent=sent)
