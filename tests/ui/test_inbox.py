"""The inbox in a real browser on the running product: keys, live updates, drafts, sending, files, windows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect
from sqlalchemy import select

from models import Business, Conversation, Customer, Message, User, db, now
from services import events, messages
from tests.ui import scene
from tests.ui.conftest import Place, open_stream, sign_in

pytestmark = pytest.mark.browser

BUBBLES = ".msgs .m"


def inside(place: Place, work: Callable[[Business], Any]) -> Any:
    """Do something in the product's own database, as another process would, and commit."""
    with place.live.app.app_context():
        found = work(db.session.get_one(Business, place.business_id))
        db.session.commit()
        return found


def conversation(business: Business, number: int) -> Conversation:
    query = select(Conversation).where(Conversation.business_id == business.id, Conversation.number == number)
    return db.session.scalars(query).one()


def customer_writes(place: Place, number: int, text: str) -> None:
    """Let a message come in, as the worker does."""

    def write(business: Business) -> None:
        row = conversation(business, number)
        customer = db.session.get_one(Customer, (business.id, row.customer_id))
        sender = messages.Sender("customer", customer.id, customer.name)
        message = messages.new(row, sender, direction="inbound", status="received", content=text)
        row.preview, row.last_direction, row.last_message_at = text, "inbound", now()
        row.last_inbound_at, row.unread_count = now(), row.unread_count + 1
        events.append(business.id, "message.received", lambda: {}, message=message)

    inside(place, write)


def said(place: Place, text: str) -> list[tuple[bool, str]]:
    """Give who may read the messages with this text, and their state."""

    def read(business: Business) -> list[tuple[bool, str]]:
        query = select(Message).where(Message.business_id == business.id, Message.content == text)
        return [(message.private, message.direction) for message in db.session.scalars(query)]

    found: list[tuple[bool, str]] = inside(place, read)
    return found


def open_joe(agent: Page, place: Place) -> None:
    agent.locator(f"#row-{place.joe}").click()
    expect(agent.locator(f"[data-composer='{place.joe}'][data-awake]")).to_be_attached()
    agent.wait_for_url(f"**/c/{place.joe}")


def box(agent: Page, place: Place, mode: str = "reply") -> Any:
    return agent.locator(f"#body-{place.joe}-{mode}")


def test_an_agent_needs_no_mouse(browser_context: BrowserContext, place: Place) -> None:
    page = browser_context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{place.url}/login")
    keys = page.keyboard
    keys.type(place.mary)
    keys.press("Tab")
    keys.type(scene.PASSWORD)
    keys.press("Enter")
    page.wait_for_url("**/inbox/mine")
    open_stream(page)
    keys.press("j")
    expect(page.locator(f"#row-{place.joe}")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#thread h1")).to_be_focused()
    keys.press("r")
    keys.type("Hello Joe")
    keys.press("Enter")
    expect(page.locator(BUBBLES, has_text="Hello Joe")).to_have_count(1)
    keys.press("Escape")
    keys.press("n")
    keys.type("Only for us")
    keys.press("Enter")
    expect(page.locator(".m.note", has_text="Only for us")).to_have_count(1)
    keys.press("Escape")
    keys.press("l")
    page.locator("#menu input").wait_for()
    keys.type("urgent-one")
    keys.press("Enter")
    expect(page.locator(f"#header-{place.joe} .tag", has_text="urgent-one")).to_be_attached()
    keys.press("a")
    page.locator("#menu input").wait_for()
    keys.type("tom")
    keys.press("Enter")
    expect(page.locator("#do-assign")).to_contain_text("Tom Keane")
    expect(page.locator(".ev", has_text="Mary Ryan assigned this to Tom Keane")).to_have_count(1)
    keys.press("h")
    page.locator("#menu [role=menuitem]").first.wait_for()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Snoozed until")


def test_close_opens_the_next_one_and_can_be_undone(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    agent.keyboard.press("e")
    expect(agent.locator(".toast")).to_contain_text("Closed: Joe Bloggs")
    expect(agent.locator("#thread h1")).not_to_have_text("Joe Bloggs")
    expect(agent.locator(f"#row-{place.joe}")).to_have_count(0)
    agent.get_by_role("button", name="Undo").click()
    expect(agent.locator(f"#row-{place.joe}")).to_have_count(1)


def test_an_answer_that_the_live_update_overtakes_is_heard_all_the_same(agent: Page, place: Place) -> None:
    open_joe(agent, place)

    def late(route: Route) -> None:
        answer = route.fetch()
        time.sleep(1)  # the update is there meanwhile, and has replaced the button that asks
        route.fulfill(response=answer)

    agent.route("**/status", late)
    agent.keyboard.press("e")
    expect(agent.locator(".toast")).to_contain_text("Closed: Joe Bloggs")
    expect(agent.locator(".toast")).to_have_count(1)
    expect(agent.locator("#thread h1")).not_to_have_text("Joe Bloggs")


def test_letters_in_a_field_are_letters_and_the_shortcuts_can_be_turned_off(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).click()
    agent.keyboard.type("real answer, easy: hjklnuie?")
    expect(box(agent, place)).to_have_value("real answer, easy: hjklnuie?")
    expect(agent.locator("#menu:popover-open, dialog[open]")).to_have_count(0)
    box(agent, place).fill("")
    agent.keyboard.press("Escape")
    agent.keyboard.press("?")
    agent.get_by_role("switch", name="Single-key shortcuts").uncheck()
    agent.get_by_role("button", name="Done").click()
    agent.keyboard.press("n")
    expect(agent.locator(".composer.note")).to_have_count(0)
    agent.reload()
    agent.keyboard.press("n")
    expect(agent.locator(".composer.note")).to_have_count(0)


def test_a_message_reaches_every_tab_at_once(agent: Page, browser_context: BrowserContext, place: Place) -> None:
    other = browser_context.new_page()
    other.goto(f"{place.url}/inbox/mine")
    open_stream(other)
    open_joe(agent, place)
    customer_writes(place, place.joe, "Are you there?")
    expect(agent.locator(BUBBLES, has_text="Are you there?")).to_have_count(1)
    expect(other.locator(f"#row-{place.joe}")).to_contain_text("Are you there?")
    expect(agent.locator("#say")).to_contain_text("New message from Joe Bloggs")


def test_what_is_read_is_read_everywhere(agent: Page, browser_context: BrowserContext, place: Place) -> None:
    aoife = place.numbers["Aoife Walsh"]
    other = browser_context.new_page()
    other.goto(f"{place.url}/inbox/mine")
    open_stream(other)
    expect(other.locator(f"#row-{aoife}.un")).to_have_count(1)
    agent.bring_to_front()
    agent.locator(f"#row-{aoife}").click()
    expect(other.locator(f"#row-{aoife}.un")).to_have_count(0)


def test_fifty_events_leave_the_composer_alone(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).click()
    agent.keyboard.type("A sentence that is not finished")
    agent.evaluate("document.activeElement.setSelectionRange(2, 10)")
    for number in range(50):
        customer_writes(place, place.joe, f"bulletin {number}")
    expect(agent.locator(BUBBLES, has_text="bulletin 49")).to_have_count(1)
    expect(agent.locator(BUBBLES, has_text="bulletin ")).to_have_count(50)
    expect(box(agent, place)).to_be_focused()
    expect(box(agent, place)).to_have_value("A sentence that is not finished")
    caret = "[document.activeElement.selectionStart, document.activeElement.selectionEnd]"
    assert agent.evaluate(caret) == [2, 10]


def test_an_answer_is_one_bubble_though_it_comes_twice(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).fill("One and only")
    agent.keyboard.press("Enter")
    expect(agent.locator(BUBBLES, has_text="One and only")).to_have_count(1)
    agent.wait_for_timeout(1500)
    expect(agent.locator(BUBBLES, has_text="One and only")).to_have_count(1)
    expect(agent.locator("[data-pending]")).to_have_count(0)
    assert said(place, "One and only") == [(False, "outbound")]


def test_what_is_written_without_a_connection_goes_out_once_when_it_is_back(
    agent: Page, browser_context: BrowserContext, place: Place
) -> None:
    open_joe(agent, place)
    agent.evaluate("alc.need('writing')")
    browser_context.set_offline(True)
    for text in ("first of two", "second of two"):
        box(agent, place).fill(text)
        agent.keyboard.press("Enter")
    expect(agent.locator("[data-pending]")).to_have_count(2)
    assert said(place, "first of two") == []
    browser_context.set_offline(False)
    expect(agent.locator("[data-pending]")).to_have_count(0, timeout=15_000)
    order = agent.locator(BUBBLES, has_text="of two").all_inner_texts()
    assert ["first" in order[0], "second" in order[1], len(order)] == [True, True, 2]
    assert said(place, "first of two") == said(place, "second of two") == [(False, "outbound")]
    # What Chromium says of a line that is down is not a trouble of ours.
    agent.context.clear_cookies()


def test_a_draft_stays_with_its_conversation_and_its_kind(agent: Page, place: Place) -> None:
    aoife = place.numbers["Aoife Walsh"]
    open_joe(agent, place)
    box(agent, place).fill("for Joe alone")
    agent.get_by_role("button", name="Note", exact=True).click()
    expect(box(agent, place, "note")).to_have_value("")
    box(agent, place, "note").fill("about Joe, for us")
    agent.locator(f"#row-{aoife}").click()
    expect(agent.locator(f"#body-{aoife}-reply")).to_have_value("")
    expect(agent.locator(f"#row-{place.joe} .draft")).to_be_visible()
    agent.reload()
    open_joe(agent, place)
    expect(box(agent, place)).to_have_value("for Joe alone")
    expect(box(agent, place, "note")).to_have_value("about Joe, for us")


def test_a_note_never_goes_to_the_customer(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).fill("a draft of an answer")
    agent.keyboard.press("Escape")
    agent.keyboard.press("n")
    agent.keyboard.type("He seems angry")
    agent.get_by_role("button", name="Reply", exact=True).click()
    expect(box(agent, place)).to_have_value("a draft of an answer")
    agent.get_by_role("button", name="Note", exact=True).click()
    agent.get_by_role("button", name="Add note").click()
    expect(agent.locator(".m.note:not([data-pending])", has_text="He seems angry")).to_have_count(1)
    assert said(place, "He seems angry") == [(True, "outbound")]
    assert said(place, "a draft of an answer") == []


def test_new_activity_does_not_move_the_row_under_the_pointer(agent: Page, place: Place) -> None:
    last = place.numbers["Liam Chen"]
    agent.locator(f"#row-{place.joe}").hover()
    before = agent.locator(".row").first.get_attribute("id")
    customer_writes(place, last, "Me again")
    expect(agent.locator(f"#row-{last}")).to_contain_text("Me again")
    assert agent.locator(".row").first.get_attribute("id") == before
    expect(agent.locator("#fresh")).to_be_visible()
    agent.mouse.move(900, 400)
    expect(agent.locator(".row").first).to_have_attribute("id", f"row-{last}")
    expect(agent.locator("#fresh")).to_be_hidden()


def test_a_conversation_enters_and_leaves_the_lists_that_it_belongs_to(agent: Page, place: Place) -> None:
    unowned = place.numbers["Olu Adeyemi"]
    expect(agent.locator(f"#row-{unowned}")).to_have_count(0)

    def take(business: Business) -> None:
        row = conversation(business, unowned)
        row.assignee_id = db.session.scalars(select(User.id).where(User.email == place.mary)).one()
        events.append(business.id, "conversation.changed", conversation=row)

    inside(place, take)
    expect(agent.locator(f"#row-{unowned}")).to_have_count(1)


def test_going_back_shows_what_is_there_now(agent: Page, place: Place) -> None:
    aoife = place.numbers["Aoife Walsh"]
    open_joe(agent, place)
    agent.locator(f"#row-{aoife}").click()
    agent.wait_for_url(f"**/c/{aoife}")
    customer_writes(place, place.joe, "written meanwhile")
    agent.go_back()
    expect(agent.locator("#thread h1")).to_have_text("Joe Bloggs")
    expect(agent.locator(BUBBLES, has_text="written meanwhile")).to_have_count(1)


def test_a_window_that_closes_while_writing_keeps_the_text_and_offers_a_template(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).fill("Just one more thing")

    def close(business: Business) -> None:
        conversation(business, place.joe).last_inbound_at = now() - timedelta(hours=25)

    inside(place, close)
    agent.keyboard.press("Enter")
    expect(agent.locator(".toast.bad")).to_contain_text("24 hours")
    expect(box(agent, place)).to_have_value("Just one more thing")
    agent.reload()
    expect(agent.locator("[data-strip]")).to_contain_text("Only an approved template can be sent")
    agent.get_by_role("button", name="Choose template").click()
    agent.locator("#sheet summary").first.click()
    agent.get_by_label("Value 1").first.fill("Joe")
    agent.get_by_label("Value 2").first.fill("#4821")
    agent.get_by_role("button", name="Send template").first.click()
    expect(agent.locator(BUBBLES, has_text="Hi Joe, your order #4821 is on its way")).to_have_count(1)


def test_a_message_of_the_customer_opens_the_window_again(agent: Page, place: Place) -> None:
    def close(business: Business) -> None:
        conversation(business, place.joe).last_inbound_at = now() - timedelta(hours=25)

    inside(place, close)
    open_joe(agent, place)
    expect(agent.locator(".composer.shut")).to_have_count(1)
    customer_writes(place, place.joe, "Here I am")
    expect(agent.locator(".composer.shut")).to_have_count(0)


def test_canned_replies_are_filled_in_and_gaps_stop_the_send(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).click()
    agent.keyboard.type("/ret")
    expect(agent.locator(".canned [role=option]:visible")).to_have_count(2)
    agent.keyboard.press("Enter")
    expect(box(agent, place)).to_have_value(re.compile("prepaid return label, Joe"))
    box(agent, place).fill("")
    agent.keyboard.type("/reorder")
    agent.keyboard.press("Tab")
    assert agent.evaluate("getSelection().toString()") == "{{order_number}}"
    agent.keyboard.press("Enter")
    expect(agent.locator(".toast.bad")).to_contain_text("gap")
    agent.keyboard.type("77")
    agent.keyboard.press("Enter")
    expect(agent.locator(BUBBLES, has_text="replacement order 77 for you")).to_have_count(1)


def test_files_go_up_at_once_and_one_that_is_too_large_is_refused(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    picker = agent.locator("[data-picker]")
    picker.set_input_files(
        [
            {"name": "seam.png", "mimeType": "image/png", "buffer": scene.PIXEL},
            {"name": "huge.pdf", "mimeType": "application/pdf", "buffer": b"%PDF" + bytes(10 * 1024 * 1024)},
        ]
    )
    expect(agent.locator(".up.bad")).to_contain_text("over the 10 MB limit")
    box(agent, place).fill("See the seam")
    agent.keyboard.press("Enter")
    expect(agent.locator(".toast.bad")).to_contain_text("Remove the file")
    agent.get_by_role("button", name="Remove huge.pdf").click()
    box(agent, place).press("Enter")
    sent = agent.locator(BUBBLES, has_text="See the seam")
    expect(sent.locator("img[alt='seam.png']")).to_have_count(1)
    assert sent.locator("img").evaluate("img => img.decode().then(() => img.naturalWidth)") == 240


def test_a_picture_is_pasted(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).click()
    agent.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'paste.png', {type: 'image/png'}));
            const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
            document.activeElement.dispatchEvent(event);
        }""",
        list(scene.PIXEL),
    )
    expect(agent.locator(".up:not([data-quote])")).to_contain_text("paste.png")


def test_the_text_of_an_input_method_is_not_sent_before_it_is_done(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    box(agent, place).fill("にほん")
    agent.evaluate(
        """() => document.activeElement.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"""
    )
    agent.wait_for_timeout(200)
    expect(box(agent, place)).to_have_value("にほん")


def test_a_session_that_ends_asks_to_sign_in_over_the_page_and_loses_nothing(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    agent.context.clear_cookies()
    box(agent, place).fill("Written after the end")
    agent.keyboard.press("Enter")
    sheet = agent.locator("#sheet[open]")
    expect(sheet).to_contain_text("Sign in again")
    sheet.get_by_label("Email").fill(place.mary)
    sheet.get_by_label("Password", exact=True).fill(scene.PASSWORD)
    sheet.get_by_role("button", name="Sign in").click()
    expect(sheet).to_have_count(0)
    expect(agent.locator("[data-pending]")).to_have_count(0, timeout=15_000)
    assert said(place, "Written after the end") == [(False, "outbound")]


def test_two_colleagues_see_the_same_change(agent: Page, chromium: Any, place: Place) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    tom = context.new_page()
    sign_in(tom, place, place.tom)
    tom.goto(f"{place.url}/inbox/all/c/{place.joe}")
    open_stream(tom)
    open_joe(agent, place)
    agent.keyboard.press("n")
    agent.keyboard.type("Tom, please look")
    agent.keyboard.press("Enter")
    expect(tom.locator(".m.note", has_text="Tom, please look")).to_have_count(1)
    tom.keyboard.press("a")
    tom.locator("#menu input").wait_for()
    tom.keyboard.type("me")
    tom.keyboard.press("Enter")
    expect(agent.locator("#do-assign")).to_contain_text("Tom Keane")
    context.close()


def test_one_message_is_answered_by_name(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    asked = agent.locator(".m.in", has_text="return label for the second parcel")
    asked.hover()
    asked.get_by_role("button", name="Answer this message").click()
    expect(agent.locator("[data-quote]")).to_contain_text("return label")
    agent.keyboard.type("Here it is")
    agent.keyboard.press("Enter")
    sent = agent.locator(".m.out:not([data-pending])", has_text="Here it is")
    expect(sent.locator(".reply-to")).to_contain_text("return label")
    expect(agent.locator("[data-quote]")).to_be_hidden()


def test_the_palette_acts_on_the_open_conversation_and_jumps(agent: Page, place: Place) -> None:
    open_joe(agent, place)
    agent.keyboard.press("Control+k")
    agent.locator("#palette input").press_sequentially("private note")
    expect(agent.locator("#results [role=option]:visible")).to_have_count(1)
    agent.keyboard.press("Enter")
    expect(box(agent, place, "note")).to_be_focused()
    agent.keyboard.press("Control+k")
    agent.locator("#palette input").press_sequentially("API Access")
    expect(agent.locator("#results", has_text="Go to")).to_be_visible()
    agent.keyboard.press("Enter")
    agent.wait_for_url("**/settings/api-access")
