"""Many requests at a time through the outbound door: the same promises, kept on an event loop."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lib import fetch
from lib.fetch import FetchError, Policy, Response, wires
from tests.lib.strangers import certificate, for_ever, stranger

HERE = Policy(networks=("127.0.0.0/8", "::1/128"))  # type: ignore[arg-type]
HEAD = b"HTTP/1.1 200 OK\r\n"


def run(
    work: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, Any]], policy: Policy = HERE, limit: int = 32
) -> Any:
    async def inside() -> Any:
        async with fetch.pool(policy, limit) as session:
            return await work(session)

    # In a thread of its own: a browser that an earlier test opened keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(inside())).result()


def post(url: str, policy: Policy = HERE, body: bytes = b"{}", timeout: float = 3.0, **headers: str) -> Response:
    return run(lambda session: fetch.post(session, url, body, headers, timeout), policy)


def failing(
    url: str, kind: str, sent: bool, policy: Policy = HERE, timeout: float = 3.0, within: float = 3.0
) -> FetchError:
    start = time.monotonic()
    with pytest.raises(FetchError) as caught:
        post(url, policy, timeout=timeout)
    assert time.monotonic() - start < within
    assert (caught.value.kind, caught.value.sent) == (kind, sent), caught.value
    return caught.value


async def left_alone(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_a_post_arrives_as_it_was_given() -> None:
    body = '{"event":"x","text":"é"}'.encode()
    with stranger() as server:
        answer = post(
            f"{server.url}/hook?a=%2F&b=1", body=body, **{"Content-Type": "application/json", "X-Webhook-Id": "e1"}
        )
    assert (answer.status, answer.body, answer.truncated, answer.address) == (200, b"ok", False, "127.0.0.1")
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert sent == body
    assert lines[0] == "POST /hook?a=%2F&b=1 HTTP/1.1"
    assert {f"Host: {server.place}", "X-Webhook-Id: e1", f"Content-Length: {len(body)}"} <= set(lines)
    assert "Accept-Encoding: identity" in lines
    assert not [line for line in lines if line.startswith(("User-Agent", "Cookie", "Authorization"))]


def test_connections_are_kept_and_shared_out() -> None:
    with stranger() as server:

        async def work(session: aiohttp.ClientSession) -> None:
            for _ in range(10):
                await asyncio.gather(*(fetch.post(session, server.url, b"{}", {}, 3) for _ in range(8)))

        run(work, limit=8)
        assert len(server.requests) == 80
        assert server.connections <= 8


def test_nothing_is_dialled_that_the_policy_does_not_allow(names: dict[str, list[str]]) -> None:
    names["here.test"] = ["127.0.0.1"]
    with stranger() as server, stranger(host="::1") as other:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "here.test"):
            error = failing(f"http://{host}:{server.port}/", "blocked", False, Policy())
            assert "WEBHOOK_ALLOWED_NETWORKS" in str(error)
        failing(other.url, "blocked", False, Policy(networks=("127.0.0.0/8",)))  # type: ignore[arg-type]
        for odd in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "①②⑦.0.0.1", "user@127.0.0.1"):
            failing(f"http://{odd}:{server.port}/", "blocked", False)
        assert (server.connections, other.connections) == (0, 0)


def test_the_socket_is_judged_even_where_the_name_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play a resolver that answers well to the judge and badly to the dialler."""
    with stranger() as server:

        async def cheat(self: Any, host: str, port: int = 0, family: int = 0) -> list[Any]:
            return [
                {"hostname": host, "host": each, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
                for each in ("127.0.0.1", "127.0.0.2")
            ]

        monkeypatch.setattr(fetch.sessions._Resolver, "resolve", cheat)
        failing(f"http://rebind.test:{server.port}/", "blocked", False, Policy())
        assert server.connections == 0


def test_a_session_used_past_the_door_opens_nothing() -> None:
    with stranger() as server:

        async def sneak(session: aiohttp.ClientSession) -> None:
            async with session.get(server.url):
                pass

        with pytest.raises(aiohttp.ClientError):
            run(sneak)
        assert server.connections == 0


def test_one_refused_address_refuses_the_name(names: dict[str, list[str]]) -> None:
    names["mixed.test"] = ["127.0.0.1", "10.0.0.1"]
    with stranger() as server:
        error = failing(f"http://mixed.test:{server.port}/", "blocked", False)
        assert "10.0.0.1" not in str(error)
        assert server.connections == 0


def test_a_trusted_place_is_trusted_under_its_own_name_only(names: dict[str, list[str]]) -> None:
    names["provider.test"] = names["evil.test"] = ["127.0.0.1"]
    with stranger() as server:
        policy = Policy(hosts=(f"provider.test:{server.port}",))

        async def work(session: aiohttp.ClientSession) -> None:
            for _ in range(2):
                answer = await fetch.post(session, f"http://provider.test:{server.port}/", b"", {}, 3)
                assert answer.status == 200
                for host in ("evil.test", "127.0.0.1"):
                    with pytest.raises(fetch.Refused):
                        await fetch.post(session, f"http://{host}:{server.port}/", b"", {}, 3)

        run(work, policy)
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_given_back_and_not_followed(status: int) -> None:
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n".encode()
    with stranger(answer) as server:
        found = post(server.url)
        assert (found.status, found.headers["location"]) == (status, "/secret")
        assert len(server.requests) == 1


def test_cookies_and_proxies_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with stranger(HEAD + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n") as server:

        async def work(session: aiohttp.ClientSession) -> None:
            await fetch.post(session, server.url, b"", {}, 3)
            await fetch.post(session, server.url, b"", {}, 3)

        run(work)
        assert b"ookie" not in server.requests[1]


@pytest.mark.parametrize(
    "answer",
    [
        for_ever(b"x", 0.02, HEAD + b"Content-Length: 100000\r\n\r\n"),
        for_ever(b"1\r\nx\r\n", 0.02, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        for_ever(b"X-Drip: x\r\n", 0.05, HEAD),
        for_ever(b"x", 0.02, HEAD + b"X-Long: "),
        for_ever(b"H", 0.2),
        for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        for_ever(b"", 0.02),
    ],
    ids=["body", "chunks", "headers", "line", "status", "continue", "silence"],
)
def test_whatever_drips_ends_with_the_deadline(answer: Callable[..., object]) -> None:
    with stranger(answer) as server:
        error = failing(server.url, "timeout", True, timeout=0.4, within=2.0)
        assert "0.4 seconds" in str(error)
        assert server.hung_up.wait(2)


@pytest.mark.parametrize(
    "answer",
    [
        for_ever(b"X-Flood: " + b"x" * 8_000 + b"\r\n", 0, HEAD),
        for_ever(b"x" * 65536, 0, HEAD + b"X-Long: "),
        b"SSH-2.0-x\r\n",
    ],
    ids=["headers", "line", "ssh"],
)
def test_what_is_no_http_is_noticed_soon(answer: Any) -> None:
    with stranger(answer) as server:
        failing(server.url, "protocol", True, within=2.5)


def test_no_more_than_64_kilobytes_are_read_and_nothing_is_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000, 1)
    assert len(bomb) > 100_000
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)

    def answer(conn: socket.socket, _: bytes) -> None:
        conn.sendall(head + bomb)

    with stranger(answer) as server:
        found = post(server.url)
    assert (found.status, found.body, found.truncated) == (200, bomb[:65536], True)


def test_an_endless_answer_is_left_after_64_kilobytes() -> None:
    with stranger(for_ever(b"x" * 1000, 0, HEAD + b"\r\n")) as server:
        found = post(server.url)
        assert (len(found.body), found.truncated) == (65536, True)
        assert server.hung_up.wait(2)


def test_an_answer_whose_body_breaks_off_is_an_answer() -> None:
    def break_off(conn: socket.socket, _: bytes) -> None:
        conn.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")

    with stranger(break_off) as server:
        found = post(server.url)
    assert (found.status, found.body, found.truncated) == (200, b"half", True)


def test_a_closed_port_an_unknown_name_and_a_reset_are_told_apart() -> None:
    def reset(conn: socket.socket, _: bytes) -> None:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with stranger() as server:
        pass
    failing(server.url, "refused", False)
    failing("http://nowhere.invalid/", "dns", False)
    for rude in (reset, lambda conn, _: None):
        with stranger(rude) as server:
            failing(server.url, "reset", True)


def test_tls_errors_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]
) -> None:
    names["good.test"] = names["other.test"] = ["127.0.0.1"]
    server_side, client_side = certificate(tmp_path, "good.test")
    with stranger(tls=server_side) as server:
        assert "certificate" in str(failing(f"https://good.test:{server.port}/", "tls", False))
        monkeypatch.setattr(wires, "tls_context", lambda: client_side)
        assert post(f"https://good.test:{server.port}/").status == 200
        assert "other.test" in str(failing(f"https://other.test:{server.port}/", "tls", False))


def test_plain_http_where_tls_is_expected_is_a_tls_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def plain() -> None:
            conn, _ = listener.accept()
            with conn:
                conn.recv(1000)
                conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=plain)
        thread.start()
        failing(f"https://127.0.0.1:{listener.getsockname()[1]}/", "tls", False)
        thread.join()


def test_a_handshake_that_never_ends_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        failing(f"https://127.0.0.1:{mute.getsockname()[1]}/", "timeout", False, timeout=0.3, within=2.0)


def test_a_name_server_that_hangs_delays_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host.startswith("slow"):
            hang.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with stranger() as server:

        async def work(session: aiohttp.ClientSession) -> None:
            slow = [
                asyncio.create_task(fetch.post(session, f"http://slow{n}.test:{server.port}/", b"", {}, 4.0))
                for n in range(40)
            ]
            await asyncio.sleep(0.1)
            answer = await fetch.post(session, f"http://quick.test:{server.port}/", b"", {}, 3)
            assert answer.status == 200
            assert not any(task.done() for task in slow)
            await left_alone(slow)

        run(work, limit=64)
        hang.set()


def test_a_slow_stranger_delays_nobody_else() -> None:
    with stranger(for_ever(b"x", 0.02, HEAD + b"Content-Length: 9999\r\n\r\n")) as slow, stranger() as quick:

        async def work(session: aiohttp.ClientSession) -> None:
            tasks = [asyncio.create_task(fetch.post(session, slow.url, b"", {}, 5.0)) for _ in range(20)]
            for _ in range(50):
                await fetch.post(session, quick.url, b"", {}, 3)
            assert not any(task.done() for task in tasks)
            await left_alone(tasks)

        run(work)


def test_bad_headers_never_leave() -> None:
    with stranger() as server:
        for headers in ({"X": "a\r\nY: b"}, {"Host": "evil"}, {"Content-Length": "1"}):
            with pytest.raises(fetch.Refused):
                post(server.url, **headers)
        assert server.requests == []


def test_ipv6_is_spoken_too() -> None:
    with stranger(host="::1") as server:
        assert post(server.url).address == "::1"


def test_both_doors_give_the_same_verdict_on_every_stranger(names: dict[str, list[str]]) -> None:
    """A tenant's test button (blocking) and the drain must not disagree on where they go."""
    names["mixed.test"] = ["10.0.0.1", "93.184.216.34"]
    urls = [
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://mixed.test/",
        "http://nowhere.test/",
        "http://127.1/",
        "ftp://x/",
    ]
    for url in urls:
        with pytest.raises(FetchError) as one:
            post(url, Policy())
        with pytest.raises(FetchError) as other:
            fetch.request("POST", url, headers={}, timeout=3, policy=Policy())
        assert (one.value.kind, str(one.value)) == (other.value.kind, str(other.value))


def test_answers_do_not_get_mixed_up() -> None:
    def echo(conn: socket.socket, request: bytes) -> bool:
        body = request.partition(b"\r\n\r\n")[2]
        conn.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return True

    with stranger(echo) as server:

        async def work(session: aiohttp.ClientSession) -> list[bool]:
            async def one(number: int) -> bool:
                body = b"%d" % number
                return (await fetch.post(session, server.url, body, {}, 5)).body == body

            return await asyncio.gather(*(one(number) for number in range(300)))

        assert all(run(work, limit=16))
