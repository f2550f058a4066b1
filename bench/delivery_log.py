"""A webhook with 1,000,000 deliveries in its log against one with 10,000: what is due, the API's pages, the screen."""

from __future__ import annotations

import re
import statistics
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy.dialects import postgresql

from bench.figures import Figure, interleaved, ms, seconds
from bench.stage import Stage
from services import deliveries, delivery_log

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
    return [*_pages(logs), *_screens(logs), *_counted(logs), _due(logs), _plans(logs[MANY])]


class Log:
    """A business with one endpoint and so many deliveries: 1 of 2,000 failed, 100 wait, 1 of 5,000 of a rare type."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage, self.size = stage, size
        made = stage.live.flask("business", "create", f"Log{size}", "--admin-email", f"log{size}@example.com")
        self.business_id, self.key, self.cookie = made["business_id"], made["api_key"], ""
        self._sign_in(made["email"], made["password"])
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

    def _sign_in(self, email: str, password: str) -> None:
        token = re.findall(r'name="csrf_token" value="([^"]+)"', self.screen("/login"))[0]
        form = {"email": email, "password": password, "csrf_token": token}
        url, headers = f"{self.stage.live.base_url}/login", {"cookie": self.cookie}
        answer = self.stage.http.request_encode_body(
            "POST", url, form, headers, encode_multipart=False, redirect=False, retries=False
        )
        assert answer.status in (302, 303), answer.status
        self._remember(answer)

    def _remember(self, answer: Any) -> None:
        given = [line.partition(";")[0] for line in answer.headers.getlist("set-cookie")]
        self.cookie = "; ".join(given) or self.cookie

    def screen(self, path: str) -> str:
        """Get a page as the admin's browser does."""
        answer = self.stage.http.request(
            "GET", self.stage.live.base_url + path, headers={"cookie": self.cookie}, redirect=False, retries=False
        )
        assert answer.status == 200, (path, answer.status)
        if not self.cookie:
            self._remember(answer)
        return answer.data.decode()

    def look(self, rest: str, *, calls: int = CALLS) -> float:
        """Time a page of the webhook."""
        path = f"/settings/webhooks/{self.hook}{rest}"
        self.screen(path)
        return statistics.median(seconds(lambda: self.screen(path)) for _ in range(calls))

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


def _screens(logs: dict[int, Log]) -> list[Figure]:
    """Time what a person waits for, and what their open page asks for every few seconds."""
    figures = []
    for name, rest in {
        "its page": "",
        "its page's news, every 6 s": "/health",
        "its page's log": "/deliveries",
    }.items():
        few, many = interleaved(3, lambda rest=rest: logs[FEW].look(rest), lambda rest=rest: logs[MANY].look(rest))
        note = f"{ms(many)} against {ms(few)}"
        figures.append(Figure(f"Settings, {name}: 1,000,000 ÷ 10,000", many / few, 1.5, note=note))
    return figures


def _counted(logs: dict[int, Log]) -> list[Figure]:
    """Time what comes after the page, since it counts a day and a week: it grows with what these hold."""
    figures = []
    for name, rest in {"a day's and a week's figures, every 30 s": "/figures", "the chart, once": "/chart"}.items():
        few, many = interleaved(
            3, lambda rest=rest: logs[FEW].look(rest, calls=5), lambda rest=rest: logs[MANY].look(rest, calls=5)
        )
        note = f"against {ms(few)}; 86,400 a day, 604,800 a week against 10,000"
        figures.append(Figure(f"Settings, {name}", many * 1000, 1000, unit="ms", note=note))
    return figures


def _due(logs: dict[int, Log]) -> Figure:
    few, many = interleaved(3, logs[FEW].due, logs[MANY].due)
    return Figure("what is due: 1,000,000 ÷ 10,000", many / few, 1.5, note=f"{ms(many)} against {ms(few)}")


def _plans(log: Log) -> Figure:
    """Count whole-table reads and sorts of all that was found, in the plans of what runs all day and of the log."""
    endpoint = {"endpoint_id": UUID(log.hook)}
    asked = {
        "due": (CLAIM, log.claim_params, "Seq Scan"),
        "log": (_written(log, **endpoint), {}, "Seq Scan|Sort"),
        "by event": (_written(log, **endpoint, event="customer.merged"), {}, "Seq Scan|Sort"),
    }
    bad, used = 0, []
    for name, (statement, params, unwanted) in asked.items():
        with log.stage.db.transaction(force_rollback=True):
            rows = [row[0] for row in log.stage.db.execute(f"EXPLAIN {statement}", params or None).fetchall()]
        bad += sum(bool(re.search(rf"({unwanted})( on (deliveries|events|attempts)|  )", row)) for row in rows)
        scans = re.findall(
            r"(Index Only|Index|Bitmap Index) Scan (?:Backward )?(?:using|on) (\w*deliver\w*)", "\n".join(rows)
        )
        used.append(f"{name}: " + ", ".join(sorted({f"{index} ({kind.lower()})" for kind, index in scans})))
    note = f"{'; '.join(used)}; the log's rows themselves come from the table, so no page of it is index-only"
    return Figure("plans: whole-table reads and sorts", bad, 0, unit="", note=note)


def _written(log: Log, **wanted: Any) -> str:
    """Write the log's own query out, with its values in it."""
    asked = delivery_log.query(SimpleNamespace(id=UUID(log.business_id)), **wanted).limit(51)  # type: ignore[arg-type]
    return str(asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))


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
            1, now() + (n - %(size)s) * interval '1 second', now() + (n - %(size)s) * interval '1 second', 200,
            now() + (n - %(size)s) * interval '1 second'
        FROM generate_series(1, %(size)s) AS n""",
    """INSERT INTO attempts (business_id, delivery_id, number, part, started_at, duration_ms, status, request_headers,
            response_headers, response)
        SELECT business_id, id, 1, 1, created_at, 12, 200, '{}', '{}', '' FROM deliveries
        WHERE business_id = %(business)s""",
)
