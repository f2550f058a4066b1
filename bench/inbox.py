"""From a provider's callback to the words on an agent's screen, in a real Chromium with the conversation open."""

from __future__ import annotations

import time
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench.callbacks import connect, signed
from bench.figures import Figure, percentile
from bench.stage import Stage
from tests.browsers import ARGUMENTS, EXECUTABLE

MESSAGES = 100
# Notes when each text came into the page, by the clock that this process reads, too.
_WATCH = """() => {
    window.seen = {};
    new MutationObserver(() => {
        for (const bubble of document.querySelectorAll('li.m:not([data-noted])')) {
            bubble.dataset.noted = '';
            const word = bubble.textContent.match(/bench-\\d+/);
            if (word) requestAnimationFrame(() => { window.seen[word[0]] ??= Date.now() / 1000; });
        }
    }).observe(document.body, {childList: true, subtree: true});
}"""


def measure(stage: Stage) -> list[Figure]:
    account = connect(stage)
    _post(stage, account, "hello")
    _until(lambda: stage.call("GET", "/api-conversations?limit=1")["conversations"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        _open(stage, page)
        sent = {}
        for number in range(MESSAGES):
            text = f"bench-{number}"
            sent[text] = time.time()
            _post(stage, account, text)
            page.wait_for_timeout(100)
        seen: dict[str, float] = _until(lambda: _all_of(page.evaluate("window.seen"), MESSAGES))
        browser.close()
    times = [seen[text] - at for text, at in sent.items()]
    note = f"p50 {percentile(times, 0.5) * 1000:.0f} ms"
    return [Figure("callback → on an agent's screen, p95", percentile(times, 0.95) * 1000, 300, unit="ms", note=note)]


def _open(stage: Stage, page: Page) -> None:
    page.goto(f"{stage.live.base_url}/login")
    page.get_by_label("Email").fill(stage.made["email"])
    page.get_by_label("Password", exact=True).fill(stage.made["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/inbox/**")
    number = stage.call("GET", "/api-conversations?limit=1")["conversations"][0]["number"]
    page.goto(f"{stage.live.base_url}/inbox/all/c/{number}")
    page.wait_for_selector("li.m")
    page.wait_for_timeout(1000)
    page.evaluate(_WATCH)


def _post(stage: Stage, account: dict[str, Any], text: str) -> None:
    body, headers = signed(text, f"wamid.{text}")
    assert stage.http.request("POST", account["callback_url"], body=body, headers=headers).status == 200


def _all_of(seen: dict[str, float], count: int) -> dict[str, float] | None:
    return seen if len(seen) >= count else None


def _until(look: Any, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.05)
    return found
