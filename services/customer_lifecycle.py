"""What happens to a customer as a whole: two become one, one is erased, one asks what is held on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

import jobs
from errors import Invalid, NotFound
from models import Business, CustomerAlias, RevokedToken, db, now, reading
from services import customer_rows, events, identities, payloads
from services.customer_fields import searchable
from services.customer_rows import Person


def merge(business: Business, keep_id: UUID, merge_id: UUID) -> Person:
    """Make two customers one: the kept one's own fields win, all else moves, and the old id keeps resolving."""
    if keep_id == merge_id:
        raise Invalid("keep_id and merge_id are the same customer.", code="same_customer", field="merge_id")
    people = _lock_both(business, keep_id, merge_id)
    kept, merged = people[keep_id], people[merge_id]
    _take_over(kept, merged)
    params = {"business_id": business.id, "keep_id": keep_id, "merge_id": merge_id}
    for statement in _MOVES:
        db.session.execute(text(statement), params)
    db.session.add(CustomerAlias(business_id=business.id, id=merge_id, customer_id=keep_id))
    customer_rows.update(business.id, [kept])
    db.session.execute(text(_UNSHARE), params)
    events.append(
        business.id,
        "customer.merged",
        lambda: payloads.customer_event(kept, kept_id=str(keep_id), merged_id=str(merge_id)),
        customer_id=keep_id,
    )
    return kept


_MOVES = (
    *(
        f"UPDATE {table} SET customer_id = :keep_id WHERE business_id = :business_id AND customer_id = :merge_id"
        for table in ("identities", "conversations", "messages", "embed_sessions", "customer_aliases", "events")
    ),
    "DELETE FROM customers WHERE business_id = :business_id AND id = :merge_id",
)
# An address that the two shared is shared no longer, unless a third shows it too.
_UNSHARE = """
    UPDATE identities i SET shared = false
    WHERE i.business_id = :business_id AND i.customer_id = :keep_id AND i.shared AND NOT EXISTS (
        SELECT FROM customers c WHERE c.business_id = :business_id AND c.id <> :keep_id
        AND CASE i.kind WHEN 'email' THEN c.email WHEN 'phone' THEN c.phone ELSE c.whatsapp_number END = i.value)"""


def erase(business: Business, customer_id: UUID) -> None:
    """Erase all that is held on a customer, for good; what was told of them loses its content and goes to nobody."""
    if customer_id not in customer_rows.lock(business.id, [customer_id]):
        raise NotFound("No customer of this business matches.", code="customer_not_found")
    params = {"business_id": business.id, "id": customer_id, "now": now(), "erased": events.ERASED}
    handles = db.session.scalars(text(_HANDLES), params).all()
    for statement in _ERASURES:
        db.session.execute(text(statement), params)
    if handles:
        db.session.execute(text(_FORGET_CALLBACKS), params | {"handles": [handle.encode() for handle in handles]})
    db.session.execute(text("DELETE FROM customers WHERE business_id = :business_id AND id = :id"), params)
    db.session.add(RevokedToken(business_id=business.id, customer_id=customer_id))
    jobs.run_later("erase_files", business.id)
    fact = {"customer_id": str(customer_id), "deleted_at": payloads.time(now())}
    events.append(business.id, "customer.deleted", lambda: fact, customer_id=customer_id)


_MINE = "business_id = :business_id AND customer_id = :id"
_HANDLES = f"""
    SELECT p.value FROM provider_ids p JOIN messages m ON m.business_id = p.business_id AND m.id = p.message_id
    WHERE m.{_MINE.replace("AND ", "AND m.")}
    UNION SELECT ltrim(value, '+') FROM identities WHERE {_MINE} AND kind <> 'external_id'
    UNION SELECT address FROM conversations WHERE {_MINE}
    UNION SELECT extra -> 'from' ->> 'address' FROM messages WHERE {_MINE} AND extra -> 'from' ->> 'address' <> ''"""
_ERASURES = (
    # Before the deliveries: a replay's step that holds these events is waited for, and what it made is seen below.
    f"UPDATE events SET body = :erased WHERE {_MINE} AND body <> ''",
    f"""UPDATE attachments a SET message_id = NULL, state = 'erased', filename = '', source = '{{}}', error = NULL,
        next_attempt_at = :now
        FROM messages m WHERE m.business_id = a.business_id AND m.id = a.message_id
        AND m.{_MINE.replace("AND ", "AND m.")}""",
    f"""DELETE FROM deliveries d USING events e WHERE e.business_id = d.business_id AND e.sequence = d.event_sequence
        AND e.{_MINE.replace("AND ", "AND e.")}""",
    """DELETE FROM idempotency_records WHERE business_id = :business_id
        AND position(convert_to(CAST(:id AS text), 'UTF8') IN body) > 0""",
    f"DELETE FROM conversations WHERE {_MINE}",
)
_FORGET_CALLBACKS = """
    DELETE FROM callbacks c USING unnest(CAST(:handles AS bytea[])) AS handle
    WHERE c.business_id = :business_id AND position(handle IN c.body) > 0"""


def export(business: Business, customer: Any) -> dict[str, Any]:
    """Give a person all that is held on them."""
    with reading() as connection:
        params = {"business_id": business.id, "id": customer.id}
        found = {
            name: [dict(row) for row in connection.execute(text(query), params).mappings()]
            for name, query in _HELD.items()
        }
    return {"customer": payloads.customer(customer), "exported_at": payloads.time(now()), **found}


_HELD = {
    "identities": f"SELECT kind, scope, value, created_at FROM identities WHERE {_MINE} ORDER BY created_at, kind",
    "conversations": f"""SELECT id, number, channel, address, status, subject, tags, created_at, closed_at
        FROM conversations WHERE {_MINE} ORDER BY number""",
    "messages": f"""SELECT id, conversation_id, channel, direction, kind, status, content, extra, sender_name, private,
        created_at, sent_at, delivered_at, read_at FROM messages WHERE {_MINE} ORDER BY created_at""",
    "attachments": f"""SELECT a.id, a.message_id, a.filename, a.mime, a.size FROM attachments a
        JOIN messages m ON m.business_id = a.business_id AND m.id = a.message_id
        WHERE m.{_MINE.replace("AND ", "AND m.")} ORDER BY a.id""",
    "events": f"""SELECT id, type, created_at FROM events WHERE {_MINE} AND body <> '' ORDER BY sequence""",
}


def _lock_both(business: Business, *ids: UUID) -> dict[UUID, Person]:
    handles = [key for key, _ in identities.of_customers(business.id, ids)]
    identities.lock(business.id, handles)
    people = customer_rows.lock(business.id, ids)
    for name, customer_id in zip(("keep_id", "merge_id"), ids, strict=True):
        if customer_id not in people:
            raise NotFound("No customer of this business has that id.", code="customer_not_found", field=name)
    return people


def _take_over(kept: Person, merged: Person) -> None:
    for name in ("first_name", "last_name", "email", "phone", "whatsapp_number", "address"):
        if not getattr(kept, name):
            setattr(kept, name, getattr(merged, name))
    if kept.external_id is None:
        kept.external_id, kept.external_system = merged.external_id, merged.external_system
    kept.notes = "\n\n".join(note for note in (kept.notes, merged.notes) if note) or None
    kept.tags = list(dict.fromkeys(kept.tags + merged.tags))
    kept.custom_fields = merged.custom_fields | kept.custom_fields
    kept.external_ids = merged.external_ids | kept.external_ids
    kept.search, kept.updated_at = searchable(kept), now()
