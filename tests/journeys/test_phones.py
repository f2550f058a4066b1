"""On Messenger, Instagram and email too, a customer's phone and an agent's open inbox talk, and nobody reloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.callers import Caller, business, operate, until
from tests.journeys import screens
from tests.journeys.screens import READ, assert_never_reloaded, bubble, write
from tests.processes import Live

pytestmark = pytest.mark.browser


@dataclass
class Front:
    """A business with one account, whose `place` is the phone of a customer who has just written."""

    api: Caller
    kind: str
    place: tuple[str, str, str]

    def sent(self) -> list[tuple[str, str]]:
        """What the business wrote, and what became of it."""
        found = [one for one in self.api.messages() if one["direction"] == "outbound"]
        return [(str(one["content"]), str(one["status"])) for one in found]


def front(live: Live, kind: str) -> Front:
    api = business(live)
    number = str(int(api.business_id[-12:], 16))[:12]
    address = f"hello-{number}@acme.example"
    made_up = {
        "facebook": {"page_id": f"10{number}", "page_name": "Acme", "app_secret": f"secret-{number}"},
        "instagram": {"account_id": f"17841{number}", "username": "acme", "instagram_app_secret": f"secret-{number}"},
        "email": {"address": address, "password": "secret", "imap_host": "127.0.0.1", "smtp_host": "127.0.0.1"},
    }[kind]
    tokens = {"access_token": f"token-{number}", "verify_token": f"verify-{number}"}
    ports = {"imap_port": live.env["SANDBOX_IMAP_PORT"], "smtp_port": live.env["SANDBOX_SMTP_PORT"]}
    servers = ports | {"imap_security": "none", "smtp_security": "none"}
    config: dict[str, Any] = made_up | (servers if kind == "email" else tokens)
    api.post("/api-channels", {"channel": kind, "name": "Front desk", "config": config})
    person = "joe@customers.example" if kind == "email" else "24000000000000222"
    words = ("--business", api.business_id, "--from", person, "--name", "Joe", "--text", "Is this the shop?")
    operate(live, "sandbox", "say", kind, *words)
    until(api.messages, 30)  # a mailbox is found and opened first
    return Front(api, kind, (kind, next(iter(made_up.values())), person))


@pytest.mark.parametrize("kind", ["facebook", "instagram", "email"])
def test_a_customer_and_an_agent_talk_from_screen_to_screen(
    live: Live, browser_context: BrowserContext, kind: str
) -> None:
    here = front(live, kind)
    inbox = screens.inbox(here.api, browser_context, "Is this the shop?")
    phone = screens.phone(here.api, browser_context, *here.place)
    write(inbox, "It is! What do you look for?")
    expect(bubble(phone, "It is! What do you look for?")).to_be_visible()
    write(phone, "Have you got the boots in 39? 🥾")  # a mail that answered none would be a conversation of its own
    expect(bubble(inbox, "Have you got the boots in 39? 🥾")).to_be_visible()

    write(inbox, "Two pairs are left.")
    expect(bubble(phone, "Two pairs are left.")).to_be_visible()
    tick = "[title=Sent]" if kind == "email" else READ  # no mail server tells what was read
    for text in ("It is! What do you look for?", "Two pairs are left."):
        expect(bubble(inbox, text).locator(tick)).to_be_visible()
    if kind != "email":
        expect(bubble(phone, "Have you got the boots in 39? 🥾").get_by_label("Read")).to_be_visible()
    assert_never_reloaded(inbox, phone)
    status = "sent" if kind == "email" else "read"
    assert here.sent() == [("It is! What do you look for?", status), ("Two pairs are left.", status)]
