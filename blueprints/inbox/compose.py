"""Writing: answers, notes, files, drafts, canned replies and templates. Each route serves the composer's script."""

from __future__ import annotations

from uuid import UUID

import orjson
from flask import Blueprint, Response, g, render_template, request
from flask_login import current_user

from blueprints import filters, forms, fragments, screens, sheets
from errors import Invalid
from lib.ids import uuid7
from models import Conversation, Message, db
from services import attachments, canned_replies, channel_accounts, conversations, drafts, messages, templates

routes = Blueprint("compose", __name__)


@routes.post("/inbox/c/<int:number>/send")
def send(number: int) -> Response:
    """Queue an answer; it may go by another channel, and then lands in the customer's conversation there."""
    conversation = conversations.by_number(g.business, number)
    account = channel_accounts.get(g.business, forms.uuid("account", conversation.account_id))
    same = account.id == conversation.account_id
    reply_to = forms.uuid("reply_to", None)
    files = attachments.usable(g.business, request.form.getlist("attachment"))
    message = messages.send(
        g.business,
        conversation.customer,
        channel=account.kind,
        account_id=account.id,
        content=request.form.get("content", ""),
        attachments=files,
        conversation=conversation if same else None,
        subject=request.form.get("subject") or None,
        template=forms.template(g.business, account.id, files),
        reply_to=messages.get(g.business, reply_to) if reply_to and same else None,
        sender=messages.Sender("user", current_user.id, current_user.name),
        client_id=forms.client_id(),
    )
    drafts.discard(current_user, conversation, "reply")
    db.session.commit()
    return _written(message, conversation)


@routes.post("/inbox/c/<int:number>/note")
def note(number: int) -> Response:
    """Write a note; there is no way from here to the customer."""
    conversation = conversations.by_number(g.business, number)
    content = request.form.get("content", "")
    message = messages.note(g.business, conversation, content, current_user, client_id=forms.client_id())
    drafts.discard(current_user, conversation, "note")
    db.session.commit()
    return _written(message, conversation)


@routes.post("/inbox/messages/<uuid:message_id>/retry")
def retry(message_id: UUID) -> str:
    message = messages.get(g.business, message_id)
    messages.retry(g.business, message)
    db.session.commit()
    return fragments.render_message(message, conversations.get(g.business, message.conversation_id), added=False)


@routes.post("/inbox/c/<int:number>/draft")
def draft(number: int) -> tuple[str, int]:
    conversation = conversations.by_number(g.business, number)
    drafts.save(current_user, conversation, request.form.get("mode", ""), request.form.get("body", ""))
    db.session.commit()
    return "", 204


@routes.post("/inbox/uploads")
def upload() -> Response:
    """Keep a file until the message that it belongs to is sent."""
    file = request.files.get("file")
    if file is None:
        raise Invalid("Send one file, as `file`.", field="file")
    kept = attachments.upload(g.business, file.filename or "", file.read(), file.mimetype or "")
    db.session.commit()
    shown = {"id": str(kept.id), "filename": kept.filename, "type": kept.mime, "size": kept.size}
    return Response(orjson.dumps(shown), 201, content_type="application/json")


@routes.get("/inbox/c/<int:number>/canned")
def canned(number: int) -> str:
    """List canned replies with this customer's name and number filled in."""
    customer = conversations.by_number(g.business, number).customer
    replies = [
        (reply, canned_replies.fill(reply.body, customer, current_user, g.business))
        for reply in canned_replies.page(g.business)
    ]
    return render_template("inbox/_canned.html", replies=replies)


@routes.get("/inbox/c/<int:number>/templates")
def choose_template(number: int) -> str:
    conversation = conversations.by_number(g.business, number)
    account = channel_accounts.get(g.business, forms.uuid("account", conversation.account_id))
    listed = [sheets.sheet(item) for item in templates.page(g.business, account.id)]
    return render_template(
        "inbox/_templates.html",
        conversation=conversation,
        account=account,
        sheets=listed,
        client_ids=[uuid7() for _ in listed],
    )


def _written(message: Message, conversation: Conversation) -> Response:
    """Answer with what the live stream will show too; say so if it went to another conversation."""
    place = conversations.get(g.business, message.conversation_id)
    html = fragments.render_message(message, place) + fragments.render_row(place)
    if place.id == conversation.id:
        return Response(html)
    label = filters.channel_name(place.channel)
    return screens.toast(Response(html), f"Sent by {label}, in conversation #{place.number}")
