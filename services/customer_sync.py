"""Create or update many customers at once: read what is known, decide record by record, write set by set.

Called by customers alone. A batch takes a constant number of statements, whatever its size; records apply in order, so
a person who comes twice is created and then updated. See docs/decisions/0004-matching.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from errors import AppError, Conflict, Invalid
from lib.ids import uuid7
from models import Business, now
from services import customer_fields, customer_rows, events, identities, payloads
from services.customer_fields import Record
from services.customer_rows import Person
from services.identities import DEFAULT_SYSTEM, Holder, Key


@dataclass(slots=True)
class Outcome:
    """What became of one record. `action` is created, updated or failed."""

    index: int
    action: str
    customer_id: UUID | None = None
    external_id: str | None = None
    matched_by: str | None = None
    error: AppError | None = None
    warnings: list[dict[str, str]] = field(default_factory=list)
    changes: dict[str, list[Any]] = field(default_factory=dict)


class Batch:
    """The people that some records speak of, as known and as they will be."""

    def __init__(self, business: Business, records: Sequence[Any]) -> None:
        self.business = business
        self.records = [self._read(raw) for raw in records]
        self.people: dict[UUID, Person] = {}
        self.holders: dict[Key, Holder] = {}
        self.systems: dict[str, set[str]] = {}  # external id → the systems that know it
        self.sharers: dict[Key, list[UUID]] = {}  # everybody who shows a shared address
        self.created: dict[UUID, Person] = {}
        self.updated: dict[UUID, Person] = {}
        self.claimed: dict[Key, UUID] = {}
        self.released: dict[Key, UUID] = {}
        self.newly_shared: set[Key] = set()

    def _read(self, raw: Any) -> Record | AppError:
        if isinstance(raw, AppError):  # the edge refused it already
            return raw
        try:
            return customer_fields.read(raw, self.business.default_region)
        except Invalid as exc:
            return exc

    # --- what is known: three statements, four where addresses are shared ---

    def load(self, *customer_ids: UUID) -> None:
        """Lock and read everyone that the records may mean, and the customers named."""
        keys = [key for record in self.records if isinstance(record, Record) for key in _keys(record)]
        identities.lock(self.business.id, [*keys, *(Key("customer", str(item)) for item in customer_ids)])
        self.holders = identities.holders(self.business.id, keys)
        for key in self.holders:
            if key.kind == "external_id":
                self.systems.setdefault(key.value, set()).add(key.scope)
        wanted = {holder.customer_id for holder in self.holders.values()} | set(customer_ids)
        shared = [key for key, holder in self.holders.items() if holder.shared]
        self.people = customer_rows.lock(self.business.id, wanted, shared)
        for person in self.people.values():
            for key in _address_keys(person.email, person.phone):
                if key in shared:
                    self.sharers.setdefault(key, []).append(person.id)

    # --- what is meant ---

    def apply(self) -> list[Outcome]:
        """Decide on each record in turn; nothing is written yet."""
        outcomes = []
        for index, record in enumerate(self.records):
            outcome = Outcome(index, "failed")
            try:
                if isinstance(record, AppError):
                    raise record
                outcome.external_id = record.external_id
                self._apply(record, outcome)
            except AppError as exc:
                outcome.action, outcome.error = "failed", exc
            outcomes.append(outcome)
        return outcomes

    def _apply(self, record: Record, outcome: Outcome) -> None:
        self.settle_system(record)
        person, outcome.matched_by = self._match(record)
        if person is None:
            self.create(record, outcome)
        else:
            self.update(person, record, outcome)

    def settle_system(self, record: Record) -> None:
        """Decide which CRM an external id without a system belongs to."""
        if record.external_id and not record.external_system:
            systems = self.systems.get(record.external_id, set())
            if len(systems) > 1:
                raise Conflict(
                    "Several systems know this external_id; say which with external_system.",
                    code="ambiguous",
                    field="external_id",
                    details={"systems": sorted(systems)},
                )
            record.external_system = next(iter(systems), None)

    def check_link(self, person: Person, record: Record) -> None:
        """Refuse to give somebody an external id that is another's."""
        if not record.external_id:
            return
        key = identities.external_key(record.external_system or DEFAULT_SYSTEM, record.external_id)
        holder = self.holders.get(key)
        if (holder and holder.customer_id != person.id) or self._is_another(person, record):
            raise Conflict(
                "The external_id belongs to another customer, or this one has another in the same system.",
                code="external_id_taken",
                field="external_id",
            )

    def _match(self, record: Record) -> tuple[Person | None, str | None]:
        if record.external_id:
            system = record.external_system or DEFAULT_SYSTEM
            holder = self.holders.get(identities.external_key(system, record.external_id))
            if holder:
                return self.people[holder.customer_id], "external_id"
        for key in _address_keys(record.fields.get("email"), record.fields.get("phone")):
            holder = self.holders.get(key)
            if holder is None:
                continue
            ids = self.sharers.get(key, [holder.customer_id]) if holder.shared else [holder.customer_id]
            candidates = [self.people[item] for item in ids if not self._is_another(self.people[item], record)]
            if len(candidates) > 1:
                raise Conflict(
                    f"Several customers share this {key.kind}; say which one with its external_id.",
                    code="ambiguous",
                    field=key.kind,
                    details={"customer_ids": [str(person.id) for person in candidates]},
                )
            if candidates:
                return candidates[0], key.kind
        return None, None

    def _is_another(self, person: Person, record: Record) -> bool:
        """Tell whether the CRM itself says that this is somebody else: another id in the same system."""
        if not record.external_id:
            return False
        if record.external_system is None:
            return bool(person.external_ids)
        return bool(person.external_ids.get(record.external_system, record.external_id) != record.external_id)

    # --- what will be ---

    def create(self, record: Record, outcome: Outcome, *, contact_required: bool = True) -> Person:
        said = record.fields
        name = customer_fields.full_name(said)
        if not name:
            raise Invalid(
                "A new customer needs a name (or first_name or last_name).", code="name_required", field="name"
            )
        if contact_required and not (said.get("email") or said.get("phone")):
            raise Invalid("A new customer needs an email or a phone.", code="contact_required", field="email")
        person = Person(self.business.id, uuid7())
        self.people[person.id] = self.created[person.id] = person
        outcome.action, outcome.customer_id = "created", person.id
        self._change(person, said | {"name": name}, record, outcome)
        return person

    def update(self, person: Person, record: Record, outcome: Outcome) -> None:
        said = dict(record.fields)
        if "name" in said and not said["name"]:
            said["name"] = customer_fields.full_name(said | {"name": None}) or None
            if not said["name"]:
                raise Invalid("A customer's name cannot be empty.", code="name_required", field="name")
        outcome.action, outcome.customer_id = "updated", person.id
        self._change(person, said, record, outcome)
        if outcome.changes and person.id not in self.created:
            person.updated_at = now()
            self.updated[person.id] = person

    def _change(self, person: Person, said: dict[str, Any], record: Record, outcome: Outcome) -> None:
        before = {name: getattr(person, name) for name in said}
        for name, value in said.items():
            setattr(person, name, _merged(person.custom_fields, value) if name == "custom_fields" else value)
        outcome.changes = {
            name: [old, getattr(person, name)] for name, old in before.items() if old != getattr(person, name)
        }
        for name, make_key in _ADDRESSES.items():
            if name in outcome.changes:
                self._move_address(person, name, make_key, outcome)
        if record.external_id:
            self._link(person, record, outcome)
        if outcome.changes:
            person.search = customer_fields.searchable(person)

    def _move_address(self, person: Person, name: str, make_key: Any, outcome: Outcome) -> None:
        old, new = outcome.changes[name]
        if old:
            key = make_key(old)
            holder = self.holders.get(key)
            if holder is None or holder.customer_id == person.id:  # not read means not asked for, so possibly ours
                self.holders.pop(key, None)
                self.claimed.pop(key, None)
                self.released[key] = person.id
        if new:
            self._claim(make_key(new), person, outcome)

    def _claim(self, key: Key, person: Person, outcome: Outcome) -> None:
        holder = self.holders.get(key)
        if holder is None:
            self.holders[key] = Holder(person.id)
            self.claimed[key] = person.id
            self.released.pop(key, None)
        elif holder.customer_id != person.id:
            holder.shared = True
            self.newly_shared.add(key)
            self.sharers.setdefault(key, [holder.customer_id]).append(person.id)
            outcome.warnings.append({"code": f"shared_{key.kind}", "customer_id": str(holder.customer_id)})

    def _link(self, person: Person, record: Record, outcome: Outcome) -> None:
        assert record.external_id
        system = record.external_system or DEFAULT_SYSTEM
        if person.external_ids.get(system) == record.external_id:
            return
        key = identities.external_key(system, record.external_id)
        if key in self.holders:  # an alias from a merge: it goes on finding this person
            return
        outcome.changes["external_ids"] = [person.external_ids, person.external_ids | {system: record.external_id}]
        person.external_ids = outcome.changes["external_ids"][1]
        if person.external_id is None:
            person.external_id, person.external_system = record.external_id, system
        self.holders[key] = Holder(person.id)
        self.claimed[key] = person.id
        self.systems.setdefault(record.external_id, set()).add(system)

    # --- what is written ---

    def write(self) -> None:
        """Write everything and tell of it; the number of statements does not depend on the size of the batch."""
        business_id = self.business.id
        identities.release(business_id, self.released)
        customer_rows.insert(self.created.values())
        customer_rows.update(business_id, self.updated.values())
        identities.claim(business_id, self.claimed)
        identities.mark_shared(business_id, self.newly_shared)
        for kind, people in (("customer.created", self.created), ("customer.updated", self.updated)):
            for person in people.values():
                events.append(business_id, kind, _teller(person), customer_id=person.id)


_ADDRESSES = {
    "email": identities.email_key,
    "phone": identities.phone_key,
    "whatsapp_number": identities.whatsapp_key,
}


def _keys(record: Record) -> list[Key]:
    keys = [make(record.fields[name]) for name, make in _ADDRESSES.items() if record.fields.get(name)]
    if record.external_id:
        keys.append(Key("external_id", record.external_id))
    return keys


def _address_keys(email: str | None, phone: str | None) -> list[Key]:
    keys = [identities.email_key(email)] if email else []
    return [*keys, identities.phone_key(phone)] if phone else keys


def _merged(old: dict[str, Any], said: dict[str, Any] | None) -> dict[str, Any]:
    """Merge custom fields one level deep; None removes a key, and None as a whole removes them all."""
    if said is None:
        return {}
    return {key: value for key, value in (old | said).items() if value is not None}


def _teller(person: Person) -> Any:
    return lambda: payloads.customer_event(person)
