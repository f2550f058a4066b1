"""Texts both ways, through HTTP, the queue, the worker, the provider sandbox, and two screens that nobody reloads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from demo import files
from models import Business, Message, db, now
from services import messages, traces
from tests.callers import Caller, business, fetch, operate, until
from tests.journeys import screens
from tests.journeys.screens import assert_never_reloaded, bubble, write
from tests.processes import Live
from tests.receivers import Got, Receiver, listening

PICTURE = files.picture("hill.png")
AOIFE = "+353871234567"
EVENTS = ["message.received", "message.sent", "message.status_changed"]


class Shop:
    """A business with one number, a customer who has just texted, and a CRM that listens."""

    def __init__(self, live: Live, crm: Receiver) -> None:
        self.live, self.crm = live, crm
        self.api: Caller = business(live)
        made_up = self.api.business_id.replace("-", "")
        self.number = f"+35386{int(made_up[-12:], 16) % 10**7:07}"
        config = {"account_sid": f"AC{made_up}", "auth_token": f"token-{made_up}", "from_number": self.number}
        wish = {"channel": "sms", "name": "Texts", "config": config}
        self.account = self.api.post("/api-channels", wish)["channel_account"]
        self.api.post("/api-webhooks", {"name": "CRM", "url": crm.url(), "events": EVENTS})
        self.say("Is it open?")
        until(lambda: self.told("message.received"))

    def say(self, text: str) -> Any:
        """Let the customer write, by the operator's command."""
        words = ("--business", self.api.business_id, "--from", AOIFE, "--name", "Aoife Walsh", "--text", text)
        return operate(self.live, "sandbox", "say", "sms", *words)

    def control(self, verb: str, **body: Any) -> Any:
        url = f"{self.live.sandbox_url}/control/{verb}"
        answer = fetch(url, "POST", {"account": self.number, "provider": "sms"} | body)
        assert answer.status == 200, answer.data
        return orjson.loads(answer.data)

    def screen(self) -> list[dict[str, Any]]:
        """What the customer sees on the phone, but not what Twilio itself says."""
        query = f"account={quote(self.number)}&person={quote(AOIFE)}"
        shown = orjson.loads(fetch(f"{self.live.sandbox_url}/control/sms/messages?{query}").data)
        return list(shown["messages"])

    def send(self, content: str = "", **more: Any) -> str:
        wish = {"phone": AOIFE, "channel": "sms", "content": content}
        return str(self.api.post("/api-send-message", wish | more)["message_id"])

    def reach(self, message_id: str, status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.api.get("/api-messages", id=message_id)["message"]
            return shown if shown["status"] == status else None

        return dict(until(look, 15) or {})

    def told(self, kind: str) -> list[Got]:
        return [got for got in list(self.crm.got) if got.event["event"] == kind]

    def upload(self, name: str, data: bytes) -> str:
        part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        url = f"{self.live.base_url}/functions/v1/api-upload-attachment"
        kind = "multipart/form-data; boundary=x"
        answer = fetch(url, "POST", part + data + b"\r\n--x--\r\n", key=self.api.key, kind=kind)
        assert answer.status == 201, answer.data
        return str(answer.json()["attachment"]["file_url"])


@pytest.fixture
def shop(live: Live) -> Iterator[Shop]:
    with listening() as crm:
        yield Shop(live, crm)


def test_a_text_is_answered_and_its_delivery_told(shop: Shop) -> None:
    data = shop.told("message.received")[0].event["data"]
    assert (data["content"], data["channel"]) == ("Is it open?", "sms")
    shop.reach(shop.send("It is, until six."), "delivered")
    assert [one["text"] for one in shop.screen()] == ["Is it open?", "It is, until six."]
    until(lambda: shop.told("message.status_changed"))
    assert shop.told("message.status_changed")[-1].event["data"]["status"] == "delivered"


def test_a_picture_from_the_business_is_seen_whole(shop: Shop) -> None:
    shop.reach(shop.send("The hill", attachments=[shop.upload("hill.png", PICTURE)]), "delivered")
    shown = shop.screen()[-1]
    assert (shown["text"], shown["media"]["sha256"]) == ("The hill", hashlib.sha256(PICTURE).hexdigest())


def test_a_lost_answer_is_made_good_by_the_status_and_nothing_is_sent_twice(shop: Shop) -> None:
    shop.control("faults", kind="drop_after_accept")
    shop.reach(shop.send("Did it go?"), "delivered")
    assert [one["text"] for one in shop.screen()] == ["Is it open?", "Did it go?"]


@contextmanager
def kept(shop: Shop, message_id: str) -> Iterator[Message]:
    """Change what is kept of a message."""
    with shop.live.app.app_context():
        yield db.session.scalars(select(Message).where(Message.id == UUID(message_id))).one()
        db.session.commit()


def test_a_text_whose_status_came_before_its_answer_was_lost_is_not_sent_again(shop: Shop) -> None:
    shop.control("faults", kind="timeout_after_accept", seconds=2)  # time for every status to come before
    message_id = shop.send("Once, please")

    def taken_up_again() -> bool:
        with kept(shop, message_id) as message:
            return message.attempts == 2 and message.next_attempt_at is None

    until(taken_up_again)
    shop.reach(message_id, "delivered")
    assert [one["text"] for one in shop.screen()] == ["Is it open?", "Once, please"]
    assert [got.event["data"]["status"] for got in shop.told("message.status_changed")] == ["delivered"]


def test_a_lost_answer_whose_statuses_are_lost_too_is_found_in_the_list(shop: Shop) -> None:
    for kind in ("no_statuses", "drop_after_accept"):
        shop.control("faults", kind=kind)
    message_id = shop.send("Is anybody there?")
    shop.reach(message_id, "unknown")
    with kept(shop, message_id) as message:
        message.next_attempt_at = now()  # the minute until the first look is over
    shop.reach(message_id, "delivered")
    assert [one["text"] for one in shop.screen()] == ["Is it open?", "Is anybody there?"]


def test_what_never_got_there_fails_after_the_last_look_and_may_be_tried_again(shop: Shop) -> None:
    message_id = shop.send("Hello")
    shop.reach(message_id, "delivered")
    with kept(shop, message_id) as message:
        message.content, message.status, message.next_attempt_at = "Nobody took this", "unknown", now()
        message.extra = {"lost_at": now().isoformat(), "looks": len(traces.LOOKS) - 1}
    error = shop.reach(message_id, "failed")["error"]
    assert (error["code"], "did not go out" in error["message"]) == ("not_sent", True)
    with kept(shop, message_id) as message:
        messages.retry(db.session.get_one(Business, message.business_id), message)
    shop.reach(message_id, "delivered")
    assert shop.screen()[-1]["text"] == "Nobody took this"


def test_what_the_carrier_filters_fails_with_a_sentence(shop: Shop) -> None:
    shop.control("faults", kind="failed_status", code=30007)
    error = shop.reach(shop.send("Win a prize"), "failed")["error"]
    assert (error["code"], "filtered" in error["message"]) == ("30007", True)


def test_who_writes_stop_gets_no_more_until_start(shop: Shop) -> None:
    shop.say("STOP")
    wish = {"phone": AOIFE, "channel": "sms", "content": "One more thing"}
    until(lambda: len(shop.told("message.received")) == 2)
    error = shop.api.call("POST", "/api-send-message", wish, status=422)["error"]
    assert (error["code"], "START" in error["message"]) == ("opted_out", True)
    shop.say("START")
    until(lambda: len(shop.told("message.received")) == 3)
    shop.reach(shop.send("Welcome back"), "delivered")


@pytest.fixture
def inbox(shop: Shop, browser_context: BrowserContext) -> Page:
    """The agent's inbox, with the customer's conversation open."""
    return screens.inbox(shop.api, browser_context, "Is it open?")


@pytest.mark.browser
def test_stop_closes_the_composer_and_start_opens_it_again(shop: Shop, inbox: Page) -> None:
    expect(bubble(inbox, "Is it open?")).to_be_visible(timeout=15_000)
    inbox.get_by_label("Message to").fill("We are")
    for _ in range(2):
        shop.say("STOP")
        expect(inbox.locator("[data-strip]")).to_contain_text("They can send START", timeout=15_000)
        expect(inbox.get_by_label("Message to")).to_be_hidden()
        expect(inbox.locator("[data-stopped]")).to_have_text("Opted out")
        shop.say("START")
        expect(inbox.get_by_label("Message to")).to_have_value("We are", timeout=15_000)
        expect(inbox.get_by_label("Message to")).to_be_visible()
        expect(inbox.locator("[data-stopped]")).to_be_hidden()


@pytest.mark.browser
def test_files_that_are_too_large_together_stay_in_the_composer(shop: Shop, inbox: Page) -> None:
    large = PICTURE + bytes(3 * 1024 * 1024)
    given = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": large} for name in ("hill", "lake")]
    inbox.locator("[data-picker]").set_input_files(given)  # type: ignore[arg-type]
    expect(inbox.locator("[data-files] .up:not(:has(progress))")).to_have_count(2)
    box = inbox.get_by_label("Message to")
    box.fill("Both")
    box.press("Enter")
    expect(inbox.locator(".toast.bad")).to_contain_text("SMS takes 5 MB of files in one message")
    expect(box).to_have_value("Both")
    inbox.get_by_role("button", name="Remove lake.png").click()
    box.press("Enter")
    expect(box).to_have_value("")


@pytest.mark.browser
def test_a_refusal_for_an_opt_out_closes_the_composer(shop: Shop, inbox: Page) -> None:
    shop.control("faults", kind="failed_status", code=21610)
    write(inbox, "Are you there?")
    expect(inbox.locator("[data-strip]")).to_contain_text("They can send START", timeout=15_000)


@pytest.mark.browser
def test_a_picture_from_the_phone_is_answered_in_the_inbox(
    shop: Shop, inbox: Page, browser_context: BrowserContext
) -> None:
    phone = screens.phone(shop.api, browser_context, "sms", shop.number, AOIFE)
    expect(bubble(phone, "Is it open?")).to_be_visible()

    boots = {"name": "boots.png", "mimeType": "image/png", "buffer": files.picture("boots.png")}
    phone.get_by_label("Attach a file").set_input_files([boots])  # type: ignore[list-item]
    write(phone, "Have you got these in 39?")
    image = bubble(inbox, "Have you got these in 39?").locator("img[alt='image.png']")  # Twilio tells no name
    expect(image).to_be_visible()
    expect(image).to_have_js_property("naturalWidth", 480)

    write(inbox, "Two pairs are left.")
    expect(bubble(phone, "Two pairs are left.")).to_be_visible()
    expect(bubble(inbox, "Two pairs are left.").locator("[title^=Delivered]")).to_be_visible()
    assert_never_reloaded(inbox, phone)
