"""What a screen weighs: bytes as they travel, requests, elements; and that it asks nobody but us."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response

from tests.ui.conftest import Place

pytestmark = pytest.mark.browser

KIB = 1024


class Load:
    """Everything that one page fetched until it stood still."""

    def __init__(self, page: Page, address: str) -> None:
        self.answers: list[Response] = []
        self.problems: list[str] = []
        page.on("response", self._keep)
        page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(address)
        page.wait_for_load_state("load")
        page.wait_for_timeout(500)
        self.sizes = {answer.url: self._size(answer) for answer in self.answers if "/live" not in answer.url}

    def _keep(self, answer: Response) -> None:
        self.answers.append(answer)

    @staticmethod
    def _size(answer: Response) -> int:
        """Give the bytes on the wire, as any proxy or our own static files send them."""
        return len(gzip.compress(answer.body(), 9))

    def total(self, suffix: str = "") -> int:
        return sum(size for url, size in self.sizes.items() if urlsplit(url).path.endswith(suffix))


@pytest.fixture(scope="module")
def load(chromium: Browser, shared: Place, session_of_mary: Any) -> Load:
    page = chromium.new_page(storage_state=session_of_mary)
    found = Load(page, f"{shared.url}/inbox/mine/c/{shared.joe}")
    page.close()
    return found


def test_the_inbox_travels_in_60_kilobytes_and_ten_requests(load: Load) -> None:
    assert load.total() <= 60 * KIB, load.sizes
    assert len(load.sizes) <= 10, sorted(load.sizes)


def test_scripts_and_styles_keep_their_budgets(load: Load) -> None:
    assert load.total(".js") <= 30 * KIB, load.sizes
    assert load.total(".css") <= 12 * KIB, load.sizes


def test_a_screen_asks_nobody_but_us_and_breaks_no_rule_of_its_policy(load: Load, shared: Place) -> None:
    assert {urlsplit(url).netloc for url in load.sizes} == {urlsplit(shared.url).netloc}
    assert load.problems == []


def test_static_files_change_their_address_with_their_content(load: Load) -> None:
    assert all("?v=" in url for url in load.sizes if "/static/" in url)


def test_the_inbox_starts_with_few_elements(chromium: Browser, shared: Place, session_of_mary: Any) -> None:
    page = chromium.new_page(storage_state=session_of_mary)
    page.goto(f"{shared.url}/inbox/mine/c/{shared.joe}")
    assert page.evaluate("document.querySelectorAll('*').length") <= 1500
    page.close()
