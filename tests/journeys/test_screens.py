"""A customer with a phone, an agent in the inbox and an agent in the CRM's own page talk, and nobody reloads."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from demo import files
from tests.browsers import Hosts
from tests.journeys import screens
from tests.journeys.conftest import JOHN, Shop
from tests.journeys.screens import READ, assert_never_reloaded, bubble, marked, write

pytestmark = pytest.mark.browser


@pytest.fixture
def inbox(shop: Shop, browser_context: BrowserContext) -> Page:
    """The agent's inbox, with John's conversation open."""
    return screens.inbox(shop.api, browser_context, "Is this the shop?")


@pytest.fixture
def crm(shop: Shop, hosts: Hosts, browser_context: BrowserContext) -> Page:
    """A page of the CRM, on another site, with John's conversations in an iframe."""
    customer = shop.api.get("/api-customers", phone=JOHN)
    wish = {"customer_id": customer["id"], "scope": "inbox", "agent_email": shop.api.email}
    page = browser_context.new_page()
    page.goto(hosts.embed(shop.api.post("/api-sso-generate-token", wish)["embed_url"], path=f"/{customer['id']}"))
    expect(page.frame_locator("#embed").locator("#timeline").get_by_text("Is this the shop?")).to_be_visible()
    return marked(page)


@pytest.fixture
def phone(shop: Shop, browser_context: BrowserContext) -> Page:
    return screens.phone(shop.api, browser_context, "whatsapp", shop.number, JOHN.removeprefix("+"))


def test_a_conversation_goes_round_all_three_screens(shop: Shop, inbox: Page, crm: Page, phone: Page) -> None:
    embed = crm.frame_locator("#embed")
    write(phone, "Have you got the boots in 39? 🥾")
    for screen in (inbox, embed):
        expect(bubble(screen, "Have you got the boots in 39? 🥾")).to_be_visible()

    write(inbox, "Two pairs are left.")
    expect(bubble(phone, "Two pairs are left.")).to_be_visible()
    for screen in (inbox, embed):
        expect(bubble(screen, "Two pairs are left.").locator(READ)).to_be_visible()

    write(embed, "Shall I put one aside?")
    expect(bubble(phone, "Shall I put one aside?")).to_be_visible()
    for screen in (embed, inbox):
        expect(bubble(screen, "Shall I put one aside?").locator(READ)).to_be_visible()

    assert_never_reloaded(inbox, crm, phone)
    sent = [one for one in shop.api.messages() if one["direction"] == "outbound"]
    assert [(one["content"], one["status"]) for one in sent] == [
        ("Two pairs are left.", "read"),
        ("Shall I put one aside?", "read"),
    ]


def test_a_picture_from_the_phone_is_seen_by_both_agents(inbox: Page, crm: Page, phone: Page) -> None:
    picture = {"name": "boots.png", "mimeType": "image/png", "buffer": files.picture("boots.png")}
    phone.get_by_label("Attach a file").set_input_files([picture])  # type: ignore[list-item]
    write(phone, "They look like this")
    for screen in (inbox, crm.frame_locator("#embed")):
        # WhatsApp tells no name of a picture
        image = bubble(screen, "They look like this").locator("img[alt='image.png']")
        expect(image).to_be_visible()
        expect(image).to_have_js_property("naturalWidth", 480)


def test_a_phone_that_is_off_shows_one_tick_until_it_is_on_again(shop: Shop, inbox: Page) -> None:
    shop.phone("people", **{"from": JOHN, "online": False})
    write(inbox, "Are you there?")
    message = bubble(inbox, "Are you there?")
    expect(message.locator("[title=Sent]")).to_be_visible()
    shop.phone("people", **{"from": JOHN, "online": True})
    expect(message.locator("[title^=Delivered]")).to_be_visible()
