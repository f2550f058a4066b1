"""Every screen and state: a path, and what to do there. For the tests of accessibility and reflow, and the shots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page

Steps = tuple[Callable[[Page], None], ...]


@dataclass(frozen=True)
class Screen:
    """One state of the product. `{joe}` in a path is the number of the main conversation."""

    name: str
    path: str
    steps: Steps = field(default=())
    signed_in: bool = True


def press(keys: str) -> Callable[[Page], None]:
    return lambda page: page.keyboard.press(keys)


def click(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def write(selector: str, text: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.press_sequentially(text)


def seen(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.wait_for()


JOE = "/inbox/mine/c/{joe}"
MENU = seen("#menu :is(input, button)")
SHEET = seen("#sheet[open] h2")

NAMES = {
    "mail": "Deirdre O’Brien",
    "hints": "Olu Adeyemi",
    "story": "Priya Natarajan",
    "stopped": "+353 86 555 0102",
}

SCREENS = (
    Screen("login", "/login", signed_in=False),
    Screen("inbox", "/inbox/mine"),
    Screen("unassigned", "/inbox/unassigned"),
    Screen("empty-search", "/inbox/mine?q=zzzz"),
    Screen("thread", JOE),
    Screen("note", JOE, (press("n"),)),
    Screen("assign", JOE, (press("a"), MENU)),
    Screen("snooze", JOE, (press("h"), MENU)),
    Screen("tags", JOE, (press("l"), MENU)),
    Screen("more", JOE, (click("#do-more"), MENU)),
    Screen("channels", JOE, (click("[data-chosen]"), seen("[data-ways] [data-way]"))),
    Screen("canned", JOE, (press("r"), write("textarea.in-reply", "/re"), seen(".canned [role=option]"))),
    Screen("templates", JOE, (click("[data-templates-only]"), SHEET, click("#sheet summary"))),
    Screen("merge", JOE, (click(".xref.dashed .btn"), SHEET)),
    Screen("palette", JOE, (press("Control+k"), write("#palette input", "joe"), seen("#results [role=option]"))),
    Screen("shortcuts", JOE, (press("?"), seen("#keys[open]"))),
    Screen("template-file", JOE, (click("[data-templates-only]"), SHEET, click("#sheet [data-text^=spring] summary"))),
    Screen("mail", "/inbox/all/c/{mail}"),
    Screen("hints", "/inbox/all/c/{hints}"),
    Screen("story", "/inbox/all/c/{story}"),
    Screen("stopped", "/inbox/all/c/{stopped}"),
    Screen("profile", "/me"),
    Screen("api-access", "/settings/api-access"),
    Screen("key-form", "/settings/api-access", (click("text=Create API key"), SHEET)),
    Screen("key-revoke", "/settings/api-access", (click("a[href$='/revoke']"), SHEET)),
    Screen("channel-list", "/settings/channels"),
    Screen("channel-form", "/settings/channels/new/whatsapp"),
    Screen("channel", "/settings/channels", (click("article .btn"), seen("#channel-health"))),
    Screen("channel-setup", "/settings/channels", (click("article .btn"), click("text=How to"), seen("#callback-url"))),
    Screen("team", "/settings/team"),
    Screen("person-form", "/settings/team", (click("text=Add a person"), SHEET)),
    Screen("not-found", "/inbox/mine/c/99999"),
)


def show(page: Page, screen: Screen, url: str, numbers: dict[str, int]) -> None:
    """Open a screen and bring it into its state."""
    known = {"joe": numbers["Joe Bloggs"]}
    for place, name in NAMES.items():
        known[place] = numbers.get(name, known["joe"])
    page.goto(url + screen.path.format(**known))
    page.wait_for_load_state("load")
    for step in screen.steps:
        step(page)
    page.wait_for_timeout(150)
