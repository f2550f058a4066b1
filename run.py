"""`make run`: everything on this machine, from the servers to the demo business; Ctrl-C stops all of it.

`python run.py COMMAND…` runs one command on the same settings and servers instead. Nobody imports this but the tests.
Stays small in memory: the standard library and embedded.py only.
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT
from types import FrameType
from typing import IO

import embedded

ROOT = Path(__file__).parent
SERVERS = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}
CALM = 60.0  # seconds after which a restarted process counts as well again
PATIENCE = 15.0  # seconds that a process may take to stop


class Stop(BaseException):
    """Somebody asked us to end."""


def environment(given: dict[str, str], database_url: str, redis_url: str) -> dict[str, str]:
    """Give our processes what the operator set, and for a developer's machine what makes it whole."""
    word = given.get("PORT") or "8000"
    if not word.isdigit() or not 0 < (port := int(word)) < 65536:
        raise embedded.EmbeddedError(f"PORT must be a number from 1 to 65535, not {word}.")
    env = {name: value for name, value in given.items() if value} | {
        "PORT": str(port),
        "DATA_DIR": str(data_dir(given)),
        "DATABASE_URL": given.get("DATABASE_URL") or database_url,
        "REDIS_URL": given.get("REDIS_URL") or redis_url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    env.setdefault("APP_ENV", "development")
    env.setdefault("MALLOC_ARENA_MAX", "2")
    if env["APP_ENV"] == "development":
        env.setdefault("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")
        env.setdefault("SANDBOX_URL", f"http://127.0.0.1:{port + 1 if port < 65535 else port - 1}")
        for name in ("META_GRAPH_URL", "INSTAGRAM_GRAPH_URL", "TWILIO_API_URL"):
            env.setdefault(name, env["SANDBOX_URL"])
        env.setdefault("SANDBOX_PORT", env["SANDBOX_URL"].rpartition(":")[2])
        env.setdefault("SANDBOX_DATA", str(data_dir(given) / "sandbox"))
    return env


def commands(env: dict[str, str]) -> dict[str, list[str]]:
    """Read what to run from the Procfile; a developer's machine has the provider sandbox too."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    found = {name: shlex.split(line) for name, _, line in (line.partition(":") for line in lines)}
    if "SANDBOX_PORT" in env:
        found["sandbox"] = ["python", "-m", "sandbox"]
    return found


def data_dir(given: dict[str, str]) -> Path:
    return (ROOT / (given.get("DATA_DIR") or "var")).resolve()


def settings_file(path: Path) -> dict[str, str]:
    """Read `.env`: NAME=value lines, quotes optional, `#` comments."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line.strip() and line.lstrip()[0] != "#")
    return {name.strip(): "".join(shlex.split(value, comments=True)) for name, _, value in pairs}


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

    def __init__(self, env: dict[str, str], servers: embedded.Servers) -> None:
        self.env, self.servers = env, servers
        self.selector = selectors.DefaultSelector()
        programs = commands(env)
        migrate(found(programs.pop("release")), env)
        self.processes = [Process(name, found(command), env, self.selector) for name, command in programs.items()]
        self.first_run = data_dir(env) / "first-run.json"
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


def migrate(command: list[str], env: dict[str, str]) -> None:
    """Bring the database up to date, and tell of nothing but steps and failures."""
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, text=True, stdout=PIPE, stderr=STDOUT)
    if done.returncode:
        raise embedded.EmbeddedError(f"{done.stdout}\nThe database cannot be brought up to date; see above.")
    for line in done.stdout.splitlines():
        if "Running upgrade" in line:
            say(f"migrate | {line.rpartition('Running ')[2]}")


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


def refuse_taken_ports(env: dict[str, str]) -> None:
    """Say which port is taken, after a moment in which an earlier run that was killed may still be letting go."""
    deadline = time.monotonic() + 5
    for port in [int(env[name]) for name in ("PORT", "SANDBOX_PORT") if name in env]:
        while True:
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                break
            if time.monotonic() > deadline:
                raise embedded.EmbeddedError(f"Port {port} is taken. Choose another: make run PORT={port + 10}")
            time.sleep(0.2)


def main(words: list[str]) -> int:
    given = settings_file(ROOT / ".env") | dict(os.environ)
    listen(_stop)
    servers = supervisor = None
    try:
        if not words:
            refuse_taken_ports(environment(given, "", ""))
        missing = [server for name, server in SERVERS.items() if not given.get(name)]
        servers = embedded.start(data_dir(given), only=missing, attach=bool(words))
        env = environment(given, servers.database_url, servers.redis_url)
        if words:
            return run_one(words, env)
        supervisor = Supervisor(env, servers)
        supervisor.run()
    except Stop:
        say("Stopping.")
    except embedded.EmbeddedError as exc:
        say(str(exc))
        return 1
    finally:
        listen(signal.SIG_IGN)
        if supervisor:
            supervisor.stop()
        if servers:
            servers.stop()
    return 0


def run_one(words: list[str], env: dict[str, str]) -> int:
    """Run one command to its end; Ctrl-C is for it, not for us."""
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(found(words), cwd=ROOT, env=env)


def listen(what: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup says so
            signal.signal(number, what)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
