"""Users: the agents and admins of a business."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, g
from pydantic import Field

from blueprints import answers
from blueprints.api.parsing import Body, Id, Query, said
from blueprints.api.routing import Routes
from blueprints.api.shapes import Deleted, Done, Page, Shown, Time
from blueprints.api.shapes import Id as ShownId
from services import payloads, team

routes = Routes("Users")


class NewUser(Body):
    name: str = Field(min_length=1, max_length=120, examples=["Alice Byrne"])
    email: str = Field(max_length=320, examples=["alice@example.com"])
    role: Literal["agent", "admin"] = "agent"
    password: str | None = Field(None, max_length=1000, description="Left out: one is made up, and shown once.")


class UserChange(Body):
    """What is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=120)
    email: str | None = Field(None, max_length=320)
    role: Literal["agent", "admin"] | None = Field(None, examples=["admin"])
    password: str | None = Field(None, max_length=1000, description="Ends every session of this user.")
    active: bool | None = Field(None, description="`false` signs them out everywhere; `true` lets them back in.")


class UserQuery(Query):
    id: Id


class UsersQuery(Query):
    id: Id | None = None
    cursor: Id | None = None
    limit: int = Field(100, ge=1, le=1000)


class User(Shown):
    id: ShownId
    name: str
    email: str
    role: Literal["agent", "admin"]
    active: bool
    last_seen_at: Time | None
    created_at: Time


class UserAnswer(Done):
    user: User
    password: str | None = Field(default=None, description="Only when it was made up, and only now.")


class UserPage(Page):
    users: list[User]


@routes.get("/api-users", scope="admin", answer=(UserPage, UserAnswer), errors=(404,))
def show(query: UsersQuery) -> Response:
    """List users

    Deactivated ones too. With `id` this is that user alone.
    """
    if query.id:
        return answers.show({"success": True, "user": _shown(team.get(g.business, query.id))})
    rows, cursor = team.page(g.business, cursor=query.cursor, limit=query.limit)
    shown = [_shown(row) for row in rows]
    return answers.show(
        {"users": shown, "has_more": cursor is not None, "next_cursor": str(cursor) if cursor else None}
    )


@routes.post("/api-users", scope="admin", answer=UserAnswer, status=201, errors=(409,))
def create(body: NewUser) -> Response:
    """Create a user"""
    user, password = team.create(
        g.business, name=body.name, email=body.email, role=body.role, password=body.password, by=g.caller
    )
    made_up = {"password": password} if body.password is None else {}
    return answers.commit(lambda: {"success": True, "user": _shown(user)} | made_up, 201)


@routes.patch("/api-users", scope="admin", answer=UserAnswer, errors=(404, 409))
def change(query: UserQuery, body: UserChange) -> Response:
    """Change a user"""
    user, fields = team.get(g.business, query.id), said(body)
    password, active = fields.pop("password", None), fields.pop("active", None)
    team.change(g.business, user, fields, by=g.caller)
    if password is not None:
        team.set_password(user, password, by=g.caller)
    if active is not None:
        (team.reactivate if active else team.deactivate)(g.business, user, by=g.caller)
    return answers.commit(lambda: {"success": True, "user": _shown(user)})


@routes.delete("/api-users", scope="admin", answer=Deleted, errors=(404, 409))
def delete(query: UserQuery) -> Response:
    """Deactivate a user

    They are signed out everywhere; what they wrote stays under their name.
    """
    user = team.get(g.business, query.id)
    team.deactivate(g.business, user, by=g.caller)
    return answers.commit(lambda: {"success": True, "id": str(user.id)})


def _shown(user: Any) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "name": user.name,
        "email": user.email,
        "role": user.role,
        "active": user.is_active,
        "last_seen_at": payloads.time(user.last_seen_at),
        "created_at": payloads.time(user.created_at),
    }
