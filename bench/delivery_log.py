"""Webhooks with 1,000,000 deliveries in the log against 10,000: what is due, the log's pages, its filters."""

from __future__ import annotations

import statistics
from typing import Any
from uuid import UUID

from bench.figures import Figure, interleaved, ms, seconds
from bench.stage import Stage
from services import deliveries

FEW, MANY = 10_000, 1_000_000
CALLS = 40
PAGES = {
    "newest": "",
    "of one event type": "&event=message.received",
    "of a rare event type": "&event=customer.merged",
    "failed": "&state=failed",
    "waiting": "&state=pending",
    "of one event": "&event_id={event}",
}


def measure(stage: Stage) -> list[Figure]:
    stage.live.stop("worker")  # which would send them
    logs = {size: Log(stage, size) for size in (FEW, MANY)}
    return [*_pages(logs), _due(logs), _plans(logs[MANY])]


class Log:
    """A business with one endpoint and so many deliveries: 1 of 2,000 failed, 100 wait, 1 of 5,000 of a rare type."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage, self.size = stage, size
        self.business_id, self.key = stage.business(f"Log{size}")
        hook = {"name": "CRM", "url": "http://127.0.0.1:9/hook", "events": ["message.received"]}
        self.hook = stage.call("POST", "/api-webhooks", hook, key=self.key)["webhook"]["id"]
        with stage.db.transaction():
            for statement in _FILL:
                stage.db.execute(statement, {"business": self.business_id, "hook": self.hook, "size": size})
        stage.db.execute("ANALYZE events; ANALYZE deliveries; ANALYZE attempts")
        row: Any = stage.db.execute(
            "SELECT id FROM events WHERE business_id = %s AND sequence = %s", (self.business_id, size // 2)
        ).fetchone()
        self.event = row[0]

    def page(self, rest: str) -> float:
        path = f"/api-webhook-deliveries?webhook_id={self.hook}{rest.format(event=self.event)}"
        self.stage.call("GET", path, key=self.key)
        return statistics.median(seconds(lambda: self.stage.call("GET", path, key=self.key)) for _ in range(CALLS))

    def due(self) -> float:
        """Look for endpoints, and claim: the drain's own statements, rolled back."""
        return statistics.median(seconds(self._claim) for _ in range(CALLS))

    def _claim(self) -> None:
        with self.stage.db.transaction(force_rollback=True):
            self.stage.db.execute(CLAIM, self.claim_params)

    @property
    def claim_params(self) -> dict[str, Any]:
        return {"ids": [UUID(self.hook)], "slots": [32], "lease": deliveries.LEASE_SECONDS}


def _pages(logs: dict[int, Log]) -> list[Figure]:
    figures = []
    for name, rest in PAGES.items():
        few, many = interleaved(3, lambda rest=rest: logs[FEW].page(rest), lambda rest=rest: logs[MANY].page(rest))
        note = f"{ms(many)} against {ms(few)}"
        figures.append(Figure(f"log page, {name}: 1,000,000 ÷ 10,000", many / few, 1.5, note=note))
    return figures


def _due(logs: dict[int, Log]) -> Figure:
    few, many = interleaved(3, logs[FEW].due, logs[MANY].due)
    return Figure("what is due: 1,000,000 ÷ 10,000", many / few, 1.5, note=f"{ms(many)} against {ms(few)}")


def _plans(log: Log) -> Figure:
    """Count the whole-table reads in the plan of the claim, which runs all day."""
    with log.stage.db.transaction(force_rollback=True):
        rows = log.stage.db.execute(f"EXPLAIN {CLAIM}", log.claim_params).fetchall()
    read_whole = sum("Seq Scan on deliveries" in row[0] or "Seq Scan on events" in row[0] for row in rows)
    return Figure("whole-table reads in the plan of what is due", read_whole, 0, unit="")


def _for_psycopg(statement: str) -> str:
    for name in ("ids", "slots", "lease"):
        statement = statement.replace(f":{name}", f"%({name})s")
    return statement


CLAIM = _for_psycopg(str(deliveries._CLAIM))
_TYPE = "CASE WHEN n %% 5000 = 7 THEN 'customer.merged' WHEN n %% 3 = 0 THEN 'message.received' ELSE 'message.sent' END"
_FILL = (
    f"""INSERT INTO events (business_id, sequence, id, type, created_at, body)
        SELECT %(business)s, n, uuidv7((n - %(size)s) * interval '1 second'), {_TYPE},
            now() + (n - %(size)s) * interval '1 second', '{{"event":"message.received"}}'
        FROM generate_series(1, %(size)s) AS n""",
    f"""INSERT INTO deliveries (business_id, id, endpoint_id, event_sequence, event_type, reason, state, attempt_count,
            next_attempt_at, finished_at, last_status, created_at)
        SELECT %(business)s, uuidv7((n - %(size)s) * interval '1 second'), %(hook)s, n, {_TYPE}, 'live',
            CASE WHEN n %% (%(size)s / 100) = 5 THEN 'pending' WHEN n %% 2000 = 3 THEN 'failed' ELSE 'delivered' END,
            1, now() + (n - %(size)s) * interval '1 second', now(), 200,
            now() + (n - %(size)s) * interval '1 second'
        FROM generate_series(1, %(size)s) AS n""",
    """INSERT INTO attempts (business_id, delivery_id, number, part, started_at, duration_ms, status, request_headers,
            response_headers, response)
        SELECT business_id, id, 1, 1, created_at, 12, 200, '{}', '{}', '' FROM deliveries
        WHERE business_id = %(business)s""",
)
