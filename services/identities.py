"""Who is meant: the handles that find a customer, and the locks that keep two callers from making one person twice.

Called by customers and inbound. Never guesses between two people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from lib import addresses
from models import Identity, db, now
from services import events

SMALL_BATCH = 32  # keys; up to here callers lock key by key, above it they lock the business
DEFAULT_SYSTEM = "default"


class Key(NamedTuple):
    """One handle. `scope` is the CRM's name for an external id, the page or number of a scoped id, else empty."""

    kind: str
    value: str
    scope: str = ""


@dataclass(slots=True)
class Holder:
    """Whose a key is, and whether somebody else shows the same address as a plain field."""

    customer_id: UUID
    shared: bool = False


def email_key(email: str) -> Key:
    return Key("email", email)


def phone_key(phone: str) -> Key:
    """Make the key of an E.164 number; national quirks (Mexico, Argentina, Brazil) fall together in it."""
    return Key("phone", addresses.phone_key(phone))


def whatsapp_key(number: str) -> Key:
    return Key("whatsapp", addresses.phone_key(number))


def external_key(system: str, external_id: str) -> Key:
    return Key("external_id", external_id, system)


def lock(business_id: UUID, keys: Iterable[Key]) -> None:
    """Hold these handles until the commit: in one order, so that two callers never wait for each other."""
    names = sorted({f"{key.kind}\n{key.value}" for key in keys})
    statement = "SELECT pg_advisory_xact_lock_shared(:business)"
    params: dict[str, object] = {"business": _number(str(business_id))}
    if len(names) > SMALL_BATCH:
        statement = "SELECT pg_advisory_xact_lock(:business)"
    db.session.execute(text(statement), params)
    if len(names) <= SMALL_BATCH:
        numbers = sorted(_number(f"{business_id}\n{name}") for name in names)
        db.session.execute(
            text("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) AS n"), {"numbers": numbers}
        )


def holders(business_id: UUID, keys: Iterable[Key]) -> dict[Key, Holder]:
    """Find who holds these handles, whatever their scope, in one statement."""
    wanted = sorted({(key.kind, key.value) for key in keys})
    if not wanted:
        return {}
    statement = text("""
        SELECT i.kind, i.value, i.scope, i.customer_id, i.shared
        FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS wanted (kind, value)
        JOIN identities i ON i.business_id = :business_id AND i.kind = wanted.kind AND i.value = wanted.value""")
    params = {
        "business_id": business_id,
        "kinds": [kind for kind, _ in wanted],
        "values": [value for _, value in wanted],
    }
    rows = db.session.execute(statement, params).all()
    return {Key(row.kind, row.value, row.scope): Holder(row.customer_id, row.shared) for row in rows}


def of_customers(business_id: UUID, customer_ids: Sequence[UUID]) -> list[tuple[Key, UUID]]:
    """List the handles of some customers."""
    statement = text("""
        SELECT kind, value, scope, customer_id FROM identities
        WHERE business_id = :business_id AND customer_id = ANY(:ids) ORDER BY created_at, kind, value""")
    rows = db.session.execute(statement, {"business_id": business_id, "ids": list(customer_ids)})
    return [(Key(row.kind, row.value, row.scope), row.customer_id) for row in rows]


def is_scoped(key: Key) -> bool:
    """Say whether a key of WhatsApp is a scoped id (`IE.1349…`) and not a number."""
    return key.kind == "whatsapp" and "." in key.value


def scoped_ids(business_id: UUID, customer_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Give the last WhatsApp scoped id of each of these customers who has one."""
    held = of_customers(business_id, customer_ids)
    return {customer_id: key.value for key, customer_id in held if is_scoped(key)}


def claim(business_id: UUID, owners: Mapping[Key, UUID]) -> None:
    """Give handles that nobody holds to customers."""
    created_at = now()
    rows = [(business_id, *key, owner, False, created_at) for key, owner in owners.items()]
    events.write(Identity, ("business_id", *Key._fields, "customer_id", "shared", "created_at"), rows)


def mark_shared(business_id: UUID, keys: Collection[Key]) -> None:
    """Note that somebody else shows these addresses too, so that nobody is found by them without asking."""
    if keys:
        statement = text("""
            UPDATE identities i SET shared = true
            FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS k (kind, value)
            WHERE i.business_id = :business_id AND i.kind = k.kind AND i.value = k.value AND i.scope = ''""")
        db.session.execute(statement, {"business_id": business_id, **_columns(keys)})


def release(business_id: UUID, owners: Mapping[Key, UUID]) -> None:
    """Let go of handles; one that was shared passes to the longest-known customer who also shows that address."""
    if owners:
        params = {"business_id": business_id, "owners": list(owners.values()), **_columns(owners)}
        db.session.execute(text(_RELEASE), params)


def _columns(keys: Iterable[Key]) -> dict[str, list[str]]:
    kinds, values, scopes = zip(*keys, strict=True)
    return {"kinds": list(kinds), "values": list(values), "scopes": list(scopes)}


_RELEASE = """
    WITH gone AS (
        SELECT i.*
        FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[]), CAST(:scopes AS text[]), CAST(:owners AS uuid[]))
            AS wanted (kind, value, scope, owner)
        JOIN identities i ON i.business_id = :business_id AND i.kind = wanted.kind AND i.value = wanted.value
            AND i.scope = wanted.scope AND i.customer_id = wanted.owner),
    heirs AS (
        SELECT gone.kind, gone.value, gone.scope, heir.id, heir.others
        FROM gone CROSS JOIN LATERAL (
            SELECT c.id, count(*) OVER () - 1 AS others FROM customers c
            WHERE gone.shared AND c.business_id = :business_id AND c.id <> gone.customer_id
              AND CASE gone.kind WHEN 'email' THEN c.email WHEN 'phone' THEN c.phone END = gone.value
            ORDER BY c.created_at, c.id LIMIT 1) AS heir),
    inherited AS (
        UPDATE identities i SET customer_id = heirs.id, shared = heirs.others > 0
        FROM heirs WHERE i.business_id = :business_id
            AND (i.kind, i.value, i.scope) = (heirs.kind, heirs.value, heirs.scope))
    DELETE FROM identities i USING gone
    WHERE i.business_id = :business_id AND (i.kind, i.value, i.scope) = (gone.kind, gone.value, gone.scope)
      AND NOT EXISTS (SELECT FROM heirs WHERE (heirs.kind, heirs.value, heirs.scope) = (i.kind, i.value, i.scope))"""


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
