"""The provider sandbox as a process of its own, and a callback address that verifies, parses and keeps as we do."""

from __future__ import annotations

import mimetypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

import channels
from channels.base import Callback, Item

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """The sandbox's address, what it called us with, and a file server of ours. `configs`: our accounts by path."""

    sandbox: str
    address: str = ""
    configs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # path → kind, settings
    files: dict[str, bytes] = field(default_factory=dict)  # path → what anybody may fetch
    items: list[Item] = field(default_factory=list)
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=20, retries=False))

    def control(self, path: str, **body: Any) -> Any:
        answer = self.http.request("POST", f"{self.sandbox}/control/{path}", json=body)
        assert answer.status == 200, answer.data
        return answer.json()

    def get(self, path: str) -> Any:
        return self.http.request("GET", f"{self.sandbox}/control/{path}").json()

    def wait(self, kind: type[Any], fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for an item."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for item in list(self.items):
                if isinstance(item, kind) and fits(item):
                    return item
            time.sleep(0.01)
        raise AssertionError(f"no such {kind.__name__} in {self.items}")


def _receiver(stage: Stage) -> type[BaseHTTPRequestHandler]:
    class Receiver(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def _callback(self) -> Callback:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            url = stage.address + self.path
            return Callback(self.command, url, headers, dict(parse_qsl(urlsplit(url).query)), body)

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path not in stage.configs:
                found = stage.files.get(path)
                mime = mimetypes.guess_type(path)[0] or "application/octet-stream"
                self._answer(404 if found is None else 200, found or b"", mime)
                return
            kind, config = stage.configs[path]
            reply = channels.get(kind).handshake(self._callback(), config)
            self._answer(reply.status, reply.body.encode(), reply.content_type)

        def do_POST(self) -> None:
            callback = self._callback()
            kind, config = stage.configs[urlsplit(self.path).path]
            channel = channels.get(kind)
            channel.verify(callback, config)
            stage.items += channel.parse(callback)
            reply = channel.reply(callback)
            self._answer(reply.status, reply.body.encode(), reply.content_type)

    return Receiver


@contextmanager
def running() -> Iterator[Stage]:
    """Start the sandbox and our address."""
    environ = {**os.environ, "SANDBOX_PORT": "0", "SANDBOX_PACE": "0.02", "SANDBOX_DATA": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox"], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    line = process.stderr.readline()
    assert "http://" in line, line + process.stderr.read()
    stage = Stage("http://" + line.rsplit("http://", 1)[1].strip())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _receiver(stage))
    stage.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield stage
    finally:
        server.shutdown()
        server.server_close()
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stderr.close()
        stage.http.clear()
