"""The API as bytes on a socket, through the real server: false lengths, chunks, slow senders, large files (F1, R10)."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from lib.ids import uuid7
from tests.factories import BASE
from tests.processes import Live

MIB = 1024 * 1024


class Wire:
    """One business of the running product, spoken to byte by byte."""

    def __init__(self, live: Live) -> None:
        made = live.flask("business", "create", "Wire", "--admin-email", f"{uuid7().hex}@example.com")
        self.key = made["api_key"]
        parts = urlsplit(live.base_url)
        self.address = (parts.hostname or "", parts.port or 0)

    def open(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def head(self, method: str, path: str, **headers: Any) -> bytes:
        lines = [f"{method} {BASE}{path} HTTP/1.1", "Host: localhost", f"x-api-key: {self.key}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def send(self, *pieces: bytes, finish: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes; give status, headers and body of the answer."""
        with closing(self.open()) as connection:
            for piece in pieces:
                connection.sendall(piece)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            return read(connection, bodyless=pieces[0].startswith(b"HEAD"))


def read(connection: socket.socket, *, bodyless: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Read one answer, as long as it says it is."""
    data = b""
    while (answer := _parsed(data, bodyless)) is None:
        piece = connection.recv(65_536)
        assert piece, f"the line broke after {data[:200]!r}"
        data += piece
    return answer


def _parsed(data: bytes, bodyless: bool) -> tuple[int, dict[str, str], bytes] | None:
    head, end, body = data.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, end, body = body.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    whole = end and (bodyless or len(body) >= int(headers["content-length"]))
    return (int(status.split()[1]), headers, body) if whole else None


def person() -> bytes:
    return json.dumps({"name": "Joe", "email": f"{uuid7().hex}@example.com"}).encode()


def chunked(data: bytes, size: int = 1000) -> bytes:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def wire(live: Live) -> Wire:
    return Wire(live)


JSON = {"Content_Type": "application/json"}


def test_a_body_in_chunks_is_a_body(wire: Wire) -> None:
    status, _, body = wire.send(
        wire.head("POST", "/api-customers", Transfer_Encoding="chunked", **JSON), chunked(person())
    )
    assert (status, json.loads(body)["success"]) == (201, True)


def test_chunks_without_end_are_413(wire: Wire) -> None:
    head = wire.head("POST", "/api-customers", Transfer_Encoding="chunked", **JSON)
    status, _, body = wire.send(head, chunked(b'{"name": "' + b"x" * 9 * MIB + b'"}', 256 * 1024))
    assert (status, json.loads(body)["error"]["code"]) == (413, "too_large")


def test_a_length_over_the_limit_is_413_before_the_body_is_sent(wire: Wire) -> None:
    status, _, body = wire.send(wire.head("POST", "/api-customers", Content_Length=9 * MIB, **JSON))
    assert (status, json.loads(body)["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("length", ["-1", "x", "1, 2", "", "1e3"])
def test_a_length_that_is_none_is_400(length: str, wire: Wire) -> None:
    status, _, _ = wire.send(wire.head("POST", "/api-customers", Content_Length=length, **JSON), person())
    assert status == 400


def test_a_sender_that_hangs_up_halfway_is_answered_or_dropped_and_nothing_is_kept(wire: Wire) -> None:
    body = person()
    head = wire.head("POST", "/api-customers", Content_Length=len(body) + 100, **JSON)
    status, _, answer = wire.send(head, body[:30], finish=True)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "malformed_json")


def test_slow_senders_hold_up_nobody(wire: Wire) -> None:
    """R10: fifty callers who never finish their body."""
    slow = [wire.open() for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(wire.head("POST", "/api-customers", Content_Length=1000, **JSON) + b'{"name"')
        begun = time.monotonic()
        for _ in range(5):
            assert wire.send(wire.head("GET", "/api-customers"))[0] == 200
        assert time.monotonic() - begun < 10
    finally:
        for connection in slow:
            connection.close()


def test_ten_megabytes_pass_and_one_byte_more_does_not(wire: Wire) -> None:
    start = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="big.txt"\r\n\r\n'
    for size, expected in ((10 * MIB, 201), (10 * MIB + 1, 413), (20 * MIB, 413)):
        body = start + b"x" * size + b"\r\n--XX--\r\n"
        head = wire.head(
            "POST",
            "/api-upload-attachment",
            Content_Type="multipart/form-data; boundary=XX",
            Content_Length=len(body),
            Expect="100-continue",
        )
        try:
            status, _, _ = wire.send(head, body)
        except (BrokenPipeError, ConnectionResetError):  # refused before it was all sent
            status = 413
        assert status == expected, size


def test_head_gives_what_get_gives_without_a_body(wire: Wire) -> None:
    status, headers, body = wire.send(wire.head("HEAD", "/api-customers"))
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_nul_bytes_and_line_breaks_in_address_and_key_are_boring(wire: Wire) -> None:
    for path in ("/api-customers?id=%00", "/api-customers?q=%0d%0aX-A:%201", "/api-%00", "/%2e%2e/%2e%2e/etc/passwd"):
        status, headers, _ = wire.send(wire.head("GET", path))
        assert status in (200, 404, 422), path
        assert "x-a" not in headers
    status, _, _ = wire.send(wire.head("GET", "/api-customers").replace(b"x-api-key: alc", b"x-api-key: a\0lc"))
    assert status in (400, 401)
