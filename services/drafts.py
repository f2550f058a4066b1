"""What agents have typed and not sent, per conversation and mode. Called by the inbox; nobody else reads a draft."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert

from errors import Invalid
from models import Conversation, Draft, User, db, now

MODES = ("reply", "note")
MAX_LENGTH = 100_000


def of(user: User, conversation: Conversation) -> dict[str, str]:
    """Give the text by mode."""
    query = select(Draft.mode, Draft.body).where(*_place(user, conversation.id))
    return {row.mode: row.body for row in db.session.execute(query)}


def save(user: User, conversation: Conversation, mode: str, body: str) -> None:
    """Keep the newest text; an empty one forgets the draft."""
    if mode not in MODES or len(body) > MAX_LENGTH:
        raise Invalid("This draft cannot be kept.", field="body")
    if not body.strip():
        discard(user, conversation, mode)
        return
    values = {"body": body.replace("\x00", ""), "updated_at": now()}
    key = {"business_id": user.business_id, "user_id": user.id, "conversation_id": conversation.id, "mode": mode}
    statement = insert(Draft).values(**key, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def discard(user: User, conversation: Conversation, mode: str) -> None:
    db.session.execute(delete(Draft).where(*_place(user, conversation.id), Draft.mode == mode))


def _place(user: User, conversation_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return Draft.business_id == user.business_id, Draft.user_id == user.id, Draft.conversation_id == conversation_id
