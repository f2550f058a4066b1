"""Canned replies: the texts that agents insert by a shortcut."""

from __future__ import annotations

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Id, Query, said
from blueprints.api.routing import Routes
from blueprints.api.shapes import Deleted, Done, Shown, Time
from blueprints.api.shapes import Id as ShownId
from services import canned_replies

routes = Routes("Canned replies")


class NewReply(Body):
    shortcut: str = Field(min_length=1, max_length=41, description="Typed after `/`.", examples=["hours"])
    title: str = Field("", max_length=200, examples=["Opening hours"])
    body: str = Field(
        min_length=1, max_length=10_000, examples=["Hi {{customer.first_name|there}}, we are open 9 to 5."]
    )


class ReplyChange(Body):
    """What is left out stays as it is."""

    shortcut: str | None = Field(None, min_length=1, max_length=41)
    title: str | None = Field(None, max_length=200)
    body: str | None = Field(None, min_length=1, max_length=10_000, examples=["We are open from 9 to 5."])


class ReplyQuery(Query):
    id: Id


class RepliesQuery(Query):
    id: Id | None = None
    q: str | None = Field(None, max_length=200, description="Part of the shortcut, the title or the text.")


class CannedReply(Shown):
    id: ShownId
    shortcut: str
    title: str
    body: str
    created_at: Time
    updated_at: Time


class ReplyAnswer(Done):
    canned_reply: CannedReply


class ReplyList(Shown):
    canned_replies: list[CannedReply]


@routes.get("/api-canned-replies", scope="admin", answer=(ReplyList, ReplyAnswer), errors=(404,))
def show(query: RepliesQuery) -> Response:
    """List canned replies

    With `id` this is that reply alone.
    """
    if query.id:
        reply = canned_replies.get(g.business, query.id)
        return answers.show({"success": True, "canned_reply": canned_replies.shows(reply)})
    rows = canned_replies.page(g.business, q=query.q)
    return answers.show({"canned_replies": [canned_replies.shows(row) for row in rows]})


@routes.post("/api-canned-replies", scope="admin", answer=ReplyAnswer, status=201, errors=(409,))
def create(body: NewReply) -> Response:
    """Create a canned reply"""
    reply = canned_replies.create(g.business, shortcut=body.shortcut, title=body.title, body=body.body)
    return answers.commit(lambda: {"success": True, "canned_reply": canned_replies.shows(reply)}, 201)


@routes.patch("/api-canned-replies", scope="admin", answer=ReplyAnswer, errors=(404, 409))
def change(query: ReplyQuery, body: ReplyChange) -> Response:
    """Change a canned reply"""
    reply = canned_replies.get(g.business, query.id)
    canned_replies.change(g.business, reply, said(body))
    return answers.commit(lambda: {"success": True, "canned_reply": canned_replies.shows(reply)})


@routes.delete("/api-canned-replies", scope="admin", answer=Deleted, errors=(404,))
def delete(query: ReplyQuery) -> Response:
    """Delete a canned reply"""
    reply = canned_replies.get(g.business, query.id)
    canned_replies.delete(reply)
    return answers.commit(lambda: {"success": True, "id": str(query.id)})
