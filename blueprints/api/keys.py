"""API keys, managed by a key of scope `admin`: made, rotated, revoked. Their text is shown once."""

from __future__ import annotations

from typing import Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Id, Query, Time, said
from blueprints.api.routing import Routes
from blueprints.api.shapes import Deleted, Done, Shown
from blueprints.api.shapes import Id as ShownId
from blueprints.api.shapes import Time as ShownTime
from services import keys

routes = Routes("API keys")

Scope = Literal["customers:read", "customers", "messages:read", "send", "embed", "admin"]


class NewKey(Body):
    name: str = Field(min_length=1, max_length=120, examples=["Nightly sync"])
    scopes: list[Scope] = Field(min_length=1, max_length=6, examples=[["customers", "messages:read"]])
    expires_at: Time | None = None


class KeyChange(Body):
    """What is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=120)
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=6, examples=[["customers:read"]])
    expires_at: Time | None = Field(None, description="`null`: it does not expire.")
    rotate: bool | None = Field(
        None, description="Answers with a new key of the same name and scopes; this one goes on for 24 h."
    )


class KeyQuery(Query):
    id: Id


class KeysQuery(Query):
    id: Id | None = None


class ApiKey(Shown):
    id: ShownId
    name: str
    preview: str = Field(examples=["alc_live_7Qm2…Jf1a"])
    scopes: list[Scope]
    expires_at: ShownTime | None
    revoked_at: ShownTime | None
    last_used_at: ShownTime | None
    created_at: ShownTime
    key: str | None = Field(default=None, description="The key itself; only at creation and rotation.")


class KeyAnswer(Done):
    api_key: ApiKey


class KeyList(Shown):
    api_keys: list[ApiKey]


@routes.get("/api-keys", scope="admin", answer=(KeyList, KeyAnswer), errors=(404,))
def show(query: KeysQuery) -> Response:
    """List API keys

    Revoked ones too. With `id` this is that key alone.
    """
    if query.id:
        return answers.show({"success": True, "api_key": keys.shows(keys.get(g.business, query.id))})
    return answers.show({"api_keys": [keys.shows(row) for row in keys.page(g.business)]})


@routes.post("/api-keys", scope="admin", answer=KeyAnswer, status=201)
def create(body: NewKey) -> Response:
    """Create an API key"""
    key, text = keys.create(g.business, body.name, body.scopes, body.expires_at, g.caller)
    return answers.commit(lambda: {"success": True, "api_key": keys.shows(key) | {"key": text}}, 201)


@routes.patch("/api-keys", scope="admin", answer=KeyAnswer, errors=(404,))
def change(query: KeyQuery, body: KeyChange) -> Response:
    """Change or rotate an API key"""
    key, fields = keys.get(g.business, query.id), said(body, nullable=("expires_at",))
    rotate = fields.pop("rotate", False)
    if fields:
        keys.change(g.business, key, fields, g.caller)
    if not rotate:
        return answers.commit(lambda: {"success": True, "api_key": keys.shows(key)})
    fresh, text = keys.rotate(g.business, key, g.caller)
    return answers.commit(lambda: {"success": True, "api_key": keys.shows(fresh) | {"key": text}})


@routes.delete("/api-keys", scope="admin", answer=Deleted, errors=(404,))
def revoke(query: KeyQuery) -> Response:
    """Revoke an API key

    It stops working everywhere within a second, and so do the embed tokens that it issued.
    """
    key = keys.get(g.business, query.id)
    keys.revoke(g.business, key, g.caller)
    return answers.commit(lambda: {"success": True, "id": str(key.id)})
