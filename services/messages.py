"""Messages: send, note, list, poll. Called by the API, the inbox and the embed; the worker's side is in outbound."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.attributes import set_committed_value

import jobs
from errors import Conflict, Invalid, NotFound
from lib.ids import uuid7
from models import Attachment, Business, Conversation, Message, User, db, now, read
from services import conversations, events, parts, reach

MAX_NOTE = 20_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: `user`, `api`, `app` (the provider's own app), `automation` or `customer`.

    `typed`: a person wrote it whose name we do not know, before a screen of ours within a CRM.
    """

    kind: str
    id: UUID | None = None
    name: str = ""
    typed: bool = False

    @property
    def is_person(self) -> bool:
        return self.kind == "user" or self.typed


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A template to send: parameters by component (`header`, `body`, `button:0`), by position or by name."""

    name: str
    language: str
    parameters: dict[str, list[str] | dict[str, str]]
    preview: str = ""


def send(
    business: Business,
    customer: Any,
    *,
    channel: str,
    sender: Sender,
    content: str = "",
    attachments: Sequence[Attachment] = (),
    conversation: Conversation | None = None,
    account_id: UUID | None = None,
    subject: str | None = None,
    template: TemplateUse | None = None,
    reply_to: Message | None = None,
    client_id: str | None = None,
) -> Message:
    """Queue a message to a customer; raise `Invalid` for what the channel forbids."""
    again = _by_client_id(business, client_id)
    if again:
        return again
    if not content.strip() and not attachments and template is None:
        raise Invalid("A message needs content, an attachment or a template.", code="empty_message", field="content")
    if conversation is not None and conversation.customer_id != customer.id:
        raise NotFound("No conversation of this customer has that id.", code="conversation_not_found")
    way = reach.choose(business, customer, channel, account_id or _account_of(conversation, channel))
    reach.check(way, content=content, attachments=attachments, template=bool(template), by_person=sender.is_person)
    if template:
        reach.check_template(way, template.name, template.language)
    if conversation is None or conversation.account_id != way.account.id:
        conversation = conversations.open_for(business, customer, way.account, way.address or "", subject=subject)
    if reply_to and reply_to.conversation_id != conversation.id:
        raise Invalid("reply_to must be a message of the same conversation.", code="invalid_field", field="reply_to")
    message = new(
        conversation,
        sender,
        content=content or (template.preview or f"Template: {template.name}" if template else ""),
        kind="template" if template else "text",
        status="queued",
        extra=_extra(subject, template, sender),
        reply_to_id=reply_to.id if reply_to else None,
        client_id=client_id,
        next_attempt_at=now(),
    )
    _attach(message, attachments)
    conversations.saw_message(conversation, text_shown=preview(message, attachments), inbound=False, at=now())
    if conversation.status in ("closed", "snoozed"):
        conversations.set_status(business, conversation, "open", by=sender.name)
    events.append(business.id, "message.queued", message=message)
    jobs.ring("messages")
    return message


def note(
    business: Business, conversation: Conversation, content: str, user: User, *, client_id: str | None = None
) -> Message:
    """Write a note among the team; it never leaves."""
    again = _by_client_id(business, client_id)
    if again:
        return again
    if not content.strip() or len(content) > MAX_NOTE:
        raise Invalid(f"A note has 1 to {MAX_NOTE} characters.", code="invalid_field", field="content")
    message = new(
        conversation,
        Sender("user", user.id, user.name),
        content=content,
        status="note",
        private=True,
        client_id=client_id,
    )
    conversation.updated_at = now()
    events.append(business.id, "message.noted", message=message)
    return message


def retry(business: Business, message: Message) -> None:
    """Try a failed or unknown message once more, because a person asked for it."""
    if message.direction != "outbound" or message.status not in ("failed", "unknown"):
        raise Conflict("Only a message that failed can be tried again.", code="not_failed")
    parts.start_over(message)
    message.status, message.error, message.error_code = "queued", None, None
    message.attempts, message.next_attempt_at, message.updated_at = 0, now(), now()
    events.append(business.id, "message.changed", message=message)
    jobs.ring("messages")


def get(business: Business, message_id: UUID) -> Message:
    message = db.session.get(Message, (business.id, message_id), options=[selectinload(Message.attachments)])
    if message is None:
        raise NotFound("No message of this business has that id.", code="message_not_found")
    return message


def by_ids(business_id: UUID, ids: Collection[UUID]) -> dict[UUID, Message]:
    """Give several messages, without their files: those that others reply to."""
    if not ids:
        return {}
    query = select(Message).where(Message.business_id == business_id, Message.id.in_(ids))
    return {message.id: message for message in db.session.scalars(query)}


def page(
    business: Business,
    *,
    conversation_id: UUID | None = None,
    customer_id: UUID | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
    limit: int = 50,
    include_notes: bool = False,
    channels: Sequence[str] = (),
) -> tuple[list[Message], bool]:
    """List a conversation's messages, or a customer's on all channels, oldest first; tell whether there are more.

    Without `after` these are the newest ones (before `before`, if it is given).
    """
    query = select(Message).where(Message.business_id == business.id)
    if conversation_id:
        query = query.where(Message.conversation_id == conversation_id)
    if customer_id:
        query = query.where(Message.customer_id == customer_id)
    if not include_notes:
        query = query.where(Message.private.is_(False))
    if channels:
        query = query.where(Message.channel.in_(channels))
    if before:
        query = query.where(Message.created_at < before)
    if after:
        query = query.where(Message.created_at > after)
    order = Message.created_at.asc() if after else Message.created_at.desc()
    query = query.order_by(order).limit(limit + 1).options(selectinload(Message.attachments))
    rows = list(db.session.scalars(query))
    more, rows = len(rows) > limit, rows[:limit]
    return (rows if after else rows[::-1]), more


_COLUMNS = """id, conversation_id, customer_id, content, kind, channel, direction, status, error_code, error,
    reply_to_id, sender_kind, sender_id, sender_name, private, created_at, updated_at"""
_SINCE = f"""
    SELECT {_COLUMNS} FROM messages
    WHERE business_id = %(business_id)s AND created_at > %(since)s AND (%(notes)s OR NOT private)
    ORDER BY created_at LIMIT %(limit)s"""


def since(business: Business, at: datetime, *, limit: int, include_notes: bool = False) -> tuple[Sequence[Any], bool]:
    """List messages stamped strictly after `at`, oldest first; stamps rise as they become visible, so none is lost."""
    params = {"business_id": business.id, "since": at, "notes": include_notes, "limit": limit + 1}
    rows = read(_SINCE, params)
    return rows[:limit], len(rows) > limit


_FILES = """
    SELECT id, message_id, filename, mime, size, state, error FROM attachments
    WHERE business_id = %(business_id)s AND message_id = ANY(%(ids)s) ORDER BY position, id"""


def attachments_of(business: Business, message_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """Give the files of many messages in one statement."""
    files: dict[UUID, list[Any]] = {}
    if message_ids:
        for row in read(_FILES, {"business_id": business.id, "ids": list(message_ids)}):
            files.setdefault(row.message_id, []).append(row)
    return files


def newest_of_each(
    business: Business, conversation_ids: Sequence[UUID], *, limit: int, include_notes: bool = False
) -> dict[UUID, list[Any]]:
    """Give the newest messages of many conversations, one more than `limit` where there are more, oldest first."""
    query = f"""
        SELECT m.* FROM unnest(CAST(%(ids)s AS uuid[])) AS wanted (id) CROSS JOIN LATERAL (
            SELECT {_COLUMNS} FROM messages WHERE business_id = %(business_id)s AND conversation_id = wanted.id
            AND (%(notes)s OR NOT private) ORDER BY created_at DESC LIMIT %(limit)s) AS m"""
    params = {"business_id": business.id, "ids": list(conversation_ids), "notes": include_notes, "limit": limit + 1}
    found: dict[UUID, list[Any]] = {}
    for row in read(query, params):
        found.setdefault(row.conversation_id, []).insert(0, row)
    return found


def preview(message: Message, attachments: Sequence[Attachment] = ()) -> str:
    """Say in a line what a message holds."""
    if message.content.strip():
        return " ".join(message.content.split())
    if attachments:
        return _FILE_WORDS.get(attachments[0].mime.partition("/")[0], attachments[0].filename)
    return message.kind.replace("_", " ").capitalize()


_FILE_WORDS = {"image": "Photo", "audio": "Voice message", "video": "Video"}


def new(conversation: Conversation, sender: Sender, **columns: Any) -> Message:
    """Make a message and hold it for its stamp; outbound text unless told otherwise."""
    defaults = {
        "id": uuid7(),
        "direction": "outbound",
        "kind": "text",
        "private": False,
        "extra": {},
        "attempts": 0,
        "announced": True,
        "updated_at": now(),
    }
    message = Message(
        business_id=conversation.business_id,
        conversation_id=conversation.id,
        customer_id=conversation.customer_id,
        account_id=conversation.account_id,
        channel=conversation.channel,
        sender_kind=sender.kind,
        sender_id=sender.id,
        sender_name=sender.name,
        **(defaults | columns),
    )
    events.hold(message)
    return message


def _extra(subject: str | None, template: TemplateUse | None, sender: Sender) -> dict[str, Any]:
    found = {"subject": subject, "template": asdict(template) if template else None, "typed": sender.typed}
    return {name: value for name, value in found.items() if value}


def _attach(message: Message, attachments: Sequence[Attachment]) -> None:
    for position, attachment in enumerate(attachments):
        attachment.message_id, attachment.position = message.id, position
    set_committed_value(message, "attachments", list(attachments))


def _by_client_id(business: Business, client_id: str | None) -> Message | None:
    if client_id is None:
        return None
    query = select(Message).where(Message.business_id == business.id, Message.client_id == client_id)
    return db.session.scalar(query.options(selectinload(Message.attachments)))


def _account_of(conversation: Conversation | None, channel: str) -> UUID | None:
    return conversation.account_id if conversation and conversation.channel == channel else None
