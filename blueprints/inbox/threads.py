"""One conversation: its messages, what is known of the customer, and the composer. `/inbox/<view>/c/<number>`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import nh3
from flask import Blueprint, Response, current_app, g, render_template, request
from flask_login import current_user

from blueprints import fragments, screens, timelines
from blueprints.inbox.lists import head_values, list_values, page_values
from errors import Invalid
from models import Conversation, db
from services import (
    attachments,
    conversation_lists,
    conversations,
    drafts,
    history,
    messages,
    reach,
    same_people,
)

routes = Blueprint("threads", __name__)

PAGE = 50
# A mail is shown cut off from everything: no script, no form, no origin of its own.
ORIGINAL_POLICY = (
    "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src {images}; base-uri 'none'; "
    "frame-ancestors 'self'"
)


@routes.get("/inbox/<view>/c/<int:number>")
def show(view: str, number: int) -> str:
    """Show a conversation beside its list; a screen that has the list asks for the rest alone."""
    conversation = conversations.by_number(g.business, number)
    values = page_values(conversation) | thread_values(conversation)
    if screens.is_fragment() and screens.target() != "panes":
        return render_template("inbox/_opened.html", **head_values(view), **values)
    values |= list_values(view)
    return screens.page("inbox/inbox.html", "inbox/_panes.html", **values)


@routes.get("/inbox/c/<int:number>/messages")
def earlier(number: int) -> str:
    """Give what came before a message."""
    conversation = conversations.by_number(g.business, number)
    try:
        before = datetime.fromisoformat(request.args.get("before", ""))
    except ValueError:
        raise Invalid("`before` is the time of a message.", field="before") from None
    return render_template("inbox/_timeline.html", conversation=conversation, **_stretch(conversation, before))


@routes.post("/inbox/c/<int:number>/read")
def read(number: int) -> tuple[str, int]:
    """Note that an agent has this conversation before their eyes."""
    conversations.mark_read(g.business, conversations.by_number(g.business, number))
    db.session.commit()
    return "", 204


@routes.get("/inbox/messages/<uuid:message_id>/original")
def original(message_id: UUID) -> Response:
    """Show a mail as it was sent; pictures from elsewhere only when asked for, since they tell on the reader."""
    message = messages.get(g.business, message_id)
    images = f"data: {current_app.extensions['settings'].public_url}"  # those that came inside the mail
    images += " https:" if request.args.get("images") else ""
    html = nh3.clean(attachments.placed(str(message.extra.get("html", "")), message))
    body = render_template("inbox/original.html", html=html, remote="images" in request.args)
    policy = ORIGINAL_POLICY.format(images=images)
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return Response(body, headers=headers)


def thread_values(conversation: Conversation) -> dict[str, Any]:
    """Gather what the thread and the customer's column show."""
    customer = conversation.customer
    past, _ = conversation_lists.page(g.business, customer_id=customer.id, limit=20)
    return {
        "conversation": conversation,
        "customer": customer,
        "open_number": conversation.number,
        "history": past,
        "duplicates": same_people.duplicates(g.business, customer),
        "composer": composer(conversation),
    } | _stretch(conversation)


def composer(conversation: Conversation) -> dict[str, Any]:
    """Say what can be written here, by which ways, and what was begun."""
    act = f"/inbox/c/{conversation.number}"
    urls = {name: f"{act}/{name}" for name in ("send", "note", "draft", "canned", "templates", "status")}
    return {
        "key": conversation.number,
        "name": conversation.customer.name,
        "channel_account": conversation.account_id,
        "ways": reach.ways(g.business, conversation.customer),
        "urls": urls | {"upload": "/inbox/uploads"},
        "drafts": {"reply": "", "note": ""} | drafts.of(current_user, conversation),
        "max_bytes": current_app.extensions["settings"].upload_max_bytes,
    }


def _stretch(conversation: Conversation, before: datetime | None = None) -> dict[str, Any]:
    """Give one page of the thread, and the address of the page before it."""
    rows, more = messages.page(
        g.business, conversation_id=conversation.id, before=before, limit=PAGE, include_notes=True
    )
    since = rows[0].created_at if rows and more else conversation.created_at
    told = timelines.facts(history.between(g.business, conversation, since, before))
    first = rows[0].created_at.isoformat() if more else ""
    return {
        "timeline": timelines.timeline(rows, told),
        "customer": conversation.customer,
        "earlier": f"/inbox/c/{conversation.number}/messages?before={first.replace('+', '%2B')}" if more else "",
        "replied": fragments.quoted(rows),
    }
