"""W13, R4: a drain killed at the worst moments loses nothing, and repeats at most what was under way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter

import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select

from drain import Drain
from models import Attempt, Business, Delivery, db
from services import deliveries
from tests import servers
from tests.receivers import Receiver, after, status
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


def test_a_database_that_cuts_every_line_under_load_loses_nothing_and_sends_nothing_twice(
    in_app: Flask,
    acme: Business,
    receiver: Receiver,
    services: servers.Services,
    monkeypatch: pytest.MonkeyPatch,
    draining: None,
) -> None:
    monkeypatch.setattr(deliveries, "LEASE_SECONDS", 4)  # of a claim whose answer was lost: nobody waits for more here
    receiver.will(after(0.05, status(200)))
    endpoint = subscribe(acme, receiver.url())
    tell(acme, *(f"P{number}" for number in range(COUNT * 10)))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    with psycopg.connect(services.psycopg(), autocommit=True) as connection:
        for _ in range(4):
            receiver.wait(len(receiver.got) + 20)
            connection.execute(cut, (connection.info.backend_pid,))
    done = settled(endpoint, COUNT * 10)
    assert {item.state for item in done} == {"delivered"}
    came = Counter(got.headers["x-webhook-id"] for got in receiver.got)
    assert len(came) == COUNT * 10
    assert set(came.values()) == {1}
    logged = db.session.scalar(
        select(func.count()).select_from(Attempt).join(Delivery, Delivery.id == Attempt.delivery_id)
        .where(Delivery.endpoint_id == endpoint.id)
    )  # fmt: skip
    assert logged == COUNT * 10
    in_app.extensions["read_engine"].dispose()  # whose lines were cut, too, unnoticed
