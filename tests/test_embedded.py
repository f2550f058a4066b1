"""The embedded servers start on whatever an earlier end left behind, and keep what was written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

import embedded

ROOT = Path(__file__).parent.parent
OWNER = """
import json, sys, time
from pathlib import Path
import embedded
servers = embedded.start(Path(sys.argv[1]))
print(json.dumps([server.process.pid for server in servers.each]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose servers are stopped afterwards, whatever the test did."""
    started: list[embedded.Servers] = []
    original = embedded.Servers.attach

    def attach(servers: embedded.Servers) -> embedded.Servers:
        started.append(servers)
        return original(servers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded.Servers, "attach", attach)
        yield tmp_path / "data"
    for servers in started:
        servers.stop()
    shutil.rmtree(embedded.socket_dir((tmp_path / "data").resolve()), ignore_errors=True)


def connect(servers: embedded.Servers) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(servers.database_url.replace("+psycopg", ""), autocommit=True)


def write(servers: embedded.Servers) -> None:
    with connect(servers) as database:
        database.execute("CREATE TABLE kept (word text)")
        database.execute("INSERT INTO kept VALUES ('here')")
    with redis.Redis.from_url(servers.redis_url) as queue:
        queue.set("kept", "here")
        queue.execute_command("WAITAOF", 1, 0, 5000)


def assert_kept(servers: embedded.Servers) -> None:
    with connect(servers) as database:
        assert database.execute("SELECT word FROM kept").fetchall() == [("here",)]
    with redis.Redis.from_url(servers.redis_url) as queue:
        assert queue.get("kept") == b"here"


def leave_pid_file(data: Path, text: str) -> None:
    (data / "postgres" / "postmaster.pid").write_text(text)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.05)


class Owner:
    """Another process that started the servers of a data directory."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, data], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.postgres, self.valkey = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        wait_until_gone(self.postgres, self.valkey)


@pytest.fixture
def owner(here: Path) -> Iterator[Owner]:
    owner = Owner(here)
    yield owner
    owner.kill()


def test_what_was_written_is_there_after_a_stop_and_a_start(here: Path) -> None:
    servers = embedded.start(here)
    write(servers)
    servers.stop()
    assert_kept(embedded.start(here))


def test_writes_reach_the_disk_before_they_are_confirmed(here: Path) -> None:
    servers = embedded.start(here)
    with connect(servers) as database:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert database.execute(f"SHOW {setting}").fetchone() == ("on",)


@pytest.mark.parametrize("whose", ["nobody's", "another program's", "ours"])
def test_a_pid_file_left_behind_does_not_keep_postgres_from_starting(here: Path, whose: str) -> None:
    servers = embedded.start(here)
    write(servers)
    left = (here / "postgres" / "postmaster.pid").read_text()
    servers.stop()
    with subprocess.Popen(["sleep", "60"]) as other:
        pids = {"nobody's": 4194300, "another program's": other.pid, "ours": os.getpid()}
        leave_pid_file(here, left.replace(left.split()[0], str(pids[whose]), 1))
        assert_kept(embedded.start(here))
        assert other.poll() is None, "the other program was killed for a number it happened to have"
        other.kill()


@pytest.mark.parametrize("text", ["", "\n", "31", "317\n/somewhere\n", "not a number\n"])
def test_a_truncated_pid_file_does_not_keep_postgres_from_starting(here: Path, text: str) -> None:
    servers = embedded.start(here)
    write(servers)
    servers.stop()
    leave_pid_file(here, text)
    assert_kept(embedded.start(here))


def test_servers_end_with_their_owner_even_when_it_is_killed(owner: Owner) -> None:
    owner.process.kill()
    wait_until_gone(owner.postgres, owner.valkey)


def test_a_start_follows_a_kill_of_everything(here: Path, owner: Owner) -> None:
    write(embedded.start(here))
    for pid in (owner.process.pid, owner.postgres, owner.valkey):
        os.kill(pid, signal.SIGKILL)
    owner.process.wait()
    assert_kept(embedded.start(here))


def test_a_start_ends_orphans_that_still_run_on_its_data(here: Path) -> None:
    servers = embedded.start(here)
    write(servers)
    orphans = [server.process for server in servers.each if server.process]
    servers._lock.close()  # what the kernel does when the owner dies without a word to its children
    again = embedded.start(here)
    assert_kept(again)
    assert all(orphan.wait(5) is not None for orphan in orphans)


def test_a_dead_server_is_started_again(here: Path) -> None:
    servers = embedded.start(here)
    write(servers)
    for server in servers.each:
        server.process.kill()
        server.process.wait()
    time.sleep(1)  # it waits that long since the last launch
    assert servers.mend() == ["postgres", "valkey"]
    assert_kept(servers.attach())


def test_a_second_process_attaches_and_leaves_the_servers_running(here: Path, owner: Owner) -> None:
    visitor = embedded.start(here)
    write(visitor)
    visitor.stop()
    assert alive(owner.postgres)
    assert alive(owner.valkey)


def test_a_second_owner_is_refused_in_a_sentence_that_names_the_first(here: Path, owner: Owner) -> None:
    with pytest.raises(embedded.EmbeddedError, match=f"in use by process {owner.process.pid}.*DATA_DIR"):
        embedded.start(here, attach=False)


def test_two_data_directories_run_side_by_side(tmp_path: Path) -> None:
    one, two = embedded.start(tmp_path / "one"), embedded.start(tmp_path / "two")
    try:
        write(one)
        with connect(two) as database:
            assert database.execute("SELECT to_regclass('kept')").fetchone() == (None,)
        with redis.Redis.from_url(two.redis_url) as queue:
            assert queue.get("kept") is None
    finally:
        one.stop()
        two.stop()


def test_a_data_directory_may_lie_deep_below_long_names(here: Path) -> None:
    deep = here.joinpath(*["a folder with a long name, and a space in it"] * 5)
    servers = embedded.start(deep)
    write(servers)
    assert_kept(servers)


def test_an_interrupted_first_start_is_begun_anew(here: Path) -> None:
    (here / "postgres.new" / "base").mkdir(parents=True)
    (here / "postgres.new" / "PG_VERSION").write_text("18\n")
    write(embedded.start(here))


def test_data_that_was_opened_to_everybody_is_closed_again(here: Path) -> None:
    embedded.start(here).stop()
    (here / "postgres").chmod(0o755)
    write(embedded.start(here))


def test_data_of_another_version_is_refused_in_a_sentence(here: Path) -> None:
    embedded.start(here).stop()
    (here / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(embedded.EmbeddedError, match="written by PostgreSQL 17"):
        embedded.start(here)


def test_only_the_servers_asked_for_are_started(here: Path) -> None:
    servers = embedded.start(here, only=["valkey"])
    assert [server.name for server in servers.each] == ["valkey"]
    assert not (here / "postgres").exists()
