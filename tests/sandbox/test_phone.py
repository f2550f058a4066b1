"""The customers' phones in a browser: what is written there reaches the callback, and answers appear by themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

PERSON = "353871234567"


def address(number: Any, person: str = PERSON) -> str:
    return f"/phone/whatsapp/{number.id}/{person}"


def until(true: Any, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_a_page_is_locked_down(number, box):
    number.say("Hello <b>you</b>", name="Aoife")
    answer = box.http.request("GET", box.url + address(number))
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    page = answer.data.decode()
    assert "Hello &lt;b&gt;you&lt;/b&gt;" in page
    assert not re.search(r"<script(?! src=)|\sstyle=|\son\w+=|(src|href)=\"(https?:)?//(?!127)", page)


def test_marks_and_links_are_shown_but_never_markup(number, box):
    number.say("*bold* _it_ https://ex.ie/?a=<script> javascript:alert(1)")
    page = box.http.request("GET", box.url + address(number)).data.decode()
    assert "<b>bold</b> <i>it</i>" in page
    assert 'href="https://ex.ie/?a="' in page or 'href="https://ex.ie/?a=&lt;script&gt;"' in page
    assert "<script>" not in page.split("<body", 1)[1]
    assert 'href="javascript' not in page


def test_a_document_is_saved_and_never_opened(number, box):
    fields = {"kind": "text", "text": "", "file": ("evil.html", b"<script>alert(1)</script>", "text/html")}
    assert box.call("POST", address(number) + "/say", fields=fields)[0] == 404
    number.say()
    assert box.call("POST", address(number) + "/say", fields=fields)[0] == 303
    url = number.chat()[-1]["media"]["url"]
    answer = box.http.request("GET", box.url + url)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_without_script_the_forms_work_too(number, box):
    number.say()
    assert box.call("POST", address(number) + "/say", fields={"kind": "text", "text": "plain form"})[0] == 303
    until(lambda: len(number.receiver.messages()) == 2)
    assert number.receiver.messages()[1]["text"]["body"] == "plain form"
    set_ = address(number) + "/set"
    assert box.call("POST", set_, fields={"name": "online", "value": "off"})[0] == 303
    assert box.control(f"whatsapp/people?account={number.id}")["people"][0]["online"] is False
    assert box.call("POST", set_, fields={"name": "last_inbound", "value": "on"})[0] == 422


def test_a_person_whom_nobody_knows_has_no_phone(number, box):
    status, page = box.call("GET", address(number, "353999"), headers={"Accept": "text/html"})
    assert status == 404
    assert b"Nobody with 353999 knows this number" in page


@pytest.fixture
def shop(declare: Any, new_box: Any) -> Any:
    """A number in a sandbox of its own, so that its pages show nothing else."""
    return declare(at=new_box())


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1300, "height": 860})
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    context.close()
    assert complaints == []


@pytest.mark.browser
def test_a_customer_chats(shop, page, tmp_path):
    shop.say("Hello", name="Aoife")
    page.goto(shop.box.url + address(shop))
    thread = page.locator("#thread")
    page.get_by_label("Message to Acme").fill("Is it open?")
    page.keyboard.press("Enter")
    expect(thread).to_contain_text("Is it open?")
    until(lambda: shop.receiver.messages()[-1]["text"]["body"] == "Is it open?")
    expect(page.get_by_label("Message to Acme")).to_have_value("")
    shop.send(type="interactive", interactive={
        "type": "button", "body": {"text": "Shall we deliver?"},
        "action": {"buttons": [{"type": "reply", "reply": {"id": "y", "title": "Yes please"}}]},
    })  # fmt: skip
    assert [one["status"] for one in shop.receiver.statuses(3)] == ["sent", "delivered", "read"]
    page.get_by_role("button", name="Yes please").click()
    until(lambda: shop.receiver.messages()[-1]["type"] == "interactive")
    assert shop.receiver.messages()[-1]["interactive"]["button_reply"] == {"id": "y", "title": "Yes please"}

    bubble = thread.locator(".theirs").last
    bubble.hover()
    bubble.get_by_label("Answer or react").click()
    bubble.get_by_label("React with 👍").click()
    until(lambda: shop.receiver.messages()[-1]["type"] == "reaction")
    bubble.hover()
    bubble.get_by_label("Answer or react").click()
    bubble.get_by_label("Reply to this message").click()
    (tmp_path / "note.txt").write_text("hello")
    page.locator("input[type=file]").set_input_files(tmp_path / "note.txt")
    page.get_by_label("Send").click()
    until(lambda: shop.receiver.messages()[-1]["type"] == "document")
    last = shop.receiver.messages()[-1]
    assert last["document"]["filename"] == "note.txt"
    assert last["context"]["id"] == shop.chat()[2]["id"]
    expect(page.locator("#attached")).to_be_hidden()


@pytest.mark.browser
def test_a_new_customer_starts_a_chat_and_turns_the_phone_off(shop, page):
    page.goto(shop.box.url)
    page.get_by_text("New customer").click()
    form = page.locator(f"form[action='/phone/whatsapp/{shop.id}/new']")
    form.get_by_label("Name").fill("Joe Bloggs")
    form.get_by_role("button").click()
    page.get_by_label("Message to Acme").fill("First")
    page.get_by_label("Send").click()
    expect(page.locator("#thread")).to_contain_text("First")
    shop.receiver.wait(1)
    assert shop.receiver.got[0].value["contacts"][0]["profile"]["name"] == "Joe Bloggs"
    page.get_by_role("switch", name="Phone is on").click()
    expect(page.get_by_role("switch", name="Phone is on")).to_have_attribute("aria-checked", "false")
    shop.text("Are you there?", to=shop.receiver.messages()[0]["from"].join(("+", "")))
    time.sleep(0.2)
    assert [one["status"] for one in shop.receiver.statuses(1)] == ["sent"]
    page.get_by_role("button", name="Let it close now").click()
    expect(page.get_by_text("Closed: only templates arrive")).to_be_visible()


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "widths"), [("light", (1300, 320)), ("dark", (390,))])
def test_the_pages_are_accessible_and_fit_a_small_screen(shop, page, scheme, widths):
    shop.say("Hello", name="Aoife")
    shop.fault("wrong_number_error")
    shop.text("lost")
    shop.text("https://ex.ie")
    shop.receiver.statuses(3)
    text = {"account_sid": "AC" + "1" * 32, "auth_token": "x", "from_number": "+353865550001"}
    shop.box.control("sms/accounts", text)
    shop.box.control("sms/say", {"from": f"+{PERSON}", "text": "STOP"})
    page.emulate_media(color_scheme=scheme)
    for path in ("/", address(shop), f"/phone/sms/{text['from_number']}/+{PERSON}"):
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(shop.box.url + path)
            page.wait_for_selector("[data-live]", state="attached")
            found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag22aa", "best-practice"]})
            assert found.response["violations"] == [], (path, width, found.generate_report())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
