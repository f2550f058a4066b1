"""The pieces of an embed: one customer's timeline across all channels, and what stands around it. Never a note.

`embed.py` answers with them, and the live stream sends them: the very templates that the page includes. Reads, and
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import current_app, g, render_template

from blueprints import fragments, timelines
from blueprints.times import when, zone
from errors import NotFound
from models import Business, Conversation, Customer, Message, db
from services import conversation_lists, conversations, messages, reach

PAGE = 50
OPENED = timedelta(seconds=5)  # a conversation is made a moment before its first message is stamped


def for_event(event: Any) -> str | None:
    """Give what an event changes in this customer's embeds; None if they should fetch themselves anew."""
    business = db.session.get(Business, event.business_id)
    customer = db.session.get(Customer, (event.business_id, event.customer_id))
    if event.type == "customer.merged":
        return None
    if business is None or customer is None or event.type == "message.noted":
        return ""
    g.zone, g.embedded = zone(business.timezone), True
    try:
        return _changed(business, customer, event)
    except NotFound:  # erased meanwhile; the session has ended too
        return ""


def _changed(business: Business, customer: Any, event: Any) -> str:
    parts = []
    if event.message_id:
        message = messages.get(business, event.message_id)
        if message.private:
            return ""
        added = event.created_at - message.created_at < fragments.FRESH
        parts.append(render_message(message, customer, into="#timeline" if added else ""))
        if message.direction == "inbound" or message.status == "failed":
            composer = {"key": customer.id, "ways": reach.ways(business, customer)}
            parts.append(render_template("inbox/_ways.html", composer=composer))
        if event.type == "message.status_changed":
            return "".join(parts)
    around = surroundings(business, customer)
    parts += [render_template(f"embed/{name}.html", **around) for name in ("_header", "_channels", "_customer")]
    if event.conversation_id:
        row = conversations.get(business, event.conversation_id)
        parts.append(render_template("embed/_divider.html", conversation=row))
    return "".join(parts)


def render_message(message: Message, customer: Any, *, into: str = "#timeline") -> str:
    """Give one message as the embed shows it."""
    return render_template(
        "inbox/_message.html",
        message=message,
        conversation=message.conversation,
        customer=customer,
        quoted=fragments.quoted([message]).get(message.reply_to_id),
        into=into,
        acts="/embed",
    )


def surroundings(business: Business, customer: Any) -> dict[str, Any]:
    """Gather what stands around the timeline."""
    history, _ = conversation_lists.page(business, customer_id=customer.id, limit=20)
    counted = conversation_lists.channels_of(business, customer.id)
    return {"business": business, "customer": customer, "history": history, "counted": counted}


def stretch(
    business: Business, customer: Any, *, before: datetime | None = None, channels: Sequence[str] = ()
) -> dict[str, Any]:
    """Give one page of the timeline, the address of the page before it, and a divider where a conversation begins."""
    rows, more = messages.page(business, customer_id=customer.id, before=before, channels=channels, limit=PAGE)
    begun = _begun(rows, more)
    dividers = [timelines.Fact(row.conversation.number, _begins(row, rows), "", "") for row in begun]
    query = {"before": rows[0].created_at.isoformat(), "channels": ",".join(channels)} if more else {}
    return {
        "timeline": timelines.timeline(rows, dividers),
        "conversations": {row.conversation.number: row.conversation for row in begun},
        "customer": customer,
        "earlier": f"/embed/messages?{urlencode(query)}" if more else "",
        "replied": fragments.quoted(rows),
        "acts": "/embed",
    }


def composer(business: Business, customer: Any, channels: Sequence[str] = ()) -> dict[str, Any]:
    """Say what can be written here and by which ways."""
    ways = [way for way in reach.ways(business, customer) if not channels or way.account.kind in channels]
    names = {"send": "messages", "upload": "uploads", "canned": "canned", "templates": "templates"}
    return {
        "key": customer.id,
        "name": customer.name,
        "channel_account": ways[0].account.id if ways else "",
        "ways": ways,
        "urls": {name: f"/embed/{path}" for name, path in names.items()},
        "drafts": {"reply": "", "note": ""},
        "max_bytes": current_app.extensions["settings"].upload_max_bytes,
    }


def _begun(rows: Sequence[Message], more: bool) -> list[Message]:
    """Pick the messages with which a conversation begins; the page's first one may be from its middle."""
    seen: set[UUID] = set()
    first = []
    for row in rows:
        began = not more or row.conversation.created_at > rows[0].created_at - OPENED
        if row.conversation_id not in seen and began:
            first.append(row)
        seen.add(row.conversation_id)
    return first


def _begins(first: Message, rows: Sequence[Message]) -> datetime:
    """Say where the divider of a conversation stands: above all that is shown of it, late messages too."""
    places = (timelines.placed_at(row) for row in rows if row.conversation_id == first.conversation_id)
    return min(places) - timedelta(microseconds=1)


def state(conversation: Conversation) -> str:
    """Say how a conversation stands, and since when if it is over."""
    at = conversation.closed_at
    return f"closed {when(at)}" if conversation.status == "closed" and at else conversation.status
