"""live.js in Chromium: one connection for all tabs of a browser, nothing that disturbs who types, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from lib.ids import uuid7
from models import Business, Conversation, Customer, db, now
from services import conversations, events, messages, team
from tests.processes import Live
from tests.ui.conftest import Place, build, sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def place(live: Live) -> Place:
    return build(live)


@pytest.fixture
def inbox(place: Place) -> str:
    return f"{place.url}/inbox/mine/c/{place.joe}"


@pytest.fixture
def streams(browser_context: BrowserContext) -> list[Request]:
    """Collect the streams that this browser opens."""
    found: list[Request] = []
    browser_context.on("request", lambda request: found.append(request) if "/live?" in request.url else None)
    return found


def ask(live: Live, place: Place, work: Callable[[Business, Conversation], Any]) -> None:
    with live.app.app_context():
        business = db.session.get_one(Business, place.business_id)
        work(business, conversations.by_number(business, place.joe))
        db.session.commit()


def says(text: str) -> Callable[[Business, Conversation], None]:
    """Let the customer write."""

    def work(business: Business, conversation: Conversation) -> None:
        customer = db.session.get_one(Customer, (business.id, conversation.customer_id))
        sender = messages.Sender("customer", customer.id, customer.name)
        message = messages.new(conversation, sender, direction="inbound", status="received", content=text)
        conversations.saw_message(conversation, text_shown=text, inbound=True, at=now())
        events.append(business.id, "message.received", message=message)

    return work


def bubble(tab: Page, text: str) -> Any:
    return tab.locator(".msgs .m", has_text=text)


def opened(tab: Page) -> None:
    expect(tab.locator("html[data-live=open]")).to_be_attached()


def live_requests(streams: list[Request]) -> int:
    """Count the streams that are open still: an open one has no end."""
    return sum(1 for request in streams if request.failure is None and request.timing["responseEnd"] == -1)


def test_all_tabs_of_a_browser_share_one_connection_and_hear_everything(
    browser_context: BrowserContext, live: Live, place: Place, inbox: str, streams: list[Request]
) -> None:
    first = browser_context.new_page()
    sign_in(first, place)
    tabs = [first, *(browser_context.new_page() for _ in range(7))]
    streams.clear()
    for tab in tabs:
        tab.goto(inbox)
    for tab in tabs:
        opened(tab)
    ask(live, place, says("to every tab"))
    for tab in tabs:
        expect(bubble(tab, "to every tab")).to_have_count(1)
    assert live_requests(streams) == 1


def test_another_tab_takes_over_when_the_leader_closes_and_nothing_is_missed(
    browser_context: BrowserContext, live: Live, place: Place, inbox: str, streams: list[Request]
) -> None:
    leader = browser_context.new_page()
    sign_in(leader, place)
    leader.goto(inbox)
    opened(leader)
    follower = browser_context.new_page()
    follower.goto(inbox)
    opened(follower)
    ask(live, place, says("before"))
    expect(bubble(follower, "before")).to_have_count(1)
    streams.clear()
    leader.close()
    ask(live, place, says("in between"))
    expect(bubble(follower, "in between")).to_have_count(1)
    expect(bubble(follower, "before")).to_have_count(1)
    assert len(streams) == 1
    ask(live, place, says("after"))
    expect(bubble(follower, "after")).to_have_count(1)


def test_fifty_events_leave_text_focus_and_caret_alone(tab: Page, live: Live, place: Place, inbox: str) -> None:
    sign_in(tab, place)
    tab.goto(inbox)
    opened(tab)
    area = tab.locator("[data-composer] textarea.in-reply")
    area.fill("half a sentence")
    area.evaluate("area => area.setSelectionRange(5, 9)")
    tab.evaluate("top.same = document.querySelector('[data-composer] textarea')")
    for number in range(25):
        ask(live, place, says(f"event {number:02}"))
        ask(live, place, lambda b, c: conversations.set_tags(b, c, [f"tag{len(c.tags)}", f"x{c.updated_at}"[:60]]))
    expect(bubble(tab, "event 24")).to_have_count(1)
    state = tab.evaluate(
        """() => { const area = document.activeElement;
        return [area === top.same, area.value, area.selectionStart, area.selectionEnd] }"""
    )
    assert state == [True, "half a sentence", 5, 9]


def test_what_is_read_further_up_does_not_jump_and_a_pill_leads_down(
    tab: Page, live: Live, place: Place, inbox: str
) -> None:
    ask(live, place, says("\n".join(f"a long story {line}" for line in range(80))))
    sign_in(tab, place)
    tab.goto(inbox)
    opened(tab)
    tab.evaluate("document.querySelector('.msgs').scrollTop = 40")
    tab.wait_for_timeout(100)
    ask(live, place, says("far below"))
    expect(bubble(tab, "far below")).to_have_count(1)
    assert tab.evaluate("document.querySelector('.msgs').scrollTop") == 40
    pill = tab.locator(".jump")
    expect(pill).to_be_visible()
    pill.click()
    expect(bubble(tab, "far below")).to_be_in_viewport()
    expect(pill).to_be_hidden()
    ask(live, place, says("at the end"))
    expect(bubble(tab, "at the end")).to_be_in_viewport()


def test_a_focused_button_keeps_the_focus_when_its_part_is_replaced(
    tab: Page, live: Live, place: Place, inbox: str
) -> None:
    sign_in(tab, place)
    tab.goto(inbox)
    opened(tab)
    tab.focus("#do-more")
    ask(live, place, lambda b, c: conversations.set_status(b, c, "pending", by="Tom"))
    expect(tab.locator("header[data-status=pending]")).to_be_attached()
    assert tab.evaluate("document.activeElement.id") == "do-more"


def test_after_a_restart_of_the_server_nothing_is_missing(tab: Page, live: Live, place: Place, inbox: str) -> None:
    sign_in(tab, place)
    tab.goto(inbox)
    opened(tab)
    live.stop("web")
    expect(tab.locator("html[data-live=offline]")).to_be_attached()
    ask(live, place, says("while it was away"))
    live.start("web")
    expect(bubble(tab, "while it was away")).to_have_count(1, timeout=40_000)
    opened(tab)


def test_a_screen_that_missed_too_much_fetches_itself_anew(tab: Page, live: Live, place: Place, inbox: str) -> None:
    sign_in(tab, place)
    tab.goto(inbox)
    opened(tab)
    tab.evaluate("document.addEventListener('live:reset', () => { document.body.dataset.resets = 1 })")
    tab.context.set_offline(True)
    expect(tab.locator("html[data-live=offline]")).to_be_attached()

    def many(business: Business, conversation: Conversation) -> None:
        says("among many")(business, conversation)
        for _ in range(520):
            events.append(business.id, "customer.updated", customer_id=uuid7())

    ask(live, place, many)
    tab.context.set_offline(False)
    expect(tab.locator("body[data-resets]")).to_be_attached(timeout=20_000)
    expect(bubble(tab, "among many")).to_have_count(1)


def test_a_session_that_ends_stops_every_tab(
    browser_context: BrowserContext, live: Live, place: Place, inbox: str
) -> None:
    first, second = browser_context.new_page(), browser_context.new_page()
    sign_in(first, place)
    for tab in (first, second):
        tab.goto(inbox)
        opened(tab)
    with live.app.app_context():
        user = team.find_by_email(place.mary)
        assert user
        user.session_epoch += 1
        db.session.commit()
    for tab in (first, second):
        expect(tab.locator("html[data-live=expired]")).to_be_attached(timeout=4000)


def test_signing_out_in_one_tab_stops_the_others(
    browser_context: BrowserContext, live: Live, place: Place, inbox: str
) -> None:
    first, second = browser_context.new_page(), browser_context.new_page()
    sign_in(first, place)
    for tab in (first, second):
        tab.goto(inbox)
        opened(tab)
    with suppress(Exception):
        first.evaluate("document.querySelector('form[action=\"/logout\"]').requestSubmit()")
    first.wait_for_url("**/login*")
    expect(second.locator("html[data-live=expired]")).to_be_attached(timeout=4000)
