"""Settings in a browser: a key is seen once, a rotation overlaps, a call shows in the log, the team comes and goes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.ui import scene
from tests.ui.conftest import Place, sign_in

pytestmark = pytest.mark.browser


def create_key(agent: Page, place: Place, name: str) -> str:
    agent.goto(f"{place.url}/settings/api-access")
    agent.get_by_role("link", name="Create API key").click()
    sheet = agent.locator("#sheet[open]")
    sheet.get_by_label("Name").fill(name)
    sheet.get_by_role("button", name="Create key").click()
    expect(sheet.get_by_role("heading")).to_have_text("Save your API key")
    return sheet.locator("#made-key").inner_text()


def store(agent: Page) -> None:
    agent.get_by_label("I have stored this key somewhere safe").check()
    agent.get_by_role("link", name="Done").click()
    expect(agent.locator("#sheet[open]")).to_have_count(0)


def test_a_key_is_shown_once_and_works_at_once(agent: Page, place: Place) -> None:
    key = create_key(agent, place, "Zapier")
    agent.get_by_role("button", name="Test it now").click()
    expect(agent.locator("#sheet [data-result]")).to_contain_text("200 OK")
    agent.keyboard.press("Escape")
    expect(agent.locator("#sheet[open]")).to_have_count(1)  # not before it is stored
    expect(agent.locator(".toast")).to_contain_text("Store the key first")
    store(agent)
    row = agent.get_by_role("row", name="Zapier").filter(has_text="alc_live_")  # the log of calls names the key, too
    expect(row).to_have_count(1)
    assert key not in agent.content()
    assert key not in place.live.log("web")


def test_a_key_needs_a_name_and_an_access(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/api-access")
    agent.get_by_role("link", name="Create API key").click()
    sheet = agent.locator("#sheet[open]")
    sheet.get_by_label("Name").fill("No access")
    for box in sheet.get_by_role("checkbox").all():
        box.uncheck()
    sheet.get_by_role("button", name="Create key").click()
    expect(sheet).to_contain_text("Choose one or more scopes")


def test_a_rotated_key_goes_on_working_for_as_long_as_was_asked(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/api-access")
    agent.get_by_role("link", name="Rotate Salesforce production").click()
    agent.get_by_label("The old key ends").select_option("In 7 days")
    agent.get_by_role("button", name="Create the new key").click()
    expect(agent.locator("#sheet")).to_contain_text("The old key works until")
    store(agent)
    assert agent.get_by_role("row", name="Salesforce production").count() == 2
    assert call(agent, place.key) == 200


def test_revoking_asks_for_the_name_and_ends_the_key(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/api-access")
    agent.get_by_role("link", name="Revoke Salesforce production").click()
    sheet = agent.locator("#sheet[open]")
    sheet.get_by_label("Type Salesforce production").fill("something else")
    sheet.get_by_role("button", name="Revoke Salesforce production").click()
    expect(sheet.locator(".err")).to_contain_text("Type Salesforce production to confirm")
    sheet.get_by_label("Type Salesforce production").fill("Salesforce production")
    sheet.get_by_role("button", name="Revoke Salesforce production").click()
    expect(agent.locator("#main")).to_contain_text("No API keys yet")
    agent.wait_for_timeout(1000)  # within a second everywhere
    assert call(agent, place.key) == 401


def call(agent: Page, key: str) -> int:
    ask = "key => fetch('/functions/v1/api-customers', {headers: {'x-api-key': key}}).then(answer => answer.status)"
    status: int = agent.evaluate(ask, key)
    return status


def test_a_call_shows_in_the_log_within_seconds_and_can_be_looked_into(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/api-access")
    call(agent, place.key)
    agent.mouse.move(5, 5)
    entry = agent.locator("#calls a", has_text="/api-customers")
    expect(entry).to_have_count(1, timeout=8000)
    expect(agent.locator("#calls")).to_contain_text("Salesforce production")
    entry.click()
    expect(agent.locator("#sheet")).to_contain_text("The same call as cURL")
    agent.get_by_role("link", name="Done").click()
    agent.get_by_text("Errors", exact=True).click()
    expect(agent.locator("#calls")).to_contain_text("No calls here")


def test_the_dialogs_are_pages_too_for_who_comes_without_a_script(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/api-access/keys/new")
    expect(agent.get_by_role("button", name="Create key")).to_be_visible()
    agent.goto(f"{place.url}/settings/team/new")
    expect(agent.get_by_role("button", name="Add", exact=True)).to_be_visible()


def test_a_colleague_is_added_gets_a_password_and_is_sent_away(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/team")
    agent.get_by_role("link", name="Add a person").click()
    sheet = agent.locator("#sheet[open]")
    sheet.get_by_label("Name").fill("Nora Quinn")
    sheet.get_by_label("Email").fill(place.mary)
    sheet.get_by_role("button", name="Add", exact=True).click()
    expect(sheet).to_contain_text("Somebody already signs in with this email address")
    email = place.mary.replace("mary-", "nora-")
    sheet.get_by_label("Email").fill(email)
    sheet.get_by_role("button", name="Add", exact=True).click()
    password = sheet.locator("#made-password").inner_text()
    assert len(password) >= 12
    sheet.get_by_role("link", name="Done").click()
    agent.on("dialog", lambda asked: asked.accept())
    agent.get_by_role("button", name="Actions for Nora Quinn").click()
    agent.get_by_role("menuitem", name="Make an admin").click()
    expect(agent.get_by_role("row", name="Nora Quinn")).to_contain_text("Admin")
    agent.get_by_role("button", name="Actions for Nora Quinn").click()
    agent.get_by_role("menuitem", name="Deactivate").click()
    expect(agent.get_by_role("row", name="Nora Quinn")).to_contain_text("Deactivated")


def test_the_only_admin_cannot_step_down(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/settings/team")
    agent.get_by_role("button", name="Actions for Mary Ryan").click()
    agent.get_by_role("menuitem", name="Make an agent").click()
    expect(agent.locator(".toast.bad")).to_contain_text("only admin")


def test_theme_and_shortcuts_are_kept(agent: Page, place: Place) -> None:
    agent.goto(f"{place.url}/me")
    agent.get_by_text("Dark", exact=True).click()
    agent.get_by_role("switch").uncheck()
    agent.wait_for_timeout(300)
    agent.reload()
    assert agent.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(agent.get_by_role("switch")).not_to_be_checked()


def test_an_agent_sees_no_settings_but_their_own(agent: Page, place: Place) -> None:
    page = agent.context.browser.new_page()  # type: ignore[union-attr]
    sign_in(page, place, place.tom)
    page.goto(f"{place.url}/me")
    expect(page.get_by_role("navigation", name="Settings")).not_to_contain_text("API Access")
    page.get_by_label("Current password").fill(scene.PASSWORD)
    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Change password").click()
    expect(page.locator(".err")).to_contain_text("at least 10 characters")
    page.close()
