"""Agents before their screens: a believable business on the running product, and Chromium signed in to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.processes import Live
from tests.ui import browser as plain
from tests.ui import scene


@pytest.fixture
def browser(app: Flask) -> plain.Browser:
    return plain.Browser(app)


@dataclass(frozen=True)
class Place:
    """The running product with a scene in it, as the tests speak of it."""

    live: Live
    url: str
    mary: str
    tom: str
    business_id: Any
    joe: int
    key: str
    numbers: dict[str, int]


def build(live: Live, **options: Any) -> Place:
    with live.app.app_context():
        made = scene.build(**options)
        numbers = dict(made.numbers)
        return Place(
            live, live.base_url, made.mary.email, made.tom.email, made.business.id, made.joe.number, made.key, numbers
        )


@pytest.fixture(scope="session")
def shared(live: Live) -> Place:
    """A scene for tests that only look."""
    return build(live)


@pytest.fixture
def place(live: Live) -> Place:
    """A scene of the test's own, for tests that change something."""
    return build(live)


def sign_in(page: Page, place: Place, email: str = "") -> None:
    page.goto(f"{place.url}/login")
    page.get_by_label("Email").fill(email or place.mary)
    page.get_by_label("Password", exact=True).fill(scene.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/inbox/**")


@pytest.fixture(scope="session")
def session_of_mary(chromium: Browser, shared: Place) -> Any:
    context = chromium.new_context()
    sign_in(context.new_page(), shared)
    state = context.storage_state()
    context.close()
    return state


class Watched:
    """A browser that remembers what went wrong in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.context, self.troubles = context, []
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.troubles.append(f"{page.url}: {error}"))
        page.on("console", self._hear)

    def _hear(self, said: ConsoleMessage) -> None:
        # Chromium and htmx note every answer above 399; the tests that bring one about look at what the screen shows.
        if said.type in ("error", "warning") and not said.text.startswith(("Failed to load", "Response Status Error")):
            self.troubles.append(said.text)


@pytest.fixture
def agent(browser_context: BrowserContext, place: Place) -> Iterator[Page]:
    """Mary, signed in to a scene of her own, at a large screen; fails the test if a script or the policy complained."""
    watched = Watched(browser_context)
    page = browser_context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(page, place)
    open_stream(page)
    yield page
    assert watched.troubles == []


def open_stream(page: Page) -> None:
    page.locator("html[data-live=open]").wait_for()
