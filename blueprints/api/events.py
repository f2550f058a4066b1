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
from services import events, payloads

routes = Routes("Events")


class EventsQuery(Query):
    after: int = Field(0, ge=0, le=2**53, description="The `sequence` of the last event you saw; 0 is the beginning.")
    type: str | None = Field(None, max_length=500, description="One type, or several with commas between.")
    limit: int = Field(100, ge=1, le=1000)
    stream: bool = Field(
        False,
        description="Answer with a stream (`text/event-stream`): what came after `after`, then what happens. "
        "`event: reset` means that you missed too many; read the log up to its end and come back.",
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
    if query.stream:
        return streams.answer(g.business.id, streams.SYSTEMS, streams.KeyHold(g.caller.id))
    types = query.type.split(",") if query.type else None
    for name in types or ():
        if name not in events.TYPES:
            raise Invalid(f"There are these types: {', '.join(events.TYPES)}.", code="invalid_field", field="type")
    rows = events.page(g.business.id, after=query.after, types=types, limit=query.limit + 1)
    shown, more = rows[: query.limit], len(rows) > query.limit
    return answers.show(
        {
            "events": [_shown(row) for row in shown],
            "has_more": more,
            "next_after": shown[-1].sequence if shown else query.after,
        }
    )


def _shown(row: Any) -> Any:
    # The body was rendered once, for webhooks; the sequence goes in front.
    if row.body and not row.body.startswith(b'{"erased"'):
        return orjson.Fragment(b'{"sequence":%d,' % row.sequence + row.body[1:])
    return {
        "sequence": row.sequence,
        "id": str(row.id),
        "event": row.type,
        "timestamp": payloads.time(row.created_at),
        "business_id": str(row.business_id),
        "data": None,
    }
