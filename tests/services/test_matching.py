"""Who is meant: matching by external id, email, phone; shared addresses; batches; dry runs."""

from __future__ import annotations

from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import event, func, select, text

from errors import Conflict, NotFound
from models import Business, Customer, Event, Identity, db
from services import customer_lifecycle, customers


def sync(business: Business, *records: dict[str, Any], **options: Any) -> list[Any]:
    outcomes = customers.sync(business, list(records), **options)
    db.session.commit()
    return outcomes


JOE = {
    "name": "Joe",
    "email": "joe@example.com",
    "phone": "+353871234567",
    "external_id": "C1",
    "external_system": "sf",
}


def test_the_first_record_creates_and_the_second_updates(acme: Business) -> None:
    assert [item.action for item in sync(acme, JOE)] == ["created"]
    (again,) = sync(acme, JOE | {"name": "Joseph"})
    assert (again.action, again.matched_by, again.changes) == ("updated", "external_id", {"name": ["Joe", "Joseph"]})


def test_matching_goes_by_external_id_then_email_then_phone(acme: Business) -> None:
    (made,) = sync(acme, JOE)
    by_email, by_phone = sync(acme, {"email": "JOE@example.com"}, {"phone": "087 123 4567"})
    assert (by_email.matched_by, by_phone.matched_by) == ("email", "phone")
    assert {by_email.customer_id, by_phone.customer_id} == {made.customer_id}


def test_another_id_in_the_same_system_is_another_person_who_shares_the_address(acme: Business) -> None:
    (joe,) = sync(acme, JOE)
    (wife,) = sync(acme, {"name": "Ann", "email": JOE["email"], "external_id": "C2", "external_system": "sf"})
    assert wife.action == "created"
    assert wife.warnings == [{"code": "shared_email", "customer_id": str(joe.customer_id)}]
    assert customers.get(acme, id=wife.customer_id).email == JOE["email"]
    holder = db.session.scalars(select(Identity).where(Identity.business_id == acme.id, Identity.kind == "email")).one()
    assert (holder.customer_id, holder.shared) == (joe.customer_id, True)


def test_nobody_is_guessed_between_two_who_share_an_address(acme: Business) -> None:
    sync(acme, JOE, {"name": "Ann", "email": JOE["email"], "external_id": "C2", "external_system": "sf"})
    (asked,) = sync(acme, {"email": JOE["email"], "notes": "who?"})
    assert asked.action == "failed"
    assert asked.error.code == "ambiguous"
    with pytest.raises(Conflict):
        customers.get(acme, email=JOE["email"])
    (named,) = sync(acme, {"external_id": "C2", "email": JOE["email"], "notes": "Ann"})
    assert named.matched_by == "external_id"


def test_an_address_is_shared_no_longer_once_one_of_two_moves_away(acme: Business) -> None:
    joe, ann = sync(acme, JOE, {"name": "Ann", "email": JOE["email"], "external_id": "C2", "external_system": "sf"})
    sync(acme, {"external_id": "C1", "email": "new@example.com"})
    assert customers.get(acme, email=JOE["email"]).id == ann.customer_id
    assert customers.get(acme, email="new@example.com").id == joe.customer_id


def test_an_id_without_a_system_means_the_one_system_that_knows_it(acme: Business) -> None:
    (joe,) = sync(acme, JOE)
    (again,) = sync(acme, {"external_id": "C1", "notes": "x"})
    assert again.customer_id == joe.customer_id
    sync(acme, {"name": "Eve", "email": "eve@example.com", "external_id": "C1", "external_system": "hubspot"})
    (unclear,) = sync(acme, {"external_id": "C1", "notes": "y"})
    assert unclear.error.code == "ambiguous"
    assert unclear.error.details == {"systems": ["hubspot", "sf"]}
    with pytest.raises(Conflict):
        customers.get(acme, external_id="C1")
    assert customers.get(acme, external_id="C1", external_system="sf").id == joe.customer_id


def test_an_unknown_id_without_a_system_is_another_person_than_one_who_has_any_id(acme: Business) -> None:
    (joe,) = sync(acme, JOE)
    (other,) = sync(acme, {"name": "Ann", "email": JOE["email"], "external_id": "X9"})
    assert other.action == "created"
    assert other.customer_id != joe.customer_id
    assert customers.get(acme, external_id="X9").external_system == "default"


def test_a_person_who_comes_twice_in_a_batch_is_created_and_then_updated(acme: Business) -> None:
    first, second, third = sync(
        acme,
        {"name": "Joe", "email": "joe@example.com"},
        {"email": "joe@example.com", "phone": "+353871234567"},
        {"phone": "+353871234567", "external_id": "C7"},
    )
    assert [first.action, second.action, third.action] == ["created", "updated", "updated"]
    assert first.customer_id == second.customer_id == third.customer_id
    assert db.session.scalar(select(func.count()).where(Customer.business_id == acme.id)) == 1
    assert customers.get(acme, external_id="C7").phone == "+353871234567"


def test_a_bad_record_leaves_its_neighbours_alone(acme: Business) -> None:
    good, no_name, no_contact, bad_mail, not_an_object = sync(
        acme, JOE, {"email": "x@example.com"}, {"name": "Y"}, {"name": "Z", "email": "nope"}, 7
    )
    assert good.action == "created"
    assert [item.error.code for item in (no_name, no_contact, bad_mail, not_an_object)] == [
        "name_required",
        "contact_required",
        "invalid_field",
        "invalid_type",
    ]
    assert bad_mail.error.field == "email"


def test_left_out_is_untouched_and_null_clears(acme: Business) -> None:
    sync(acme, JOE | {"notes": "VIP", "tags": ["a"], "custom_fields": {"x": 1, "y": {"deep": 1}}})
    sync(acme, {"external_id": "C1", "notes": None, "custom_fields": {"x": None, "y": {"other": 2}, "z": 3}})
    joe = customers.get(acme, external_id="C1")
    assert (joe.notes, joe.tags, joe.custom_fields) == (None, ["a"], {"y": {"other": 2}, "z": 3})


def test_clearing_an_address_frees_it(acme: Business) -> None:
    sync(acme, JOE)
    sync(acme, {"external_id": "C1", "phone": None})
    assert customers.find(acme, phone="+353871234567") is None
    (ann,) = sync(acme, {"name": "Ann", "phone": "+353871234567"})
    assert ann.action == "created"
    assert not ann.warnings


def test_a_dry_run_changes_nothing_and_tells_the_changes(acme: Business) -> None:
    sync(acme, JOE)
    before = db.session.scalar(select(func.count()).where(Event.business_id == acme.id))
    made, changed = sync(
        acme, {"name": "New", "email": "new@example.com"}, {"external_id": "C1", "name": "Jo"}, dry_run=True
    )
    assert made.action == "created"
    assert changed.changes == {"name": ["Joe", "Jo"]}
    assert customers.get(acme, external_id="C1").name == "Joe"
    assert db.session.scalar(select(func.count()).where(Event.business_id == acme.id)) == before


def test_an_update_that_changes_nothing_tells_nobody(acme: Business) -> None:
    sync(acme, JOE)
    sync(acme, JOE)
    kinds = db.session.scalars(select(Event.type).where(Event.business_id == acme.id)).all()
    assert kinds == ["customer.created"]


def test_a_batch_takes_the_same_number_of_statements_whatever_its_size(in_app: Flask, acme: Business) -> None:
    counted: list[str] = []
    with in_app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))

    def count(size: int, start: int) -> int:
        counted.clear()
        records = [
            {"name": "P", "email": f"p{start + i}@example.com", "external_id": f"E{start + i}"} for i in range(size)
        ]
        sync(acme, *records)
        return len(counted)

    assert count(100, 0) == count(900, 1000) <= 12


def test_two_batches_in_opposite_order_make_each_person_once(in_app: Flask, acme: Business) -> None:
    people = [{"name": f"P{i}", "email": f"p{i}@example.com", "phone": f"+35387{2000000 + i}"} for i in range(200)]
    failures: list[BaseException] = []

    def run(records: list[dict[str, Any]]) -> None:
        try:
            with in_app.app_context():
                for start in range(0, 200, 20):
                    customers.sync(acme, records[start : start + 20])
                    db.session.commit()
        except BaseException as exc:
            failures.append(exc)

    threads = [Thread(target=run, args=(order,)) for order in (people, people[::-1], people[::-1], people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert db.session.scalar(select(func.count()).where(Customer.business_id == acme.id)) == 200


def test_a_merged_customer_is_found_by_every_handle_of_both(acme: Business) -> None:
    joe, old = sync(acme, JOE, {"name": "J. Bloggs", "email": "old@example.com", "external_id": "C9", "tags": ["vip"]})
    customer_lifecycle.merge(acme, joe.customer_id, old.customer_id)
    db.session.commit()
    for handle in ({"id": old.customer_id}, {"email": "old@example.com"}, {"external_id": "C9"}, {"external_id": "C1"}):
        found = customers.get(acme, **handle)
        assert found.id == joe.customer_id
    assert found.tags == ["vip"]
    assert found.external_ids == {"sf": "C1", "default": "C9"}


def test_an_erased_customer_leaves_nothing_in_any_table(acme: Business) -> None:
    secret = "zanzibar-7731"
    (made,) = sync(acme, {"name": secret, "email": f"{secret}@example.com", "notes": secret, "external_id": secret})
    customer_lifecycle.erase(acme, made.customer_id)
    db.session.commit()
    with pytest.raises(NotFound):
        customers.get(acme, id=made.customer_id)
    tables = db.session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
    for table in tables:
        found = db.session.scalar(
            text(f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE :secret OR t::text LIKE :hex"),
            {"secret": f"%{secret}%", "hex": f"%{secret.encode().hex()}%"},
        )
        assert found == 0, table


def test_another_business_sees_nobody(acme: Business, globex: Business) -> None:
    (joe,) = sync(acme, JOE)
    assert customers.find(globex, id=joe.customer_id) is None
    assert customers.find(globex, email=JOE["email"]) is None
    found, missing = customers.batch(globex, ids=[str(joe.customer_id)], emails=[JOE["email"]])
    assert found == []
    assert missing["ids"] == [str(joe.customer_id)]


def test_a_batch_lookup_answers_in_the_order_asked(acme: Business) -> None:
    joe, ann = sync(acme, JOE, {"name": "Ann", "email": "ann@example.com"})
    found, missing = customers.batch(
        acme, ids=[str(ann.customer_id), str(UUID(int=7))], external_ids=["C1", "nope"], emails=["bad"], phones=["1"]
    )
    assert [row.id for row in found] == [ann.customer_id, joe.customer_id]
    assert missing == {"ids": [str(UUID(int=7))], "external_ids": ["nope"], "emails": ["bad"], "phones": ["1"]}
