"""A keyed lookup over HTTP, with key, rate limit and usage log, against a bare route with one raw SELECT."""

from __future__ import annotations

from bench.figures import Figure, interleaved
from bench.load import bare, rate
from bench.stage import API, Stage
from bench.sync import people

ROUNDS = 3


def measure(stage: Stage) -> list[Figure]:
    stage.call("POST", "/api-customers-bulk-create", {"customers": people(0)})
    with bare(stage) as floor:
        ours, least = interleaved(
            ROUNDS,
            lambda: rate(
                f"{stage.live.base_url}{API}/api-customers?external_id=C0-7", headers={"x-api-key": stage.key}
            ),
            lambda: rate(f"{floor}/lookup?external_id=C0-7"),
        )
    note = f"{ours:.0f} a second against {least:.0f}"
    return [Figure("keyed lookup ÷ bare Flask route with raw psycopg", ours / least, 0.6, more=True, note=note)]
