"""A CRM's webhook receiver for tests: a real HTTP server whose every answer is scripted, and which keeps what came."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(slots=True)
class Got:
    """One request as it arrived."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return orjson.loads(self.body)  # type: ignore[no-any-return]


Answer = Callable[[socket.socket, Got], None]


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status and these headers."""

    def answer(peer: socket.socket, got: Got) -> None:
        lines = [f"HTTP/1.1 {code} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        peer.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def after(seconds: float, then: Answer) -> Answer:
    def answer(peer: socket.socket, got: Got) -> None:
        time.sleep(seconds)
        then(peer, got)

    return answer


def reset(peer: socket.socket, got: Got) -> None:
    """Cut the connection instead of answering."""
    peer.shutdown(socket.SHUT_RDWR)


def drip(peer: socket.socket, got: Got) -> None:
    """Answer a byte at a time, for ever."""
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    with suppress(OSError):
        while True:
            peer.sendall(b"x")
            time.sleep(0.1)


def endless_headers(peer: socket.socket, got: Got) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        while True:
            peer.sendall(b"x-more: " + b"y" * 1000 + b"\r\n")
            time.sleep(0.01)


@dataclass(slots=True)
class Receiver:
    """Listens on loopback; `answers` maps a path to answers given in turn, the last of them for good."""

    port: int
    got: list[Got] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def will(self, *answers: Answer, path: str = "/hook") -> None:
        self.answers[path] = list(answers)

    def on(self, path: str) -> list[Got]:
        return [item for item in self.got if item.path == path]

    def wait(self, count: int, *, path: str = "/hook", seconds: float = 15) -> list[Got]:
        """Wait until so many requests came to a path; fail with what did come."""
        with self.changed:
            arrived = self.changed.wait_for(lambda: len(self.on(path)) >= count, timeout=seconds)
        assert arrived, f"only {len(self.on(path))} of {count} requests came to {path}"
        return self.on(path)

    def serve(self, peer: socket.socket) -> None:
        with suppress(OSError, ValueError), peer:
            stream = peer.makefile("rb")
            while line := stream.readline():
                path = line.split()[1].decode()
                headers = {}
                while (line := stream.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                got = Got(time.time(), path, headers, stream.read(int(headers.get("content-length", 0))))
                with self.changed:
                    script = self.answers.get(path, [status(200)])
                    answer = script.pop(0) if len(script) > 1 else script[0]
                    self.got.append(got)
                    self.changed.notify_all()
                answer(peer, got)


@contextmanager
def listening() -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    receiver = Receiver(server.getsockname()[1])

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                threading.Thread(target=receiver.serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield receiver
    finally:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
