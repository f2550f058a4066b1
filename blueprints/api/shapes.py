"""The objects that answers and webhooks show, as models: they document what `services.payloads` writes.

Nothing is serialised through them; the tests hold real answers against them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ChannelKind = Literal["whatsapp", "email", "sms", "facebook", "instagram"]
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"}, examples=["019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2025-11-04T09:00:00.123456Z"])]


class Shown(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid")


class Customer(Shown):
    """A person that the business talks to."""

    id: Id
    name: str = Field(examples=["John Doe"])
    first_name: str | None = Field(examples=["John"])
    last_name: str | None = Field(examples=["Doe"])
    email: str | None = Field(description="Lower case.", examples=["john@example.com"])
    phone: str | None = Field(description="E.164.", examples=["+353871234567"])
    whatsapp_number: str | None = Field(description="E.164.", examples=["+353871234567"])
    external_id: str | None = Field(description="The first id that a CRM gave.", examples=["CRM-12345"])
    external_system: str | None = Field(description="The CRM that gave it.", examples=["salesforce"])
    external_ids: dict[str, str] = Field(
        description="The ids in all systems, by system.", examples=[{"salesforce": "CRM-12345"}]
    )
    address: str | None = Field(examples=["123 Main St, Dublin"])
    notes: str | None = Field(examples=["VIP customer"])
    tags: list[str] = Field(examples=[["vip"]])
    custom_fields: dict[str, Any] = Field(examples=[{"crm_segment": "enterprise", "contract_value": 50000}])
    created_at: Time
    updated_at: Time


class UserRef(Shown):
    id: Id
    name: str = Field(examples=["Alice Byrne"])
    email: str = Field(examples=["alice@example.com"])


class Attachment(Shown):
    """A file. Its `url` and `download_url` open without a header until they expire; `file_url` needs a key."""

    id: Id
    filename: str = Field(examples=["receipt.pdf"])
    type: str = Field(description="MIME type.", examples=["application/pdf"])
    size: int = Field(description="Bytes.", examples=[52468])
    url: str
    file_url: str = Field(description="Name a file by this in `attachments` when you send.")
    download_url: str
    state: Literal["pending", "failed"] = Field(
        default="pending", description="Only there while the file is not: it is on its way, or could not be had."
    )
    error: str | None = Field(default=None, description="Why it could not be had.")


class MessageError(Shown):
    code: str | None = Field(examples=["131047"])
    message: str = Field(examples=["More than 24 hours have passed since the customer last replied."])


class Sender(Shown):
    type: Literal["customer", "user", "api", "app", "automation"] = Field(
        description="`app` is the provider's own app on the owner's phone."
    )
    id: Id | None
    name: str


class Message(Shown):
    """One message, inbound or outbound."""

    id: Id
    conversation_id: Id
    customer_id: Id
    content: str = Field(examples=["Hello, I need help with my order"])
    type: str = Field(
        description="`text`, `image`, `video`, `audio`, `file`, `sticker`, `location`, `contacts`, `order`, `story`, "
        "`template`, `system` or `unsupported`; more may come.",
        examples=["text"],
    )
    channel: ChannelKind
    platform: ChannelKind = Field(description="The same as `channel`.")
    direction: Literal["inbound", "outbound"]
    status: Literal["received", "queued", "sending", "sent", "delivered", "read", "failed", "unknown", "note"] = Field(
        description="Inbound: `received`. Outbound: `queued`, `sending`, `sent`, `delivered`, `read`, or `failed` with "
        "`error`. `unknown`: the provider's answer was lost, so it may have gone out."
    )
    error: MessageError | None
    reply_to: Id | None = Field(description="The message that this one quotes.")
    sender: Sender
    created_at: Time = Field(description="When it became visible; rises strictly within a business.")
    updated_at: Time
    private: bool = Field(default=False, description="A note among the team; only there if you ask for notes.")
    attachments: list[Attachment] = Field(
        default_factory=list, description="Left out of lists unless you ask with `include_attachments`."
    )


class Conversation(Shown):
    """What one customer and the business said on one channel account."""

    id: Id
    number: int = Field(description="Counts up per business; what agents call it by.", examples=[1042])
    customer_id: Id
    channel: ChannelKind
    channel_account_id: Id
    whatsapp_account_id: Id | None = Field(description="The same, on WhatsApp; null elsewhere.")
    status: Literal["open", "pending", "snoozed", "closed"]
    subject: str | None
    assignee: UserRef | None
    tags: list[str]
    unread_count: int = Field(examples=[0])
    snoozed_until: Time | None
    last_message_at: Time
    created_at: Time
    updated_at: Time


class Error(Shown):
    """What went wrong."""

    code: str = Field(description="For programs; stays the same.", examples=["invalid_field"])
    message: str = Field(description="For people.", examples=["email: is not an email address"])
    field: str | None = Field(default=None, examples=["customers[3].email"])
    details: Any = Field(default=None, description="More for programs, where there is more.")


class Problem(Shown):
    """Every answer from 400 up has this form."""

    success: Literal[False]
    error: Error
    request_id: str | None = Field(description="Tell it to support; it is in `X-Request-Id` too.")


class Done(Shown):
    success: Literal[True]


class Deleted(Done):
    id: Id


class Page(Shown):
    has_more: bool
    next_cursor: str | None = Field(description="Send it as `cursor` to get the next page; null at the end.")
