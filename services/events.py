"""The facts, in order: every verb appends what happened, and the commit writes it.

`settle` is a transaction's last act. Under the business's clock row it numbers conversations, stamps messages and
events so that `created_at` and `sequence` rise strictly in the order in which transactions become visible, renders each
webhook body once, and fans it out to the endpoints that want it. A commit settles by itself; an edge settles before,
when its answer shows the stamps. See docs/decisions/0003-order.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, text
from sqlalchemy.orm import Session

import jobs
from lib import bulk, js_json
from lib.ids import uuid7
from models import Conversation, Delivery, Event, Message, db
from services import payloads

TYPES = {
    "message.received": "New inbound message from a customer",
    "message.sent": "Outbound message sent to a customer",
    "message.status_changed": "A message was delivered, read or failed",
    "conversation.created": "New conversation started",
    "conversation.assigned": "Conversation assigned to an agent",
    "conversation.status_changed": "Status of a conversation updated",
    "customer.created": "New customer added",
    "customer.updated": "Customer details modified",
    "customer.deleted": "Customer erased",
    "customer.merged": "Two customers became one",
    "webhook.test": "A test, sent on request",
}
# Facts of other types (message.noted, message.queued, message.changed, conversation.changed) have a place in the order
# and no body: open screens alone hear of them.
LOGGED = frozenset(TYPES) - {"webhook.test"}  # what the log tells unless it is asked for tests, too
MAX_BODY = 100_000  # bytes; Express refuses bodies over 102,400 and a refusal is not retried
# There is something to tell while the body is an envelope: a fact for screens has none, and erasure overwrites it.
ERASED = b'{"erased":true}'
TELLS = """substr(body, 1, 6) = '{"id":'"""  # in SQL, of the table events

_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class _Fact:
    type: str
    data: Callable[[], dict[str, Any]] | None
    customer_id: UUID | None
    conversation_id: UUID | None
    message_id: UUID | None
    channel: str | None
    direction: str | None


@dataclass(slots=True)
class _Outbox:
    """What one transaction holds back for one business until it settles."""

    conversations: list[Conversation] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    facts: list[_Fact] = field(default_factory=list)


def append(
    business_id: UUID,
    kind: str,
    data: Callable[[], dict[str, Any]] | None = None,
    *,
    customer_id: UUID | None = None,
    conversation: Conversation | None = None,
    message: Message | None = None,
) -> None:
    """Tell of a change. `data` is called when the stamps are known; a fact for screens alone has none."""
    place = message or conversation
    _outbox(business_id).facts.append(
        _Fact(
            type=kind,
            data=data,
            customer_id=customer_id or (place.customer_id if place else None),
            conversation_id=message.conversation_id if message else conversation.id if conversation else None,
            message_id=message.id if message else None,
            channel=place.channel if place else None,
            direction=message.direction if message else None,
        )
    )


def hold(row: Conversation | Message) -> None:
    """Keep a new row back until it can be numbered or stamped."""
    outbox = _outbox(row.business_id)
    if isinstance(row, Conversation):
        outbox.conversations.append(row)
    else:
        outbox.messages.append(row)


def settle() -> None:
    """Give out the order and write what is held; doing it twice does nothing the second time."""
    _settle(db.session())


def write_test(business_id: UUID, data: dict[str, Any], kind: str = "webhook.test") -> Event:
    """Write a test at once; it goes to nobody by itself.

    Its body may look like an event of any kind, but in the log it is a `webhook.test`: nobody takes it for a fact.
    """
    _settle(db.session())
    fact = _Fact(kind, lambda: data, None, None, None, None, None)
    row = _stamp(db.session(), business_id, stamps=1, facts=1, conversations=0)
    (rendered,) = _render(business_id, [fact], row.last_at, row.last_sequence)
    columns = dict(zip(_EVENT, rendered, strict=True)) | {"type": "webhook.test"}
    write(Event, _EVENT, [tuple(columns.values())])
    return Event(**columns)


def page(business_id: UUID, *, after: int, types: Collection[str] = LOGGED, limit: int) -> list[Event]:
    """Give the events of these types after a sequence, oldest first; tests only to those who name them."""
    query = select(Event).where(Event.business_id == business_id, Event.sequence > after)
    query = query.where(Event.type.in_(types))
    return list(db.session.scalars(query.order_by(Event.sequence).limit(limit)))


def tells(body: bytes) -> bool:
    """Say whether a stored body is one that a receiver may get; in SQL this is `TELLS`."""
    return body.startswith(b'{"id":')


def envelope(row: Any) -> bytes:
    """Give an event as the log tells it: the webhook's very bytes, or the envelope with null `data` once erased."""
    return row.body if tells(row.body) else render_body(row.business_id, row.id, row.type, row.created_at, None)


def last_sequence(business_id: UUID) -> int:
    statement = text("SELECT last_sequence FROM business_clocks WHERE business_id = :business_id")
    return db.session.scalar(statement, {"business_id": business_id}) or 0


def _outbox(business_id: UUID) -> _Outbox:
    boxes = db.session.info.setdefault("outbox", {})
    return boxes.setdefault(business_id, _Outbox())  # type: ignore[no-any-return]


@sqlalchemy_event.listens_for(Session, "before_commit")
def _settle(session: Session) -> None:
    boxes = session.info.pop("outbox", None)
    if not boxes:
        return
    session.flush()  # whatever the held rows point to
    for business_id in sorted(boxes):
        _settle_business(session, business_id, boxes[business_id])


@sqlalchemy_event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop("outbox", None)


_STAMP = """
    WITH stamp AS (
        UPDATE business_clocks
        SET last_at = greatest(clock_timestamp(), last_at + interval '1 microsecond')
                      + (%(stamps)s - 1) * interval '1 microsecond',
            last_sequence = last_sequence + %(facts)s,
            last_conversation = last_conversation + %(conversations)s
        WHERE business_id = %(business_id)s
        RETURNING last_at, last_sequence, last_conversation)
    SELECT stamp.*, (
        SELECT coalesce(json_agg(json_build_object('id', id, 'events', events, 'channels', channels,
                                                   'direction', direction)), '[]')
        FROM webhook_endpoints WHERE business_id = %(business_id)s AND state IN ('active', 'paused')) AS endpoints
    FROM stamp"""


def _stamp(session: Session, business_id: UUID, **counts: int) -> Any:
    """Take the business's order until the commit; give the last stamps of so many, and who listens."""
    with _raw(session).cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(_STAMP, {"business_id": business_id} | counts).fetchone()


def _settle_business(session: Session, business_id: UUID, box: _Outbox) -> None:
    stamps = max(1, len(box.messages) + len(box.facts))
    counts = {"stamps": stamps, "facts": len(box.facts), "conversations": len(box.conversations)}
    row = _stamp(session, business_id, **counts)
    at = row.last_at - (stamps - 1) * _MICROSECOND
    for number, conversation in enumerate(box.conversations, row.last_conversation - len(box.conversations) + 1):
        conversation.number = number
        session.add(conversation)
    for message in box.messages:
        message.created_at = at
        at += _MICROSECOND
        session.add(message)
    session.flush()
    if box.facts:
        first = row.last_sequence - len(box.facts) + 1
        write(Event, _EVENT, _render(business_id, box.facts, at, first))
        _fan_out(business_id, box.facts, at, first, row.endpoints)
        jobs.announce(business_id)


_EVENT = (
    "business_id",
    "sequence",
    "id",
    "type",
    "created_at",
    "customer_id",
    "conversation_id",
    "message_id",
    "channel",
    "direction",
    "body",
)


def _render(business_id: UUID, facts: list[_Fact], at: datetime, first: int) -> list[tuple[Any, ...]]:
    rows = []
    for offset, fact in enumerate(facts):
        event_id, stamp = uuid7(), at + offset * _MICROSECOND
        body = render_body(business_id, event_id, fact.type, stamp, fact.data()) if fact.data else b""
        place = (fact.customer_id, fact.conversation_id, fact.message_id, fact.channel, fact.direction)
        rows.append((business_id, first + offset, event_id, fact.type, stamp, *place, body))
    return rows


def render_body(business_id: UUID, event_id: UUID, kind: str, at: datetime, data: dict[str, Any] | None) -> bytes:
    """Write the envelope: a fixed point of JavaScript's parse and stringify, and never over `MAX_BODY` bytes."""
    envelope = {
        "id": str(event_id),
        "event": kind,
        "timestamp": payloads.time(at),
        "business_id": str(business_id),
        "data": data,
    }
    body = js_json.dumps(envelope)
    room = MAX_BODY // 2
    while data and len(body) > MAX_BODY and room > 64:
        body = js_json.dumps(envelope | {"data": _shorten(data, room)})
        room //= 2
    return body


def _shorten(data: dict[str, Any], room: int) -> dict[str, Any]:
    """Cut the text to `room` bytes in both places it stands in, and then the customer's own long fields."""
    shorter = dict(data)
    if isinstance(data.get("content"), str):
        cut = data["content"].encode()[:room].decode(errors="ignore")
        shorter |= {"content": cut, "content_truncated": True}
        shorter["message"] = data["message"] | {"content": cut, "content_truncated": True}
    if room < MAX_BODY // 8 and "customer" in data:
        shorter["customer"] = data["customer"] | {"notes": None, "custom_fields": {}, "customer_truncated": True}
    return shorter


_DELIVERY = (
    "business_id",
    "id",
    "endpoint_id",
    "event_sequence",
    "event_type",
    "order_key",
    "reason",
    "state",
    "attempt_count",
    "next_attempt_at",
    "created_at",
)


def _fan_out(business_id: UUID, facts: list[_Fact], at: datetime, first: int, endpoints: list[dict[str, Any]]) -> None:
    rows: list[tuple[Any, ...]] = []
    for endpoint in endpoints:
        endpoint_id = UUID(endpoint["id"])
        before = len(rows)
        for sequence, fact in enumerate(facts, first):
            if _wants(endpoint, fact):
                key = fact.conversation_id or fact.customer_id
                what = (endpoint_id, sequence, fact.type, key)
                rows.append((business_id, uuid7(), *what, "live", "pending", 0, at, at))
        if len(rows) > before:
            jobs.ring("webhooks", endpoint_id)
    write(Delivery, _DELIVERY, rows)


def _wants(endpoint: dict[str, Any], fact: _Fact) -> bool:
    if fact.type not in endpoint["events"]:
        return False
    if endpoint["channels"] and fact.channel and fact.channel not in endpoint["channels"]:
        return False
    return not endpoint["direction"] or not fact.direction or fact.direction == endpoint["direction"]


def write(table: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of one table: a few by INSERT, many by COPY."""
    if rows:
        put = bulk.copy if len(rows) > 20 else bulk.insert
        put(_raw(db.session()), table.__tablename__, columns, rows)


def _raw(session: Session) -> Any:
    """Give the transaction's own psycopg connection: what every write goes through is worth the shorter way."""
    return session.connection().connection.driver_connection
