"""Messages: send one, read a conversation's, poll for new ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Cursor, Id, Query, Time
from blueprints.api.routing import Routes
from blueprints.api.shapes import Done, Message, Page, Shown
from errors import Invalid
from lib import cursors
from services import attachments, conversations, customers, messages, payloads
from services.messages import Sender, TemplateUse

routes = Routes("Messages")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MessagesQuery(Query):
    """One conversation's messages; or one message by `id`."""

    conversation_id: Id | None = None
    id: Id | None = None
    cursor: Cursor | None = Field(None, description="`next_cursor`, `newer_cursor` or `messages_cursor`.")
    order: Literal["newest", "oldest"] = Field(
        "newest", description="`newest`: the last messages first, then further back; `oldest`: from the start onwards."
    )
    limit: int = Field(50, ge=1, le=1000)
    include_attachments: bool = False
    include_notes: bool = False


class SinceQuery(Query):
    since: Time = Field(description="Messages that became visible strictly after this. RFC 3339, any offset.")
    limit: int = Field(100, ge=1, le=1000)
    include_attachments: bool = False
    include_notes: bool = False


class Template(Body):
    name: str = Field(max_length=512, examples=["order_ready"])
    language: str = Field(max_length=16, examples=["en_IE"])
    parameters: dict[str, list[str] | dict[str, str]] = Field(
        default_factory=dict,
        description="Values by component (`header`, `body`, `button:0`): a list, or an object for named parameters.",
        examples=[{"body": ["John", "A-1042"]}],
    )


class SendBody(Body):
    """To one of `customer_id`, `external_id`, `email`, `phone`: `content`, `attachments` or a `template`."""

    customer_id: str | None = Field(None, max_length=255, description="Our id, or the CRM's.", examples=["CRM-12345"])
    external_id: str | None = Field(None, max_length=255)
    external_system: str | None = Field(None, max_length=64)
    email: str | None = Field(None, max_length=320)
    phone: str | None = Field(None, max_length=64)
    channel: str = Field(
        max_length=20, description="`whatsapp`, `email`, `sms`, `facebook`, `instagram`.", examples=["whatsapp"]
    )
    content: str | None = Field(None, examples=["Hi! Your order is ready for pickup."])
    attachments: list[str] | None = Field(
        None, max_length=50, description="The `file_url` or `id` of files uploaded with `api-upload-attachment`."
    )
    conversation_id: Id | None = None
    channel_account_id: Id | None = Field(None, description="Which number, mailbox or page to send from.")
    subject: str | None = Field(None, max_length=500, description="E-mail.")
    template: Template | None = Field(None, description="WhatsApp: needed when the 24-hour window is closed.")
    reply_to: Id | None = Field(None, description="The message to quote; of the same conversation.")


class MessagePage(Page):
    messages: list[Message] = Field(description="Oldest first within a page.")
    newer_cursor: str | None = Field(description="Send it as `cursor`, with `order=oldest`, to get what comes after.")


class MessageAnswer(Done):
    message: Message


class SinceAnswer(Shown):
    messages: list[Message] = Field(description="Oldest first.")
    has_more: bool
    next_since: str = Field(description="Send it as the next `since`.", json_schema_extra={"format": "date-time"})


class SendAnswer(Done):
    message: Message
    message_id: str
    conversation_id: str
    status: str = Field(examples=["queued"])


@routes.post("/api-send-message", scope="send", answer=SendAnswer, status=202, errors=(404, 409))
def send(body: SendBody) -> Response:
    """Send a message

    Answers once the message is safely queued. Its status then moves from `queued` to `sent`, `delivered` and `read`, or
    to `failed` with `error`; the webhooks `message.sent` and `message.status_changed` tell. What the channel forbids is
    422 at once: `window_closed`, `opted_out`, `content_too_long`, `file_type`, `files_too_large`, `no_address` and the
    like. Where Meta lets people answer for 7 days (HUMAN_AGENT), this call has 24 hours all the same: it is a program.
    """
    message = messages.send(
        g.business,
        _recipient(body),
        channel=body.channel,
        content=body.content or "",
        attachments=attachments.usable(g.business, body.attachments or []),
        conversation=conversations.get(g.business, body.conversation_id) if body.conversation_id else None,
        account_id=body.channel_account_id,
        subject=body.subject,
        template=TemplateUse(**dict(body.template)) if body.template else None,
        reply_to=messages.get(g.business, body.reply_to) if body.reply_to else None,
        sender=Sender("api", g.caller.id, g.caller.name),
    )
    return answers.commit(lambda: _sent(message), 202)


@routes.get("/api-messages", scope="messages:read", answer=(MessagePage, MessageAnswer), errors=(404,))
def show(query: MessagesQuery) -> Response:
    """Read a conversation

    Both directions, page by page. With `id` this is that message alone, files included.
    """
    if query.id:
        row = messages.get(g.business, query.id)
        return answers.show({"success": True, "message": payloads.message(row, row.attachments)})
    if query.conversation_id is None:
        raise Invalid("Say which conversation.", code="required_field", field="conversation_id")
    conversations.get(g.business, query.conversation_id)
    onwards = query.order == "oldest"
    place = _place(query.cursor) or (EPOCH if onwards else None)
    rows, more = messages.page(
        g.business,
        conversation_id=query.conversation_id,
        limit=query.limit,
        include_notes=query.include_notes,
        **{"after" if onwards else "before": place},
    )
    edge = (rows[-1] if onwards else rows[0]) if rows and more else None
    return answers.show(
        {
            "messages": _shown(rows, query.include_attachments),
            "has_more": more,
            "next_cursor": cursors.write(edge.created_at) if edge else None,
            "newer_cursor": cursors.write(rows[-1].created_at) if rows else query.cursor,
        }
    )


@routes.get("/api-messages-since", scope="messages:read", answer=SinceAnswer)
def since(query: SinceQuery) -> Response:
    """Poll for new messages

    Ascending. Take the last `created_at` (or `next_since`) as the next `since`: you see every message exactly once,
    however many are written at the same time.
    """
    rows, more = messages.since(g.business, query.since, limit=query.limit, include_notes=query.include_notes)
    files = messages.attachments_of(g.business, [row.id for row in rows]) if query.include_attachments else None
    shown = [payloads.message(row, None if files is None else files.get(row.id, [])) for row in rows]
    following = rows[-1].created_at if rows else query.since
    return answers.show({"messages": shown, "has_more": more, "next_since": payloads.time(following)})


def _recipient(body: SendBody) -> Any:
    if body.customer_id is not None:
        return customers.resolve(g.business, body.customer_id)
    return customers.get(
        g.business,
        external_id=body.external_id,
        external_system=body.external_system,
        email=body.email,
        phone=body.phone,
    )


def _sent(message: Any) -> dict[str, Any]:
    shown = payloads.message(message, message.attachments)
    return {
        "success": True,
        "message": shown,
        "message_id": shown["id"],
        "conversation_id": shown["conversation_id"],
        "status": shown["status"],
    }


def _shown(rows: list[Any], with_files: bool) -> list[dict[str, Any]]:
    return [payloads.message(row, row.attachments if with_files else None) for row in rows]


def _place(cursor: str | None) -> datetime | None:
    try:
        return cursors.read(cursor, datetime)[0] if cursor is not None else None
    except ValueError as exc:
        raise Invalid(f"cursor: {exc}", code="invalid_field", field="cursor") from None
