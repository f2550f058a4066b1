"""Customers' rows in memory and their set-wise reading and writing. Called by customer_sync and its neighbours."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models import Customer, db, now
from services import events, payloads
from services.identities import Key


@dataclass(slots=True)
class Person:
    """A customer's row in memory, with the column names of the table."""

    business_id: UUID
    id: UUID
    name: str = ""
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    whatsapp_number: str | None = None
    external_id: str | None = None
    external_system: str | None = None
    external_ids: dict[str, Any] = field(default_factory=dict)
    address: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    custom_fields: dict[str, Any] = field(default_factory=dict)
    search: str = ""
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


COLUMNS = [column.name for column in fields(Person)]
_CHANGEABLE = [name for name in COLUMNS if name not in {"business_id", "id", "created_at"}]
_JSON = {"tags", "custom_fields", "external_ids"}


def lock(business_id: UUID, ids: Collection[UUID], shared: Iterable[Key] = ()) -> dict[UUID, Person]:
    """Read these customers and everyone who shows one of the shared addresses; hold them until the commit."""
    if not ids:
        return {}
    where = "id = ANY(:ids)"
    params: dict[str, Any] = {"business_id": business_id, "ids": sorted(ids)}
    for kind in ("email", "phone"):
        params[kind] = [key.value for key in shared if key.kind == kind]
        if params[kind]:
            where += f" OR {kind} = ANY(:{kind})"
    statement = f"SELECT {', '.join(COLUMNS)} FROM customers WHERE business_id = :business_id AND ({where})"
    rows = db.session.execute(text(statement + " ORDER BY id FOR NO KEY UPDATE"), params).all()
    return {row.id: Person(*row) for row in rows}


def insert(people: Collection[Person]) -> None:
    if people:
        read = attrgetter(*COLUMNS)
        events.write(Customer, COLUMNS, [read(person) for person in people])


def update(business_id: UUID, people: Iterable[Person]) -> None:
    """Write changed rows in one statement, in the order of their ids."""
    columns = attrgetter("id", *_CHANGEABLE)
    rows = [columns(person) for person in sorted(people, key=lambda person: person.id)]
    if rows:
        # One JSON text is a fraction of the cost of an array for each column.
        db.session.execute(_UPDATE, {"business_id": business_id, "rows": payloads.to_json(rows)})


def _assignment(name: str, place: int) -> str:
    if name in _JSON - {"tags"}:
        return f"{name} = new.row -> {place}"
    if name == "tags":
        return f"tags = ARRAY(SELECT jsonb_array_elements_text(new.row -> {place}))"
    if name == "updated_at":
        return f"updated_at = CAST(new.row ->> {place} AS timestamptz)"
    return f"{name} = new.row ->> {place}"


_UPDATE = text(
    f"UPDATE customers c SET {', '.join(_assignment(name, place) for place, name in enumerate(_CHANGEABLE, 1))} "
    "FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS new (row) "
    "WHERE c.business_id = :business_id AND c.id = CAST(new.row ->> 0 AS uuid)"
)
