"""Two customers who may be one: what a WhatsApp message proves, and who looks like somebody else.

Called by arrivals and the inbox. Makes two one only where nothing that we know speaks against it, for that is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from channels.base import Person
from lib import addresses
from models import Business, reading
from services import customer_lifecycle, customer_rows, identities
from services.customer_fields import Record
from services.customer_sync import Batch, Outcome
from services.identities import Holder, Key

MOST_SHOWN = 10


def settle(business: Business, known: UUID, other: UUID, person: Person, holders: dict[Key, Holder]) -> UUID:
    """Settle that a message names `known` by scoped id and `other` by number: give the customer who wrote it.

    They become one while one of them is nothing but what WhatsApp told. Else the first shows the number as a plain
    field, so that both are shown to agents as a possible duplicate.
    """
    people = customer_rows.lock(business.id, [known, other])
    bare = [one for one in (known, other) if not people[one].external_ids and not people[one].email]
    if bare and not _speaks_against(business, known, other, person, holders):
        keep, merge = (known, other) if bare == [other] else (other, known)
        customer_lifecycle.merge(business, keep, merge)
        for holder in holders.values():
            holder.customer_id = keep if holder.customer_id == merge else holder.customer_id
        return keep
    if people[known].whatsapp_number is None and person.phone:
        work = Batch(business, [])
        work.holders = holders
        work.update(people[known], Record({"whatsapp_number": person.phone}), Outcome(0, "updated", known))
        work.write()
    return known


def _speaks_against(
    business: Business, known: UUID, other: UUID, person: Person, holders: Mapping[Key, Holder]
) -> bool:
    """Say whether WhatsApp knows the two apart, or a third shows the number too."""
    held = identities.of_customers(business.id, [known, other])
    number = identities.whatsapp_key(person.phone or "")
    scoped = [owner for key, owner in held if identities.is_scoped(key)]
    numbers = {key.value for key, owner in held if owner == known and key.kind in ("whatsapp", "phone")}
    elsewhere = any("." not in value and value != number.value for value in numbers)
    return elsewhere or other in scoped or any(holder.shared for holder in holders.values())


def duplicates(business: Business, customer: Any) -> Sequence[Any]:
    """List other customers who show one of the same addresses, however their numbers are written."""
    numbers = _numbers(customer)
    tails = [f"%{number[-8:]}%" for number in numbers] + [None, None]  # which no two ways of writing one differ in
    with reading() as connection:
        rows = connection.execute(
            text(_ALIKE),
            {"business_id": business.id, "id": customer.id, "email": customer.email, "one": tails[0], "two": tails[1]},
        ).all()
    alike = [row for row in rows if (customer.email and row.email == customer.email) or _numbers(row) & numbers]
    return alike[:MOST_SHOWN]


_ALIKE = """
    SELECT id, name, email, phone, whatsapp_number, external_id, created_at FROM customers
    WHERE business_id = :business_id AND id <> :id AND (email = :email OR search LIKE :one OR search LIKE :two)
    ORDER BY created_at LIMIT 50"""


def _numbers(row: Any) -> set[str]:
    return {addresses.phone_key(number) for number in (row.phone, row.whatsapp_number) if number}
