"""Answers kept for a day, so that a repeated POST gets its first answer again instead of a second effect.

Called by the API's edge alone. The claim is an advisory lock, so it ends with the transaction, whatever becomes of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from errors import Conflict, Invalid
from models import IdempotencyRecord, db, now

KEPT = timedelta(hours=24)
LONGEST_KEY = 255


@dataclass(slots=True)
class Claim:
    """One caller's key, and a hash of what came with it. `held` once nobody else can be running it."""

    business_id: UUID
    api_key_id: UUID
    key: str
    request_hash: bytes
    held: bool = False


def begin(claim: Claim) -> IdempotencyRecord | None:
    """Claim the key and give None, or give the answer that it had before.

    Raises `Conflict` while another call with it runs, `Invalid` if it came with another request.
    """
    if not (0 < len(claim.key) <= LONGEST_KEY and claim.key.isascii() and claim.key.isprintable()):
        raise Invalid(f"An Idempotency-Key is 1 to {LONGEST_KEY} printable ASCII characters.", field="Idempotency-Key")
    if not db.session.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": _number(claim)}):
        raise Conflict(
            "A call with this Idempotency-Key is still running.",
            code="idempotency_in_progress",
            headers={"Retry-After": "1"},
        )
    record = db.session.scalar(select(IdempotencyRecord).where(*_is(claim)))
    if record and record.created_at < now() - KEPT:
        db.session.execute(delete(IdempotencyRecord).where(*_is(claim)))
        record = None
    if record and record.request_hash != claim.request_hash:
        raise Invalid(
            "This Idempotency-Key was used for another request. Make a new key for each new request.",
            code="idempotency_key_reused",
            field="Idempotency-Key",
        )
    claim.held = record is None
    return record


def keep(claim: Claim, status: int, body: bytes) -> None:
    """Store the first answer."""
    row = {
        "business_id": claim.business_id,
        "api_key_id": claim.api_key_id,
        "key": claim.key,
        "request_hash": claim.request_hash,
        "status": status,
        "body": body,
        "created_at": now(),
    }
    db.session.execute(insert(IdempotencyRecord).values(row).on_conflict_do_nothing())


def _is(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    table = IdempotencyRecord
    return (table.business_id == claim.business_id, table.api_key_id == claim.api_key_id, table.key == claim.key)


def _number(claim: Claim) -> int:
    name = f"idempotency\n{claim.business_id}\n{claim.api_key_id}\n{claim.key}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
