"""The real parts under the tests: one PostgreSQL and one Valkey for a whole run, one database for each xdist worker.

`conftest.py` turns them into fixtures. The servers live in a process of their own (`python -m tests.servers FOLDER
PID`), which the first worker that needs them starts, and which ends with the process of that pid.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

import embedded

ROOT = Path(__file__).parent.parent
FOLDER = "TEST_SERVERS"  # the environment variable by which the workers learn the run's folder
LOCK_TIMEOUT = "10s"  # a test that waits longer for a lock has met a deadlock of its own making

_kept: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Services:
    """What one xdist worker stands on; `folder` is its DATA_DIR."""

    database_url: str
    redis_url: str
    folder: Path

    def psycopg(self, database: str = "") -> str:
        """Give the database's address (or another database's of the same server) as psycopg wants it."""
        return _dsn(self.database_url, database)


def begin() -> None:
    """Name the run's folder; called once, by the process that the user started."""
    os.environ["TEST_CONTROLLER"] = str(os.getpid())
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="alacarte-tests-")


def end() -> None:
    """Stop the servers, if any test needed them, and remove the run's folder."""
    folder = Path(os.environ.pop(FOLDER))
    with suppress(FileNotFoundError, ProcessLookupError):
        keeper = int((folder / "keeper.pid").read_text())
        os.kill(keeper, signal.SIGTERM)
        for _ in range(200):
            for started in _kept:
                started.poll()  # a child that nobody asks about stays, and counts as running
            os.kill(keeper, 0)
            time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def provide(name: str) -> Services:
    """Give one xdist worker, or its live processes, a migrated database and a Valkey number of its own."""
    folder = Path(os.environ[FOLDER])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / "servers.json"
        if not ready.exists():
            _start_keeper(folder, ready)
        urls = json.loads(ready.read_text())
        template = urls["database_url"].replace("/alacarte?", "/template_migrated?")
        if not (folder / "migrated").exists():
            _create(urls["database_url"], "template_migrated", "template1")
            migrate(template, urls["redis_url"], folder)
            (folder / "migrated").touch()
        own = folder / "given" / name
        own.mkdir(parents=True)
        number = len(list(own.parent.iterdir()))
        _create(urls["database_url"], f"test_{name}", "template_migrated")
    return Services(
        database_url=urls["database_url"].replace("/alacarte?", f"/test_{name}?"),
        redis_url=f"{urls['redis_url']}?db={number}",
        folder=own,
    )


def settings(services: Services) -> dict[str, object]:
    """The settings under test; a test that needs others says `config.load(**servers.settings(services) | {…})`."""
    return {
        "APP_ENV": "test",
        "DATA_DIR": str(services.folder),
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "SECRET_KEY": "a secret of the tests, forty characters long",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8 ::1/128",
        "API_RATE_LIMIT": 1_000_000,
    }


def migrate(database_url: str, redis_url: str, data_dir: Path) -> None:
    """Bring a database up to date the way an operator does."""
    env = os.environ | {
        "APP_ENV": "test",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "db", "upgrade"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"The migrations fail:\n{done.stderr}")


def _start_keeper(folder: Path, ready: Path) -> None:
    controller = os.environ["TEST_CONTROLLER"]
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", str(folder), controller],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _kept.append(keeper)  # a Popen that is forgotten complains that its process still runs
    (folder / "keeper.pid").write_text(str(keeper.pid))
    deadline = time.monotonic() + 60
    while not ready.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((folder / "keeper.log").read_text())
        time.sleep(0.02)


def _create(server: str, name: str, template: str) -> None:
    with psycopg.connect(_dsn(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        connection.execute(f"ALTER DATABASE \"{name}\" SET lock_timeout = '{LOCK_TIMEOUT}'")


def _dsn(url: str, database: str = "") -> str:
    parts = urlsplit(url)
    host = parse_qs(parts.query)["host"][0]
    return f"host={host} user=postgres dbname={database or parts.path.lstrip('/')}"


def _keep(folder: Path, controller: int) -> None:
    """Hold the servers until told to stop, or until the test run is gone."""
    servers = embedded.start(folder / "data", durable=False, connections=300)
    part = folder / "servers.part"
    part.write_text(json.dumps({"database_url": servers.database_url, "redis_url": servers.redis_url}))
    part.rename(folder / "servers.json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while Path(f"/proc/{controller}").exists():
            time.sleep(0.2)
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), int(sys.argv[2]))
