"""In which order a thread shows what was written, and by which clock: the provider's, whenever it reached us."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from channels.base import Inbound, Person
from models import Business, Conversation, Customer, Message, db, now
from services import arrivals, customers, messages
from services.messages import Sender
from tests.factories import received, whatsapp
from tests.people import Somebody
from tests.ui.browser import Browser
from tests.ui.conftest import Place
from tests.ui.test_inbox import BUBBLES, inside, open_joe

TEXT = re.compile(r'class="txt[^"]*">([^<]*)')
DAY = 'class="day" data-day="'


@pytest.fixture
def signed_in(browser: Browser, alice: Somebody) -> Browser:
    browser.sign_in(alice.email)
    return browser


def thread(browser: Browser, message: Message) -> str:
    db.session.expire_all()
    place = db.session.get_one(Conversation, (message.business_id, message.conversation_id))
    shown = browser.get(f"/inbox/all/c/{place.number}").text
    return shown[shown.index('class="msgs') :]


def texts(shown: str) -> list[str]:
    return TEXT.findall(shown)


def answer(business: Business, message: Message, text: str) -> None:
    customer = customers.get(business, id=message.customer_id)
    messages.send(business, customer, channel="whatsapp", sender=Sender("user", None, "Bob"), content=text)
    db.session.commit()


def test_messages_that_came_in_reverse_stand_in_the_order_in_which_they_were_written(
    alice: Somebody, signed_in: Browser
) -> None:
    line, at = whatsapp(alice.business), now()
    for text, seconds in (("third", 1), ("second", 2), ("first", 3)):
        last = received(alice.business, line, text, at=at - timedelta(seconds=seconds))
    assert texts(thread(signed_in, last)) == ["first", "second", "third"]


def test_a_message_of_last_night_shows_its_own_time_and_day_above_what_was_written_since(
    alice: Somebody, signed_in: Browser
) -> None:
    line, night = whatsapp(alice.business), now() - timedelta(days=1, minutes=7)
    received(alice.business, line, "Good morning")
    last = received(alice.business, line, "Are you still open?", at=night)
    shown = thread(signed_in, last)
    assert texts(shown) == ["Are you still open?", "Good morning"]
    assert f"{night:%H:%M}" in shown
    assert shown.count(DAY) == 2


def test_an_answer_stays_below_what_it_answers_and_above_what_follows_though_clocks_differ(
    alice: Somebody, signed_in: Browser
) -> None:
    line, ahead, behind = whatsapp(alice.business), now() + timedelta(minutes=3), now() - timedelta(seconds=30)
    question = received(alice.business, line, "question", at=ahead)
    answer(alice.business, question, "answer")
    received(alice.business, line, "thanks", at=behind)
    assert texts(thread(signed_in, question)) == ["question", "answer", "thanks"]


def test_a_message_that_came_long_after_an_answer_stands_above_it(alice: Somebody, signed_in: Browser) -> None:
    line = whatsapp(alice.business)
    first = received(alice.business, line, "first", at=now() - timedelta(minutes=10))
    answer(alice.business, first, "answer")
    received(alice.business, line, "second", at=now() - timedelta(minutes=9))
    assert texts(thread(signed_in, first)) == ["first", "second", "answer"]


def test_the_order_of_the_api_is_that_of_arrival(alice: Somebody) -> None:
    line, at = whatsapp(alice.business), now()
    for text, seconds in (("second", 1), ("first", 2)):
        last = received(alice.business, line, text, at=at - timedelta(seconds=seconds))
    rows, _ = messages.page(alice.business, conversation_id=last.conversation_id)
    assert [row.content for row in rows] == ["second", "first"]


def comes(place: Place, text: str, seconds: float) -> None:
    """Let Joe's message come that he wrote so many seconds ago."""

    def write(business: Business) -> None:
        row = db.session.query(Conversation).filter_by(business_id=business.id, number=place.joe).one()
        joe = db.session.get_one(Customer, (business.id, row.customer_id))
        person = Person(row.address, joe.name, phone=joe.phone)
        at = now() - timedelta(seconds=seconds)
        arrivals.receive(business, row.account, Inbound(f"wamid.{text}", row.account.account_key, person, at, text))

    inside(place, write)


@pytest.mark.browser
def test_an_open_thread_puts_late_messages_into_their_places(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    for text, seconds in (("late third", 2), ("late second", 3), ("late first", 4), ("late fourth", 1)):
        comes(place, text, seconds)
        expect(agent.locator(BUBBLES, has_text=text)).to_have_count(1)
    comes(place, "late, of another day", 86_400 * 30)
    live = agent.locator(BUBBLES, has_text="late ")
    expect(agent.locator(BUBBLES).first).to_contain_text("late, of another day")
    order = ["late first", "late second", "late third", "late fourth"]
    expect(live).to_contain_text(order)
    expect(agent.locator(".msgs > .day + .m").first).to_contain_text("late, of another day")
    expect(agent.locator("#say")).to_contain_text("new message", ignore_case=True)
    agent.reload()
    expect(live).to_contain_text(order)
