"""Customers: find, list, create, change and sync. Finding never guesses between two people. Called by every edge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from errors import Conflict, Invalid, NotFound
from lib import addresses, cursors
from lib.ids import is_uuid
from lib.text import like
from models import Business, read, reading
from services.customer_fields import Record
from services.customer_rows import COLUMNS, Person
from services.customer_sync import Batch, Outcome
from services.identities import Key, email_key, phone_key

_SELECT = ", ".join(f"c.{name}" for name in COLUMNS)
_BY_ID = f"""
    SELECT {_SELECT} FROM customers c WHERE c.business_id = %(business_id)s AND c.id IN (
        %(id)s, (SELECT customer_id FROM customer_aliases WHERE business_id = %(business_id)s AND id = %(id)s))"""
_BY_KEY = f"""
    SELECT {_SELECT}, i.scope, i.shared FROM identities i
    JOIN customers c ON c.business_id = i.business_id AND c.id = i.customer_id
    WHERE i.business_id = %(business_id)s AND i.kind = %(kind)s AND i.value = %(value)s"""


def find(
    business: Business,
    *,
    id: UUID | str | None = None,
    external_id: str | None = None,
    external_system: str | None = None,
    email: str | None = None,
    phone: str | None = None,
) -> Any | None:
    """Find one customer by the first handle given; raise `Conflict` where two hold it."""
    if id is not None:
        return _by_id(business, id)
    if external_id is not None:
        return _by_external_id(business, external_id, external_system)
    if email is not None:
        return _by_address(business, email_key(_said("email", addresses.email, email)))
    if phone is not None:
        return _by_address(business, phone_key(_said("phone", addresses.phone, phone, business.default_region)))
    raise Invalid("Say which customer: id, external_id, email or phone.", code="customer_required")


def get(business: Business, **handle: Any) -> Any:
    """Find one customer or raise `NotFound`."""
    row = find(business, **handle)
    if row is None:
        raise NotFound("No customer of this business matches.", code="customer_not_found")
    return row


def resolve(business: Business, text_id: str) -> Any:
    """Get a customer by our id or by the CRM's: the guide sends either."""
    if is_uuid(text_id):
        row = _by_id(business, text_id)
        if row is not None:
            return row
    return get(business, external_id=text_id)


def page(
    business: Business,
    *,
    tag: str | None = None,
    q: str | None = None,
    updated_since: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[Any], str | None]:
    """List customers, the newest first; with `updated_since` by time of change, the oldest first."""
    where, params = ["c.business_id = :business_id"], {"business_id": business.id, "limit": limit + 1}
    if tag:
        where.append("c.tags @> ARRAY[:tag]")
        params["tag"] = tag
    if q:
        where.append("c.search LIKE :q")
        params["q"] = f"%{like(q.lower())}%"
    if updated_since:
        where.append("c.updated_at > :since")
        params["since"] = updated_since
    by_change = updated_since is not None
    if cursor:
        where.append("(c.updated_at, c.id) > (:at, :id)" if by_change else "c.id < :id")
        at_and_id = _said("cursor", cursors.read, cursor, datetime, UUID)
        params |= dict(zip(("at", "id"), at_and_id, strict=True))
    order = "c.updated_at, c.id" if by_change else "c.id DESC"
    query = f"SELECT {_SELECT} FROM customers c WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :limit"
    with reading() as connection:
        rows = connection.execute(text(query), params).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursors.write(rows[limit - 1].updated_at, rows[limit - 1].id)


def batch(
    business: Business,
    *,
    ids: Sequence[str] = (),
    external_ids: Sequence[str] = (),
    emails: Sequence[str] = (),
    phones: Sequence[str] = (),
) -> tuple[list[Any], dict[str, list[str]]]:
    """Look many up in two statements: those found, once each, in the order asked; and what was missing or ambiguous."""
    asked = [
        *(("ids", item, _safe(lambda item=item: Key("id", str(UUID(item))))) for item in ids),
        *(("external_ids", item, Key("external_id", item)) for item in external_ids),
        *(("emails", item, _safe(lambda item=item: email_key(addresses.email(item)))) for item in emails),
        *(
            ("phones", item, _safe(lambda item=item: phone_key(addresses.phone(item, business.default_region))))
            for item in phones
        ),
    ]
    owners = _owners(business.id, [key for _, _, key in asked if key])
    people = _by_ids(business.id, {owner for owner in owners.values() if owner})
    found: dict[UUID, Any] = {}
    missing: dict[str, list[str]] = {"ids": [], "external_ids": [], "emails": [], "phones": []}
    for group, item, key in asked:
        owner = owners.get(key) if key else None
        if owner in people:
            found.setdefault(owner, people[owner])
        else:
            missing[group].append(item)
    return list(found.values()), missing


def sync(business: Business, records: Sequence[Any], *, dry_run: bool = False) -> list[Outcome]:
    """Create or update each record, in order; one that fails leaves its neighbours alone."""
    work = Batch(business, records)
    work.load()
    outcomes = work.apply()
    if not dry_run:
        work.write()
    return outcomes


def create(business: Business, record: Any) -> tuple[Person, Outcome]:
    """Make a new customer; raise `Conflict` naming the one who is there already."""
    work = Batch(business, [record])
    work.load()
    outcome = work.apply()[0]
    if outcome.error:
        raise outcome.error
    if outcome.action == "updated":
        raise Conflict(
            f"A customer with this {outcome.matched_by} exists; change it with PATCH, or use api-customers-sync.",
            code="customer_exists",
            field=outcome.matched_by,
            details={"customer_id": str(outcome.customer_id)},
        )
    work.write()
    return work.people[_present(outcome.customer_id)], outcome


def update(business: Business, customer_id: UUID, record: Any) -> tuple[Person, Outcome]:
    """Change what was said of one customer and nothing else."""
    work = Batch(business, [record])
    said = work.records[0]
    if not isinstance(said, Record):
        raise said
    work.load(customer_id)
    if customer_id not in work.people:
        raise NotFound("No customer of this business matches.", code="customer_not_found")
    outcome = Outcome(0, "updated", customer_id)
    work.settle_system(said)
    work.check_link(work.people[customer_id], said)
    work.update(work.people[customer_id], said, outcome)
    work.write()
    return work.people[customer_id], outcome


def _by_id(business: Business, customer_id: UUID | str) -> Any | None:
    if not is_uuid(str(customer_id)):
        return None
    rows = read(_BY_ID, {"business_id": business.id, "id": UUID(str(customer_id))})
    return rows[0] if rows else None


def _by_external_id(business: Business, external_id: str, system: str | None) -> Any | None:
    params = {"business_id": business.id, "kind": "external_id", "value": external_id}
    rows = [row for row in read(_BY_KEY, params) if system is None or row.scope == system]
    if len(rows) > 1 and len({row.id for row in rows}) > 1:
        raise Conflict(
            "Several systems know this external_id; say which with external_system.",
            code="ambiguous",
            field="external_id",
            details={"systems": sorted(row.scope for row in rows)},
        )
    return rows[0] if rows else None


def _by_address(business: Business, key: Key) -> Any | None:
    params = {"business_id": business.id, "kind": key.kind, "value": key.value}
    rows = read(_BY_KEY, params)
    if not rows or not rows[0].shared:
        return rows[0] if rows else None
    query = f"SELECT id FROM customers WHERE business_id = %(business_id)s AND {key.kind} = %(value)s ORDER BY id"
    holders = [row.id for row in read(query, params)]
    if len(holders) > 1:
        raise Conflict(
            f"Several customers share this {key.kind}; ask by id or external_id.",
            code="ambiguous",
            field=key.kind,
            details={"customer_ids": [str(item) for item in holders]},
        )
    return rows[0]


def _owners(business_id: UUID, keys: Sequence[Key]) -> dict[Key, UUID | None]:
    """Find whose each key is; None where several hold it."""
    query = text("""
        SELECT k.kind, k.value, coalesce(i.customer_id, a.customer_id, c.id) AS owner, i.shared IS TRUE AS shared
        FROM (SELECT kind, value, CASE kind WHEN 'id' THEN value::uuid END AS id
              FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS asked (kind, value)) AS k
        LEFT JOIN identities i ON i.business_id = :business_id AND i.kind = k.kind AND i.value = k.value
        LEFT JOIN customer_aliases a ON a.business_id = :business_id AND a.id = k.id
        LEFT JOIN customers c ON c.business_id = :business_id AND c.id = k.id""")
    params = {"business_id": business_id, "kinds": [key.kind for key in keys], "values": [key.value for key in keys]}
    owners: dict[Key, UUID | None] = {}
    with reading() as connection:
        for row in connection.execute(query, params):
            key = Key(row.kind, row.value)
            clash = row.shared or owners.get(key, row.owner) != row.owner
            owners[key] = None if clash else row.owner
    return owners


def _by_ids(business_id: UUID, ids: set[UUID]) -> dict[UUID, Any]:
    query = text(f"SELECT {_SELECT} FROM customers c WHERE c.business_id = :business_id AND c.id = ANY(:ids)")
    with reading() as connection:
        return {row.id: row for row in connection.execute(query, {"business_id": business_id, "ids": sorted(ids)})}


def _said(field: str, read: Any, *args: Any) -> Any:
    try:
        return read(*args)
    except ValueError as exc:
        raise Invalid(f"{field}: {exc}", code="invalid_field", field=field) from None


def _safe(read: Any) -> Key | None:
    try:
        return read()  # type: ignore[no-any-return]
    except ValueError:
        return None


def _present(value: UUID | None) -> UUID:
    assert value is not None
    return value
