"""What happened to a conversation besides its messages: who took it, closed it, woke it. Read by the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models import Business, reading

TYPES = ["conversation.assigned", "conversation.status_changed", "customer.merged"]
_BETWEEN = text("""
    SELECT sequence, type, created_at, conversation_id, body FROM events
    WHERE business_id = :business_id AND customer_id = :customer_id AND type = ANY(:types)
    AND (conversation_id = :conversation_id OR conversation_id IS NULL)
    AND created_at >= :since AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
    ORDER BY sequence DESC LIMIT :limit""")
_ONE = text("""
    SELECT sequence, type, created_at, conversation_id, body FROM events
    WHERE business_id = :business_id AND sequence = :sequence""")


def between(
    business: Business, conversation: Any, since: datetime, until: datetime | None = None, *, limit: int = 100
) -> Sequence[Any]:
    """Give the newest facts of a stretch of time, oldest first."""
    params = {
        "business_id": business.id,
        "customer_id": conversation.customer_id,
        "conversation_id": conversation.id,
        "types": TYPES,
        "since": since,
        "until": until,
        "limit": limit,
    }
    with reading() as connection:
        return connection.execute(_BETWEEN, params).all()[::-1]


def get(business_id: UUID, sequence: int) -> Any | None:
    with reading() as connection:
        return connection.execute(_ONE, {"business_id": business_id, "sequence": sequence}).first()
