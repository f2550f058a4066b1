"""`make run`, from the first start to the next one after a power cut: the real programs, as an operator meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import config
import embedded
import run
import supervisor
from tests.ports import free_ports

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("run")]  # one after another, so that one start serves several


class Machine:
    """One checkout's `make run`, with a port and data of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, sandbox = free_ports(2)
        self.data, self.log = folder / "data", folder / "log"
        folder.mkdir()
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
        self.env = kept | {
            "PORT": str(self.port),
            "SANDBOX_URL": f"http://127.0.0.1:{sandbox}",
            "DATA_DIR": str(self.data),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "run.py"], cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while "is running." not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return self.process

    def interrupt(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)

    def said(self) -> str:
        return self.log.read_text()

    def call(self, key: str) -> dict[str, object]:
        url = f"http://localhost:{self.port}/functions/v1/api-customers"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"x-api-key": key}), timeout=10) as answer:
            return dict(json.loads(answer.read()))

    def pids(self, title: str = "") -> list[int]:
        """Find every process that was started with this data directory, and all their descendants."""
        parents, titles, found = {}, {}, set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid, title_now = int(entry.name), (entry / "cmdline").read_bytes()
                if not title_now:  # has ended, and waits for its parent to notice
                    continue
                parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[pid] = title_now.decode(errors="replace")
                if os.fsencode(self.data) in title_now + (entry / "environ").read_bytes():
                    found.add(pid)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return [pid for pid in found if title in titles[pid]]

    def kill(self) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()

    def end(self) -> None:
        self.kill()
        shutil.rmtree(embedded.socket_dir(self.data.resolve()), ignore_errors=True)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    both = Machine(tmp_path / "one"), Machine(tmp_path / "two")
    yield both
    for machine in both:
        machine.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("running") / "one")
    machine.start()
    yield machine
    machine.end()


def printed_key(machine: Machine) -> str:
    found = re.search(r"API key +(\S+)", machine.said())
    assert found, machine.said()
    return found[1]


def wait_until(true: Callable[[], bool], say: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not true():
        assert time.monotonic() < deadline, say()
        time.sleep(0.1)


def test_two_machines_keep_their_own_data_through_ctrl_c_and_power_cuts(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.start()
    key = printed_key(one)
    customers = one.call(key)
    assert customers["customers"]

    two.start()
    assert printed_key(two) != key

    assert one.interrupt() == 0
    assert one.pids() == []
    assert two.call(printed_key(two)), "stopping one stopped the other"

    one.start()
    assert printed_key(one) == key
    assert one.call(key) == customers

    one.kill()
    one.start()
    assert one.call(key) == customers

    two.process.kill()
    wait_until(lambda: two.pids() == [], two.pids)  # what a killed supervisor started ends with it


def test_a_program_that_dies_is_started_again(running: Machine) -> None:
    (worker,) = running.pids("alacarte: worker")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "worker ended with -9; starting it again" in running.said(), running.said)


def test_a_taken_port_is_refused_in_a_sentence_that_says_what_to_do(running: Machine, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "run.py"],
        cwd=ROOT,
        env=running.env | {"DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"Port {running.port} is taken. Choose another: make run PORT=" in second.stdout


def test_one_command_runs_on_the_servers_of_a_run_that_goes_on(running: Machine) -> None:
    command = [sys.executable, "run.py", "flask", "--app", "app", "db", "current"]
    done = subprocess.run(command, cwd=ROOT, env=running.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(head)" in done.stdout
    assert running.call(printed_key(running))


def test_a_command_typed_beside_a_run_means_that_run(running: Machine) -> None:
    """As an operator types it: no prefix, and nothing set but where the data lies."""
    command = [*supervisor.found(["flask"]), "business", "create", "Acme", "--admin-email", "a@acme.example", "--json"]
    kept = {name: value for name, value in running.env.items() if name in ("PATH", "HOME", "DATA_DIR")}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert running.call(json.loads(done.stdout)["api_key"])["customers"] == []
    assert f"PORT={running.port}\n" in (running.data / "run.env").read_text()  # it was given, and is where we are found


def test_what_a_run_settled_means_nothing_once_it_has_ended(tmp_path: Path) -> None:
    (tmp_path / "servers.lock").write_text("1")
    (tmp_path / "run.env").write_text("APP_ENV=development\nPORT=9999\n")
    assert config.load(DATA_DIR=tmp_path, SECRET_KEY="s" * 40).port != 9999


def test_the_environment_wins_over_the_settings_file_and_over_our_defaults(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nPORT=9100\nexport PUBLIC_URL='https://chat.example' # said\n\nEMPTY=\n")
    assert run.settings_file(tmp_path / ".env") == {"PORT": "9100", "PUBLIC_URL": "https://chat.example", "EMPTY": ""}
    env = run.environment(
        {"PORT": "9100", "DATABASE_URL": "postgresql://theirs", "TWILIO_API_URL": "https://t"}, "o", "r"
    )
    assert (env["DATABASE_URL"], env["REDIS_URL"]) == ("postgresql://theirs", "r")
    assert (env["TWILIO_API_URL"], env["META_GRAPH_URL"]) == ("https://t", "http://127.0.0.1:9101")


def test_production_gets_no_sandbox_and_no_open_door_to_this_machine() -> None:
    env = run.environment({"APP_ENV": "production"}, "d", "r")
    assert "SANDBOX_URL" not in env
    assert "WEBHOOK_ALLOWED_NETWORKS" not in env
    assert set(run.commands(env)) == {"release", "web", "worker"}
