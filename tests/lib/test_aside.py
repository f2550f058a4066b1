"""What is done aside: in order, once each, nobody waits for it, and a process that ends finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from lib.aside import Aside


def test_things_are_done_in_their_order() -> None:
    done: list[int] = []
    aside: Aside[int] = Aside("test", done.extend)
    for number in range(100):
        aside.put([number])
    assert aside.flush()
    assert done == list(range(100))


def test_what_comes_while_it_is_busy_is_taken_together_and_once() -> None:
    calls: list[list[str]] = []
    going, go = Event(), Event()

    def do(things: list[str]) -> None:
        calls.append(things)
        going.set()
        go.wait(10)

    aside: Aside[str] = Aside("test", do)
    aside.put(["first"])
    going.wait(10)
    began = time.monotonic()
    for _ in range(1000):
        aside.put(["bell", "job"])
    assert time.monotonic() - began < 1, "nobody waits"
    assert not aside.flush(0.05)
    go.set()
    assert aside.flush()
    assert calls == [["first"], ["bell", "job"]]


def test_many_who_start_it_together_start_one() -> None:
    for _ in range(20):
        done: list[int] = []
        aside: Aside[int] = Aside("test", done.extend)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number, aside=aside: aside.put([number]), range(64)))
        assert aside.flush()
        assert sorted(done) == list(range(64))


def test_a_forked_child_has_one_of_its_own() -> None:
    into, out = os.pipe()
    aside: Aside[str] = Aside("test", lambda things: os.write(out, "".join(things).encode()) and None)
    aside.put(["parent "])
    assert aside.flush()
    if not (child := os.fork()):
        aside.put(["child"])
        os._exit(not aside.flush())
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(into, 100) == b"parent child"


def test_a_process_that_ends_finishes_it() -> None:
    program = """
from time import sleep
from lib.aside import Aside
Aside("test", lambda things: (sleep(0.3), print(*things, flush=True))).put(["told"])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "told\n"
