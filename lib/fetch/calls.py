"""One request at a time, blocking: provider APIs, media downloads and the "test" buttons.

Called in the worker and, with a short deadline, in the web. See `sessions` for many at a time.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from lib.fetch import wires
from lib.fetch.rules import FetchError, Policy, Target, check_host, check_url, checked_headers
from lib.fetch.wires import Clock, Wire

CHUNK = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REPEATABLE = frozenset({"GET", "HEAD"})
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it came: header names in lower case, the body neither decompressed nor decoded.

    `truncated`: there was more than was asked for. `address`: the one that answered.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    address: str
    elapsed_ms: int


class Stream:
    """An answer whose body is still to come; iterating gives its pieces."""

    def __init__(self, wire: Wire, reply: http.client.HTTPResponse, max_bytes: int) -> None:
        self.status, self.headers, self.address = reply.status, joined(reply.getheaders()), wire.address
        self._wire, self._reply, self._max_bytes = wire, reply, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        """Raise `FetchError` of kind `too_large` before more than `max_bytes` came, `reset` when the body broke off."""
        taken = self._reply.length or 0
        if taken <= self._max_bytes:
            taken = 0
            while chunk := self._read(CHUNK):
                taken += len(chunk)
                if taken > self._max_bytes:
                    break
                yield chunk
        if taken > self._max_bytes:
            raise FetchError("too_large", f"The answer is larger than {self._max_bytes} bytes.", sent=True)

    def head(self, size: int) -> tuple[bytes, bool]:
        """Give up to so many bytes, and whether there were more."""
        taken = io.BytesIO()  # which gives away what it holds, where a bytearray would be copied
        while taken.tell() <= size and (chunk := self._read(min(CHUNK, size + 1 - taken.tell()))):
            taken.write(chunk)
        more = taken.tell() > size
        taken.truncate(size)
        return taken.getvalue(), more

    def _read(self, size: int) -> bytes:
        with _translated(self._wire.clock, sent=True):
            chunk = self._reply.read(size)
            if not chunk and self._reply.length:
                raise ConnectionResetError
            return chunk

    def close(self, *, keep_for: Target | None) -> None:
        """Hang up, or keep the connection for more calls to this target if the whole answer has been read."""
        if keep_for and self._reply.isclosed() and not self._reply.will_close:
            wires.keep(keep_for, self._wire)
        else:
            self._wire.hang_up()


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    target: Target
    headers: Mapping[str, str]
    pieces: Sequence[bytes] | None  # of the body
    policy: Policy
    clock: Clock

    @property
    def keeps(self) -> Target | None:
        """Name the target if its connections are worth keeping: those to providers, not those to strangers."""
        return self.target if self.policy.trusts(self.target) else None


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | Sequence[bytes] | None = None,
    timeout: float,
    max_bytes: int = 65536,
    policy: Policy,
    follow: int = 0,
    allowed_hosts: Collection[str] | None = None,
) -> Response:
    """Ask once, and read at most `max_bytes` of the answer; raise `FetchError`. `timeout` is for all of it.

    A large body may come in pieces, so that nobody has to copy it into one.
    """
    clock = Clock(timeout)
    call = _Call(method, check_url(url, policy), checked_headers(headers), _pieces(body), policy, clock)
    with _answered(call, max_bytes, follow, allowed_hosts or ()) as answer:
        taken, truncated = answer.head(max_bytes)
    return Response(answer.status, answer.headers, taken, truncated, answer.address, clock.elapsed_ms())


def stream(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | Sequence[bytes] | None = None,
    timeout: float,
    max_bytes: int,
    policy: Policy,
    follow: int = 0,
    allowed_hosts: Collection[str] | None = None,
) -> AbstractContextManager[Stream]:
    """Ask once, and give the answer's body piece by piece.

    Follows at most `follow` redirects of a GET, and only to `allowed_hosts` (each means itself and all names below)
    or to where the policy trusts. Secrets in headers stay behind when the host changes.
    """
    call = _Call(method, check_url(url, policy), checked_headers(headers), _pieces(body), policy, Clock(timeout))
    return _answered(call, max_bytes, follow, allowed_hosts or ())


def connect(host: str, port: int, *, policy: Policy, timeout: float, tls: bool = False) -> socket.socket:
    """Give a connected socket to a host that a stranger named, as for mail; raise `FetchError`."""
    clock = Clock(timeout)
    with _translated(clock, sent=False):
        sock = wires.dial(check_host(host, port, policy), policy, clock, tls=tls).sock
    sock.settimeout(timeout)
    return sock


@contextmanager
def _answered(call: _Call, max_bytes: int, follow: int, allowed_hosts: Collection[str]) -> Iterator[Stream]:
    for hop in range(follow + 1):
        wire, reply = _ask(call, sent=hop > 0)
        answer, keep_for = Stream(wire, reply, max_bytes), call.keeps
        try:
            if not follow or answer.status not in _REDIRECTS:
                yield answer
                return
            with _translated(call.clock, sent=True):
                call = _redirected(call, answer.headers.get("location", ""), allowed_hosts)
        finally:
            answer.close(keep_for=keep_for)
    raise FetchError("redirect", f"There were more than {follow} redirects.", sent=True)


def _ask(call: _Call, *, sent: bool) -> tuple[Wire, http.client.HTTPResponse]:
    """Send the request, on a kept connection if there is one, and wait for the answer's head."""
    if call.keeps and (wire := wires.kept(call.target, call.clock)):
        try:
            with _translated(call.clock, sent=True):
                return wire, _speak(wire, call)
        except BaseException as exc:
            wire.hang_up()
            closed_meanwhile = isinstance(exc, FetchError) and exc.kind == "reset"
            if not closed_meanwhile or call.method not in _REPEATABLE:
                raise
    with _translated(call.clock, sent=sent):
        wire = wires.dial(call.target, call.policy, call.clock, tls=call.target.scheme == "https")
    try:
        with _translated(call.clock, sent=True):
            return wire, _speak(wire, call)
    except BaseException:
        wire.hang_up()
        raise


def _speak(wire: Wire, call: _Call) -> http.client.HTTPResponse:
    with suppress(ConnectionError):  # it may have answered before it closed, with 413 say
        head, pieces = _head(call), list(call.pieces or ())
        if pieces and len(pieces[0]) < CHUNK:  # in one packet with the head
            head += pieces.pop(0)
        for piece in (head, *pieces):
            wire.send_all(piece)
    for _ in range(10):  # answers of 1xx come before the real one
        reply = http.client.HTTPResponse(wire, method=call.method)  # type: ignore[arg-type]
        reply.begin()
        if not 100 < reply.status < 200:
            return reply
    raise http.client.HTTPException


def _head(call: _Call) -> bytes:
    if not re.fullmatch(r"[A-Z]+", call.method):
        raise ValueError(f"{call.method!r} is no method")
    lines = {"Accept-Encoding": "identity", "Connection": "keep-alive" if call.keeps else "close"}
    lines = {name: value for name, value in lines.items() if name.lower() not in {key.lower() for key in call.headers}}
    if call.pieces is not None or call.method in ("POST", "PUT", "PATCH"):
        lines["Content-Length"] = str(sum(map(len, call.pieces or ())))
    text = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **call.headers}.items())
    return f"{call.method} {call.target.path} HTTP/1.1\r\nHost: {call.target.authority}\r\n{text}\r\n".encode("latin-1")


def _pieces(body: bytes | Sequence[bytes] | None) -> Sequence[bytes] | None:
    return [body] if isinstance(body, bytes) else body


def _redirected(call: _Call, location: str, allowed_hosts: Collection[str]) -> _Call:
    """Give the call to make next; raise `FetchError` of kind `redirect`, or `Refused`."""
    if call.method not in _REPEATABLE or not location:
        raise FetchError("redirect", "The answer is a redirect that cannot be followed.", sent=True)
    old, target = call.target, check_url(urljoin(call.target.url, location), call.policy)
    names = (host.lower().removeprefix("*.") for host in allowed_hosts)
    allowed = any(target.host == name or target.host.endswith(f".{name}") for name in names)
    weaker = (old.scheme, target.scheme) == ("https", "http")
    if not call.policy.trusts(target) and (weaker or not allowed):
        raise FetchError("redirect", f"The answer redirects to {target.host}, which may not be called.", sent=True)
    if (old.scheme, old.place) == (target.scheme, target.place):
        return replace(call, target=target)
    headers = {name: value for name, value in call.headers.items() if name.lower() not in _SECRETS}
    return replace(call, target=target, headers=headers)


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give headers by their lower-case names, repeated ones in one line; bytes that are no text become U+FFFD."""
    found: dict[str, str] = {}
    for name, raw in ((name.lower(), value) for name, value in headers):
        value = raw if raw.isascii() else raw.encode(errors="surrogateescape").decode(errors="replace")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@contextmanager
def _translated(clock: Clock, *, sent: bool) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException, FetchError) as exc:
        raise wires.explain(exc, clock.seconds, sent=sent) from None
