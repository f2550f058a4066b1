"""With a session: the timeline, its live stream, answers, files. Each looks at this one customer and at no other."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from flask import Blueprint, Response, g, render_template, request

from blueprints import embed_fragments, forms, sheets, streams
from blueprints.filters import CHANNELS
from errors import Forbidden, Invalid, NotFound
from lib import colours
from lib.ids import is_uuid, uuid7
from models import Message, db
from services import attachments, canned_replies, channel_accounts, conversations, embeds, messages, templates

routes = Blueprint("embed", __name__)


@routes.get("/embed/live")
def live() -> Response:
    """Send every change of this customer's conversations, until the session ends."""
    session_id, customer_id = g.visit.session.id, g.visit.customer.id
    return streams.answer(g.business.id, customer_id, (session_id, customer_id))


@routes.get("/embed/messages")
def timeline() -> str:
    """Give the newest messages, or what came before one; `channels` narrows it to some."""
    before = _time(request.args["before"]) if "before" in request.args else None
    channels = [kind for kind in request.args.get("channels", "").split(",") if kind in CHANNELS]
    found = embed_fragments.stretch(g.business, g.visit.customer, before=before, channels=channels)
    return render_template("embed/_timeline.html", **found)


@routes.get("/embed/around")
def around() -> str:
    """Give what stands around the timeline, for a page that missed too much."""
    values = embed_fragments.surroundings(g.business, g.visit.customer)
    return "".join(render_template(f"embed/{name}.html", **values) for name in ("_header", "_channels", "_customer"))


@routes.post("/embed/messages")
def send() -> str:
    """Queue an answer on the channel account that the composer names."""
    _may_reply()
    customer = g.visit.customer
    account = channel_accounts.get(g.business, forms.uuid("account"))
    reply_to = _own_message(forms.uuid("reply_to")) if request.form.get("reply_to") else None
    files = attachments.usable(g.business, _own_uploads())
    message = messages.send(
        g.business,
        customer,
        channel=account.kind,
        account_id=account.id,
        content=request.form.get("content", ""),
        attachments=files,
        conversation=conversations.latest(g.business, customer.id, account.id) if reply_to else None,
        subject=request.form.get("subject") or None,
        template=forms.template(g.business, account.id, files),
        reply_to=reply_to,
        sender=_sender(),
        client_id=forms.client_id(),
    )
    _own(message)
    db.session.commit()
    return _fresh(message)


@routes.post("/embed/messages/<uuid:message_id>/retry")
def retry(message_id: UUID) -> str:
    _may_reply()
    message = _own_message(message_id)
    messages.retry(g.business, message)
    db.session.commit()
    return _fresh(message, into="")


@routes.post("/embed/uploads")
def upload() -> Response:
    """Keep a file until the message that it belongs to is sent; only this customer's embeds may send it."""
    _may_reply()
    file = request.files.get("file")
    if file is None:
        raise Invalid("Send one file, as `file`.", field="file")
    kept = attachments.upload(g.business, file.filename or "", file.read(), file.mimetype or "")
    kept.source = {"embed": str(g.visit.customer.id)}
    db.session.commit()
    return _json({"id": str(kept.id), "filename": kept.filename, "type": kept.mime, "size": kept.size}, 201)


@routes.get("/embed/canned")
def canned() -> str:
    """List canned replies with this customer's name and number filled in."""
    _may_reply()
    replies = [
        (reply, canned_replies.fill(reply.body, g.visit.customer, g.visit.agent, g.business))
        for reply in canned_replies.page(g.business)
    ]
    return render_template("inbox/_canned.html", replies=replies)


@routes.get("/embed/templates")
def choose_template() -> str:
    _may_reply()
    account = channel_accounts.get(g.business, forms.uuid("account"))
    listed = [sheets.sheet(item) for item in templates.page(g.business, account.id)]
    values = {"account": account, "sheets": listed, "client_ids": [uuid7() for _ in listed]}
    return render_template("inbox/_templates.html", send_url="/embed/messages", **values)


@routes.get("/embed/accent")
def accent() -> Response:
    """Give an accent's shades for light and for dark."""
    found = colours.accents(request.args.get("colour", ""))
    if found is None:
        raise Invalid("`colour` is six hexadecimal digits.", field="colour")
    return _json({"light": found[0], "dark": found[1]})


@routes.post("/embed/close")
def close() -> tuple[str, int]:
    """End the session of a page that is being left; its place is free for the next one."""
    embeds.close(g.visit.session)
    db.session.commit()
    return "", 204


def _may_reply() -> None:
    if not g.visit.may_reply:
        raise Forbidden("This link is for reading only: its token has the scope inbox:read.", code="embed_read_only")


def _sender() -> messages.Sender:
    """Write under the agent's name if the token carries one, else in the CRM's."""
    agent = g.visit.agent
    if agent:
        return messages.Sender("user", agent.id, agent.name)
    return messages.Sender("api", g.visit.session.api_key_id, g.business.crm_name or "CRM", typed=True)


def _own_message(message_id: UUID | None) -> Message:
    """Get a message of this customer; any other one, and any note, is as unknown as one that never was."""
    if message_id is None:
        raise NotFound("There is no such message.", code="message_not_found")
    return _own(messages.get(g.business, message_id))


def _own(message: Message) -> Message:
    if message.customer_id != g.visit.customer.id or message.private:
        raise NotFound("No message of this business has that id.", code="message_not_found")
    return message


def _own_uploads() -> list[str]:
    """Give the files to send, if they were uploaded for this customer: a file of another one is no file here."""
    references = request.form.getlist("attachment")
    for place, reference in enumerate(references):
        file = attachments.get(g.business, UUID(reference)) if is_uuid(reference) else None
        if file is None or file.source.get("embed") != str(g.visit.customer.id):
            raise NotFound("There is no such file.", code="attachment_not_found", field=f"attachment[{place}]")
    return references


def _fresh(message: Message, into: str = "#timeline") -> str:
    return embed_fragments.render_message(message, g.visit.customer, into=into)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Invalid("`before` is the time of a message, with its offset.", field="before")
    return at


def _json(data: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(data), status, content_type="application/json")
