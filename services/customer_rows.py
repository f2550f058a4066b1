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
_TYPES = dict.fromkeys(_JSON, "jsonb") | {"id": "uuid", "updated_at": "timestamptz"}


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
    ordered = sorted(people, key=lambda person: person.id)
    if not ordered:
        return
    params: dict[str, Any] = {"business_id": business_id}
    for name in ("id", *_CHANGEABLE):
        values = [getattr(person, name) for person in ordered]
        params[name] = [payloads.to_json(value) for value in values] if name in _JSON else values
    db.session.execute(_UPDATE, params)


_ASSIGNMENTS = ", ".join(
    "tags = ARRAY(SELECT jsonb_array_elements_text(new.tags))" if name == "tags" else f"{name} = new.{name}"
    for name in _CHANGEABLE
)
_SOURCES = ", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')}[])" for name in ("id", *_CHANGEABLE))
_UPDATE = text(
    f"UPDATE customers c SET {_ASSIGNMENTS} FROM unnest({_SOURCES}) AS new ({', '.join(('id', *_CHANGEABLE))}) "
    "WHERE c.business_id = :business_id AND c.id = new.id"
)
