"""`db` and the tables: columns, relations, one-line questions; no verbs, no JSON. Read by every floor above.

Every row carries its business, and every foreign key is `(business_id, id)`: a row cannot point into another
business. Keys are UUIDv7, so they sort by time; the order of messages and events is docs/decisions/0003-order.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import current_app
from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Computed,
    Connection,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship

from lib.ids import uuid7

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    registry = registry(
        metadata=metadata,
        type_annotation_map={
            str: Text,
            datetime: DateTime(timezone=True),
            dict[str, Any]: JSONB,
            list[str]: ARRAY(Text),
            bytes: LargeBinary,
        },
    )


# Nothing is flushed before its time: order stamps are given out last, and answers are rendered before the commit.
db = SQLAlchemy(model_class=Base, session_options={"autoflush": False, "expire_on_commit": False})


@contextmanager
def reading() -> Iterator[Connection]:
    """Give a connection for one read outside any transaction: it saves a session's two extra round trips."""
    with current_app.extensions["read_engine"].connect() as connection:
        yield connection


def read(query: str, params: Mapping[str, Any]) -> list[Any]:
    """Run one of the hottest statements; rows are named tuples. Its parameters are written `%(name)s`."""
    return current_app.extensions["at_once"].run(query, params)  # type: ignore[no-any-return]


write_at_once = read  # the same way; where the database's answer was lost, a statement is said twice
IN_WORK = "status IN ('open', 'pending')"
WAITING = "state = 'pending'"


def now() -> datetime:
    return datetime.now(UTC)


def _id() -> Mapped[UUID]:
    return mapped_column(primary_key=True, default=uuid7)


def _business() -> Mapped[UUID]:
    return mapped_column(ForeignKey("businesses.id", ondelete="CASCADE"), primary_key=True)


def _to(table: str, column: str, *, ondelete: str | None = None, deferred: bool = False) -> ForeignKeyConstraint:
    """Point to a row of the same business. `SET NULL` clears the column alone, never the business."""
    if ondelete == "SET NULL":
        ondelete = f"SET NULL ({column})"
    return ForeignKeyConstraint(
        ["business_id", column],
        [f"{table}.business_id", f"{table}.id"],
        ondelete=ondelete,
        deferrable=deferred or None,
        initially="DEFERRED" if deferred else None,
    )


class Business(db.Model):
    __tablename__ = "businesses"
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    default_region: Mapped[str] = mapped_column(default="IE")
    timezone: Mapped[str] = mapped_column(default="Europe/Dublin")
    crm_name: Mapped[str] = mapped_column(default="")
    crm_record_url: Mapped[str] = mapped_column(default="")  # with {external_id}
    embed_origins: Mapped[list[str]] = mapped_column(default=list)
    embed_cut_off_at: Mapped[datetime | None]  # embed tokens issued before this are dead
    created_at: Mapped[datetime] = mapped_column(default=now)


class BusinessClock(db.Model):
    """The last stamps given out. Whoever updates the row holds the business's order until it commits."""

    __tablename__ = "business_clocks"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)
    business_id: Mapped[UUID] = _business()
    last_at: Mapped[datetime] = mapped_column(default=now)
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    last_conversation: Mapped[int] = mapped_column(default=0)


class User(UserMixin, db.Model):
    """An agent or an admin."""

    __tablename__ = "users"
    __table_args__ = (Index("uq_users_email", text("lower(email)"), unique=True), UniqueConstraint("id"))
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str] = mapped_column(default="agent")  # agent admin
    password_hash: Mapped[str | None]
    session_epoch: Mapped[int] = mapped_column(default=0)  # counted up to end all sessions
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict)
    deactivated_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    business: Mapped[Business] = relationship()
    session_id = ""  # the session that this one was loaded for

    @property
    def is_active(self) -> bool:
        return self.deactivated_at is None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def get_id(self) -> str:
        """Name the session; counting `session_epoch` up makes every older one unknown."""
        return f"{self.id}:{self.session_epoch}:{self.session_id}"


class EndedSession(db.Model):
    """A session that was signed out of, kept until its cookie has run out: an answer under way may set that again."""

    __tablename__ = "ended_sessions"
    __table_args__ = (Index("ix_ended_sessions_ended", "ended_at"),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[str] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime] = mapped_column(default=now)


class ApiKey(db.Model):
    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("public_id"),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    public_id: Mapped[str]  # the part of the key that stands in clear
    name: Mapped[str]
    secret_hash: Mapped[bytes]
    preview: Mapped[str]
    scopes: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Customer(db.Model):
    __tablename__ = "customers"
    __table_args__ = (
        Index("ix_customers_updated", "business_id", "updated_at", "id"),
        Index("ix_customers_email", "business_id", "email", postgresql_where=text("email IS NOT NULL")),
        Index("ix_customers_phone", "business_id", "phone", postgresql_where=text("phone IS NOT NULL")),
        Index("ix_customers_tags", "tags", postgresql_using="gin"),
        Index("ix_customers_search", "search", postgresql_using="gin", postgresql_ops={"search": "gin_trgm_ops"}),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    whatsapp_number: Mapped[str | None]
    external_id: Mapped[str | None]  # the first one linked; identities hold them all
    external_system: Mapped[str | None]
    external_ids: Mapped[dict[str, Any]] = mapped_column(default=dict)  # system → id
    address: Mapped[str | None]
    notes: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(default=list)
    custom_fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    search: Mapped[str] = mapped_column(default="")  # what people type to find someone, lower-case
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Identity(db.Model):
    """One handle that finds a customer. `scope` is the CRM's name of an external id, or the page of a scoped id."""

    __tablename__ = "identities"
    __table_args__ = (
        _to("customers", "customer_id", ondelete="CASCADE"),
        Index("ix_identities_customer", "business_id", "customer_id"),
    )
    business_id: Mapped[UUID] = _business()
    kind: Mapped[str] = mapped_column(primary_key=True)  # external_id email phone whatsapp facebook instagram
    value: Mapped[str] = mapped_column(primary_key=True)  # the key to match by, see lib.addresses
    scope: Mapped[str] = mapped_column(primary_key=True, default="")
    customer_id: Mapped[UUID]
    shared: Mapped[bool] = mapped_column(default=False)  # another customer holds it as a plain field
    created_at: Mapped[datetime] = mapped_column(default=now)


class CustomerAlias(db.Model):
    """The id of a customer that was merged away; it goes on finding the one that was kept."""

    __tablename__ = "customer_aliases"
    __table_args__ = (
        _to("customers", "customer_id", ondelete="CASCADE"),
        Index("ix_customer_aliases_customer", "business_id", "customer_id"),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    merged_at: Mapped[datetime] = mapped_column(default=now)


class ChannelAccount(db.Model):
    """One connected number, mailbox or page."""

    __tablename__ = "channel_accounts"
    __table_args__ = (
        UniqueConstraint("id"),
        Index(
            "uq_channel_accounts_key",
            "business_id",
            "kind",
            "account_key",
            unique=True,
            postgresql_where=text("disconnected_at IS NULL"),
        ),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    kind: Mapped[str]
    name: Mapped[str]
    account_key: Mapped[str]  # the provider's own id of it
    address: Mapped[str]  # what customers write to
    config: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secrets: Mapped[str]  # JSON, encrypted
    state: Mapped[str] = mapped_column(default="connected")  # connected attention paused disconnected
    state_reason: Mapped[str | None]
    last_inbound_at: Mapped[datetime | None]
    last_outbound_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    last_error_at: Mapped[datetime | None]
    token_expires_at: Mapped[datetime | None]
    disconnected_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class MessageTemplate(db.Model):
    """A template as the provider last described it."""

    __tablename__ = "message_templates"
    __table_args__ = (_to("channel_accounts", "account_id", ondelete="CASCADE"),)
    business_id: Mapped[UUID] = _business()
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    synced_at: Mapped[datetime] = mapped_column(default=now)


class Callback(db.Model):
    """What a provider sent, as it came: the only copy, since nobody can ask for it again."""

    __tablename__ = "callbacks"
    __table_args__ = (
        _to("channel_accounts", "account_id", ondelete="CASCADE"),
        Index("ix_callbacks_due", "next_attempt_at", postgresql_where=text("processed_at IS NULL")),
        Index("ix_callbacks_received", "received_at"),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    account_id: Mapped[UUID]
    url: Mapped[str]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    received_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)
    processed_at: Mapped[datetime | None]
    error: Mapped[str | None]


class Mailbox(db.Model):
    """How far a mailbox that we look into is read, and which process looks."""

    __tablename__ = "mailboxes"
    __table_args__ = (_to("channel_accounts", "account_id", ondelete="CASCADE"),)
    business_id: Mapped[UUID] = _business()
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[dict[str, Any]]  # the channel's own words
    watcher: Mapped[UUID | None]
    watched_until: Mapped[datetime | None]
    error: Mapped[str | None]  # while it cannot be read


class Conversation(db.Model):
    """One customer on one channel account."""

    __tablename__ = "conversations"
    __table_args__ = (
        _to("customers", "customer_id", ondelete="CASCADE"),
        _to("channel_accounts", "account_id"),
        _to("users", "assignee_id", ondelete="SET NULL"),
        UniqueConstraint("business_id", "number"),
        Index("ix_conversations_status", "business_id", "status", "last_message_at", "id"),
        Index("ix_conversations_open", "business_id", "last_message_at", "id", postgresql_where=text(IN_WORK)),
        Index(
            "ix_conversations_open_assignee",
            "business_id",
            "assignee_id",
            "last_message_at",
            "id",
            postgresql_where=text(IN_WORK),
        ),
        Index("ix_conversations_customer", "business_id", "customer_id", "last_message_at", "id"),
        Index("ix_conversations_snoozed", "snoozed_until", postgresql_where=text("status = 'snoozed'")),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    number: Mapped[int]  # counts up per business; stamped at commit
    customer_id: Mapped[UUID]
    account_id: Mapped[UUID]
    channel: Mapped[str]
    address: Mapped[str]  # what to answer to, exactly as it came in
    status: Mapped[str] = mapped_column(default="open")  # open pending snoozed closed
    subject: Mapped[str | None]
    assignee_id: Mapped[UUID | None]
    tags: Mapped[list[str]] = mapped_column(default=list)
    unread_count: Mapped[int] = mapped_column(default=0)
    preview: Mapped[str] = mapped_column(default="")
    last_direction: Mapped[str | None]
    last_message_at: Mapped[datetime] = mapped_column(default=now)
    last_inbound_at: Mapped[datetime | None]  # opens the channel's reply window
    waiting_since: Mapped[datetime | None]  # the first customer message nobody has answered
    snoozed_until: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    thread: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the channel's own notes (email: references)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    customer: Mapped[Customer] = relationship(viewonly=True)
    account: Mapped[ChannelAccount] = relationship(viewonly=True)
    assignee: Mapped[User | None] = relationship(viewonly=True)


class Message(db.Model):
    __tablename__ = "messages"
    __table_args__ = (
        _to("conversations", "conversation_id", ondelete="CASCADE", deferred=True),
        _to("customers", "customer_id", ondelete="CASCADE"),
        UniqueConstraint("business_id", "created_at"),
        Index("ix_messages_conversation", "business_id", "conversation_id", "created_at"),
        Index("ix_messages_customer", "business_id", "customer_id", "created_at"),
        Index("ix_messages_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
        Index(
            "uq_messages_client_id",
            "business_id",
            "client_id",
            unique=True,
            postgresql_where=text("client_id IS NOT NULL"),
        ),
        Index("ix_messages_search", "search", postgresql_using="gin"),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    conversation_id: Mapped[UUID]
    customer_id: Mapped[UUID]
    account_id: Mapped[UUID]
    channel: Mapped[str]
    direction: Mapped[str]  # inbound outbound
    kind: Mapped[str] = mapped_column(default="text")
    private: Mapped[bool] = mapped_column(default=False)  # a note among the team
    status: Mapped[str]  # received | queued sending sent delivered read failed unknown | note
    announced: Mapped[bool] = mapped_column(default=True)  # false while message.received waits for its files
    content: Mapped[str] = mapped_column(default="")
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)  # location, contacts, html, template, reactions, …
    sender_kind: Mapped[str]  # customer user api app (the provider's own app) automation
    sender_id: Mapped[UUID | None]
    sender_name: Mapped[str] = mapped_column(default="")
    reply_to_id: Mapped[UUID | None]
    client_id: Mapped[str | None]  # made by a screen, so that a repeated post is one message
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]  # set while the worker owes it a try; a lease moves it forward
    provider_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]  # stamped at commit, strictly rising within a business
    updated_at: Mapped[datetime] = mapped_column(default=now)
    search: Mapped[str] = mapped_column(
        TSVECTOR, Computed("to_tsvector('simple', left(content, 100000))", persisted=True), deferred=True
    )
    attachments: Mapped[list[Attachment]] = relationship(viewonly=True, order_by="Attachment.position")
    conversation: Mapped[Conversation] = relationship(viewonly=True)


class ProviderId(db.Model):
    """Which message a provider means. Its key is what makes a repeated callback harmless."""

    __tablename__ = "provider_ids"
    __table_args__ = (
        _to("messages", "message_id", ondelete="CASCADE", deferred=True),
        Index("ix_provider_ids_message", "business_id", "message_id"),
    )
    business_id: Mapped[UUID] = _business()
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[UUID]


class ParkedReceipt(db.Model):
    """A status that came before the message it speaks of was known."""

    __tablename__ = "parked_receipts"
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    account_id: Mapped[UUID]
    provider_id: Mapped[str] = mapped_column(index=True)
    receipt: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Attachment(db.Model):
    __tablename__ = "attachments"
    __table_args__ = (
        _to("messages", "message_id", ondelete="CASCADE", deferred=True),
        UniqueConstraint("id"),
        Index("ix_attachments_message", "business_id", "message_id"),
        Index("ix_attachments_due", "next_attempt_at", postgresql_where=text("next_attempt_at IS NOT NULL")),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    message_id: Mapped[UUID | None]  # none while it is only uploaded
    position: Mapped[int] = mapped_column(default=0)
    filename: Mapped[str]
    mime: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(default="ready")  # ready pending failed erased
    error: Mapped[str | None]  # in words, when it could not be had
    storage_key: Mapped[str | None]
    source: Mapped[dict[str, Any]] = mapped_column(default=dict)  # where the provider keeps it
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Event(db.Model):
    """A fact, in the order in which it became visible. `body` is the webhook, rendered once."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("business_id", "id"),
        Index("ix_events_customer", "business_id", "customer_id", "sequence"),
        Index("ix_events_created", "business_id", "created_at"),
    )
    business_id: Mapped[UUID] = _business()
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(default=uuid7)
    type: Mapped[str]
    created_at: Mapped[datetime]
    customer_id: Mapped[UUID | None]
    conversation_id: Mapped[UUID | None]
    message_id: Mapped[UUID | None]
    channel: Mapped[str | None]
    direction: Mapped[str | None]
    body: Mapped[bytes]


class WebhookEndpoint(db.Model):
    __tablename__ = "webhook_endpoints"
    __table_args__ = (UniqueConstraint("id"),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    url: Mapped[str]
    events: Mapped[list[str]]
    channels: Mapped[list[str]] = mapped_column(default=list)  # empty: all
    direction: Mapped[str | None]  # inbound outbound, or both
    headers: Mapped[str | None]  # JSON, encrypted: custom headers often hold a credential
    secret: Mapped[str]  # encrypted, as are the next two
    previous_secret: Mapped[str | None]
    rotation_ends_at: Mapped[datetime | None]
    new_secret_accepted: Mapped[bool] = mapped_column(default=True)
    policy: Mapped[str] = mapped_column(default="standard")  # standard extended
    ordered: Mapped[bool] = mapped_column(default=False)
    timeout: Mapped[int] = mapped_column(default=15)  # seconds in all
    state: Mapped[str] = mapped_column(default="active")  # active paused disabled draft (for tests) deleted
    state_reason: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    is_crm: Mapped[bool] = mapped_column(default=False)  # the one of Business Settings → CRM Integration
    api_version: Mapped[str] = mapped_column(default="2025-11-04")
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Delivery(db.Model):
    """One event to one endpoint."""

    __tablename__ = "deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["business_id", "event_sequence"], ["events.business_id", "events.sequence"], ondelete="CASCADE"
        ),
        _to("webhook_endpoints", "endpoint_id", ondelete="CASCADE"),
        Index("ix_deliveries_due", "endpoint_id", "next_attempt_at", "id", postgresql_where=text(WAITING)),
        Index("ix_deliveries_log", "business_id", "endpoint_id", "id"),
        Index("ix_deliveries_type", "business_id", "endpoint_id", "event_type", "id"),
        Index("ix_deliveries_event", "business_id", "event_sequence"),
        Index("ix_deliveries_order", "endpoint_id", "order_key", "event_sequence", postgresql_where=text(WAITING)),
        Index("ix_deliveries_failed", "endpoint_id", "event_sequence", postgresql_where=text("state = 'failed'")),
        Index("ix_deliveries_created", "created_at", postgresql_using="brin"),  # for trimming alone
        Index("ix_deliveries_tests", "endpoint_id", postgresql_where=text("state = 'pending' AND reason = 'test'")),
        {"postgresql_with": {"fillfactor": "80"}},
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    endpoint_id: Mapped[UUID]
    event_sequence: Mapped[int] = mapped_column(BigInteger)
    event_type: Mapped[str]
    order_key: Mapped[UUID | None]  # the conversation, for endpoints in ordered mode
    reason: Mapped[str] = mapped_column(default="live")  # live replay test
    replay_id: Mapped[UUID | None]
    state: Mapped[str] = mapped_column(default="pending")  # pending delivered failed cancelled
    attempt_count: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=now)  # a lease moves it forward
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    event: Mapped[Event] = relationship(viewonly=True)
    endpoint: Mapped[WebhookEndpoint] = relationship(viewonly=True)


class Attempt(db.Model):
    """One HTTP request of a delivery. `part` counts the second signature of a secret's rotation."""

    __tablename__ = "attempts"
    __table_args__ = (_to("deliveries", "delivery_id", ondelete="CASCADE"), Index("ix_attempts_started", "started_at"))
    business_id: Mapped[UUID] = _business()
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, default=1)
    started_at: Mapped[datetime]
    duration_ms: Mapped[int]
    status: Mapped[int | None]
    error_kind: Mapped[str | None]  # dns refused tls timeout reset blocked redirect client_error server_error …
    error: Mapped[str | None]
    url: Mapped[str | None]  # the endpoint's at that time; older rows have none
    address: Mapped[str | None]
    request_headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    response_headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    response: Mapped[bytes | None]  # the first 2 KB


class Replay(db.Model):
    """Deliveries made anew of events told before: in small steps, so that live ones never wait behind them."""

    __tablename__ = "replays"
    __table_args__ = (
        _to("webhook_endpoints", "endpoint_id", ondelete="CASCADE"),
        Index("ix_replays_endpoint", "business_id", "endpoint_id", "id"),
        Index("ix_replays_running", "id", postgresql_where=text("state = 'running'")),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    endpoint_id: Mapped[UUID]
    what: Mapped[str]  # chosen (deliveries by id), failed, events (all that the endpoint wants)
    chosen: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), default=list)  # sequences
    since: Mapped[datetime | None]
    until: Mapped[datetime]
    after: Mapped[int] = mapped_column(BigInteger, default=0)  # the last sequence taken
    total: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="running")  # running done stopped
    created_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class IdempotencyRecord(db.Model):
    """The first answer to a POST that carried an `Idempotency-Key`, kept for a day."""

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("ix_idempotency_records_created", "created_at"),)
    business_id: Mapped[UUID] = _business()
    api_key_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    status: Mapped[int]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=now)


class ApiCall(db.Model):
    """One line of the usage log; written in bulk, away from the request."""

    __tablename__ = "api_calls"
    __table_args__ = (Index("ix_api_calls_key", "business_id", "api_key_id", "id"), Index("ix_api_calls_at", "at"))
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = mapped_column(primary_key=True)  # the request id
    api_key_id: Mapped[UUID | None]
    at: Mapped[datetime]
    method: Mapped[str]
    path: Mapped[str]
    query: Mapped[str] = mapped_column(default="")
    status: Mapped[int]
    duration_ms: Mapped[float]
    error_code: Mapped[str | None]
    address: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")


class EmbedSession(db.Model):
    """One open iframe. The page alone holds its secret."""

    __tablename__ = "embed_sessions"
    __table_args__ = (
        _to("customers", "customer_id", ondelete="CASCADE"),
        UniqueConstraint("secret_hash"),
        Index("ix_embed_sessions_token", "business_id", "token_id"),
        Index("ix_embed_sessions_expires", "expires_at"),
    )
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    secret_hash: Mapped[bytes]
    token_id: Mapped[UUID]  # jti
    api_key_id: Mapped[UUID]
    customer_id: Mapped[UUID]
    scope: Mapped[str]
    agent_id: Mapped[UUID | None]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(default=now)
    origin: Mapped[str] = mapped_column(default="")


class RevokedToken(db.Model):
    """Embed tokens that died before their time: one (`token_id`), or all of a customer issued until then."""

    __tablename__ = "revoked_tokens"
    __table_args__ = (Index("ix_revoked_tokens_customer", "business_id", "customer_id"),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    token_id: Mapped[UUID | None] = mapped_column(index=True)
    customer_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class CannedReply(db.Model):
    __tablename__ = "canned_replies"
    __table_args__ = (UniqueConstraint("business_id", "shortcut"),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    shortcut: Mapped[str]
    title: Mapped[str] = mapped_column(default="")
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Draft(db.Model):
    """What an agent has typed and not sent, per conversation and mode."""

    __tablename__ = "drafts"
    __table_args__ = (
        _to("conversations", "conversation_id", ondelete="CASCADE"),
        _to("users", "user_id", ondelete="CASCADE"),
    )
    business_id: Mapped[UUID] = _business()
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)  # reply note
    body: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Notice(db.Model):
    """Something an admin should know and can act on."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_open", "business_id", "id", postgresql_where=text("dismissed_at IS NULL")),)
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    kind: Mapped[str]
    subject_id: Mapped[UUID | None]
    text: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    dismissed_at: Mapped[datetime | None]


class AuditEntry(db.Model):
    """Who changed what in the settings."""

    __tablename__ = "audit_entries"
    business_id: Mapped[UUID] = _business()
    id: Mapped[UUID] = _id()
    at: Mapped[datetime] = mapped_column(default=now, server_default=func.now())
    actor_kind: Mapped[str]  # user api_key system
    actor_id: Mapped[UUID | None]
    actor_name: Mapped[str] = mapped_column(default="")
    action: Mapped[str]  # "api_key.created"
    subject_id: Mapped[str] = mapped_column(default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
