"""Many requests at a time on one event loop, with connections kept between them: the webhook drain.

Called in the worker alone. Every address is judged in the connector's `socket_factory`, which sees each one that is
about to be dialled, those written into a URL included.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from lib.fetch import wires
from lib.fetch.calls import Response, joined
from lib.fetch.rules import FetchError, Policy, Refused, Target, check_url, checked_headers, vet

MAX_READ = 64 * 1024


@dataclass(slots=True)
class _Dial:
    """What `post` and the connector tell each other about one request."""

    target: Target
    sent: bool = False
    refused: Refused | None = None


_dial: ContextVar[_Dial | None] = ContextVar("_dial", default=None)


def pool(policy: Policy, limit: int) -> aiohttp.ClientSession:
    """Give a session with at most so many connections, for `post`; to be opened and closed inside a running loop."""
    return aiohttp.ClientSession(
        connector=_Connector(policy, limit),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=wires.CONNECT_SECONDS),
        skip_auto_headers=("User-Agent", "Content-Type"),
        trace_configs=[_tracing()],
    )


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout: float
) -> Response:
    """Post once, and read at most 64 KB of the answer; raise `FetchError`. `timeout` is for all of it.

    An answer whose body breaks off is an answer all the same: its status has come.
    """
    connector, started = cast(_Connector, session.connector), time.monotonic()
    dial = _Dial(check_url(url, connector.policy))
    sent_headers = {"Accept-Encoding": "identity"} | checked_headers(headers)
    token = _dial.set(dial)
    try:
        async with (
            asyncio.timeout(timeout),
            session.post(
                URL(dial.target.url, encoded=True),
                data=body,
                headers=sent_headers,
                allow_redirects=False,
                trace_request_ctx=dial,
            ) as reply,
        ):
            taken, truncated = await _head(reply)
    except (aiohttp.ClientError, OSError, ValueError, FetchError) as exc:
        raise _explained(exc, dial, timeout) from None
    finally:
        _dial.reset(token)
    answered = joined((name, value) for name, value in reply.headers.items())
    address = connector.addresses.get(dial.target.place, "")
    return Response(reply.status, answered, taken, truncated, address, round((time.monotonic() - started) * 1000))


async def _head(reply: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    taken = bytearray()
    try:
        async for chunk in reply.content.iter_any():
            taken += chunk
            if len(taken) > MAX_READ:
                break
        else:
            return bytes(taken), False
    except aiohttp.ClientError:
        pass
    reply.close()
    return bytes(taken[:MAX_READ]), True


class _Connector(aiohttp.TCPConnector):
    """A connector that judges each address, and remembers which one last answered for a host and port."""

    def __init__(self, policy: Policy, limit: int) -> None:
        self.policy = policy
        self.addresses: dict[str, str] = {}
        super().__init__(
            limit=limit,
            ssl=wires.tls_context(),
            resolver=_Resolver(policy),
            ttl_dns_cache=10,
            keepalive_timeout=wires.IDLE_SECONDS,
            socket_factory=self._socket,
        )

    def _socket(self, info: Any) -> socket.socket:
        family, kind, proto, _, place = info
        dial = _dial.get()
        if dial is None:
            raise PermissionError("only `post` may open connections here")
        try:
            vet(dial.target, [place[0]], self.policy)
        except Refused as exc:
            dial.refused = exc
            raise PermissionError(str(exc)) from None  # of those errors that aiohttp expects here
        self.addresses[dial.target.place] = place[0]
        return socket.socket(family=family, type=kind, proto=proto)


class _Resolver(AbstractResolver):
    """Look names up in threads of their own, so that a dead name server stops nobody else's look-up."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give none of a name's addresses if one of them is refused."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def take(found: Any) -> None:
            if not answer.done():
                answer.set_result(found)

        def tell(found: Any) -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(take, found)

        wires.ask(host, port, tell)
        try:
            async with asyncio.timeout(wires.DNS_SECONDS):
                found = wires.places(host, await answer)
        except TimeoutError:
            raise FetchError("dns", f"The name {host} was not found in time.") from None
        vet(Target("https", host, port, "/"), [place[0] for _, place in found], self._policy)
        return [
            ResolveResult(hostname=host, host=place[0], port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, place in found
        ]

    async def close(self) -> None:
        pass


def _tracing() -> aiohttp.TraceConfig:
    """Note when a request begins to leave, for only then may it have had an effect."""

    async def note(_: Any, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.sent = True

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(note)
    return config


def _explained(exc: Exception, dial: _Dial, timeout: float) -> FetchError:
    if dial.refused:
        return dial.refused
    if isinstance(exc, aiohttp.ServerTimeoutError):
        return FetchError("timeout", "No connection could be made in time.", sent=dial.sent)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return wires.explain(exc.certificate_error, timeout, sent=dial.sent)
    if isinstance(exc, (aiohttp.ClientConnectorError, aiohttp.ClientSSLError)):
        return wires.explain(exc.os_error, timeout, sent=dial.sent)
    if isinstance(exc, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        return wires.explain(ConnectionResetError(), timeout, sent=dial.sent)
    if isinstance(exc, aiohttp.ClientError):
        return wires.explain(ValueError(), timeout, sent=dial.sent)
    return wires.explain(exc, timeout, sent=dial.sent)
