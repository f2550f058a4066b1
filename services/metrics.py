"""What `/metrics` shows: what waits, and how webhooks fare. Holds nothing of any business but ids of its endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from flask import current_app
from sqlalchemy import text

from lib import tallies
from models import reading
from services.deliveries import Result

ATTEMPTS, DELIVERIES = "alacarte_webhook_attempts_total", "alacarte_webhook_deliveries_total"
SECONDS = "alacarte_webhook_attempt_seconds"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_WAITING = text("""
    SELECT (SELECT count(*) FROM callbacks WHERE processed_at IS NULL) AS callbacks_waiting,
           (SELECT count(*) FROM messages WHERE next_attempt_at IS NOT NULL AND status <> 'unknown') AS messages_queued,
           (SELECT count(*) FROM attachments WHERE next_attempt_at IS NOT NULL) AS files_waiting,
           (SELECT count(*) FROM webhook_endpoints WHERE state IN ('paused', 'disabled')) AS endpoints_stopped,
           (SELECT count(*) FROM channel_accounts WHERE state = 'attention') AS accounts_in_trouble""")
# Paused endpoints count, too: what they hold back is what an operator wants to see grow. The first 100,000 that are due
# stand for all, read from their index alone; a UUIDv7 tells when its row was made.
_ENDPOINTS = text("""
    SELECT e.id, e.state, d.waiting,
           coalesce(extract(epoch FROM now() - d.oldest), 0) AS lag,
           greatest(coalesce(extract(epoch FROM now() - d.due), 0), 0) AS due
    FROM webhook_endpoints e CROSS JOIN LATERAL (
        SELECT count(*) AS waiting, min(uuid_extract_timestamp(id)) AS oldest, min(next_attempt_at) AS due FROM (
            SELECT id, next_attempt_at FROM deliveries WHERE endpoint_id = e.id AND state = 'pending'
            ORDER BY next_attempt_at LIMIT 100000) AS first) AS d
    WHERE e.state NOT IN ('draft', 'deleted') ORDER BY e.id""")


def count_deliveries(results: Sequence[Result]) -> None:
    """Add a batch of finished attempts to the shared counters."""
    attempts = [attempt for result in results for attempt in result.tries]
    settled = [result.last for result in results if result.retry_in is None]
    tally = tallies.Tally()
    for kind, count in Counter(attempt.error_kind for attempt in attempts).items():
        tally[tallies.sample(ATTEMPTS, result=kind or "delivered")] += count
    for well, count in Counter(attempt.succeeded for attempt in settled).items():
        tally[tallies.sample(DELIVERIES, state="delivered" if well else "failed")] += count
    tallies.observe(tally, SECONDS, [attempt.duration_ms / 1000 for attempt in attempts], BOUNDS)
    tallies.add(current_app.extensions["redis"], tally)


def exposition() -> str:
    """Write all of it in Prometheus' text format 0.0.4."""
    with reading() as connection:
        waiting = connection.execute(_WAITING).mappings().one()
        endpoints = connection.execute(_ENDPOINTS).all()
    due = max((one.due for one in endpoints if one.state == "active"), default=0)
    counted = tallies.read(current_app.extensions["redis"])
    families: list[tuple[str, str, str, Iterable[tuple[str, float]]]] = [
        *((f"alacarte_{name}", "gauge", _HELP[name], [(f"alacarte_{name}", value)]) for name, value in waiting.items()),
        _gauge("webhook_lag_seconds", [("", due)]),
        _gauge("webhook_endpoint_waiting", ((str(one.id), one.waiting) for one in endpoints)),
        _gauge("webhook_endpoint_lag_seconds", ((str(one.id), one.lag) for one in endpoints)),
        (ATTEMPTS, "counter", "Requests made to webhook endpoints, by how they ended.", _of(counted, ATTEMPTS)),
        (DELIVERIES, "counter", "Webhook deliveries that are done with, by state.", _of(counted, DELIVERIES)),
        (SECONDS, "histogram", "How long a request to a webhook endpoint took.", _of(counted, SECONDS)),
    ]
    return "".join(_family(*family) for family in families)


_HELP = {
    "callbacks_waiting": "Callbacks of providers that are kept and not yet applied.",
    "messages_queued": "Messages that wait to be sent.",
    "files_waiting": "Files that wait to be fetched from a provider or erased.",
    "endpoints_stopped": "Webhook endpoints that are paused or disabled.",
    "accounts_in_trouble": "Channel accounts that need somebody's attention.",
    "webhook_lag_seconds": "How long the webhook that is due first has been due, over all active endpoints.",
    "webhook_endpoint_waiting": "Deliveries that an endpoint has still to get.",
    "webhook_endpoint_lag_seconds": "The age of the oldest delivery that an endpoint has still to get.",
}


def _gauge(name: str, rows: Iterable[tuple[str, float]]) -> tuple[str, str, str, Iterable[tuple[str, float]]]:
    full = f"alacarte_{name}"
    samples = ((tallies.sample(full, endpoint=label) if label else full, value) for label, value in rows)
    return full, "gauge", _HELP[name], samples


def _of(counted: dict[str, float], name: str) -> Iterator[tuple[str, float]]:
    """Pick one family's samples, a histogram's buckets in their order."""
    own = [item for item in counted.items() if item[0].startswith(name)]
    return iter(sorted(own, key=lambda item: (item[0].split("{")[0], item[1], item[0])))


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]) -> str:
    lines = [f"{sample} {float(value):.15g}\n" for sample, value in samples]
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n" + "".join(lines) if lines else ""
