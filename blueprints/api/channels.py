"""Channel accounts: the numbers, mailboxes and pages of a business. Secrets go in and never come out."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Id, Query
from blueprints.api.routing import Routes
from blueprints.api.shapes import ChannelKind, Deleted, Done, Shown
from blueprints.api.shapes import Id as ShownId
from services import audit, channel_accounts

routes = Routes("Channels")


class NewChannel(Body):
    channel: ChannelKind
    name: str = Field("", max_length=100, description="For people; the address by default.")
    config: dict[str, Any] = Field(
        description="WhatsApp: `phone_number_id`, `business_account_id`, `phone_number`, `access_token`, `app_secret`, "
        "`verify_token` (left out, one is made). The other channels' fields stand in Settings → Channels.",
        examples=[
            {
                "phone_number_id": "106540352242922",
                "business_account_id": "102290129340398",
                "phone_number": "+353861234567",
                "access_token": "EAAG…",
                "app_secret": "…",
                "verify_token": "…",
            }
        ],
    )


class ChannelChange(Body):
    """What is left out stays as it is, secrets too."""

    name: str | None = Field(None, min_length=1, max_length=100, examples=["Front desk"])
    config: dict[str, Any] | None = None
    paused: bool | None = Field(None, description="While paused, messages wait.")


class ChannelQuery(Query):
    id: Id


class ChannelsQuery(Query):
    id: Id | None = None
    channel: ChannelKind | None = None


class ChannelAccount(Shown):
    id: ShownId
    channel: ChannelKind
    name: str
    address: str = Field(description="What customers write to.")
    config: dict[str, Any] = Field(description="Without the secrets.")
    state: Literal["connected", "attention", "paused", "disconnected"]
    state_reason: str | None
    callback_url: str = Field(description="Give it to the provider.")
    last_error: str | None


class ChannelAnswer(Done):
    channel_account: ChannelAccount


class ChannelMade(ChannelAnswer):
    verify_token: str | None = Field(
        default=None,
        description="Give it to the provider with the `callback_url`. Only where we made it: you left it out.",
    )


class ChannelList(Shown):
    channel_accounts: list[ChannelAccount]


@routes.get("/api-channels", scope="admin", answer=(ChannelList, ChannelAnswer), errors=(404,))
def show(query: ChannelsQuery) -> Response:
    """List channel accounts

    With `id` this is that account alone.
    """
    if query.id:
        return answers.show(_answer(channel_accounts.get(g.business, query.id)))
    rows = channel_accounts.page(g.business, kind=query.channel)
    return answers.show({"channel_accounts": [channel_accounts.shows(row) for row in rows]})


@routes.post("/api-channels", scope="admin", answer=ChannelMade, status=201, errors=(404, 409))
def create(body: NewChannel) -> Response:
    """Connect a channel account

    Give the `callback_url` of the answer to the provider, and messages come in.
    """
    account = channel_accounts.connect(g.business, body.channel, body.name, body.config)
    audit.note(g.business.id, "channel.connected", g.caller, account.id, channel=account.kind, address=account.address)
    made = channel_accounts.made_token(account, body.config)
    return answers.commit(lambda: _answer(account) | ({"verify_token": made} if made else {}), 201)


@routes.patch("/api-channels", scope="admin", answer=ChannelAnswer, errors=(404, 409))
def change(query: ChannelQuery, body: ChannelChange) -> Response:
    """Change a channel account"""
    account = channel_accounts.get(g.business, query.id)
    channel_accounts.change(g.business, account, name=body.name, config=body.config, paused=body.paused)
    audit.note(g.business.id, "channel.changed", g.caller, account.id, fields=sorted(body.model_fields_set))
    return answers.commit(lambda: _answer(account))


@routes.delete("/api-channels", scope="admin", answer=Deleted, errors=(404,))
def delete(query: ChannelQuery) -> Response:
    """Disconnect a channel account

    Its secrets are forgotten and its callbacks refused, unless another account of the same app answers them;
    conversations stay readable.
    """
    account = channel_accounts.get(g.business, query.id)
    channel_accounts.disconnect(account)
    audit.note(g.business.id, "channel.disconnected", g.caller, account.id, address=account.address)
    return answers.commit(lambda: {"success": True, "id": str(account.id)})


def _answer(account: Any) -> dict[str, Any]:
    return {"success": True, "channel_account": channel_accounts.shows(account)}
