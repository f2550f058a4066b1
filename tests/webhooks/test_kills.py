"""W13, R4: a drain killed at the worst moments loses nothing, and repeats at most what was under way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from flask import Flask

from drain import Drain
from models import Business
from tests import servers
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import settled

COUNT = 40
# What the doomed process does instead, so that it dies at that very point.
POINTS = {
    "before a send": "drain.attempt = lambda *args: die()",
    "after a send, before its record": "deliveries.record = lambda batch: die()",
    "while a batch is being recorded": "deliveries._judge_endpoints = lambda results: die()",
}
_DOOMED = """
import asyncio, os, signal
import config, drain
from app import create_app
from services import deliveries
def die():
    os.kill(os.getpid(), signal.SIGKILL)
deliveries.LEASE_SECONDS = 2
{point}
asyncio.run(drain.Drain(create_app(config.load()), lambda: False, 8).run())
"""


@pytest.mark.parametrize("point", POINTS)
def test_every_event_still_arrives_after_a_kill(
    in_app: Flask, acme: Business, receiver: Receiver, settings: object, services: servers.Services, point: str
) -> None:
    receiver.will(status(200))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, *(f"P{number}" for number in range(COUNT)))
    env = {name: str(value) for name, value in servers.settings(services).items()}
    doomed = subprocess.run(
        [sys.executable, "-c", _DOOMED.format(point=POINTS[point])],
        cwd=servers.ROOT,
        env=env | {"PATH": "/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    assert doomed.returncode == -9
    sent_before = len(receiver.got)
    time.sleep(2)  # the doomed one's lease
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(Drain(in_app, stop.is_set, 64).run()))
    thread.start()
    try:
        done = settled(endpoint, COUNT)
    finally:
        stop.set()
        thread.join(30)
    assert {item.state for item in done} == {"delivered"}
    came = Counter(got.headers["x-webhook-id"] for got in receiver.got)
    assert len(came) == COUNT
    assert sum(came.values()) <= COUNT + sent_before
