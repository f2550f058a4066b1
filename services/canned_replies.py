"""Canned replies: texts that agents insert by a shortcut. Called by the composer, Settings and the API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select

from errors import Conflict, Invalid, NotFound
from lib.text import like
from models import Business, CannedReply, db, now
from services import payloads

_SHORTCUT = re.compile(r"[\w-]{1,40}")
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z_.]+)\s*(?:\|([^{}]*))?\}\}")
LONGEST = 10_000


def page(business: Business, *, q: str | None = None, limit: int = 500) -> Sequence[CannedReply]:
    """List replies by shortcut; with `q` those that have it in shortcut, title or text, shortcuts first."""
    query = select(CannedReply).where(CannedReply.business_id == business.id)
    order: list[Any] = [CannedReply.shortcut]
    if q:
        pattern = f"%{like(q.strip().lstrip('/').lower())}%"
        columns = (CannedReply.shortcut, CannedReply.title, CannedReply.body)
        query = query.where(or_(*(func.lower(column).like(pattern) for column in columns)))
        order.insert(0, func.lower(CannedReply.shortcut).like(pattern[1:]).desc())
    return db.session.scalars(query.order_by(*order).limit(limit)).all()


def get(business: Business, reply_id: UUID) -> CannedReply:
    reply = db.session.get(CannedReply, (business.id, reply_id))
    if reply is None:
        raise NotFound("There is no such canned reply.", code="canned_reply_not_found")
    return reply


def create(business: Business, *, shortcut: str, body: str, title: str = "") -> CannedReply:
    reply = CannedReply(business_id=business.id)
    change(business, reply, {"shortcut": shortcut, "title": title, "body": body})
    db.session.add(reply)
    db.session.flush()
    return reply


def change(business: Business, reply: CannedReply, fields: dict[str, str]) -> None:
    """Change shortcut, title or body; raise `Conflict` for a shortcut that another reply has."""
    if "shortcut" in fields:
        reply.shortcut = _free_shortcut(business, reply, fields["shortcut"])
    if "title" in fields:
        reply.title = " ".join(fields["title"].split())[:200]
    if "body" in fields:
        reply.body = fields["body"].strip()
        if not 0 < len(reply.body) <= LONGEST:
            raise Invalid(f"The text has 1 to {LONGEST} characters.", code="invalid_field", field="body")
    reply.updated_at = now()


def delete(reply: CannedReply) -> None:
    db.session.delete(reply)


def fill(body: str, customer: Any, agent: Any = None, business: Business | None = None) -> str:
    """Put what we know into `{{customer.first_name|there}}`; what stays unknown, without a default, stays as it is."""
    sources = {"customer": customer, "agent": agent, "business": business}

    def value(match: re.Match[str]) -> str:
        noun, _, name = match[1].partition(".")
        known = getattr(sources.get(noun), name, None) if name in _FILLED.get(noun, ()) else None
        if name == "first_name" and not known:
            known = (getattr(sources.get(noun), "name", None) or "").partition(" ")[0]
        return str(known) if known else match[2].strip() if match[2] is not None else match[0]

    return _PLACEHOLDER.sub(value, body)


_FILLED = {
    "customer": ("name", "first_name", "last_name", "email", "phone", "external_id"),
    "agent": ("name", "email"),
    "business": ("name",),
}


def shows(reply: CannedReply) -> dict[str, Any]:
    """Give the reply as the API shows it."""
    return {
        "id": str(reply.id),
        "shortcut": reply.shortcut,
        "title": reply.title,
        "body": reply.body,
        "created_at": payloads.time(reply.created_at),
        "updated_at": payloads.time(reply.updated_at),
    }


def _free_shortcut(business: Business, reply: CannedReply, said: str) -> str:
    shortcut = said.strip().removeprefix("/")
    if not _SHORTCUT.fullmatch(shortcut):
        raise Invalid(
            "A shortcut has 1 to 40 letters, digits, hyphens or underscores.", code="invalid_field", field="shortcut"
        )
    taken = select(CannedReply.id).where(CannedReply.business_id == business.id, CannedReply.shortcut == shortcut)
    if db.session.scalar(taken) not in (None, reply.id):
        raise Conflict(f"Another reply has the shortcut /{shortcut}.", code="shortcut_taken", field="shortcut")
    return shortcut
