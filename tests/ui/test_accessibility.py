"""Every screen in both themes, at a desk and on a phone: axe finds nothing, nothing scrolls sideways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.ui.conftest import Place
from tests.ui.screens import SCREENS, Screen, show

pytestmark = pytest.mark.browser

LARGE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}  # what 1280 pixels are at a zoom of 400 %
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": ["color-contrast"]}

TARGETS = "a[href], button, input:not([type=hidden]), select, [role=option]"
SMALL_TARGETS = """targets => [...document.querySelectorAll(targets)].filter(el => {
        const box = el.getBoundingClientRect(), style = getComputedStyle(el);
        if (!box.width || style.visibility === 'hidden' || el.matches('.vh, .skip, .txt a, p a')) return false;
        if (el.matches('input[type=checkbox], input[type=radio]') && el.closest('label')) return false;
        return box.width < 24 || box.height < 23.9;
    }).map(el => el.outerHTML.slice(0, 160) + JSON.stringify(el.getBoundingClientRect()))"""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Any]:
    """Open pages that do not move, since a colour in the middle of its way is no colour."""
    pages: list[Page] = []

    def open_(screen: Screen, place: Place, session: Any) -> Page:
        given = {"storage_state": session} if screen.signed_in else {}
        pages.append(chromium.new_page(viewport=LARGE, reduced_motion="reduce", **given))
        pages[-1].set_default_timeout(5000)
        show(pages[-1], screen, place.url, place.numbers)
        return pages[-1]

    yield open_
    for one in pages:
        one.close()


def problems(page: Page, rules: dict[str, list[str]] = RULES) -> list[str]:
    found = Axe().run(page, options=rules).response["violations"]
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_axe_finds_nothing_and_nothing_is_cut_off(
    screen: Screen, page: Any, shared: Place, session_of_mary: Any
) -> None:
    opened: Page = page(screen, shared, session_of_mary)
    found = {"desk": problems(opened)}
    opened.emulate_media(color_scheme="dark")
    found["dark"] = problems(opened, COLOURS)
    opened.set_viewport_size(PHONE)
    found["phone"] = problems(opened)
    opened.set_viewport_size(NARROW)
    found["small targets"] = opened.evaluate(SMALL_TARGETS, TARGETS)
    assert {where: what for where, what in found.items() if what} == {}
    assert opened.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_the_page_keeps_its_way_in_a_language_that_runs_the_other_way(
    page: Any, shared: Place, session_of_mary: Any
) -> None:
    opened = page(next(screen for screen in SCREENS if screen.name == "thread"), shared, session_of_mary)
    opened.evaluate("document.documentElement.dir = 'rtl'")
    assert opened.evaluate("document.querySelector('.nav').getBoundingClientRect().left") > 1000
    assert opened.evaluate("document.querySelector('.side').getBoundingClientRect().left") < 400
    assert problems(opened) == []
