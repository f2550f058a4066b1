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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import embedded
import run
from tests.processes import free_ports

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


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

    def pids(self) -> list[int]:
        """Find every process that was started with this data directory, and all their descendants."""
        parents, found = {}, set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if os.fsencode(self.data) in words:
                    found.add(int(entry.name))
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return [pid for pid in found if Path(f"/proc/{pid}/cmdline").read_bytes()]

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


def printed_key(machine: Machine) -> str:
    found = re.search(r"API key +(\S+)", machine.said())
    assert found, machine.said()
    return found[1]


def test_two_machines_keep_their_own_data_through_ctrl_c_and_power_cuts(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    first = one.start()
    key = printed_key(one)
    customers = one.call(key)
    assert customers

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
    assert first.returncode == 0


def test_what_a_killed_supervisor_started_ends_with_it(machines: tuple[Machine, Machine]) -> None:
    machine, _ = machines
    supervisor = machine.start()
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 30
    while machine.pids():
        assert time.monotonic() < deadline, machine.pids()
        time.sleep(0.1)


def test_a_program_that_dies_is_started_again(machines: tuple[Machine, Machine]) -> None:
    machine, _ = machines
    machine.start()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        if int(line.parent.name) in machine.pids() and b"worker.py" in line.read_bytes():
            os.kill(int(line.parent.name), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while "worker ended with -9; starting it again" not in machine.said():
        assert time.monotonic() < deadline, machine.said()
        time.sleep(0.1)


def test_a_taken_port_is_refused_in_a_sentence_that_says_what_to_do(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.start()
    second = subprocess.run(
        [sys.executable, "run.py"],
        cwd=ROOT,
        env=two.env | {"PORT": one.env["PORT"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"Port {one.port} is taken. Choose another: make run PORT=" in second.stdout


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
