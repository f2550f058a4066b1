"""What the two servers have in common: evict an earlier one, launch, wait for an answer, stop.

Used by the two modules beside this one; knows neither PostgreSQL nor Valkey.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOG_LIMIT = 5 * 1024 * 1024


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says why and what to do."""


class Server:
    """One server process and its files."""

    name = ""
    program = ""
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, socket_path: Path) -> None:
        self.home = data_dir / self.name
        self.socket = socket_path
        self.log = data_dir / "logs" / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.launched = 0.0

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def prepare(self) -> None:
        """Make what the first start needs."""
        self.log.parent.mkdir(exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.unlink()

    def launch(self) -> None:
        self.launched = time.monotonic()
        self.process = self._popen(self.command())

    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def wait(self, patience: float = 20, recovery: float = 900) -> None:
        """Return once the server answers. One that exits is launched again for `patience` seconds.

        What an earlier server leaves (a backend that holds shared memory) goes away by itself within moments, while
        a long crash recovery is left to finish.
        """
        started = time.monotonic()
        while not self.answers():
            waited = time.monotonic() - started
            if waited > (patience if self.process is None or self.died() else recovery):
                raise EmbeddedError(f"{self.name} does not start. The end of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.05)
            if self.died():
                time.sleep(0.25)
                self.launch()

    def stop(self, patience: float = 20) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process = None

    def evict(self, patience: float = 20) -> None:
        """End what an earlier run left behind on this data, gently first."""
        for number, seconds in ((self.stop_signal, patience), (signal.SIGKILL, 5.0)):
            for pid in _processes(self.program, self.home):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while any(_processes(self.program, self.home)) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )


def dies_with_us(command: list[str], number: signal.Signals) -> list[str]:
    """Wrap a command so that the kernel sends it this signal when its parent ends, even by SIGKILL.

    The innermost wrapping: a change of user forgets the signal.
    """
    return ["setpriv", f"--pdeathsig={number.name}", "--", *command] if shutil.which("setpriv") else command


def package(name: str) -> Path:
    """Find a wheel's folder without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"The package {name} is not installed; install requirements.txt, or set your own URLs.")
    return Path(spec.origin).parent


def _processes(program: str, path: Path) -> Iterator[int]:
    """Yield the processes of this program that have this path as an argument of its own."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if Path(os.fsdecode(words[0])).name == program and os.fsencode(path) in words:
                yield int(entry.name)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(empty)"
