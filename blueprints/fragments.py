"""The pieces of HTML that keep open inboxes up to date: the very templates that the pages include.

The live stream calls `for_event`; the inbox answers its own changes with the same. A piece looks the same to every
agent: what is mine is decided on the screen, by ids and classes. Reads, and changes nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from flask import g, render_template

from blueprints import timelines
from blueprints.times import zone
from errors import NotFound
from models import Business, Conversation, Message, db
from services import conversation_lists, conversations, customers, history, messages, reach

FRESH = timedelta(minutes=2)  # an older message that changed is replaced where it stands, never added at the end


def for_event(event: Any) -> str | None:
    """Give what an event changes on the screens of agents; None if they should fetch themselves anew."""
    business = db.session.get(Business, event.business_id)
    if business is None or event.type in ("customer.deleted", "customer.merged"):
        return None
    g.zone = zone(business.timezone)
    try:
        if event.message_id:
            return _message_changed(business, event)
        if event.conversation_id:
            return _conversation_changed(business, event)
        return _customer_changed(business, event) if event.type == "customer.updated" else ""
    except NotFound:  # erased meanwhile; the event that says so follows
        return ""


def conversation(business: Business, row: Conversation) -> str:
    """Give all that shows the state of one conversation."""
    return render_row(row) + render_header(row) + render_counts(business)


def render_message(message: Message, row: Conversation, *, added: bool = True) -> str:
    """Give one message; without `added` it only replaces itself."""
    return render_template(
        "inbox/_message.html",
        message=message,
        conversation=row,
        customer=row.customer,
        quoted=quoted([message]).get(message.reply_to_id),
        into=f"#messages-{row.number}" if added else "",
    )


def render_fact(fact: timelines.Fact, row: Conversation) -> str:
    return render_template("inbox/_fact.html", fact=fact, into=f"#messages-{row.number}")


def render_row(row: Conversation) -> str:
    return render_template("inbox/_row.html", conversation=row, lists=lists(row))


def render_header(row: Conversation) -> str:
    return render_template("inbox/_header.html", conversation=row)


def render_counts(business: Business) -> str:
    return render_template("inbox/_tally.html", tally=tally(business))


def render_customer(business: Business, customer: Any) -> str:
    return render_template("inbox/_person.html", customer=customer, business=business)


def render_ways(business: Business, row: Conversation) -> str:
    """Give the channels by which a customer can be reached, for the composer."""
    composer = {"key": row.number, "ways": reach.ways(business, row.customer)}
    return render_template("inbox/_ways.html", composer=composer)


def lists(row: Conversation) -> str:
    """Give a selector of the lists that a conversation belongs to."""
    return ", ".join(f'.rows[data-views~="{token}"]' for token in tokens(row))


def tokens(row: Conversation) -> list[str]:
    if row.status in ("snoozed", "closed"):
        return [row.status]
    mine = f"mine-{row.assignee_id}" if row.assignee_id else "unassigned"
    return ["all", mine, f"channel-{row.account_id}"]


def tally(business: Business) -> str:
    return orjson.dumps(conversation_lists.tally(business)).decode()


def quoted(rows: list[Message]) -> dict[UUID, Message]:
    """Give the messages that others reply to."""
    return messages.by_ids(rows[0].business_id, [row.reply_to_id for row in rows if row.reply_to_id]) if rows else {}


def _message_changed(business: Business, event: Any) -> str:
    message = messages.get(business, event.message_id)
    row = conversations.get(business, message.conversation_id)
    parts = [render_message(message, row, added=event.created_at - message.created_at < FRESH)]
    if event.type not in ("message.status_changed", "message.noted"):
        parts += [render_row(row), render_counts(business)]
    came = message.direction == "inbound" and event.type != "message.status_changed"
    if came or message.status == "failed":  # what came opens windows; a refusal may tell that the customer opted out
        parts.append(render_ways(business, row))
    return "".join(parts)


def _conversation_changed(business: Business, event: Any) -> str:
    row = conversations.get(business, event.conversation_id)
    stored = history.get(business.id, event.sequence) if event.type in history.TYPES else None
    told = timelines.fact(stored) if stored else None
    return conversation(business, row) + (render_fact(told, row) if told else "")


def _customer_changed(business: Business, event: Any) -> str:
    customer = customers.get(business, id=event.customer_id)
    rows, _ = conversation_lists.page(business, customer_id=customer.id, limit=20)
    shown = "".join(render_row(row) + render_header(row) for row in rows)
    return render_customer(business, customer) + shown
