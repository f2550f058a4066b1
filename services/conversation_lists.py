"""Lists of conversations: the inbox's views, their counts, and the API's filters. Keyset pages, never an offset."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, any_, exists, func, literal, or_, select, text, tuple_
from sqlalchemy.orm import joinedload

from errors import Invalid
from lib import cursors
from lib.text import like
from models import IN_WORK, Business, Conversation, Customer, Message, db

VIEWS = ("mine", "unassigned", "all", "snoozed", "closed")


def page(
    business: Business,
    *,
    view: str | None = None,
    user_id: UUID | None = None,
    status: str | None = None,
    assignee_id: UUID | None = None,
    channel: str | None = None,
    account_id: UUID | None = None,
    tag: str | None = None,
    q: str | None = None,
    unread: bool = False,
    customer_id: UUID | None = None,
    oldest_first: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Conversation], str | None]:
    """List conversations by their last message, the newest first; give the rows and the next page's cursor."""
    query = select(Conversation).where(Conversation.business_id == business.id)
    query = _in_view(query, view, user_id)
    equal = {"status": status, "assignee_id": assignee_id, "channel": channel, "account_id": account_id}
    for name, value in (equal | {"customer_id": customer_id}).items():
        if value is not None:
            query = query.where(getattr(Conversation, name) == value)
    if tag:
        query = query.where(literal(tag) == any_(Conversation.tags))
    if unread:
        query = query.where(Conversation.unread_count > 0)
    if q:
        query = query.where(_matches(business, q))
    key = tuple_(Conversation.last_message_at, Conversation.id)
    if cursor:
        at, last_id = _read(cursor)
        query = query.where(key > (at, last_id) if oldest_first else key < (at, last_id))
    columns = (Conversation.last_message_at, Conversation.id)
    query = query.order_by(*(column.asc() if oldest_first else column.desc() for column in columns)).limit(limit + 1)
    loads = (joinedload(Conversation.customer), joinedload(Conversation.account), joinedload(Conversation.assignee))
    rows = list(db.session.scalars(query.options(*loads)))
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.write(rows[limit - 1].last_message_at, rows[limit - 1].id)


def counts(business: Business, user_id: UUID) -> dict[str, int]:
    """Count the views' conversations and, under `channels`, each account's; one statement over the open ones."""
    query = text(f"""
        SELECT account_id, count(*) AS open, count(*) FILTER (WHERE assignee_id = :user_id) AS mine,
               count(*) FILTER (WHERE assignee_id IS NULL) AS unassigned,
               count(*) FILTER (WHERE assignee_id = :user_id AND unread_count > 0) AS unread
        FROM conversations WHERE business_id = :business_id AND {IN_WORK} GROUP BY account_id""")
    rows = db.session.execute(query, {"business_id": business.id, "user_id": user_id}).all()
    snoozed = select(func.count()).where(Conversation.business_id == business.id, Conversation.status == "snoozed")
    return {
        "mine": sum(row.mine for row in rows),
        "unread": sum(row.unread for row in rows),
        "unassigned": sum(row.unassigned for row in rows),
        "all": sum(row.open for row in rows),
        "snoozed": db.session.scalar(snoozed) or 0,
    } | {f"channel-{row.account_id}": row.open for row in rows}


def tally(business: Business) -> dict[str, int]:
    """Count for everybody at once: as `counts`, with `mine-<user id>` and `unread-<user id>` for each assignee."""
    query = text(f"""
        SELECT account_id, assignee_id, count(*) AS open, count(*) FILTER (WHERE unread_count > 0) AS unread
        FROM conversations WHERE business_id = :business_id AND {IN_WORK} GROUP BY account_id, assignee_id""")
    snoozed = select(func.count()).where(Conversation.business_id == business.id, Conversation.status == "snoozed")
    found: Counter[str] = Counter(all=0, unassigned=0, snoozed=db.session.scalar(snoozed) or 0)
    for row in db.session.execute(query, {"business_id": business.id}):
        found["all"] += row.open
        found[f"channel-{row.account_id}"] += row.open
        if row.assignee_id is None:
            found["unassigned"] += row.open
        else:
            found[f"mine-{row.assignee_id}"] += row.open
            found[f"unread-{row.assignee_id}"] += row.unread
    return dict(found)


def channels_of(business: Business, customer_id: UUID) -> dict[str, int]:
    """Count what a customer and we wrote to each other on each channel, the busiest first; notes are not counted."""
    number = func.count().label("number")
    query = select(Message.channel, number).where(
        Message.business_id == business.id, Message.customer_id == customer_id
    )
    query = query.where(Message.private.is_(False)).group_by(Message.channel).order_by(number.desc(), Message.channel)
    return {row.channel: row.number for row in db.session.execute(query)}


def tags(business: Business, *, limit: int = 200) -> list[str]:
    """Give the tags in use, the most used first."""
    query = text("""
        SELECT tag FROM conversations, unnest(tags) AS tag WHERE business_id = :business_id AND tags <> '{}'
        GROUP BY tag ORDER BY count(*) DESC, tag LIMIT :limit""")
    return list(db.session.scalars(query, {"business_id": business.id, "limit": limit}))


def _in_view(query: Select[Any], view: str | None, user_id: UUID | None) -> Select[Any]:
    if view is None:
        return query
    if view in ("snoozed", "closed"):
        return query.where(Conversation.status == view)
    query = query.where(text(f"conversations.{IN_WORK}"))
    if view == "mine":
        return query.where(Conversation.assignee_id == user_id)
    if view == "unassigned":
        return query.where(Conversation.assignee_id.is_(None))
    return query


def _matches(business: Business, q: str) -> Any:
    """Find in the customer's names and addresses, the subject, the number, and the words of messages."""
    words = q.strip().lower()[:200]
    pattern = f"%{like(words)}%"
    people = select(Customer.id).where(Customer.business_id == business.id, Customer.search.like(pattern))
    said = exists().where(
        and_(
            Message.business_id == business.id,
            Message.conversation_id == Conversation.id,
            Message.search.bool_op("@@")(func.plainto_tsquery("simple", words)),
        )
    )
    either = [Conversation.customer_id.in_(people), Conversation.subject.ilike(pattern), said]
    number = words.removeprefix("#")
    if number.isdecimal() and number.isascii() and len(number) < 10:
        either.append(Conversation.number == int(number))
    return or_(*either)


def _read(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, last_id = cursors.read(cursor, datetime, UUID)
    except ValueError as exc:
        raise Invalid(f"cursor: {exc}", code="invalid_field", field="cursor") from None
    return at, last_id
