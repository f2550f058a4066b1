"""What the journeys do on screens: an agent's inbox and a customer's phone, each in a tab that is never reloaded."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.callers import Caller

READ = "[title^=Read]"
expect.set_options(timeout=15_000)  # six processes and a browser share the machine with other tests


def inbox(api: Caller, context: BrowserContext, shows: str) -> Page:
    """Sign an agent in and open the first conversation, which shows this text."""
    page = context.new_page()
    page.goto(f"{api.live.base_url}/login")
    page.get_by_label("Email").fill(api.email)
    page.get_by_label("Password", exact=True).fill(api.password)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{api.live.base_url}/inbox/all/c/1")
    expect(page.locator(".msgs").get_by_text(shows)).to_be_visible()
    return marked(page)


def phone(api: Caller, context: BrowserContext, *place: str) -> Page:
    """Open a customer's phone in the sandbox: its provider, the account there, the person."""
    page = context.new_page()
    page.goto("/".join((api.live.sandbox_url, "phone", *place)))
    return marked(page)


def marked(page: Page) -> Page:
    """Mark a page, so that a reload is found out."""
    page.evaluate("window.stillTheSame = true")
    return page


def assert_never_reloaded(*pages: Page) -> None:
    for page in pages:
        assert page.evaluate("window.stillTheSame")


def write(where: Page | FrameLocator, text: str) -> None:
    """Type into the box for messages, and send."""
    box = where.get_by_label("Message to")
    box.fill(text)
    box.press("Enter")
    expect(box).to_have_value("")


def bubble(where: Page | FrameLocator, text: str) -> Any:
    return where.locator(".m", has_text=text)
