"""Who writes on WhatsApp: numbers pass on to others, scoped ids do not, and one message may prove two customers one."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Person
from models import Business, ChannelAccount, Conversation, Customer, Message, db
from services import customers, identities, same_people
from tests.factories import customer, received, whatsapp

NUMBER, DIGITS = "+353871234567", "353871234567"
AOIFE, STRANGER = "IE.7700000000000001", "IE.8800000000000002"


@pytest.fixture
def line(acme: Business) -> ChannelAccount:
    return whatsapp(acme)


def writes(acme: Business, line: ChannelAccount, scoped: str | None = None, digits: str = DIGITS) -> Message:
    """Let somebody write who is known by a scoped id, a number or both."""
    phone = f"+{digits}" if digits else None
    person = Person(digits or str(scoped), name="Aoife", phone=phone, scoped_id=scoped)
    return received(acme, line, person=person)


def handles(customer_id: Any, acme: Business) -> set[str]:
    return {key.value for key, _ in identities.of_customers(acme.id, [customer_id])}


def conversation(message: Message) -> Conversation:
    db.session.expire_all()
    return db.session.get_one(Conversation, (message.business_id, message.conversation_id))


def alike(acme: Business, customer_id: Any) -> list[Any]:
    return [row.id for row in same_people.duplicates(acme, customers.get(acme, id=customer_id))]


def test_the_number_and_the_scoped_id_of_one_person_find_each_other(acme: Business, line: ChannelAccount) -> None:
    first = writes(acme, line)
    both = writes(acme, line, AOIFE)
    hidden = writes(acme, line, AOIFE, digits="")
    assert first.customer_id == both.customer_id == hidden.customer_id
    assert handles(first.customer_id, acme) == {AOIFE, NUMBER}


@pytest.mark.parametrize(
    ("before", "after"),
    [(DIGITS, DIGITS), ("5491123456789", "541123456789")],
    ids=["the same number", "two ways of writing it"],
)
def test_a_number_that_has_passed_on_makes_a_newcomer_who_is_shown_as_a_possible_duplicate(
    acme: Business, line: ChannelAccount, before: str, after: str
) -> None:
    aoife = writes(acme, line, AOIFE, before)
    stranger = writes(acme, line, STRANGER, after)
    again = writes(acme, line, STRANGER, after)
    assert stranger.customer_id == again.customer_id != aoife.customer_id
    assert stranger.conversation_id != aoife.conversation_id
    assert handles(stranger.customer_id, acme) == {STRANGER}
    assert AOIFE in handles(aoife.customer_id, acme)
    assert customers.get(acme, id=stranger.customer_id).whatsapp_number == f"+{after}"
    assert alike(acme, aoife.customer_id) == [stranger.customer_id]
    assert alike(acme, stranger.customer_id) == [aoife.customer_id]


def test_an_answer_to_the_former_owner_of_a_number_does_not_go_to_the_new_one(
    acme: Business, line: ChannelAccount
) -> None:
    aoife = writes(acme, line, AOIFE)
    stranger = writes(acme, line, STRANGER)
    assert conversation(aoife).address == AOIFE
    assert conversation(stranger).address == DIGITS


def test_a_number_known_to_the_crm_alone_goes_to_who_writes_from_it_first(acme: Business, line: ChannelAccount) -> None:
    known = customer(acme, name="Aoife Walsh", phone=NUMBER)
    assert writes(acme, line, AOIFE).customer_id == known.id
    assert writes(acme, line, STRANGER).customer_id != known.id


def test_a_message_that_proves_two_customers_one_makes_them_one(acme: Business, line: ChannelAccount) -> None:
    hidden = writes(acme, line, AOIFE, digits="")
    known = customer(acme, name="Aoife Walsh", phone=NUMBER, external_id="C1")
    both = writes(acme, line, AOIFE)
    assert both.customer_id == known.id
    assert customers.get(acme, id=hidden.customer_id).id == known.id
    assert handles(known.id, acme) >= {AOIFE, NUMBER, "C1"}
    assert conversation(both).id == hidden.conversation_id, "one conversation goes on"
    assert conversation(both).address == DIGITS
    assert writes(acme, line, AOIFE, digits="").customer_id == known.id


def test_who_is_in_the_crm_is_kept_and_who_is_only_a_number_joins_them(acme: Business, line: ChannelAccount) -> None:
    hidden = writes(acme, line, AOIFE, digits="")
    customers.update(acme, hidden.customer_id, {"external_id": "C1", "email": "aoife@example.com"})
    number = writes(acme, line)
    assert number.customer_id != hidden.customer_id
    assert writes(acme, line, AOIFE).customer_id == hidden.customer_id
    assert customers.get(acme, id=number.customer_id).id == hidden.customer_id


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_two_whom_people_know_apart_are_left_to_an_agent_as_a_possible_duplicate(
    acme: Business, line: ChannelAccount, twice: bool
) -> None:
    hidden = writes(acme, line, AOIFE, digits="")
    customers.update(acme, hidden.customer_id, {"external_id": "C1"})
    other = customer(acme, name="Brian", phone=NUMBER, external_id="C2")
    for _ in range(1 + twice):
        assert writes(acme, line, AOIFE).customer_id == hidden.customer_id
    assert alike(acme, hidden.customer_id) == [other.id]
    assert alike(acme, other.id) == [hidden.customer_id]
    assert identities.holders(acme.id, [identities.phone_key(NUMBER)]).popitem()[1].customer_id == other.id


def test_two_whom_whatsapp_knows_apart_never_become_one(acme: Business, line: ChannelAccount) -> None:
    hidden = writes(acme, line, AOIFE, digits="")
    other = writes(acme, line, STRANGER)
    assert writes(acme, line, AOIFE).customer_id == hidden.customer_id
    assert db.session.query(Customer).filter_by(business_id=acme.id).count() == 2
    assert alike(acme, hidden.customer_id) == [other.customer_id]


def test_somebody_with_another_number_does_not_swallow_the_holder_of_this_one(
    acme: Business, line: ChannelAccount
) -> None:
    aoife = writes(acme, line, AOIFE, "353861111111")
    other = customer(acme, name="Brian", phone=NUMBER)
    assert writes(acme, line, AOIFE).customer_id == aoife.customer_id
    assert customers.get(acme, id=other.id).id == other.id
