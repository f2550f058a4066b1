"""The event log: every fact in order, so that a CRM can rebuild its copy from zero."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response, g
from pydantic import Field

from blueprints import answers, streams
from blueprints.api.parsing import Query
from blueprints.api.routing import Routes
from blueprints.api.shapes import Id, Shown, Time
from errors import Invalid
from services import events

routes = Routes("Events")


class EventsQuery(Query):
    after: int | None = Field(
        None,
        ge=0,
        le=2**53,
        description="The `sequence` of the last event you saw; 0 is the beginning. "
        "Left out, a page starts at the beginning (0), and a stream now.",
    )
    type: str | None = Field(
        None,
        max_length=500,
        description="One type, or several with commas between; all but `webhook.test` when left out.",
    )
    limit: int = Field(100, ge=1, le=1000)
    stream: bool = Field(
        False,
        description="Answer with a stream (`text/event-stream`): what came after `after`, then what happens. `id` is "
        "the sequence, `event` the type and `data` the webhook's body, byte for byte; an `id` alone says how far you "
        "are. `event: reset` means that you missed too many: read the log from your last sequence up to its end. "
        "`event: bye` means that the key is no longer good.",
    )


class LoggedEvent(Shown):
    """An event as webhooks carry it, and its place in the log."""

    sequence: int = Field(description="Rises strictly in the order in which changes became visible.")
    id: Id
    event: str = Field(examples=["message.received"])
    timestamp: Time
    business_id: Id
    data: dict[str, Any] | None = Field(description="As in the webhook of this type; null once it was erased.")


class EventsAnswer(Shown):
    events: list[LoggedEvent]
    has_more: bool
    next_after: int = Field(description="Send it as the next `after`.")


@routes.get("/api-events", scope="messages:read", answer=EventsAnswer, streams=True)
def show(query: EventsQuery) -> Response:
    """Read the event log

    Oldest first, after a sequence. What a webhook told stands here too, for as long as events are kept.
    """
    types = _types(query.type)
    if query.stream:
        return streams.answer(g.business.id, streams.Systems(types), streams.KeyHold(g.caller.id))
    after = query.after or 0
    rows = events.page(g.business.id, after=after, types=types, limit=query.limit + 1)
    shown, more = rows[: query.limit], len(rows) > query.limit
    return answers.show(
        {
            "events": [_shown(row) for row in shown],
            "has_more": more,
            "next_after": shown[-1].sequence if shown else after,
        }
    )


def _types(text: str | None) -> frozenset[str]:
    types = frozenset(text.split(",")) if text else events.LOGGED
    if types - events.TYPES.keys():
        raise Invalid(f"There are these types: {', '.join(events.TYPES)}.", code="invalid_field", field="type")
    return types


def _shown(row: Any) -> orjson.Fragment:
    # The body was rendered once, for webhooks; the sequence goes in front.
    return orjson.Fragment(b'{"sequence":%d,' % row.sequence + events.envelope(row)[1:])
