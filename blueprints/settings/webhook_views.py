"""What the page of one webhook shows, gathered: its health in words, its bars, its log, and one delivery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import g, request

from blueprints import times
from blueprints.settings import snippets, verdicts
from lib.ids import is_uuid
from models import Delivery, Replay, WebhookEndpoint, now
from services import deliveries, delivery_log, events, replays

# name → how far back the chart looks, in how many bars
RANGES = {"24h": (timedelta(hours=24), 24), "7d": (timedelta(days=7), 28), "30d": (timedelta(days=30), 30)}
STATES = {"": "All", "failed": "Failed", "retrying": "Retrying", "pending": "Waiting"}
HOURS = {"": "Any time", "1": "Last hour", "24": "Last 24 h", "168": "Last 7 d"}
SHOWN_REPLAY = timedelta(minutes=10)  # how long a replay that ended stays on the page


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a webhook, in words, and the one thing to do about it."""

    bold: str
    rest: str
    fix: str  # enable resume test replay
    label: str
    tone: str = "bad"  # bad warn


def health(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Tell what is wrong and what is under way. Asked every few seconds, so nothing here reads the whole log."""
    waiting = delivery_log.waiting([endpoint.id])[endpoint.id]
    trouble = delivery_log.trouble(g.business, endpoint)
    recent = [item for item in replays.page(g.business, endpoint, 3) if _is_recent(item)]
    shown = [(item, replays.outcome(item)) for item in recent]
    return {
        "waiting": waiting,
        "failed": trouble.count,
        "trouble": _problem(endpoint, trouble, waiting.waiting),
        "replays": shown,
        "busy": any(item.state == "running" or outcome["pending"] for item, outcome in shown),
    }


def figures(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Count a day and a week of the log; the page asks for this apart, and seldom."""
    return {
        "day": delivery_log.counts(g.business, [endpoint.id])[endpoint.id],
        "week": delivery_log.counts(g.business, [endpoint.id], hours=168)[endpoint.id],
        "times": delivery_log.response_times(g.business, endpoint),
        "waiting": delivery_log.waiting([endpoint.id])[endpoint.id],
    }


def _is_recent(item: Replay) -> bool:
    return item.finished_at is None or now() - item.finished_at < SHOWN_REPLAY


def _problem(endpoint: WebhookEndpoint, trouble: Any, left: int) -> Problem | None:
    """Find the words for what is wrong; None if nothing is."""
    waiting = f"{left:,} {'delivery waits' if left == 1 else 'deliveries wait'}."
    if endpoint.state == "disabled":
        return Problem(endpoint.state_reason or "Switched off.", "Events are not kept for it.", "enable", "Enable")
    if endpoint.state == "paused":
        kept = waiting if left else "New events are kept and sent later."
        return Problem(endpoint.state_reason or "Paused.", kept, "resume", "Resume", "warn")
    count = f"{trouble.count:,} {'delivery' if trouble.count == 1 else 'deliveries'} failed"
    cause = f"{'all' if trouble.kinds == 1 else 'mostly'}: {trouble.error}" if trouble.count > 1 else trouble.error
    if endpoint.failing_since:
        since = times.when(endpoint.failing_since)
        rest = f"{count}, {cause} {waiting if left else ''}" if trouble.count else waiting
        return Problem(f"Failing since {since}.", rest, "test", "Send test")
    if not trouble.count:
        return None
    again = delivery_log.answered_after(g.business, endpoint, trouble.until)
    over = f"It answers again since {times.when(again)}." if again else "Nothing has been sent since."
    label = f"Replay {trouble.count:,} failed"
    return Problem(f"{count} since {times.when(trouble.since)}", f", {cause} {over}", "replay", label, "warn")


def chart(endpoint: WebhookEndpoint) -> dict[str, Any]:
    chosen = request.args.get("range", "24h")
    chosen = chosen if chosen in RANGES else "24h"
    length, buckets = RANGES[chosen]
    slices = delivery_log.bars(g.business, endpoint, since=now() - length, buckets=buckets)
    return {"range": chosen, "ranges": RANGES, "slices": slices}


def rows(endpoint: WebhookEndpoint) -> dict[str, Any]:
    wanted = {name: request.args.get(name, "").strip()[:200] for name in ("state", "event", "hours", "about")}
    about, hours = wanted["about"], wanted["hours"]
    found: tuple[Any, str | None] = ([], None)
    if not about or is_uuid(about):
        found = delivery_log.page(
            g.business,
            endpoint_id=endpoint.id,
            state=wanted["state"] if wanted["state"] in STATES and wanted["state"] else None,
            event=wanted["event"] or None,
            about=UUID(about) if about else None,
            since=now() - timedelta(hours=int(hours)) if hours in HOURS and hours else None,
            cursor=request.args.get("cursor"),
            limit=25,
        )
    last = delivery_log.last_attempts(g.business, [row.id for row in found[0]])
    return {
        "rows": found[0],
        "next_cursor": found[1],
        "last": {key: (row, verdicts.of(row)) for key, row in last.items()},
        "wanted": wanted,
        "states": STATES,
        "spans": HOURS,
        "kinds": list(events.TYPES),
        "open_id": request.view_args and request.view_args.get("delivery_id"),
    }


def delivery(shown: Delivery) -> dict[str, Any]:
    tries = delivery_log.attempts(g.business, shown.id)
    sent, last = shown.event.body, tries[-1] if tries else None
    erased = not events.tells(sent)
    headers = last.request_headers if last else {}
    url = (last and last.url) or shown.endpoint.url
    timestamp, signature = headers.get("X-Webhook-Timestamp", ""), headers.get("X-Webhook-Signature", "")
    schedule = deliveries.SCHEDULES[shown.endpoint.policy]
    return {
        "delivery": shown,
        "open_id": shown.id,
        "tries": [(item, verdicts.of(item), _pause_before(item, schedule)) for item in tries],
        "last_try": last,
        "url": url,
        "by": replays.get(g.business, shown.replay_id).created_by if shown.replay_id else "",
        "erased": erased,
        "body": "" if erased else snippets.pretty(sent),
        "response": snippets.pretty(last.response or b"") if last else "",
        "curl": "" if erased or not last else snippets.curl(url, headers, sent),
        "programs": {} if erased or not signature else snippets.verify(timestamp, signature, sent),
        "inline": len(sent) <= snippets.INLINE,
    }


def _pause_before(attempt: Any, schedule: tuple[int, ...]) -> str:
    if attempt.number == 1 or attempt.part > 1 or attempt.number - 2 >= len(schedule):
        return ""
    return times.span(timedelta(seconds=schedule[attempt.number - 2]))
