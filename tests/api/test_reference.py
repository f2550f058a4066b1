"""The page of the API reference in Chromium: light, dark, on a phone; searched, copied, fetching from nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from blueprints.api.routing import OPERATIONS

pytestmark = pytest.mark.browser

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def address(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The reference, opened; whatever it complains of or fetches from elsewhere fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda asked: None if asked.url.startswith((address, "data:")) else trouble.append(asked.url))
    opened.goto(f"{address}/api-docs")
    yield opened
    context.close()
    assert trouble == []


def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    for width in (1280, 900, 390, 320):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_in_either_theme(scheme: Any, width: int, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    # One resource has everything that the others have, and the whole page takes axe a minute.
    page.evaluate("[...document.querySelectorAll('.group')].slice(1).forEach(group => group.remove())")
    found = Axe().run(page, options=RULES).response["violations"]
    assert [f"{one['id']}: {node['html'][:150]}" for one in found for node in one["nodes"]] == []


def test_the_search_narrows_the_contents_and_links_lead_to_their_place(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("sync")
    links = page.locator(".docs-nav li:visible a")
    assert links.count() == 2  # the introduction stays
    links.last.click()
    assert page.url.endswith("#customers_batch_sync")
    title = page.get_by_role("heading", name="Keep customers in step with a CRM")
    assert 0 <= title.bounding_box()["y"] < 300  # type: ignore[index]
    page.locator("#docs-search").fill("no such thing")
    assert page.locator("#docs-none").is_visible()
    page.locator("#docs-search").fill("")
    assert page.locator(".docs-nav [data-words]:visible").count() >= len(OPERATIONS)


def test_a_sample_is_copied_as_it_is_shown(page: Page) -> None:
    page.locator("[data-copy=customers_show-curl]").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#customers_show-curl").text_content()
    assert copied.startswith('curl -X GET "http://localhost:8000/functions/v1/api-customers?external_id=CRM-12345"')


def test_on_a_phone_the_contents_fold_away(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    contents = page.locator(".docs-nav nav")
    assert not contents.is_visible()
    page.get_by_text("Contents").click()
    contents.get_by_role("link", name="Send a message").click()
    assert not contents.is_visible()
    assert page.get_by_role("heading", name="Send a message").is_visible()


def test_it_can_be_read_without_script(chromium: Browser, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"{address}/api-docs")
    assert opened.get_by_role("heading", name="Send a message").is_visible()
    assert opened.locator(".docs-nav nav").is_visible()
    context.close()
