"""One search over customers, conversations and messages, for the palette. Each part is a capped index scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from lib.text import like
from models import Business, reading

_PEOPLE = text("""
    SELECT c.id, c.name, c.email, c.phone, c.external_id,
           (SELECT number FROM conversations o WHERE o.business_id = c.business_id AND o.customer_id = c.id
            ORDER BY last_message_at DESC LIMIT 1) AS number
    FROM customers c WHERE c.business_id = :business_id AND c.search LIKE :pattern
    ORDER BY c.updated_at DESC LIMIT 6""")
_CONVERSATIONS = text("""
    SELECT o.number, o.channel, o.subject, o.preview, o.status, o.last_message_at, c.name
    FROM conversations o JOIN customers c ON c.business_id = o.business_id AND c.id = o.customer_id
    WHERE o.business_id = :business_id AND (o.number = :number OR (:words <> '' AND o.subject ILIKE :pattern))
    ORDER BY o.number = :number DESC, o.last_message_at DESC LIMIT 6""")
_RECENT = text("""
    SELECT o.number, o.channel, o.subject, o.preview, o.status, o.last_message_at, c.name
    FROM conversations o JOIN customers c ON c.business_id = o.business_id AND c.id = o.customer_id
    WHERE o.business_id = :business_id AND o.status IN ('open', 'pending')
    ORDER BY o.last_message_at DESC LIMIT 6""")
# The cap keeps a common word from sorting all messages that have it.
_MESSAGES = text("""
    WITH hits AS MATERIALIZED (
        SELECT id, conversation_id, content, created_at, private FROM messages
        WHERE business_id = :business_id AND search @@ plainto_tsquery('simple', :words) LIMIT 500)
    SELECT h.id, h.created_at, h.private, o.number, o.channel, c.name,
           ts_headline('simple', left(h.content, 2000), plainto_tsquery('simple', :words),
                       'StartSel="", StopSel="", MaxWords=14, MinWords=6, MaxFragments=1') AS excerpt
    FROM (SELECT * FROM hits ORDER BY created_at DESC LIMIT 6) h
    JOIN conversations o ON o.business_id = :business_id AND o.id = h.conversation_id
    JOIN customers c ON c.business_id = o.business_id AND c.id = o.customer_id ORDER BY h.created_at DESC""")


@dataclass(frozen=True, slots=True)
class Found:
    """What matches, in three short lists."""

    customers: Sequence[Any] = field(default_factory=list)
    conversations: Sequence[Any] = field(default_factory=list)
    messages: Sequence[Any] = field(default_factory=list)


def everything(business: Business, q: str) -> Found:
    """Search for what somebody typed; fewer than two characters give the conversations of late."""
    words = q.replace("\x00", "").strip().lower()
    digits = words.removeprefix("#")
    number = int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 10 else 0
    params = {"business_id": business.id, "words": words, "pattern": f"%{like(words)}%", "number": number}
    with reading() as connection:
        if len(words) < 2 and not number:
            return Found(conversations=connection.execute(_RECENT, params).all())
        return Found(
            connection.execute(_PEOPLE, params).all(),
            connection.execute(_CONVERSATIONS, params).all(),
            connection.execute(_MESSAGES, params).all() if len(words) > 2 else [],
        )
