"""UUIDv7: shape, order and speed."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import ids


def test_an_id_has_the_version_and_the_variant_of_the_rfc() -> None:
    made = ids.uuid7()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert abs((made.int >> 80) - time.time_ns() // 1_000_000) < 2_000


def test_ids_rise_even_when_made_in_a_hurry() -> None:
    made = [ids.uuid7() for _ in range(50_000)]
    assert made == sorted(set(made))
    assert [str(each) for each in made] == sorted(map(str, made))


def test_ids_rise_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids.uuid7()
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_600_000_000_000_000_000)
    made = [before, *(ids.uuid7() for _ in range(5000))]
    assert made == sorted(set(made))


def test_threads_never_share_an_id_and_each_sees_them_rise() -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: [ids.uuid7() for _ in range(3000)], range(8)))
    assert len({each for run in runs for each in run}) == 24_000
    assert all(run == sorted(run) for run in runs)


def test_forked_processes_do_not_repeat_each_other() -> None:
    code = (
        "import os; from lib import ids; ids.uuid7(); os.fork(); os.fork()\n"
        "os.write(1, b''.join(str(ids.uuid7()).encode() + b'\\n' for _ in range(50)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=20)
    time.sleep(0.2)
    made = done.stdout.split()
    assert len(made) == len(set(made)) == 200


def test_the_random_part_differs_within_one_millisecond() -> None:
    tails = {ids.uuid7().int & (2**62 - 1) for _ in range(1000)}
    assert len(tails) == 1000


def test_an_id_costs_microseconds() -> None:
    start = time.process_time()
    for _ in range(10_000):
        ids.uuid7()
    assert time.process_time() - start < 0.25


SOME = "018f2d5c-7b3a-7c11-8a4e-0123456789ab"


@pytest.mark.parametrize("text", [SOME, SOME.upper(), str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))])
def test_uuids_are_known(text: str) -> None:
    assert ids.is_uuid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SOME.replace("-", ""),
        f"{{{SOME}}}",
        f"urn:uuid:{SOME}",
        f"{SOME}\n",
        f" {SOME}",
        "g" * 36,
        "１" * 36,
        None,
        5,
        b"x",
    ],
)
def test_anything_else_is_not(text: object) -> None:
    assert not ids.is_uuid(text)
