"""Conversations: a customer's, for a CRM's screen; all of them, by filter; and what may be changed about one."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Cursor, Id, Query, Time
from blueprints.api.routing import Routes
from blueprints.api.shapes import ChannelKind, Conversation, Customer, Done, Message, Page
from errors import Invalid
from lib import cursors
from services import conversation_lists, conversations, customers, messages, payloads, team

routes = Routes("Conversations")

MESSAGES_EACH = 100
Status = Literal["open", "pending", "snoozed", "closed"]


class ByCustomerQuery(Query):
    """Whose: one of `customer_id`, `external_id`, `email`, `phone`."""

    customer_id: str | None = Field(None, max_length=255, description="Our id, or the CRM's.")
    external_id: str | None = Field(None, max_length=255, examples=["CRM-12345"])
    external_system: str | None = Field(None, max_length=64)
    email: str | None = Field(None, max_length=320)
    phone: str | None = Field(None, max_length=64)
    channel: ChannelKind | None = None
    status: Status | None = None
    include_messages: bool = Field(False, description="The newest 100 messages of each, oldest first.")
    include_attachments: bool = Field(False, description="With their files.")
    include_notes: bool = Field(False, description="With the team's private notes.")
    cursor: Cursor | None = None
    limit: int = Field(50, ge=1, le=200)


class ConversationsQuery(Query):
    """All filters together; `id` gives one conversation."""

    id: Id | None = None
    status: Status | None = None
    channel: ChannelKind | None = None
    channel_account_id: Id | None = None
    assignee_id: Id | None = None
    customer_id: Id | None = None
    tag: str | None = Field(None, max_length=64)
    q: str | None = Field(None, max_length=200, description="Words of the messages, the customer or the subject.")
    unread: bool = Field(False, description="Only those with unread messages.")
    cursor: Cursor | None = None
    limit: int = Field(50, ge=1, le=1000)


class ConversationQuery(Query):
    id: Id


class ConversationChange(Body):
    """What is left out stays as it is."""

    status: Status | None = Field(None, description="`snoozed` needs `snoozed_until`.", examples=["closed"])
    snoozed_until: Time | None = None
    assignee_id: Id | None = Field(None, description="A user's id; `null` assigns nobody.")
    tags: list[str] | None = Field(None, max_length=50, description="Replaces all tags.")


class ConversationWithMessages(Conversation):
    messages: list[Message] = Field(default_factory=list, description="With `include_messages`.")
    messages_has_more: bool = Field(default=False, description="There are older ones.")
    messages_cursor: str | None = Field(default=None, description="`cursor` of `api-messages`, which gives them.")


class ByCustomerAnswer(Page):
    customer: Customer
    conversations: list[ConversationWithMessages] = Field(description="The one with the newest message first.")


class ConversationPage(Page):
    conversations: list[Conversation]


class ConversationAnswer(Done):
    conversation: Conversation


@routes.get("/api-conversations-by-customer", scope="messages:read", answer=ByCustomerAnswer, errors=(404, 409))
def by_customer(query: ByCustomerQuery) -> Response:
    """Get all conversations of a customer

    On all channels; add `include_messages` for what was said.
    """
    customer = _customer(query)
    rows, cursor = conversation_lists.page(
        g.business,
        customer_id=customer.id,
        channel=query.channel,
        status=query.status,
        cursor=query.cursor,
        limit=query.limit,
    )
    shown = [payloads.conversation(row, row.assignee) for row in rows]
    if query.include_messages:
        _add_messages(shown, [row.id for row in rows], query)
    return answers.show(
        {
            "customer": payloads.customer(customer),
            "conversations": shown,
            "has_more": cursor is not None,
            "next_cursor": cursor,
        }
    )


@routes.get("/api-conversations", scope="messages:read", answer=(ConversationPage, ConversationAnswer), errors=(404,))
def show(query: ConversationsQuery) -> Response:
    """List conversations

    The one with the newest message first. With `id` this is that conversation alone.
    """
    if query.id:
        row = conversations.get(g.business, query.id)
        return answers.show({"success": True, "conversation": payloads.conversation(row, row.assignee)})
    filters = query.model_dump(exclude={"id", "channel_account_id"}) | {"account_id": query.channel_account_id}
    rows, cursor = conversation_lists.page(g.business, **filters)
    return answers.show(
        {
            "conversations": [payloads.conversation(row, row.assignee) for row in rows],
            "has_more": cursor is not None,
            "next_cursor": cursor,
        }
    )


@routes.patch("/api-conversations", scope="send", answer=ConversationAnswer, errors=(404,))
def change(query: ConversationQuery, body: ConversationChange) -> Response:
    """Change a conversation

    Its status, whom it is assigned to, its tags.
    """
    row, said = conversations.get(g.business, query.id), body.model_fields_set
    assignee = row.assignee
    if "assignee_id" in said:
        assignee = team.get(g.business, body.assignee_id) if body.assignee_id else None
        conversations.assign(g.business, row, assignee, by=g.caller.name)
    if body.tags is not None:
        conversations.set_tags(g.business, row, body.tags)
    if body.status or body.snoozed_until:
        if body.status not in ("snoozed", None) and body.snoozed_until:
            raise Invalid("Only a snoozed conversation has snoozed_until.", field="snoozed_until")
        conversations.set_status(
            g.business, row, body.status or "snoozed", snoozed_until=body.snoozed_until, by=g.caller.name
        )
    return answers.commit(lambda: {"success": True, "conversation": payloads.conversation(row, assignee)})


def _customer(query: Any) -> Any:
    if query.customer_id is not None:
        return customers.resolve(g.business, query.customer_id)
    return customers.get(
        g.business,
        external_id=query.external_id,
        external_system=query.external_system,
        email=query.email,
        phone=query.phone,
    )


def _add_messages(shown: list[dict[str, Any]], ids: list[Any], query: ByCustomerQuery) -> None:
    found = messages.newest_of_each(g.business, ids, limit=MESSAGES_EACH, include_notes=query.include_notes)
    kept = {key: rows[-MESSAGES_EACH:] for key, rows in found.items()}
    files = {}
    if query.include_attachments:
        files = messages.attachments_of(g.business, [row.id for rows in kept.values() for row in rows])
    for conversation, key in zip(shown, ids, strict=True):
        rows = kept.get(key, [])
        more = len(found.get(key, [])) > MESSAGES_EACH
        conversation["messages"] = [
            payloads.message(row, files.get(row.id, []) if query.include_attachments else None) for row in rows
        ]
        conversation["messages_has_more"] = more
        conversation["messages_cursor"] = cursors.write(rows[0].created_at) if more else None
