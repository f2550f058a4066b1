"""The machinery of the live streams: long answers of HTML fragments (SSE). `live.py` and `embed.py` open them.

`lib.live_hub` moves the bytes; here is what it asks for: the events after a sequence, their fragments for an audience,
and whose right to look is over. A stream holds no connection to the database while it waits.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from flask import Flask, Response, current_app, request

from blueprints import embed_fragments, fragments
from errors import Invalid
from lib.live_hub import BYE, Hub
from models import db
from services import embeds, events, news, team
from services import keys as api_keys

log = structlog.get_logger()

AGENTS = "agents"  # an audience; API keys are `Systems`, and every other one is the customer whom an embed shows
MOST_READ = 2000  # events in one go
MOST_SHOWN = 500  # fragments; a screen that missed more fetches itself anew
START_AFRESH = b"event: reset\n\n"
SEEN_EVERY = 10.0  # seconds between two notes that an iframe is still there


@dataclass(frozen=True, slots=True)
class Systems:
    """An audience: the API keys that hear of these types, just as `GET /api-events` tells of them."""

    types: frozenset[str] = events.LOGGED


@dataclass(frozen=True, slots=True)
class KeyHold:
    """The right to look that an API key gives."""

    id: UUID


def init_app(app: Flask) -> None:
    app.extensions["live"] = Hub(app.extensions["redis"], _Source(app))


def answer(business_id: UUID, audience: Hashable, key: Hashable) -> Response:
    """Open a stream: first what was missed since `after`, then what happens, as long as `key` may look."""
    hub: Hub = current_app.extensions["live"]
    after, newest = _after(), news.newest([business_id]).get(business_id, 0)
    stream = hub.join(business_id, audience, key, newest)
    try:
        # A screen that knows more than the database has seen another life of it.
        first = _reset(newest) if after and after > newest else _missed(business_id, audience, after, stream.after)
    except BaseException:
        hub.leave(stream)
        raise
    response = Response(hub.serve(stream, [first]), content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(lambda: hub.leave(stream))
    return response


def _after() -> int | None:
    sent = request.headers.get("Last-Event-ID") or request.args.get("after")
    if sent is None:
        return None
    if not sent.isascii() or not sent.isdigit() or len(sent) > 18:
        raise Invalid("`after` is the sequence of an event.", field="after")
    return int(sent)


def _missed(business_id: UUID, audience: Hashable, after: int | None, until: int) -> bytes:
    """Give what came before the hub serves the stream; a program that asks for nothing hears where it stands."""
    if after is None and isinstance(audience, Systems):
        return _frame(until, "")
    if after is None or after >= until:
        return b""
    customer_id = audience if isinstance(audience, UUID) else None
    return _frames(audience, until, news.after(business_id, after, customer_id=customer_id, limit=MOST_READ + 1))


def _frames(audience: Hashable, newest: int, rows: Sequence[Any]) -> bytes:
    """Render events for one audience; of several that say the same of one thing, the last is enough."""
    if isinstance(audience, Systems):
        return _reset(newest) if len(rows) > MOST_READ else _events(audience, rows)
    if audience != AGENTS:
        rows = [row for row in rows if row.customer_id == audience] if len(rows) <= MOST_READ else rows
    last = {(row.type, row.message_id or row.conversation_id or row.customer_id): row for row in rows}
    shown = sorted(last.values(), key=lambda row: row.sequence)
    if len(rows) > MOST_READ or len(shown) > MOST_SHOWN:
        return _reset(newest)
    render = fragments.for_event if audience == AGENTS else embed_fragments.for_event
    return b"".join(_frame(row.sequence, render(row)) for row in shown)


def _events(audience: Systems, rows: Sequence[Any]) -> bytes:
    """Write events as webhooks carry them; what is not told moves the sequence on."""
    told = [row.sequence for row in rows if row.type in audience.types]
    found = news.bodies(rows[0].business_id, told) if told else ()
    frames = [
        b"id: %d\nevent: %s\ndata: %s\n\n" % (row.sequence, row.type.encode(), events.envelope(row)) for row in found
    ]
    if rows and rows[-1].sequence not in told:
        frames.append(_frame(rows[-1].sequence, ""))
    return b"".join(frames)


def _frame(sequence: int, html: str | None) -> bytes:
    """Write one event; without fragments it only moves the sequence on, and None asks the screen to start afresh."""
    if html is None:
        return _reset(sequence)
    html = html.replace("\r", "").strip()
    data = [f"data: {line}" for line in html.split("\n")] if html else []
    return "\n".join([f"id: {sequence}", *(["event: html", *data] if data else []), "", ""]).encode()


def _reset(sequence: int) -> bytes:
    return f"id: {sequence}\nevent: reset\n\n".encode()


class _Source:
    """What the hub asks for, each time in a context of its own, so that no connection outlives the question."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._seen_at = 0.0

    def sequences(self, topics: Collection[UUID]) -> Mapping[UUID, int]:
        with self._app.app_context():
            return news.newest(topics)

    def news(self, topic: UUID, after: int) -> tuple[int, Sequence[Any]]:
        with self._app.app_context():
            rows = news.after(topic, after, limit=MOST_READ + 1)
            if len(rows) > MOST_READ:
                return news.newest([topic])[topic], rows
            return (rows[-1].sequence if rows else after), rows

    def frames(self, audience: Hashable, newest: int, rows: Sequence[Any]) -> bytes:
        with self._app.app_context():
            try:
                return _frames(audience, newest, rows)
            except Exception:
                log.exception("live_fragment_failed", audience=str(audience))
                return _reset(newest)

    def farewells(self, keys: Collection[Hashable]) -> Mapping[Hashable, bytes]:
        people = {key for key in keys if isinstance(key, str)}
        visits = {key for key in keys if isinstance(key, tuple)}
        held = {key for key in keys if isinstance(key, KeyHold)}
        with self._app.app_context():
            signed_in = team.signed_in(people) if people else set()
            good = api_keys.alive([key.id for key in held]) if held else set()
            living = embeds.living([session_id for session_id, _ in visits]) if visits else {}
            if visits and monotonic() > self._seen_at + SEEN_EVERY:
                self._seen_at = monotonic()
                embeds.touch(living)
                db.session.commit()
        over: dict[Hashable, bytes] = dict.fromkeys(people - signed_in, BYE)
        over |= {key: BYE for key in held if key.id not in good}
        over |= {visit: BYE for visit in visits if visit[0] not in living}
        # Merged meanwhile: the page fetches the kept customer's timeline and comes back for that one's stream.
        return over | {visit: START_AFRESH for visit in visits if living.get(visit[0], visit[1]) != visit[1]}
