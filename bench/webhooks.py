"""Webhooks: deliveries a second through the worker with every attempt logged, and the time from commit to receiver."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure, percentile
from bench.stage import Stage
from bench.sync import people
from drain import _headers
from lib import fetch
from services.deliveries import Task
from tests import servers
from tests.ports import free_ports

COUNT = 20_000
CONCURRENCY = 64
SINGLES = 150


def measure(stage: Stage) -> list[Figure]:
    with sink(stage, "floor") as (floor_url, _), sink(stage, "ours") as (url, log):
        hook = stage.call("POST", "/api-webhooks", {"name": "CRM", "url": url, "events": ["customer.created"]})
        singles = _latency(stage, log, 900)
        least = asyncio.run(_loop(stage, floor_url))
        ours = _drain(stage, hook["webhook"]["id"])
        beside = _latency_beside_hanging(stage, log)
    idle, healthy = percentile(singles, 0.99), percentile(beside, 0.99)
    return [
        Figure(
            "deliveries a second ÷ a bare loop that signs and posts",
            ours / least,
            0.5,
            more=True,
            note=f"{ours:.0f} a second against {least:.0f}",
        ),
        Figure("one event, idle: commit → receiver, p50", percentile(singles, 0.5) * 1000, 10, unit="ms"),
        Figure("one event, idle: commit → receiver, p99", idle * 1000, 50, unit="ms"),
        Figure(
            "p99 of a healthy endpoint beside 20 that hang ÷ without",
            healthy / idle,
            1.2,
            note=f"{healthy * 1000:.1f} ms against {idle * 1000:.1f} ms",
        ),
    ]


@contextmanager
def sink(stage: Stage, name: str) -> Iterator[tuple[str, Path]]:
    (port,) = free_ports(1)
    log = stage.live.services.folder / f"sink-{name}.log"
    process = subprocess.Popen([sys.executable, "-m", "bench.sink", str(port), str(log)], cwd=servers.ROOT)
    time.sleep(0.5)
    try:
        yield f"http://127.0.0.1:{port}/hook", log
    finally:
        process.terminate()
        process.wait()


def _arrivals(log: Path) -> dict[str, float]:
    lines = (line.split() for line in log.read_text().splitlines())
    return {words[0]: float(words[1]) for words in lines if len(words) == 2}


def _latency(stage: Stage, log: Path, batch: int) -> list[float]:
    """Create customers one at a time, and compare each event's stamp with when it arrived."""
    before = set(_arrivals(log))
    for record in people(batch, SINGLES):
        stage.call("POST", "/api-customers", record)
        time.sleep(0.02)
    time.sleep(1)
    arrived = {event: at for event, at in _arrivals(log).items() if event not in before}
    rows = stage.db.execute(
        "SELECT id, extract(epoch FROM created_at) FROM events WHERE id = ANY(%s)", (list(arrived),)
    ).fetchall()
    assert len(rows) == SINGLES, len(rows)
    return [arrived[str(event)] - float(stamp) for event, stamp in rows]


async def _loop(stage: Stage, url: str) -> float:
    """Sign and post the same bodies with the same client and concurrency, and nothing else."""
    row: Any = stage.db.execute("SELECT business_id, id, type, body FROM events WHERE body <> '' LIMIT 1").fetchone()
    task = Task(row[0], row[1], row[1], 1, row[1], row[2], bytes(row[3]), url, 15, "standard", ["whsec_AAAA"], {})
    policy = fetch.Policy(networks=tuple(stage.live.settings.webhook_allowed_networks))
    todo = iter(range(COUNT))
    async with fetch.pool(policy, CONCURRENCY) as session:

        async def post() -> None:
            for _ in todo:
                await fetch.post(session, url, task.body, _headers(task, task.secrets), 15)

        began = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(CONCURRENCY)))
        return COUNT / (time.perf_counter() - began)


def _drain(stage: Stage, hook: str) -> float:
    """Make a burst of deliveries of events that are there, and see how fast the worker gets through them."""
    began = stage.db.execute("SELECT clock_timestamp()").fetchone()
    stage.db.execute(
        "INSERT INTO deliveries (business_id, id, endpoint_id, event_sequence, event_type, reason, state,"
        " attempt_count, next_attempt_at, created_at) SELECT e.business_id, uuidv7(), %s, e.sequence, e.type, 'live',"
        " 'pending', 0, now(), now() FROM events e, generate_series(1, %s) WHERE e.sequence = 1 AND e.business_id = %s",
        (hook, COUNT, stage.business_id),
    )
    while True:
        row: Any = stage.db.execute(
            "SELECT count(*), extract(epoch FROM max(started_at) - min(started_at)) FROM attempts"
            " WHERE started_at >= %s",
            began,
        ).fetchone()
        if row[0] >= COUNT:
            return COUNT / float(row[1])
        time.sleep(0.2)


def _latency_beside_hanging(stage: Stage, log: Path) -> list[float]:
    """Measure again with 20 endpoints that take the connection and never answer."""
    hanging = subprocess.Popen(
        [sys.executable, "-c", "import socket,time;s=socket.create_server(('127.0.0.1',int(__import__('sys').argv[1])),"
         "backlog=4096);k=[];[k.append(s.accept()) for _ in iter(int,1)]", str(port := free_ports(1)[0])]
    )  # fmt: skip
    try:
        for number in range(20):
            body = {
                "name": f"hangs {number}",
                "url": f"http://127.0.0.1:{port}/{number}",
                "events": ["customer.created"],
            }
            stage.call("POST", "/api-webhooks", body)
        _latency(stage, log, 901)
        return _latency(stage, log, 902)
    finally:
        hanging.kill()
        hanging.wait()
