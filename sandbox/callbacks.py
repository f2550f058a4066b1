"""The post office: callbacks wait in the store until they are due, go out, and come back for another try.

Rooms hand in finished bytes and headers (`Sender.post`); what a signature is they know, not this module. Callbacks
of one lane (one person) go one after another, so that they arrive in order unless a fault says otherwise. What was
answered goes to `Sender.heard`, for the room whose provider acts on it.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sandbox.clock import Clock
from sandbox.faults import Fault
from sandbox.live import Live
from sandbox.log import Log
from sandbox.store import Row, Store

TIMEOUT = 15.0
IN_FLIGHT = 64
STEPS = (0.2, 1, 2, 5, 10, 30, 60, 300, 900, 3600)  # seconds; the last one repeats until the provider gives up
GIVES_UP = {"whatsapp": 7 * 86400, "facebook": 3600, "instagram": 36 * 3600}  # seconds
COUNTED = {"sms": ("1", "ct")}  # how often again, and after what, unless the fragment of the address says otherwise
ALL_TRIES = 15  # seconds that those may take together
KEPT = 1000


@dataclass(frozen=True)
class Answer:
    """What came back of one HTTP request: a status, or an error in words."""

    status: int | None
    body: bytes
    ms: float
    error: str = ""
    mime: str = ""

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def call(method: str, url: str, headers: dict[str, str], body: bytes | None = None, *, limit: int = 65_536) -> Answer:
    """Make one HTTP request, without redirects; never raises."""
    start, parts = time.monotonic(), urlsplit(url)
    try:
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=TIMEOUT, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            response = connection.getresponse()
            mime = response.headers.get_content_type() if response.headers["Content-Type"] else ""
            return Answer(response.status, response.read(limit), (time.monotonic() - start) * 1000, mime=mime)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return Answer(None, b"", (time.monotonic() - start) * 1000, f"{type(exc).__name__}: {exc}")


def _again(row: Row, tries: int, due: float, answer: Answer) -> bool:
    """Say whether a callback is tried again: for a time, or where the provider counts, as often as the address says.

    Twilio reads `#rc=3&rp=all`: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
    """
    if row["provider"] not in COUNTED:
        return bool(due - row["at"] <= GIVES_UP.get(row["provider"], 0))
    count, policy = COUNTED[row["provider"]]
    said = parse_qs(urlsplit(row["url"]).fragment)
    count, wanted = said.get("rc", [count])[0], said.get("rp", [policy])[0].split(",")
    kind = f"{answer.status // 100}xx" if answer.status else "rt" if answer.error.startswith("Timeout") else "ct"
    most = min(int(count), 5) if count.isdigit() else 0
    return tries <= most and due - row["at"] <= ALL_TRIES and bool({"all", kind} & set(wanted))


class Sender:
    """Deliver callbacks: at least once, in order within a lane, with retries that slow down."""

    def __init__(self, store: Store, clock: Clock, log: Log, live: Live) -> None:
        self._store, self._clock, self._log, self._live = store, clock, log, live
        self._wake = Event()
        self._busy: set[str] = set()
        self._waiting: dict[int, Event] = {}
        self.heard: Callable[[Row, Answer], None] = lambda row, answer: None
        self._held: dict[int, float] = {}  # a `reversed_callbacks` fault and when its callbacks are let go

    def post(
        self,
        *,
        provider: str,
        account: str,
        person: str,
        label: str,
        url: str,
        headers: dict[str, str],
        body: bytes,
        fault: Fault | None = None,
    ) -> int:
        """Queue one callback and give its id; the fault, if any, says what befalls it on the way."""
        now = self._clock.now()
        due, state, lane = now, "pending", f"{provider} {account} {person}"
        if fault and fault.kind == "delayed":
            due += fault.seconds(2)
            lane = f"delayed {fault.id} {fault.remaining}"
        elif fault and fault.kind == "reversed_callbacks":
            due = self._held.setdefault(fault.id, now + fault.seconds(1)) + 0.001 * fault.remaining
            lane = f"reversed {fault.id}"
        elif fault and fault.kind == "lost_callbacks":
            state = "lost"
        row: dict[str, Any] = {
            "provider": provider,
            "account": account,
            "person": person,
            "lane": lane,
            "label": label,
            "url": url,
            "headers": headers,
            "body": body,
            "state": state,
            "due": due,
            "at": now,
            "attempts": [],
        }
        ids = [self._store.put("deliveries", **row) for _ in range(2 if fault and "duplicate" in fault.kind else 1)]
        if ids[0] % 100 == 0:
            self._store.query("DELETE FROM deliveries WHERE id <= ? AND state != 'pending'", ids[0] - KEPT)
        self._wake.set()
        return ids[0]

    def wait(self, id_: int, seconds: float) -> Row | None:
        """Wait until a callback was tried once, and give its row."""
        row = self._store.one("deliveries", id=id_)
        if row and row["state"] == "pending" and not row["attempts"]:
            event = self._waiting.setdefault(id_, Event())
            event.wait(seconds)
            self._waiting.pop(id_, None)
            row = self._store.one("deliveries", id=id_)
        return row

    def hurry(self) -> None:
        """Look at once for what is due: the clock was moved."""
        self._wake.set()

    def run(self) -> None:
        """Deliver for ever."""
        while True:
            self._wake.clear()
            now, rest = self._clock.now(), 30.0
            for row in self._store.query(
                "SELECT lane, min(due) AS due FROM deliveries WHERE state = 'pending' GROUP BY lane ORDER BY due"
            ):
                if row["due"] > now:
                    rest = min(rest, row["due"] - now)
                    break
                if row["lane"] not in self._busy and len(self._busy) < IN_FLIGHT:
                    self._busy.add(row["lane"])
                    Thread(target=self._drain, args=(row["lane"],), daemon=True).start()
            self._wake.wait(max(rest, 0.001))

    def _drain(self, lane: str) -> None:
        """Deliver what is due in one lane, one by one."""
        try:
            while row := self._next(lane):
                self._try(row)
        finally:
            self._busy.discard(lane)
            self._wake.set()

    def _next(self, lane: str) -> Row | None:
        rows = self._store.query(
            "SELECT * FROM deliveries WHERE state = 'pending' AND lane = ? AND due <= ? ORDER BY due, id LIMIT 1",
            lane,
            self._clock.now(),
        )
        return rows[0] if rows else None

    def _try(self, row: Row) -> None:
        answer = call("POST", row["url"], row["headers"], row["body"])
        now = self._clock.now()
        attempts = [
            *row["attempts"],
            {
                "at": now,
                "status": answer.status,
                "ms": round(answer.ms),
                "error": answer.error,
                "answer": answer.body[:500].decode("utf-8", "replace"),
            },
        ]
        state, due = "delivered", row["due"]
        if not answer.ok:
            due = now + STEPS[min(len(attempts), len(STEPS)) - 1]
            state = "pending" if _again(row, len(attempts), due, answer) else "given_up"
        self._store.update("deliveries", {"id": row["id"]}, state=state, due=due, attempts=attempts)
        self._log.record(
            "out",
            row["provider"],
            row["account"],
            "POST",
            row["url"],
            request=row["body"],
            status=answer.status,
            answer=answer.body or answer.error,
            ms=answer.ms,
            note=row["label"] if len(attempts) == 1 else f"{row['label']}, attempt {len(attempts)}",
        )
        self._live.changed((row["provider"], row["account"], row["person"]))
        if answer.ok:
            self.heard(row, answer)
        if event := self._waiting.get(row["id"]):
            event.set()
