"""The events that webhooks and `api-events` carry, as models: they document what `services.payloads` writes."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from blueprints.api.shapes import Attachment, ChannelKind, Conversation, Customer, Id, Message, Shown, Time, UserRef
from services import events

HEADERS = {
    "X-Webhook-Signature": 'HMAC-SHA256 of `timestamp + "." + body` with the endpoint\'s secret, in lower-case hex.',
    "X-Webhook-Timestamp": "Unix seconds of this attempt.",
    "X-Webhook-Id": "The event's id: the same in every attempt, so deduplicate by it.",
    "X-Webhook-Event": "The event's type.",
    "X-Webhook-Attempt": "1, 2, …",
    "X-Webhook-Version": "The form of the body, as a date: that of the time when the endpoint was made.",
    "X-Webhook-Replay": "`true` in a replay or a backfill: somebody had it sent again, or for the first time to you.",
    "webhook-id": "These three are those of Standard Webhooks.",
    "webhook-timestamp": "As X-Webhook-Timestamp.",
    "webhook-signature": "`v1,` and the base64 signature; two of them while a secret is rotated.",
}


class Data(Shown):
    """What an event tells, nested and flat at once."""

    model_config = ConfigDict(extra="allow")


class MessageData(Data):
    message: Message
    customer: Customer
    conversation: Conversation
    attachments: list[Attachment]
    message_id: Id
    conversation_id: Id
    customer_id: Id
    external_id: str | None
    content: str = Field(description="Cut to keep the body under 100 KB; then `content_truncated` is true.")
    channel: ChannelKind
    direction: str
    status: str
    created_at: Time


class ConversationData(Data):
    conversation: Conversation
    customer: Customer
    conversation_id: Id
    customer_id: Id
    external_id: str | None
    channel: ChannelKind
    status: str
    assignee: UserRef | None
    created_at: Time


class CustomerData(Data):
    customer: Customer
    customer_id: Id
    external_id: str | None
    created_at: Time


class OtherData(Data):
    customer_id: Id | None = None


class Envelope(Shown):
    id: Id
    event: str
    timestamp: Time
    business_id: Id


class MessageEvent(Envelope):
    data: MessageData


class ConversationEvent(Envelope):
    data: ConversationData


class CustomerEvent(Envelope):
    data: CustomerData


class OtherEvent(Envelope):
    data: OtherData


_MODELS: dict[str, Any] = {"message": MessageEvent, "conversation": ConversationEvent, "customer": CustomerEvent}
_OTHERS = {"customer.deleted", "customer.merged", "webhook.test"}
EVENTS = {
    name: (text, OtherEvent if name in _OTHERS else _MODELS[name.partition(".")[0]])
    for name, text in events.TYPES.items()
}
