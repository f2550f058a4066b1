"""The sandbox as a process of its own, and a receiver that judges every callback as our product must."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import urllib3

ROOT = Path(__file__).parents[2]
SECRET = "app-secret-123"
VERIFY = "verify-me"
_numbers = itertools.count(1)


@dataclass
class Got:
    """One callback as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def value(self) -> Any:
        return self.json["entry"][0]["changes"][0]["value"]

    def signed_with(self, secret: str) -> bool:
        expected = "sha256=" + hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, self.headers.get("x-hub-signature-256", ""))


@dataclass
class Receiver:
    """A callback address per test: `/callbacks/<n>`; `answers` are the statuses that it gives, then 200.

    `says` are the type and the body of its answers.
    """

    url: str
    path: str
    verify_token: str = VERIFY
    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    says: tuple[str, bytes] = ("text/plain", b"")

    def wait(self, count: int, seconds: float = 5) -> list[Got]:
        """Wait until so many callbacks came; fail if they do not."""
        until = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < until:
            time.sleep(0.005)
        assert len(self.got) >= count, f"{len(self.got)} callbacks instead of {count}: {self.got}"
        return self.got

    def statuses(self, count: int) -> list[Any]:
        """Give the first statuses that came."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            found = [one for got in list(self.got) for one in got.value.get("statuses", [])]
            if len(found) >= count:
                return found
            time.sleep(0.005)
        raise AssertionError(f"only {found}")

    def messages(self) -> list[Any]:
        return [one for got in self.got for one in got.value.get("messages", [])]


class Box:
    """A running sandbox."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.http = urllib3.PoolManager(timeout=20, retries=False)
        self.start()

    def start(self, **extra: str) -> None:
        environ = {**os.environ, "SANDBOX_PORT": "0", "SANDBOX_PACE": "0.02", "PYTHONPATH": str(ROOT), **extra}
        environ |= {"SANDBOX_SMTP_PORT": "0", "SANDBOX_IMAP_PORT": "0"}
        environ.pop("SANDBOX_DATA", None)
        if self.folder:
            environ["SANDBOX_DATA"] = str(self.folder)
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-m", "sandbox"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=self.said)
        until = time.monotonic() + 30
        while not (started := re.search(r"on (http://\S+)", self.words())):
            assert self.process.poll() is None, self.words()
            assert time.monotonic() < until, self.words()
            time.sleep(0.01)
        self.url = started[1]
        self.ports = {name: int(port) for name, port in re.findall(r"(SMTP|IMAP) on [^:]+:(\d+)", self.words())}

    def words(self) -> str:
        """Give what it wrote on stderr."""
        self.said.seek(0)
        return self.said.read()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, and insist that it had nothing to complain about."""
        self.process.send_signal(number)
        self.process.wait(5)
        words = self.words()
        self.said.close()
        self.http.clear()
        assert "Traceback" not in words, words

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Make a request; give (status, JSON or bytes)."""
        if body is not None:
            options["body"] = json.dumps(body).encode()
            options["headers"] = {"Content-Type": "application/json", **options.get("headers", {})}
        url = path if path.startswith("http") else self.url + path
        answer = self.http.request(method, url, redirect=False, **options)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(answer.data) if is_json else answer.data

    def control(self, path: str, body: Any = None, method: str = "") -> Any:
        """Use the control API and insist that it agrees."""
        status, answer = self.call(method or ("GET" if body is None else "POST"), f"/control/{path}", body)
        assert status == 200, answer
        return answer


@dataclass
class Number:
    """A declared WhatsApp number, with what an integrator would do to it."""

    box: Box
    receiver: Receiver
    id: str
    waba: str
    token: str

    def graph(self, method: str, path: str, body: Any = None, token: str | None = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}", **options.pop("headers", {})}
        return self.box.call(method, f"/v26.0/{path}", body, headers=headers, **options)

    def send(self, to: str = "+353871234567", **message: Any) -> Any:
        """Post to the messages endpoint; give (status, answer)."""
        body = {"messaging_product": "whatsapp", "to": to, **message}
        return self.graph("POST", f"{self.id}/messages", {name: one for name, one in body.items() if one is not None})

    def text(self, text: str = "Hi", to: str = "+353871234567", **more: Any) -> str:
        """Send a text that must be accepted; give its id."""
        status, answer = self.send(to, type="text", text={"body": text}, **more)
        assert status == 200, answer
        return str(answer["messages"][0]["id"])

    def say(self, text: str | None = "Hello", sender: str = "+353871234567", **more: Any) -> Any:
        """Let a customer write."""
        body = {"account": self.id, "from": sender, "text": text, **more}
        return self.box.control("whatsapp/say", {name: one for name, one in body.items() if one is not None})

    def fault(self, kind: str, times: int = 1, **more: Any) -> None:
        self.box.control("faults", {"provider": "whatsapp", "kind": kind, "times": times, "account": self.id, **more})

    def chat(self, person: str = "353871234567", **query: str) -> list[Any]:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        return self.box.control(f"whatsapp/messages?account={self.id}&person={person}&{words}")["messages"]

    def upload(self, data: bytes, mime: str = "image/jpeg", name: str = "a.jpg", **form: str) -> Any:
        fields: dict[str, Any] = {"messaging_product": "whatsapp", "type": mime, **form}
        fields = {key: value for key, value in fields.items() if value}
        return self.graph("POST", f"{self.id}/media", fields={**fields, "file": (name, data, mime)})


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    running = Box()
    yield running
    running.stop()


@pytest.fixture
def new_box(tmp_path: Path) -> Iterator[Callable[[], Box]]:
    """Start a sandbox of this test's own, with a folder; it may be stopped and started again."""
    boxes: list[Box] = []

    def make() -> Box:
        boxes.append(Box(tmp_path / str(len(boxes))))
        return boxes[-1]

    yield make
    for one in boxes:
        one.stop()


@pytest.fixture(scope="session")
def receivers() -> Iterator[Callable[[], Receiver]]:
    known: dict[str, Receiver] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *_: object) -> None: ...

        def answer(self, status: int, body: bytes = b"", mime: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", mime)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            receiver = known[parts.path]
            fits = query["hub.mode"] == "subscribe" and query["hub.verify_token"] == receiver.verify_token
            self.answer(200 if fits else 403, query["hub.challenge"].encode() if fits else b"")

        def do_POST(self) -> None:
            receiver = known[urlsplit(self.path).path]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body, time.monotonic()))
            mime, said = receiver.says
            self.answer(receiver.answers.pop(0) if receiver.answers else 200, said, mime)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def make() -> Receiver:
        path = f"/callbacks/{next(_numbers)}"
        known[path] = Receiver(f"http://127.0.0.1:{server.server_port}{path}", path)
        return known[path]

    yield make
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver(receivers: Callable[[], Receiver]) -> Receiver:
    return receivers()


@pytest.fixture
def declare(box: Box, receiver: Receiver) -> Callable[..., Number]:
    """Declare a number of its own for this test."""

    def make(to: Receiver = receiver, at: Box = box, **more: Any) -> Number:
        n = next(_numbers)
        number = Number(at, to, str(5_550_000 + n), str(900_000 + n), f"EAA-token-{n}")
        body = {
            "phone_number_id": number.id,
            "business_account_id": number.waba,
            "display_phone_number": f"+353 1 60{n:05}",
            "access_token": number.token,
            "app_secret": SECRET,
            "app_id": f"app{n}",
            "callback_url": to.url,
            "verify_token": VERIFY,
            "verified_name": "Acme",
            **more,
        }
        at.control("whatsapp/accounts", body)
        return Number(at, to, number.id, body["business_account_id"], body["access_token"])

    return make


@pytest.fixture
def number(declare: Callable[..., Number]) -> Number:
    return declare()
