"""Templates filled in on the screens, and what the customer's phone shows of them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Locator, Page, expect

from demo import files
from tests.browsers import Hosts
from tests.callers import until
from tests.journeys.conftest import JOHN, Shop

pytestmark = pytest.mark.browser

expect.set_options(timeout=15_000)  # six processes and a browser share the machine with other tests
SWAPPED = {
    "name": "swapped",
    "language": "en",
    "components": [
        {"type": "BODY", "text": "Order {{2}} for {{1}}"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Track", "url": "https://example.com/t/{{1}}"}]},
    ],
}
PLACE = {
    "name": "where_we_are",
    "language": "en",
    "components": [{"type": "HEADER", "format": "LOCATION"}, {"type": "BODY", "text": "Here we are."}],
}


@pytest.fixture
def inbox(shop: Shop, browser_context: BrowserContext) -> Page:
    """The agent's inbox, with John's conversation open and every template known."""
    shop.phone("templates", templates=[SWAPPED, PLACE])
    page = browser_context.new_page()
    page.goto(f"{shop.live.base_url}/login")
    page.get_by_label("Email").fill(shop.api.email)
    page.get_by_label("Password", exact=True).fill(shop.api.password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{shop.live.base_url}/settings/channels/{shop.account['id']}")
    page.locator("form[action$='/templates'] button, [hx-post$='/templates']").first.click()
    page.goto(f"{shop.live.base_url}/inbox/all/c/1")

    def listed() -> bool:
        shown = page.request.get(f"{shop.live.base_url}/inbox/c/1/templates").text()
        return "where_we_are" in shown

    until(listed)
    return page


@pytest.fixture
def embed(shop: Shop, inbox: Page, hosts: Hosts, browser_context: BrowserContext) -> FrameLocator:
    """The same conversation within a page of the CRM."""
    customer = shop.api.get("/api-customers", phone=JOHN)
    wish = {"customer_id": customer["id"], "scope": "inbox"}
    page = browser_context.new_page()
    page.goto(hosts.embed(shop.api.post("/api-sso-generate-token", wish)["embed_url"], path=f"/{customer['id']}"))
    return page.frame_locator("#embed")


def choose(where: Page | FrameLocator, name: str) -> Locator:
    """Open the sheet at one template."""
    where.locator("[data-templates-only]").click()
    card = where.locator("#sheet details", has=where.locator("summary b", has_text=name))
    card.locator("summary").click()
    return card


def send(where: Page | FrameLocator, card: Locator) -> None:
    card.get_by_role("button", name="Send template").click()
    expect(where.locator("#sheet[open]")).to_have_count(0)
    expect(where.locator(".m.out [title^=Delivered]")).to_be_visible()


def fill(card: Locator, values: dict[str, str]) -> None:
    for field, value in values.items():
        card.locator(f"[name='value:{field}']").fill(value)


def phone(shop: Shop) -> dict[str, Any]:
    """Give the newest message as the customer sees it."""
    return shop.screen()[-1]


def test_named_values_go_out_by_their_names(shop: Shop, inbox: Page) -> None:
    card = choose(inbox, "appointment_reminder")
    preview = card.locator(".bubble")
    expect(preview).to_contain_text("See you {{day}}")
    fill(card, {"header:day": "on Friday", "body:time": "10:00", "body:customer_name": "John", "body:day": "Friday"})
    expect(preview).to_contain_text("See you on Friday")
    expect(preview).to_contain_text("Hello John, this is a reminder of your appointment on Friday at 10:00.")
    send(inbox, card)
    shown = phone(shop)
    assert shown["header"] == "See you on Friday"
    assert shown["text"] == "Hello John, this is a reminder of your appointment on Friday at 10:00."
    expect(inbox.locator(".m.out .txt")).to_contain_text("See you on Friday")


def test_numbered_values_go_where_their_numbers_are(shop: Shop, inbox: Page) -> None:
    card = choose(inbox, "swapped")
    fill(card, {"body:1": "Joe", "body:2": "A-17", "button:0:1": "A17"})
    expect(card.locator(".bubble")).to_contain_text("Order A-17 for Joe")
    send(inbox, card)
    shown = phone(shop)
    assert shown["text"] == "Order A-17 for Joe"
    assert [button["url"] for button in shown["buttons"]] == ["https://example.com/t/A17"]


def test_a_preview_whose_value_is_taken_back_shows_the_gap_again(inbox: Page) -> None:
    card = choose(inbox, "swapped")
    fill(card, {"body:1": "Joe"})
    fill(card, {"body:1": ""})
    expect(card.locator(".bubble")).to_contain_text("Order {{2}} for {{1}}")


def test_a_picture_goes_above_its_template(shop: Shop, inbox: Page) -> None:
    card = choose(inbox, "spring_offer")
    fill(card, {"body:1": "John", "button:0:1": "spring"})
    picture = {"name": "hill.png", "mimeType": "image/png", "buffer": files.picture("hill.png")}
    card.locator("[type=file]").set_input_files([picture])  # type: ignore[list-item]
    expect(card.locator("[data-file-state]")).to_have_text("hill.png goes along.")
    send(inbox, card)
    shown = phone(shop)
    assert shown["text"] == "Spring is here, John: 20% off all jackets until Sunday."
    assert shown["header_media"]["id"]


def test_a_template_without_its_picture_stays_where_it_is(shop: Shop, inbox: Page) -> None:
    card = choose(inbox, "spring_offer")
    fill(card, {"body:1": "John", "button:0:1": "spring"})
    paper = {"name": "offer.pdf", "mimeType": "application/pdf", "buffer": files.paper("Acme", "offer.pdf")}
    card.locator("[type=file]").set_input_files([paper])  # type: ignore[list-item]
    expect(card.locator("[data-file-state]")).to_have_text("offer.pdf goes along.")
    card.get_by_role("button", name="Send template").click()
    expect(inbox.locator(".toast.bad")).to_contain_text("This template begins with a picture: choose one.")
    expect(inbox.locator("#sheet[open]")).to_have_count(1)
    assert len(shop.screen()) == 1


def test_a_template_that_begins_with_a_map_says_why_it_cannot_be_sent(inbox: Page) -> None:
    card = choose(inbox, "where_we_are")
    expect(card).to_contain_text("It begins with a location, which cannot be sent from here.")
    expect(card.get_by_role("button", name="Send template")).to_have_count(0)


def test_the_embed_fills_in_the_same_way(shop: Shop, embed: FrameLocator) -> None:
    card = choose(embed, "appointment_reminder")
    fill(card, {"header:day": "soon", "body:time": "noon", "body:customer_name": "John", "body:day": "Monday"})
    expect(card.locator(".bubble")).to_contain_text("on Monday at noon")
    send(embed, card)
    assert phone(shop)["text"] == "Hello John, this is a reminder of your appointment on Monday at noon."


def test_the_embed_sends_a_picture_too(shop: Shop, embed: FrameLocator) -> None:
    card = choose(embed, "spring_offer")
    fill(card, {"body:1": "John", "button:0:1": "spring"})
    picture = {"name": "hill.png", "mimeType": "image/png", "buffer": files.picture("hill.png")}
    card.locator("[type=file]").set_input_files([picture])  # type: ignore[list-item]
    expect(card.locator("[data-file-state]")).to_have_text("hill.png goes along.")
    send(embed, card)
    assert phone(shop)["header_media"]["id"]
