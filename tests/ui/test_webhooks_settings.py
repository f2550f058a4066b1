"""Settings → Webhooks and CRM Integration in Chromium: the admin whose receiver was down for an hour, and the rest.

What needs no script is tried in tests/webhooks/test_settings.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from models import Business, Delivery, User, WebhookEndpoint, db, now
from services import customers, webhooks
from tests.receivers import Receiver, listening, status
from tests.ui import webhook_scene
from tests.ui.conftest import Place
from tests.ui.screens import SHEET, Screen, click, press, seen, show
from tests.ui.test_accessibility import LARGE, NARROW, PHONE, SMALL_TARGETS, TARGETS, problems

pytestmark = pytest.mark.browser

HOOKS = "/settings/webhooks"
CRM = "/settings/business/crm-integration"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


def business_of(place: Place) -> Business:
    return db.session.get_one(Business, place.business_id)


def tell(place: Place, *names: str) -> None:
    with place.live.app.app_context():
        record = [{"name": name, "email": f"{name.lower()}@example.com"} for name in names]
        customers.sync(business_of(place), record)
        db.session.commit()


def age(place: Place, endpoint_id: Any, hours: float) -> None:
    """Let everything of an endpoint have been so long ago."""
    by = {"id": endpoint_id, "by": timedelta(hours=hours)}
    with place.live.app.app_context():
        for column in ("created_at", "finished_at"):
            statement = f"UPDATE deliveries SET {column} = {column} - CAST(:by AS interval) WHERE endpoint_id = :id"
            db.session.execute(text(statement), by)
        db.session.commit()


def test_the_receiver_was_down_for_an_hour_and_came_back(agent: Page, place: Place, receiver: Receiver) -> None:
    with place.live.app.app_context():
        made, _ = webhooks.create(business_of(place), name="My CRM", url=receiver.url(), events=["customer.created"])
        db.session.commit()
        endpoint_id = made.id
    receiver.will(status(400, b"down for maintenance"))
    tell(place, *(f"P{number}" for number in range(7)))
    receiver.wait(7)
    agent.goto(f"{place.url}{HOOKS}")
    expect(agent.get_by_role("row", name=re.compile("My CRM"))).to_contain_text("Failing", timeout=15000)
    agent.get_by_role("link", name="My CRM").click()
    trouble = agent.locator("#health .banner").first
    expect(trouble).to_contain_text("Failing since")
    expect(trouble).to_contain_text("7 deliveries failed, all: The receiver answered 400.")

    # It is up again: the test says so, and the page knows without being asked.
    age(place, endpoint_id, 1)
    receiver.will(status(200, b'{"success": true}'))
    trouble.get_by_role("link", name="Send test").click()
    agent.locator("#sheet").get_by_role("button", name="Send test").click()
    expect(agent.locator("#sheet .result")).to_contain_text("200 OK", timeout=15000)
    expect(agent.locator("#sheet .result")).to_contain_text('{"success": true}')
    agent.keyboard.press("Escape")
    expect(trouble).to_contain_text("It answers again since", timeout=15000)

    trouble.get_by_role("link", name="Replay 7 failed").click()
    expect(agent.locator("#sheet")).to_contain_text("7 deliveries will be sent")
    agent.locator("#sheet").get_by_label("When").select_option("1")
    expect(agent.locator("#sheet")).to_contain_text("There is nothing to send.")
    agent.locator("#sheet").get_by_label("When").select_option("24")
    agent.locator("#sheet").get_by_role("button", name="Replay 7").click()
    expect(agent.locator("#health")).to_contain_text("Replayed 7 of 7: 7 delivered · Mary Ryan", timeout=20000)
    expect(agent.locator("#health")).not_to_contain_text("failed since")
    expect(agent.get_by_role("link", name="Replay failed")).to_have_count(0)
    by_id = [got.headers["x-webhook-id"] for got in receiver.got if got.headers["x-webhook-event"] != "webhook.test"]
    assert sorted(by_id[:7]) == sorted(by_id[7:])
    # The log has them without a reload.
    expect(agent.locator("#deliveries tbody tr")).to_have_count(15, timeout=15000)
    expect(agent.locator("#deliveries .badge", has_text="replay")).to_have_count(7)


def test_a_webhook_is_tried_before_it_is_saved(agent: Page, place: Place, receiver: Receiver) -> None:
    agent.goto(f"{place.url}{HOOKS}")
    agent.get_by_role("link", name="Add your first webhook").click()
    agent.get_by_role("link", name="Sample of message.received").click()
    expect(agent.locator("#sheet pre")).to_contain_text('"event": "message.received"')
    agent.keyboard.press("Escape")
    agent.get_by_label("Name", exact=True).fill("CRM")
    agent.get_by_label("URL").fill("http://10.1.2.3/hook")
    agent.get_by_role("button", name="Send test").click()
    expect(agent.locator("#test-result")).to_contain_text("WEBHOOK_ALLOWED_NETWORKS")
    agent.get_by_label("URL").fill(receiver.url())
    agent.get_by_role("button", name="Send test").click()
    expect(agent.locator("#test-result")).to_contain_text("200 OK", timeout=15000)
    expect(agent.locator("[data-unsaved]")).to_have_text("Unsaved: name, URL")
    agent.get_by_role("button", name="Choose all").click()
    agent.get_by_role("button", name="Add webhook").click()
    expect(agent.get_by_role("heading", name="CRM", exact=True)).to_be_visible()
    expect(agent.locator("#deliveries tbody tr")).to_have_count(1)
    with place.live.app.app_context():
        (endpoint,) = webhooks.page(business_of(place))
        assert len(endpoint.events) == 10


def test_a_delivery_opens_beside_the_log(agent: Page, place: Place, receiver: Receiver) -> None:
    with place.live.app.app_context():
        by = db.session.query(User).filter_by(email=place.mary).one()
        scene = webhook_scene.build(business_of(place), by, receiver.url(), busy=30)
    agent.goto(f"{place.url}{HOOKS}/{scene.main}")
    agent.get_by_role("radiogroup", name="State").get_by_text("Failed", exact=True).click()
    row = agent.locator("#deliveries tbody tr").first
    expect(row).to_contain_text("Time-out")
    row.get_by_role("link").click()
    detail = agent.locator("#delivery")
    expect(detail).to_contain_text("Attempt 4, after 8 s")
    expect(detail).to_contain_text("Gave up")
    expect(row).to_have_attribute("aria-current", "true")
    detail.get_by_role("tab", name="Request").click()
    expect(detail.get_by_label("Request headers")).to_contain_text("X-Webhook-Attempt: 4")
    detail.get_by_role("tab", name="Request").press("ArrowRight")
    expect(detail.locator("#pane-response")).to_contain_text("There was no answer")
    detail.get_by_role("tab", name="Verify").click()
    expect(detail.get_by_label("Verify in Node")).to_contain_text("createHmac")
    agent.locator("#deliveries [name=delivery]").nth(0).check()
    agent.get_by_role("button", name="Replay 1 ticked").click()
    expect(agent.locator("#health")).to_contain_text("Replayed 1 of 1: 1 delivered", timeout=20000)


def test_pausing_rotating_and_deleting_from_the_menu(agent: Page, place: Place, receiver: Receiver) -> None:
    with place.live.app.app_context():
        made, _ = webhooks.create(business_of(place), name="My CRM", url=receiver.url(), events=["customer.created"])
        db.session.commit()
        endpoint_id = made.id
    agent.goto(f"{place.url}{HOOKS}/{endpoint_id}")
    agent.get_by_role("button", name="More actions").click()
    agent.get_by_role("menuitem", name="Pause").click()
    expect(agent.locator("#health .banner")).to_contain_text("Paused by Mary Ryan.")
    tell(place, "Kept")
    expect(agent.locator("#health .banner")).to_contain_text("1 delivery waits.", timeout=15000)
    agent.locator("#health").get_by_role("button", name="Resume").click()
    receiver.wait(1)
    agent.get_by_role("button", name="More actions").click()
    agent.get_by_role("menuitem", name="Rotate the secret").click()
    agent.get_by_role("button", name="Make a new secret").click()
    expect(agent.locator("#shown-secret")).to_contain_text("whsec_")
    agent.get_by_role("link", name="Done").click()
    expect(agent.locator("#configuration")).to_contain_text("has not accepted the new secret yet")
    agent.locator("#configuration").get_by_role("button", name="Reveal").click()
    expect(agent.locator("#shown-secret")).to_contain_text("whsec_")
    agent.keyboard.press("Escape")
    agent.get_by_role("button", name="More actions").click()
    agent.get_by_role("menuitem", name="Delete").click()
    agent.locator("#sheet").get_by_label("Type My CRM to confirm").fill("My CRM")
    agent.locator("#sheet").get_by_role("button", name="Delete My CRM").click()
    expect(agent.get_by_role("heading", name="No webhooks yet")).to_be_visible()


def test_the_crm_page_says_what_is_not_saved(agent: Page, place: Place, receiver: Receiver) -> None:
    agent.goto(f"{place.url}{CRM}")
    bar = agent.locator("[data-unsaved]")
    expect(bar).to_have_text("Everything is saved")
    agent.get_by_label("Record link").fill("https://crm.example/{external_id}?tab=1")
    expect(agent.locator("[data-preview]")).to_have_attribute("href", "https://crm.example/CRM-12345?tab=1")
    agent.get_by_role("button", name="app.hubspot.com").click()
    expect(bar).to_have_text("Unsaved: record link, allowed pages")
    agent.get_by_role("button", name="Discard").click()
    expect(bar).to_have_text("Everything is saved")
    secret = agent.get_by_label("Webhook secret").input_value()
    agent.get_by_role("button", name="Generate new").click()
    assert agent.get_by_label("Webhook secret").input_value() != secret
    agent.get_by_label("Webhook endpoint URL").fill(receiver.url())
    agent.get_by_role("button", name="Test Webhook").click()
    expect(agent.locator("#test-result")).to_contain_text("200 OK", timeout=15000)
    agent.get_by_role("button", name="app.hubspot.com").click()
    agent.get_by_role("button", name="Save changes").click()
    expect(agent.get_by_label("Setup progress")).to_contain_text("Test passed")
    expect(agent.get_by_role("switch", name="Real-time Message Forwarding")).to_be_checked()
    with place.live.app.app_context():
        endpoint = webhooks.of_crm(business_of(place))
        assert endpoint is not None
        assert business_of(place).embed_origins == ["https://app.hubspot.com"]
        assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id, reason="test").count() == 1
        assert db.session.query(WebhookEndpoint).filter_by(business_id=place.business_id).count() == 1


def test_a_notice_is_dismissed_in_the_inbox(agent: Page, place: Place) -> None:
    with place.live.app.app_context():
        made, _ = webhooks.create(business_of(place), name="My CRM", url="https://crm.invalid/", events=["*"])
        webhooks.pause(made, "Paused after failing for a day.")
        webhooks.warn(made, "Paused after failing for a day.")
        db.session.commit()
        assert made.updated_at <= now()
    agent.reload()
    notice = agent.get_by_role("region", name="Notice")
    expect(notice).to_contain_text("Webhook My CRM: Paused after failing for a day.")
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)
    agent.reload()
    expect(notice).to_have_count(0)


# --- accessibility and reflow ---


def submit_nonsense(page: Page) -> None:
    page.locator("#f-name").fill("CRM")
    page.locator("#f-url").fill("http://10.0.0.1/")
    page.get_by_role("button", name="Add webhook").click()


TEST_DONE = (click("text=Send test"), SHEET, click("#sheet [type=submit]"), seen("#sheet .result"))
SCREENS = (
    Screen("webhooks", HOOKS),
    Screen("webhook-form", f"{HOOKS}/new", (click("details.card summary"),)),
    Screen("webhook-sample", f"{HOOKS}/new", (click("text=Sample"), SHEET)),
    Screen("webhook-wrong", f"{HOOKS}/new", (submit_nonsense, seen("[role=alert]"))),
    Screen("webhook", f"{HOOKS}/{{main}}"),
    Screen("webhook-failed", f"{HOOKS}/{{main}}/deliveries/{{failed}}", (click("#tab-verify"),)),
    Screen("webhook-test", f"{HOOKS}/{{main}}", TEST_DONE),
    Screen("webhook-replay", f"{HOOKS}/{{main}}", (click("text=Replay failed"), SHEET)),
    Screen("webhook-menu", f"{HOOKS}/{{main}}", (click("#webhook-menu"), seen("#menu [role=menuitem]"))),
    Screen("webhook-delete", f"{HOOKS}/{{main}}", (click("#configuration .danger"), SHEET)),
    Screen("webhook-paused", f"{HOOKS}/{{paused}}", (press("End"),)),
    Screen("crm", CRM),
    Screen("business", "/settings/business"),
)


@pytest.fixture(scope="module")
def known(shared: Place) -> Iterator[dict[str, Any]]:
    with listening() as server, shared.live.app.app_context():
        by = db.session.query(User).filter_by(email=shared.mary).one()
        made = webhook_scene.build(business_of(shared), by, server.url(), busy=60)
        yield {"main": made.main, "paused": made.paused, "failed": made.failed}


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    screen: Screen, chromium: Browser, shared: Place, session_of_mary: Any, known: dict[str, Any]
) -> None:
    here = Screen(screen.name, screen.path.format(**known), screen.steps)
    for size in (LARGE, PHONE, NARROW):
        page = chromium.new_page(viewport=size, storage_state=session_of_mary)
        page.set_default_timeout(8000)
        try:
            show(page, here, shared.url, shared.numbers)
            if size is NARROW:
                assert page.evaluate("document.documentElement.scrollWidth") <= 320
                assert page.evaluate(SMALL_TARGETS, TARGETS) == []
            else:
                assert problems(page) == []
        finally:
            page.close()
