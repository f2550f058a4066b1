"""What open screens have not seen yet: the events after a sequence, their bodies apart. Read by the live stream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models import reading

_NEWEST = text("SELECT business_id, last_sequence FROM business_clocks WHERE business_id = ANY(:ids)")
_AFTER = """
    SELECT business_id, sequence, type, created_at, customer_id, conversation_id, message_id, channel, direction
    FROM events WHERE business_id = :business_id AND sequence > :after{mine} ORDER BY sequence LIMIT :limit"""
_ALL, _MINE = text(_AFTER.format(mine="")), text(_AFTER.format(mine=" AND customer_id = :customer_id"))


_BODIES = text("""
    SELECT business_id, sequence, id, type, created_at, body FROM events
    WHERE business_id = :business_id AND sequence = ANY(:sequences) ORDER BY sequence""")


def bodies(business_id: UUID, sequences: Collection[int]) -> Sequence[Any]:
    """Give some events with their bodies, as `events.envelope` takes them."""
    with reading() as connection:
        return connection.execute(_BODIES, {"business_id": business_id, "sequences": list(sequences)}).all()


def newest(business_ids: Collection[UUID]) -> dict[UUID, int]:
    """Give the last sequence of each business; every event up to it can be read."""
    with reading() as connection:
        rows = connection.execute(_NEWEST, {"ids": list(business_ids)})
        return {row.business_id: row.last_sequence for row in rows}


def after(business_id: UUID, sequence: int, *, customer_id: UUID | None = None, limit: int) -> Sequence[Any]:
    """Give what happened after a sequence, to one customer or to all, oldest first."""
    params = {"business_id": business_id, "after": sequence, "limit": limit}
    with reading() as connection:
        if customer_id is None:
            return connection.execute(_ALL, params).all()
        return connection.execute(_MINE, params | {"customer_id": customer_id}).all()
