"""One request at a time through the outbound door, against strangers that behave well and badly."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib import fetch
from lib.fetch import FetchError, Policy, Refused, Response, wires
from tests.lib.strangers import OK, Stranger, certificate, for_ever, stranger

HERE = Policy(networks=("127.0.0.0/8", "::1/128"))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_kept_connections() -> Iterator[None]:
    yield
    wires.forget_kept()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses, for this test; asking counts in `asked`."""
    known: dict[str, list[str]] = {"asked": []}

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        known["asked"].append(host)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def get(url: str, policy: Policy = HERE, **options: Any) -> Response:
    return fetch.request("GET", url, **{"headers": {}, "timeout": 3.0, "policy": policy, **options})


def post(url: str, body: bytes = b"{}", policy: Policy = HERE, **options: Any) -> Response:
    return fetch.request("POST", url, body=body, **{"headers": {}, "timeout": 3.0, "policy": policy, **options})


def failing(call: Callable[[], object], kind: str, sent: bool, within: float = 3.0) -> FetchError:
    start = time.monotonic()
    with pytest.raises(FetchError) as caught:
        call()
    assert time.monotonic() - start < within
    assert (caught.value.kind, caught.value.sent) == (kind, sent), caught.value
    assert str(caught.value).endswith(".")
    return caught.value


def test_a_request_arrives_as_it_was_given() -> None:
    with stranger() as server:
        answer = post(f"{server.url}/a%20b?q=1&q=2#no", b"\x00body", headers={"X-A": "1", "Content-Type": "text/plain"})
    assert (answer.status, answer.body, answer.truncated, answer.address) == (200, b"ok", False, "127.0.0.1")
    assert answer.headers["content-length"] == "2"
    assert 0 <= answer.elapsed_ms < 2000
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[:2] == ["POST /a%20b?q=1&q=2 HTTP/1.1", f"Host: {server.place}"]
    assert {"X-A: 1", "Content-Type: text/plain", "Content-Length: 5", "Accept-Encoding: identity"} <= set(lines)
    assert body == b"\x00body"


def test_ipv6_is_spoken_too() -> None:
    with stranger(host="::1") as server:
        assert get(server.url).address == "::1"
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


def test_no_proxy_and_no_netrc_is_heeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with stranger() as server:
        assert get(server.url).status == 200
    assert b"uthorization" not in server.requests[0]


def test_nothing_is_dialled_that_the_policy_does_not_allow(names: dict[str, list[str]]) -> None:
    names["here.test"] = ["127.0.0.1"]
    with stranger() as server:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "here.test"):
            failing(lambda host=host: get(f"http://{host}:{server.port}/", Policy()), "blocked", False)
        assert server.connections == 0


def test_one_refused_address_refuses_the_name(names: dict[str, list[str]]) -> None:
    names["mixed.test"] = ["127.0.0.1", "10.0.0.1"]
    names["mixed6.test"] = ["127.0.0.1", "fe80::1"]
    with stranger() as server:
        for name in ("mixed.test", "mixed6.test"):
            error = failing(lambda name=name: get(f"http://{name}:{server.port}/"), "blocked", False)
            assert "WEBHOOK_ALLOWED_NETWORKS" in str(error)
            assert "10.0.0.1" not in str(error)  # a tenant must not learn our inner addresses
        assert server.connections == 0


def test_the_address_dialled_is_the_one_that_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1", "10.0.0.1"])

    def rebinding(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with stranger() as server:
        assert get(f"http://rebind.test:{server.port}/").address == "127.0.0.1"
    assert next(answers) == "10.0.0.1"  # asked once only
    assert f"Host: rebind.test:{server.port}".encode() in server.requests[0]


def test_a_trusted_place_is_trusted_under_its_own_name_only(names: dict[str, list[str]]) -> None:
    names["provider.test"] = names["evil.test"] = ["127.0.0.1"]
    with stranger() as server:
        policy = Policy(hosts=(f"provider.test:{server.port}",))
        assert get(f"http://provider.test:{server.port}/", policy).status == 200
        failing(lambda: get(f"http://evil.test:{server.port}/", policy), "blocked", False)
        failing(lambda: get(server.url, policy), "blocked", False)


def test_the_next_address_is_tried_when_one_is_dead(names: dict[str, list[str]]) -> None:
    with stranger() as server:
        names["two.test"] = ["127.0.0.2", "127.0.0.1"]
        assert get(f"http://two.test:{server.port}/").address == "127.0.0.1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_given_back_and_not_followed(status: int) -> None:
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n".encode()
    with stranger(answer) as server:
        found = get(server.url)
        assert (found.status, found.headers["location"]) == (status, "/secret")
        assert len(server.requests) == 1


def redirecting_to(location: str, status: int = 307) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_followed_redirect_leaves_secrets_behind(names: dict[str, list[str]]) -> None:
    names["cdn.twiliocdn.test"] = ["127.0.0.1"]
    secrets = {"Authorization": "Basic x", "Cookie": "a=b", "X-Api-Key": "k", "Accept": "image/*"}
    with stranger() as cdn, stranger(redirecting_to(f"http://cdn.twiliocdn.test:{cdn.port}/f")) as api:
        options = {"headers": secrets, "follow": 2, "allowed_hosts": ["twiliocdn.test"]}
        assert get(api.url, **options).body == b"ok"
        assert b"Basic x" in api.requests[0]
        lowered = cdn.requests[0].lower()
        assert b"accept: image/*" in lowered
        assert not any(word in lowered for word in (b"authorization", b"cookie", b"api-key"))


def test_a_redirect_within_one_host_keeps_its_headers() -> None:
    def answer(conn: socket.socket, request: bytes) -> bool:
        conn.sendall(OK if request.startswith(b"GET /b ") else redirecting_to("/b"))
        return True

    with stranger(answer) as server:
        got = get(server.url, headers={"Authorization": "Basic x"}, follow=1, allowed_hosts=["127.0.0.1"])
        assert got.status == 200
        assert b"Basic x" in server.requests[1]


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://evil.test/", "redirect"), ("http://xcdn.test/", "redirect"), ("http://cdn.test.evil.x/", "redirect"),
        ("file:///etc/passwd", "blocked"), ("http://10.0.0.1/", "blocked"), ("http://169.254.169.254/", "blocked"),
        ("http://a@cdn.test/", "blocked"), ("", "redirect"), ("http://inner.cdn.test/", "blocked"),
    ],
)  # fmt: skip
def test_redirects_lead_only_where_they_may(location: str, kind: str, names: dict[str, list[str]]) -> None:
    names["inner.cdn.test"] = ["10.0.0.1"]
    with stranger(redirecting_to(location)) as server:
        failing(lambda: get(server.url, follow=3, allowed_hosts=["cdn.test", "*.cdn.test"]), kind, True)
        failing(lambda: post(server.url, follow=3, allowed_hosts=["127.0.0.1"]), "redirect", True)


def test_endless_redirects_end() -> None:
    with stranger(redirecting_to("/again", 302)) as server:
        failing(lambda: get(server.url, follow=3, allowed_hosts=["127.0.0.1"]), "redirect", True)
        assert len(server.requests) == 4


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        for_ever(b"x", 0.02, HEAD + b"Content-Length: 100000\r\n\r\n"),
        for_ever(b"1\r\nx\r\n", 0.02, HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        for_ever(b"0", 0.02, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;"),
        for_ever(b"X-Drip: x\r\n", 0.02, HEAD),
        for_ever(b"x", 0.02, HEAD + b"X-Long: "),
        for_ever(b"H", 0.02),
        for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        for_ever(b"", 0.02, HEAD + b"Content-Length: 5\r\n\r\n"),
        for_ever(b"", 0.02),
        for_ever(b"X: y\r\n", 0.02, HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
    ],
    ids=["body", "chunks", "extension", "headers", "line", "status", "continue", "hang", "silence", "trailers"],
)
def test_whatever_drips_ends_with_the_deadline(answer: Callable[..., object]) -> None:
    with stranger(answer) as server:
        failing(lambda: get(server.url, timeout=0.4), "timeout", True, within=2.0)
        assert server.hung_up.wait(2)


@pytest.mark.parametrize(
    "answer",
    [
        for_ever(b"X-Flood: " + b"x" * 60_000 + b"\r\n", 0, HEAD),
        for_ever(b"x" * 65536, 0, HEAD + b"X-Long: "),
        for_ever(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0),
        for_ever(b"SSH-2.0-OpenSSH\r\n", 0),
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
    ids=["headers", "line", "hints", "ssh", "smtp", "status"],
)
def test_what_is_no_http_is_noticed_soon(answer: Any) -> None:
    with stranger(answer) as server:
        assert failing(lambda: get(server.url), "protocol", True, within=2.0)


def test_a_reader_that_never_reads_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        failing(lambda: post(url, b"x" * 20_000_000, timeout=0.4), "timeout", True, within=2.0)


def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    with stranger(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb) as server:
        answer = get(server.url, max_bytes=100_000)
    assert answer.body == bomb
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked", b"Connection: close"])
def test_no_more_is_read_than_was_asked_for(framing: bytes) -> None:
    body = b"x" * 1_000_000
    if b"chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def answer(conn: socket.socket, _: bytes) -> None:
        conn.sendall(HEAD + framing + b"\r\n\r\n" + body)

    with stranger(answer) as server:
        assert (get(server.url).body, get(server.url).truncated) == (b"x" * 65536, True)
        whole = get(server.url, max_bytes=1_000_000)
        assert (len(whole.body), whole.truncated) == (1_000_000, False)
        with fetch.stream("GET", server.url, headers={}, timeout=3, max_bytes=1_000_000, policy=HERE) as file:
            assert sum(map(len, file)) == 1_000_000

        def too_much() -> None:
            with fetch.stream("GET", server.url, headers={}, timeout=3, max_bytes=999_999, policy=HERE) as file:
                assert sum(map(len, file)) < 999_999

        failing(too_much, "too_large", True)


def test_a_stream_tells_status_headers_and_address_first() -> None:
    with (
        stranger(b"HTTP/1.1 404 No\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc") as server,
        fetch.stream("GET", server.url, headers={}, timeout=3, max_bytes=10, policy=HERE) as answer,
    ):
        assert (answer.status, answer.headers["x-a"], answer.address) == (404, "1, 2", "127.0.0.1")
        assert b"".join(answer) == b"abc"


def test_a_stream_left_early_hangs_up() -> None:
    with (
        stranger(for_ever(b"x" * 1000, 0.001, HEAD + b"\r\n")) as server,
        fetch.stream("GET", server.url, headers={}, timeout=3, max_bytes=10**9, policy=HERE) as answer,
    ):
        next(iter(answer))
    assert server.hung_up.wait(2)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 100\r\n\r\nhalf",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD[:8],
        b"",
    ],
    ids=["length", "chunk", "no chunk", "head", "nothing"],
)
def test_an_answer_that_breaks_off_is_no_answer(answer: bytes) -> None:
    def break_off(conn: socket.socket, _: bytes) -> None:
        conn.sendall(answer)

    with stranger(break_off) as server:
        error = failing(lambda: post(server.url), "reset" if answer != HEAD[:8] else "protocol", True)
        assert error.sent


def test_a_reset_is_a_reset() -> None:
    def reset(conn: socket.socket, _: bytes) -> None:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with stranger(reset) as server:
        failing(lambda: post(server.url), "reset", True)


def test_an_answer_given_before_the_whole_body_was_read_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def impatient() -> None:
            conn, _ = listener.accept()
            conn.recv(1000)
            conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            conn.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            conn.close()

        thread = threading.Thread(target=impatient)
        thread.start()
        answer = post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"x" * 8_000_000)
        thread.join()
    assert answer.status == 413


def test_early_hints_are_skipped() -> None:
    with stranger(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK) as server:
        assert get(server.url).status == 200


def test_a_closed_port_is_refused_and_nothing_was_sent() -> None:
    with stranger() as server:
        pass
    failing(lambda: post(server.url), "refused", False)


def test_an_unknown_name_is_a_dns_error(names: dict[str, list[str]]) -> None:
    failing(lambda: get("http://nowhere.test/"), "dns", False)


def test_a_name_server_that_hangs_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hang.wait(5))
    failing(lambda: get("http://slow.test/", timeout=0.3), "dns", False, within=2.0)
    hang.set()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Stranger]]:
    """Make a TLS server whose certificate is for these names, trusted or not."""
    opened = []

    def serve(*names: str, trusted: bool = True, answer: Any = OK) -> Stranger:
        server, client = certificate(tmp_path, *names)
        if trusted:
            monkeypatch.setattr(wires, "tls_context", lambda: client)
        opened.append(Stranger(answer, "127.0.0.1", server))
        server.sni_callback = lambda _, name, __: setattr(opened[-1], "server_name", name)
        return opened[-1]

    yield serve
    for each in opened:
        each.close()


def test_tls_checks_the_name_while_the_judged_address_is_dialled(tls: Any, names: dict[str, list[str]]) -> None:
    server = tls("good.test")
    names["good.test"] = names["other.test"] = ["127.0.0.1"]
    answer = get(f"https://good.test:{server.port}/")
    assert (answer.status, answer.address, server.server_name) == (200, "127.0.0.1", "good.test")
    error = failing(lambda: get(f"https://other.test:{server.port}/"), "tls", False)
    assert "other.test" in str(error)


def test_a_certificate_nobody_signed_is_a_tls_error(tls: Any) -> None:
    server = tls("127.0.0.1", trusted=False)
    assert "certificate" in str(failing(lambda: get(server.url), "tls", False))


def test_plain_http_where_tls_is_expected_is_a_tls_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def plain() -> None:
            conn, _ = listener.accept()
            with conn:
                conn.recv(1000)
                conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=plain)
        thread.start()
        failing(lambda: get(f"https://127.0.0.1:{listener.getsockname()[1]}/"), "tls", False)
        thread.join()


def test_a_handshake_that_never_ends_does(tls: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/"
        failing(lambda: get(url, timeout=0.3), "timeout", False, within=2.0)


def test_a_slow_reader_behind_tls_ends_with_the_deadline(tls: Any) -> None:
    server = tls("127.0.0.1", answer=for_ever(b"x", 0.02, HEAD + b"Content-Length: 100000\r\n\r\n"))
    failing(lambda: get(server.url, timeout=0.5), "timeout", True, within=2.0)


def trusting(server: Stranger) -> Policy:
    return Policy(hosts=(server.place,))


def test_connections_to_trusted_providers_are_kept() -> None:
    with stranger() as server:
        for _ in range(5):
            assert post(server.url, policy=trusting(server)).body == b"ok"
        with fetch.stream("GET", server.url, headers={}, timeout=3, max_bytes=9, policy=trusting(server)) as answer:
            assert b"".join(answer) == b"ok"
        assert (server.connections, len(server.requests)) == (1, 6)


def test_connections_to_strangers_are_not_kept() -> None:
    with stranger() as server:
        for _ in range(3):
            get(server.url)
        assert server.connections == 3
        assert b"Connection: close" in server.requests[0]


@pytest.mark.parametrize(
    "answer",
    [HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
)
def test_a_provider_that_wants_to_close_is_not_kept(answer: bytes) -> None:
    with stranger(answer) as server:
        for _ in range(2):
            get(server.url, policy=trusting(server))
        assert server.connections == 2


def test_half_read_answers_are_not_kept() -> None:
    with stranger(HEAD + b"Content-Length: 5\r\n\r\nabcde") as server:
        assert get(server.url, policy=trusting(server), max_bytes=2).body == b"ab"
        assert get(server.url, policy=trusting(server), max_bytes=9).body == b"abcde"
        assert server.connections == 2


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used() -> None:
    def once(conn: socket.socket, _: bytes) -> None:
        conn.sendall(OK)

    with stranger(once) as server:
        for _ in range(3):
            assert post(server.url, policy=trusting(server)).status == 200
            time.sleep(0.05)
        assert server.connections == 3


def test_a_kept_connection_that_dies_under_a_get_is_replaced_but_under_a_post_is_told() -> None:
    def moody(conn: socket.socket, request: bytes) -> bool:
        if len(server.requests) in (2, 5):
            return False
        conn.sendall(OK)
        return True

    with stranger(moody) as server:
        get(server.url, policy=trusting(server))
        assert get(server.url, policy=trusting(server)).status == 200
        post(server.url, policy=trusting(server))
        failing(lambda: post(server.url, policy=trusting(server)), "reset", True)


def test_many_threads_share_the_kept_connections_without_mixing_answers() -> None:
    def echo(conn: socket.socket, request: bytes) -> bool:
        body = request.partition(b"\r\n\r\n")[2]
        conn.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return True

    wrong: list[bytes] = []

    def talk(number: int) -> None:
        for index in range(40):
            body = b"%d-%d" % (number, index)
            if post(server.url, body, policy=trusting(server)).body != body:
                wrong.append(body)

    with stranger(echo) as server:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert server.connections < 200


def test_a_raw_connection_for_mail_is_judged_too(tls: Any) -> None:
    with stranger() as server:
        with fetch.connect("127.0.0.1", server.port, policy=HERE, timeout=2) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert sock.recv(100) == OK
        with pytest.raises(Refused, match="WEBHOOK_ALLOWED_NETWORKS"):
            fetch.connect("127.0.0.1", server.port, policy=Policy(), timeout=2)
    failing(lambda: fetch.connect("127.0.0.1", server.port, policy=HERE, timeout=2), "refused", False)
    safe = tls("127.0.0.1")
    with fetch.connect("127.0.0.1", safe.port, policy=HERE, timeout=2, tls=True) as sock:
        assert isinstance(sock, ssl.SSLSocket)


def test_a_bad_header_or_method_never_leaves() -> None:
    with stranger() as server:
        failing(lambda: get(server.url, headers={"X": "a\r\nY: b"}), "blocked", False)
        with pytest.raises((ValueError, FetchError)):
            fetch.request("GET / HTTP/1.1\r\n", server.url, headers={}, timeout=1, policy=HERE)
        assert server.requests == []


def in_a_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_under_gevent_slow_strangers_are_waited_for_all_at_once() -> None:
    with stranger(for_ever(b"x", 0.02, HEAD + b"Content-Length: 9999\r\n\r\n")) as slow, stranger() as server:
        told = in_a_process(f"""
            from gevent import monkey; monkey.patch_all()
            import gevent, time
            from lib import fetch
            policy = fetch.Policy(networks=("127.0.0.0/8", "::1/128"))
            def ask(url, timeout):
                try: return fetch.request("GET", url, headers={{}}, timeout=timeout, policy=policy).status
                except fetch.FetchError as exc: return exc.kind
            start = time.monotonic()
            jobs = [gevent.spawn(ask, "{slow.url}", 0.5) for _ in range(20)]
            jobs += [gevent.spawn(ask, "{server.url}", 3), gevent.spawn(ask, "http://localhost:{server.port}/", 3)]
            gevent.joinall(jobs)
            print(*sorted({{str(job.value) for job in jobs}}), time.monotonic() - start < 5)
        """)
    assert told == "200 timeout True\n"


def test_a_forked_child_does_not_speak_on_its_parents_connection() -> None:
    with stranger() as server:
        told = in_a_process(f"""
            import os
            from lib import fetch
            policy = fetch.Policy(hosts=("{server.place}",))
            ask = lambda: fetch.request("GET", "{server.url}", headers={{}}, timeout=3, policy=policy).status
            ask()
            if os.fork() == 0:
                os.write(1, b"%d " % ask()); os._exit(0)
            os.wait(); print(ask())
        """)
        assert told == "200 200\n"
        assert server.connections == 2
