"""Take mails apart in a process of its own, with bounds on memory and time: whatever a mail does there, it dies alone.

The process starts with the first mail and stays. `serve` is its side, `read` and `file` are ours.
It speaks in pieces: a line of JSON with a size, and as many bytes.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from lib.letters.letter import Letter, file_in, take_apart

ROOT = Path(__file__).parents[2]
CPU_SECONDS = 4.0  # for one mail
WALL_SECONDS = 120.0  # on a machine that has other things to do
MEMORY = 1536 * 1024 * 1024  # bytes of address space


class Unreadable(Exception):
    """This mail cannot be taken apart; the next one can."""


def read(mail: bytes) -> Letter:
    """Take a mail apart; raise `Unreadable`."""
    return Letter.from_plain(json.loads(_process.ask({"do": "read"}, mail)))


def file(mail: bytes, path: str) -> bytes:
    """Give one file of a mail, by the path that its letter names; raise `Unreadable`."""
    return _process.ask({"do": "file", "path": path}, mail)


class _Process:
    """The other side, started when it is needed and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._others: subprocess.Popen[bytes] | None = None

    def ask(self, question: dict[str, Any], mail: bytes) -> bytes:
        with self._lock:
            popen = self._popen = self._alive() or _start()
            try:
                _say(popen.stdin, question | {"size": len(mail)}, mail)
                answer, data = self._hear(popen)
            except (OSError, ValueError):
                self._end(popen)
                raise Unreadable("It took too long, or too much memory.") from None
        if "error" in answer:
            raise Unreadable(answer["error"])
        return data

    def _alive(self) -> subprocess.Popen[bytes] | None:
        if self._popen and self._popen.poll() is not None:
            self._end(self._popen)
        return self._popen

    def _hear(self, popen: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytes]:
        stdout = popen.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], WALL_SECONDS)[0]:
            raise ValueError("no answer in time")
        return _listen(stdout)

    def end(self) -> None:
        if self._popen:
            self._end(self._popen)

    def _end(self, popen: subprocess.Popen[bytes]) -> None:
        popen.kill()
        popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    continue
        self._popen = None

    def forget(self) -> None:
        """Leave the process to whoever forked us; two may not speak to one."""
        self._lock, self._others, self._popen = threading.Lock(), self._popen, None


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lib.letters"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},  # no secret of ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _say(pipe: IO[bytes] | None, head: dict[str, Any], body: bytes) -> None:
    assert pipe is not None
    pipe.write(json.dumps(head).encode() + b"\n" + body)
    pipe.flush()


def _listen(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    line = pipe.readline()
    head = json.loads(line)  # an empty line, of one who has died, is a ValueError too
    body = pipe.read(head["size"])
    if len(body) < head["size"]:
        raise ValueError("broken off")
    return head, body


_process = _Process()
atexit.register(_process.end)
os.register_at_fork(after_in_child=_process.forget)


def _answer(question: dict[str, Any], mail: bytes) -> bytes:
    if question["do"] == "file":
        return file_in(mail, question["path"])
    return json.dumps(take_apart(mail).plain()).encode()


def serve() -> None:
    """Answer until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            question, mail = _listen(sys.stdin.buffer)
        except ValueError:
            return  # whoever asked is gone
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # ends us, also inside a library that never returns
        try:
            head, body = {}, _answer(question, mail)
        except (Exception, MemoryError) as exc:
            head, body = {"error": type(exc).__name__}, b""
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(sys.stdout.buffer, head | {"size": len(body)}, body)
