"""Webhook endpoints: where we call a CRM, for which events, signed with which secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers, webhook_addresses
from blueprints.api.parsing import Body, Id, Query, said
from blueprints.api.routing import Routes
from blueprints.api.shapes import ChannelKind, Deleted, Done, Shown, Time
from blueprints.api.shapes import Id as ShownId
from services import audit, webhooks

routes = Routes("Webhooks")

EventNames = Annotated[
    list[str],
    Field(min_length=1, max_length=50, description='Event types; `["*"]` for all.', examples=[["message.received"]]),
]


class WebhookOptions(Body):
    description: str | None = Field(None, max_length=1000)
    channels: list[str] | None = Field(None, max_length=10, description="Only events of these channels; empty: all.")
    direction: Literal["inbound", "outbound"] | None = Field(None, description="Only messages of this direction.")
    custom_headers: dict[str, str] | None = Field(None, description="Sent along; write-only. At most 20.")
    policy: Literal["standard", "extended"] | None = Field(
        None, description="`standard` retries after 2, 4 and 8 s; `extended` goes on for 24 h."
    )
    ordered: bool | None = Field(None, description="One conversation's events one after the other.")
    timeout: int | None = Field(None, ge=1, le=30, description="Seconds in all; 15 by default.")


class NewWebhook(WebhookOptions):
    name: str = Field(min_length=1, max_length=100, examples=["My CRM Webhook"])
    url: str = Field(max_length=2000, examples=["https://your-crm.com/webhooks/alacarte"])
    events: EventNames


class WebhookChange(WebhookOptions):
    """What is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=100)
    url: str | None = Field(None, max_length=2000)
    events: EventNames | None = None
    paused: bool | None = Field(
        None, description="While paused, events are kept for it; then they are sent.", examples=[True]
    )
    rotate_secret: bool | None = Field(
        None, description="Answers with a new `secret`; the old one goes on for up to 24 h, until you accept the new."
    )


class WebhookQuery(Query):
    id: Id


class WebhooksQuery(Query):
    id: Id | None = None


class Webhook(Shown):
    """Where we call, and how it fares."""

    id: ShownId
    name: str
    description: str
    url: str
    events: list[str]
    channels: list[ChannelKind]
    direction: Literal["inbound", "outbound"] | None
    custom_headers: list[str] = Field(description="Their names.")
    policy: Literal["standard", "extended"]
    ordered: bool
    timeout: int
    state: Literal["active", "paused", "disabled"]
    state_reason: str | None
    api_version: str
    created_at: Time
    updated_at: Time
    secret: str | None = Field(default=None, description="Only at creation and rotation.", examples=["whsec_…"])


class WebhookAnswer(Done):
    webhook: Webhook


class WebhookList(Shown):
    webhooks: list[Webhook]


@routes.get("/api-webhooks", scope="admin", answer=(WebhookList, WebhookAnswer), errors=(404,))
def show(query: WebhooksQuery) -> Response:
    """List webhooks

    With `id` this is that webhook alone.
    """
    if query.id:
        return answers.show({"success": True, "webhook": webhooks.shows(webhooks.get(g.business, query.id))})
    return answers.show({"webhooks": [webhooks.shows(row) for row in webhooks.page(g.business)]})


@routes.post("/api-webhooks", scope="admin", answer=WebhookAnswer, status=201, errors=(409,))
def create(body: NewWebhook) -> Response:
    """Create a webhook

    The answer alone shows the `secret` that signs what we send.
    """
    webhook_addresses.check(body.url)
    endpoint, secret = webhooks.create(g.business, **_fields(body))
    audit.note(g.business.id, "webhook.created", g.caller, endpoint.id, name=endpoint.name, url=endpoint.url)
    return answers.commit(lambda: {"success": True, "webhook": webhooks.shows(endpoint) | {"secret": secret}}, 201)


@routes.patch("/api-webhooks", scope="admin", answer=WebhookAnswer, errors=(404,))
def change(query: WebhookQuery, body: WebhookChange) -> Response:
    """Change a webhook"""
    endpoint, fields = webhooks.get(g.business, query.id), _fields(body)
    if "url" in fields:
        webhook_addresses.check(fields["url"], endpoint.url)
    paused, rotate = fields.pop("paused", None), fields.pop("rotate_secret", False)
    webhooks.change(endpoint, **fields)
    if paused:
        webhooks.pause(endpoint, "Paused through the API.")
    elif paused is False:
        webhooks.resume(endpoint)
    secret = {"secret": webhooks.rotate(endpoint)} if rotate else {}
    audit.note(g.business.id, "webhook.changed", g.caller, endpoint.id, fields=sorted(body.model_fields_set))
    return answers.commit(lambda: {"success": True, "webhook": webhooks.shows(endpoint) | secret})


@routes.delete("/api-webhooks", scope="admin", answer=Deleted, errors=(404,))
def delete(query: WebhookQuery) -> Response:
    """Delete a webhook

    With its deliveries and their log.
    """
    endpoint = webhooks.get(g.business, query.id)
    webhooks.delete(endpoint)
    audit.note(g.business.id, "webhook.deleted", g.caller, endpoint.id, name=endpoint.name, url=endpoint.url)
    return answers.commit(lambda: {"success": True, "id": str(query.id)})


def _fields(body: Body) -> dict[str, Any]:
    """Give what was said, by the names that the service knows; `null` means the default where there is one."""
    fields = said(body, nullable=_DEFAULTS)
    fields = {name: _DEFAULTS.get(name) if value is None else value for name, value in fields.items()}
    return {"headers" if name == "custom_headers" else name: value for name, value in fields.items()}


_DEFAULTS = {"description": "", "channels": [], "direction": None, "custom_headers": {}}
