"""Our programs while they run: started, their lines passed on, started again when they die, and stopped in good order.

run.py decides which programs, and with what settings; it alone makes a `Supervisor`.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import embedded

ROOT = Path(__file__).parent
CALM = 60.0  # seconds after which a restarted process counts as well again
PATIENCE = 15.0  # seconds that a process may take to stop


class Stop(BaseException):
    """Somebody asked us to end."""


class Process:
    """One of our programs: started, its lines passed on, started again when it dies."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], selector: selectors.BaseSelector) -> None:
        self.name, self.command, self.env, self.selector = name, command, env, selector
        self.failures, self.started, self.due = 0, 0.0, 0.0
        self.popen: subprocess.Popen[bytes] | None = None
        self.buffer = b""

    def start(self, stdout: IO[bytes] | None = None) -> None:
        read, write = os.pipe()
        self.popen = subprocess.Popen(
            embedded.dies_with_us(self.command, signal.SIGTERM),
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=stdout or write,
            stderr=write,
            start_new_session=True,
        )
        os.close(write)
        self.started = time.monotonic()
        self.selector.register(read, selectors.EVENT_READ, self)

    def pass_on(self, read: int) -> None:
        data = os.read(read, 65536)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        if not data:
            lines, self.buffer = [self.buffer] if self.buffer else [], b""
            self.selector.unregister(read)
            os.close(read)
        for line in lines:
            say(f"{self.name:<8}| {line.decode(errors='replace')}")

    def mend(self) -> None:
        """Start again a process that has died, later each time that it dies soon."""
        now = time.monotonic()
        if self.popen and self.popen.poll() is not None:
            sweep(self.popen)
            self.failures = 1 if now - self.started > CALM else self.failures + 1
            wait = min(2.0 ** (self.failures - 1), 30.0)
            say(f"{self.name} ended with {self.popen.returncode}; starting it again in {wait:.0f} s")
            self.popen, self.due = None, now + wait
        elif self.popen is None and now >= self.due:
            self.start()


class Supervisor:
    """Every process of ours, from the first start to the last stop."""

    def __init__(self, programs: dict[str, list[str]], env: dict[str, str], servers: embedded.Servers) -> None:
        self.env, self.servers = env, servers
        self.selector = selectors.DefaultSelector()
        self.processes = [Process(name, command, env, self.selector) for name, command in programs.items()]
        self.first_run = Path(env["DATA_DIR"]) / "first-run.json"
        self.demo: Process | None = None

    def run(self) -> None:
        """Start all of it, say so once it answers, and keep it going until we are told to stop."""
        for process in self.processes:
            process.start()
        launcher, told = os.getppid(), False
        while True:
            for key, _ in self.selector.select(timeout=0.25):
                key.data.pass_on(key.fd)
            for process in self.processes:
                process.mend()
            for name in self.servers.mend():
                say(f"{name} ended; starting it again")
            told = told or self._greet()
            if "MAKELEVEL" in self.env and os.getppid() != launcher:
                raise Stop  # make was killed, and took nobody with it

    def stop(self) -> None:
        running = [process.popen for process in [*self.processes, self.demo] if process and process.popen]
        for popen in running:
            popen.terminate()
        deadline = time.monotonic() + PATIENCE
        while any(popen.poll() is None for popen in running) and time.monotonic() < deadline:
            for key, _ in self.selector.select(timeout=0.05):
                key.data.pass_on(key.fd)
        for popen in running:
            sweep(popen)

    def _greet(self) -> bool:
        """Once everything answers, and the demo business is made the first time, say how to get in."""
        if self.demo is None:
            if not answers(self.env["PORT"]) or ("SANDBOX_PORT" in self.env and not answers(self.env["SANDBOX_PORT"])):
                return False
            if self.env["APP_ENV"] == "development" and not self.first_run.exists():
                self._fill()
                return False
        elif self.demo.popen and (code := self.demo.popen.poll()) is None:
            return False
        elif code == 0:
            self.first_run.with_suffix(".part").rename(self.first_run)
        say(greeting(self.env, self.first_run))
        return True

    def _fill(self) -> None:
        """Begin to make the demo business; only its owner may read what it says."""
        self.demo = Process("demo", found(["flask", "--app", "app", "demo", "--json"]), self.env, self.selector)
        part = os.open(self.first_run.with_suffix(".part"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(part, "wb") as out:
            self.demo.start(out)


def sweep(popen: subprocess.Popen[bytes]) -> None:
    """End for certain all that belongs to it: children outlive a parent that is killed."""
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)


def greeting(env: dict[str, str], first_run: Path) -> str:
    """Say where everything is and how to get in."""
    url = env.get("PUBLIC_URL") or f"http://localhost:{env['PORT']}"
    lines = ["", "À La Carte Chat is running.", "", f"  Inbox      {url}/inbox"]
    if first_run.exists():
        demo = json.loads(first_run.read_text())
        lines += [
            f"  Sign in    {demo['email']}  {demo['password']}",
            f"  API key    {demo['api_key']}",
            f'  Try        curl -H "x-api-key: {demo["api_key"]}" {url}/functions/v1/api-customers',
        ]
    lines += [f"  API        {url}/api-docs"]
    if "SANDBOX_PORT" in env:
        lines += [f"  Sandbox    {env['SANDBOX_URL']}  (the customers' phones)"]
    return "\n".join([*lines, "", "  Ctrl-C stops all of it; the next `make run` finds it again.", ""])


def answers(port: str | int) -> bool:
    """Tell whether the program there takes requests: it answers `/readyz`, and not that it is unready."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
        sock.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return sock.makefile("rb").read().partition(b" ")[2][:1] in (b"2", b"4")
    return False


def found(command: list[str]) -> list[str]:
    """Take the program from beside the Python that runs us, if it is there."""
    beside = Path(sys.executable).parent / command[0]
    return [str(beside) if beside.exists() else command[0], *command[1:]]


def say(text: str) -> None:
    with suppress(OSError):
        os.write(1, f"{text}\n".encode())
