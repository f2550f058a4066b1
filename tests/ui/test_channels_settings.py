"""Settings → Channels: who may, what a form refuses, that secrets stay in, and what a check and a test message tell."""

from __future__ import annotations

import html
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select

import channels
from lib.ids import uuid7
from models import AuditEntry, Business, ChannelAccount, Message, db, now
from services import account_checks, channel_accounts, messages, outbound, team
from tests.callers import Caller, business, fetch, until
from tests.channels import kinds
from tests.factories import Api, received, whatsapp
from tests.people import PASSWORD, Somebody
from tests.processes import Live
from tests.ui.browser import Browser

HERE = "/settings/channels"
FRAGMENT = {"HX-Request": "true"}


def form(**changed: str) -> dict[str, str]:
    number = uuid7().int % 10**9
    config = {
        "phone_number_id": f"1{number:09d}",
        "business_account_id": f"2{number:09d}",
        "phone_number": "+353 1 600 0000",
        "access_token": "EAAG-secret-token",
        "app_secret": "app-secret-of-acme",
        "verify_token": "",
    }
    return {"name": "Front desk", **{f"config.{name}": value for name, value in (config | changed).items()}}


def plain(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture
def admin(browser: Browser, alice: Somebody) -> Browser:
    browser.sign_in(alice.email)
    return browser


@pytest.fixture
def account(alice: Somebody) -> ChannelAccount:
    return whatsapp(alice.business)


def read_again(account: ChannelAccount) -> ChannelAccount:
    db.session.expire_all()
    return db.session.get_one(ChannelAccount, (account.business_id, account.id))


def shown_once(page: str) -> str:
    found = re.search(r'id="verify-token"[^>]*>([^<]+)<', page)
    assert found
    return found[1]


def newest_message(account: ChannelAccount) -> Message:
    query = select(Message).where(Message.account_id == account.id).order_by(Message.created_at.desc()).limit(1)
    return db.session.scalars(query).one()


# --- who may ---


def test_agents_and_strangers_see_no_channel_settings(
    app: Flask, browser: Browser, bob: Somebody, charlie: Somebody, account: ChannelAccount
) -> None:
    reads = [
        f"{HERE}/{account.id}{end}" for end in ("", "/edit", "/setup", "/check", "/health", "/calls", "/templates")
    ]
    reads += [f"{HERE}/{account.id}/disconnect", f"{HERE}/{account.id}/test/{uuid7()}"]
    writes = [f"{HERE}/{account.id}/{verb}" for verb in ("edit", "check", "state", "test", "templates", "disconnect")]
    stranger = Browser(app)
    stranger.sign_in(charlie.email)
    assert {stranger.get(path).status_code for path in reads} == {404}
    assert {stranger.post(path, **form()).status_code for path in writes} == {404}
    assert account.name not in stranger.get(HERE).text
    browser.sign_in(bob.email)
    assert {browser.get(path).status_code for path in [HERE, f"{HERE}/new/whatsapp", *reads]} == {403}
    assert {browser.post(path, **form()).status_code for path in [f"{HERE}/new/whatsapp", *writes]} == {403}
    assert {Browser(app).get(path).status_code for path in [HERE, *reads]} == {302}
    assert read_again(account).state == "connected"


# --- connecting ---


@pytest.mark.parametrize("kind", channels.KINDS)
def test_every_kind_can_be_connected_by_the_form_of_its_own_fields(admin: Browser, kind: str) -> None:
    listed, page = admin.get(HERE).text, admin.get(f"{HERE}/new/{kind}").text
    assert f'href="{HERE}/new/{kind}"' in listed
    for field in channels.get(kind).fields:
        control = re.search(rf'<(input|select)[^>]* name="config\.{field.name}"[^>]*>', page)
        assert control, field.name
        assert ('type="password"' in control[0]) == field.secret
        assert html.escape(field.label) in page


def test_an_unknown_kind_is_not_found(admin: Browser) -> None:
    assert admin.get(f"{HERE}/new/fax").status_code == 404
    assert admin.post(f"{HERE}/new/fax", **form()).status_code == 404


def test_connecting_shows_what_to_paste_and_the_made_token_this_once(admin: Browser, alice: Somebody) -> None:
    answer = admin.post(f"{HERE}/new/whatsapp", **form())
    account = channel_accounts.page(alice.business)[0]
    token = shown_once(answer.text)
    assert channel_accounts.to_channel(account).config["verify_token"] == token
    assert f"/callbacks/whatsapp/{account.id}" in answer.text
    for page in (HERE, f"{HERE}/{account.id}", f"{HERE}/{account.id}/setup", f"{HERE}/{account.id}/edit"):
        shown = admin.get(page).text
        for secret in (token, "EAAG-secret-token", "app-secret-of-acme"):
            assert secret not in shown, page
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.business_id == alice.business.id)).all()
    written = [entry for entry in entries if entry.action == "channel.connected"]
    assert [entry.actor_name for entry in written] == ["Alice"]
    assert "secret" not in str(written[0].details)


def test_the_address_for_twilio_asks_it_to_try_again(admin: Browser, alice: Somebody) -> None:
    config = {"account_sid": "AC" + "0" * 32, "auth_token": "token", "from_number": "+12025550123"}
    fields = {f"config.{name}": value for name, value in config.items()}
    answer = admin.post(f"{HERE}/new/sms", name="Texts", **fields)
    (account,) = channel_accounts.page(alice.business)
    assert f"/callbacks/sms/{account.id}#rc=3&amp;rp=all" in answer.text


def test_a_token_that_was_typed_is_not_shown(admin: Browser) -> None:
    answer = admin.post(f"{HERE}/new/whatsapp", **form(verify_token="typed-by-alice"))
    assert answer.status_code == 200
    assert "typed-by-alice" not in answer.text


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("phone_number_id", "12 34x", "Digits, from WhatsApp"),
        ("access_token", "", "Access token is missing."),
        ("phone_number", "600 0000", "With its country code"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_secret_comes_back(
    admin: Browser, alice: Somebody, field: str, value: str, why: str
) -> None:
    answer = admin.post(f"{HERE}/new/whatsapp", **form(**{field: value}))
    assert answer.status_code == 422
    wrong = re.findall(r'<input[^>]*name="([^"]+)"[^>]*aria-invalid="true"', answer.text)
    assert wrong == [f"config.{field}"]
    assert re.search(rf'class="err" id="f-config.{field}-hint">.*{why}', answer.text)
    assert "app-secret-of-acme" not in answer.text
    assert 'value="Front desk"' in answer.text
    assert channel_accounts.page(alice.business) == []


def test_the_same_number_is_not_connected_twice(admin: Browser, alice: Somebody) -> None:
    given = form()
    admin.post(f"{HERE}/new/whatsapp", **given)
    answer = admin.post(f"{HERE}/new/whatsapp", **given)
    assert answer.status_code == 422
    assert "is connected already." in answer.text
    assert len(channel_accounts.page(alice.business)) == 1


def test_the_api_tells_the_verify_token_only_when_it_made_one(app: Flask, alice: Somebody) -> None:
    api = Api(app, alice.key)
    config = {name.removeprefix("config."): value for name, value in form().items() if name != "name"}
    made = api.post("/api-channels", {"channel": "whatsapp", "config": config | {"verify_token": ""}}).json
    account = channel_accounts.get(alice.business, UUID(made["channel_account"]["id"]))
    assert made["verify_token"] == channel_accounts.to_channel(account).config["verify_token"]
    assert "verify_token" not in api.get("/api-channels", id=str(account.id)).json
    other = {name.removeprefix("config."): value for name, value in form().items() if name != "name"}
    typed = api.post("/api-channels", {"channel": "whatsapp", "config": other | {"verify_token": "typed"}}).json
    assert "verify_token" not in typed


# --- an account that is there ---


def test_secrets_that_are_left_empty_stay_and_what_was_changed_is_audited(
    admin: Browser, alice: Somebody, account: ChannelAccount
) -> None:
    stored = channel_accounts.to_channel(account).config
    said = form(access_token="", app_secret="new-secret", **{name: stored[name] for name in account.config})
    assert admin.post(f"{HERE}/{account.id}/edit", **said | {"name": "Desk 2"}).status_code == 303
    after = channel_accounts.to_channel(read_again(account)).config
    assert after == {**stored, "app_secret": "new-secret"}
    entry = db.session.scalars(
        select(AuditEntry).where(AuditEntry.action == "channel.changed", AuditEntry.business_id == alice.business.id)
    ).one()
    assert entry.subject_id == str(account.id)
    assert entry.details == {"fields": ["app_secret", "name"]}


def test_a_new_verify_token_is_made_and_shown_once(admin: Browser, account: ChannelAccount) -> None:
    stored = channel_accounts.to_channel(account).config
    said = form(access_token="", app_secret="", **{name: stored[name] for name in account.config})
    answer = admin.post(f"{HERE}/{account.id}/edit", **said, clear="verify_token")
    assert shown_once(answer.text) == channel_accounts.to_channel(read_again(account)).config["verify_token"]
    assert shown_once(answer.text) != stored["verify_token"]


def test_while_paused_messages_wait_and_are_counted_and_resuming_hurries_them(
    admin: Browser, alice: Somebody, account: ChannelAccount
) -> None:
    message = received(alice.business, account)
    admin.post(f"{HERE}/{account.id}/state", state="paused")
    person = str(message.customer_id)
    sent = admin.post(f"{HERE}/{account.id}/test", customer=person, content="Hello")
    assert sent.status_code == 303
    assert read_again(account).state == "paused"
    queued = newest_message(account)
    assert outbound.prepare(alice.business.id, queued.id) is None
    db.session.commit()
    page = plain(admin.get(f"{HERE}/{account.id}").text)
    assert "It is paused. Paused by Alice. 1 message waits." in page
    assert "Paused" in plain(admin.get(HERE).text)
    admin.post(f"{HERE}/{account.id}/state", state="connected")
    db.session.expire_all()
    again = messages.get(alice.business, queued.id)
    assert again.next_attempt_at is not None
    assert again.next_attempt_at <= now()
    assert read_again(account).state == "connected"


def test_disconnecting_needs_the_name_and_fails_what_waited(
    admin: Browser, alice: Somebody, account: ChannelAccount
) -> None:
    message = received(alice.business, account)
    admin.post(f"{HERE}/{account.id}/state", state="paused")
    admin.post(f"{HERE}/{account.id}/test", customer=str(message.customer_id), content="Hello")
    refused = admin.post(f"{HERE}/{account.id}/disconnect", name="Front")
    assert refused.status_code == 422
    assert "Type Front desk to confirm." in refused.text
    assert admin.post(f"{HERE}/{account.id}/disconnect", name="Front desk").status_code == 303
    gone = read_again(account)
    assert gone.state == "disconnected"
    assert channel_accounts.secrets_set(gone) == set()
    assert admin.get(f"{HERE}/{account.id}").status_code == 404
    waited = newest_message(account)
    assert outbound.prepare(alice.business.id, waited.id) is None
    db.session.commit()
    assert (waited.status, waited.error_code) == ("failed", "disconnected")


def test_disconnecting_warns_where_the_provider_may_call_this_address_for_others(
    admin: Browser, alice: Somebody, account: ChannelAccount
) -> None:
    path, warning = f"{HERE}/{account.id}/disconnect", "may call this account’s address for Night desk too"
    assert warning not in plain(admin.get(path).text)
    second = whatsapp(alice.business)
    second.name = "Night desk"
    db.session.commit()
    assert f"Meta {warning}" in plain(admin.get(path).text)


def test_a_held_account_can_be_told_to_try_again(admin: Browser, account: ChannelAccount) -> None:
    channel_accounts.hold(account, "The bill is not paid.", by="sending")
    db.session.commit()
    page = admin.get(f"{HERE}/{account.id}").text
    assert "It cannot send. The bill is not paid." in plain(page)
    assert "Try again" in page
    admin.post(f"{HERE}/{account.id}/state", state="connected")
    assert read_again(account).state == "connected"
    assert "Needs attention" not in plain(admin.get(HERE).text)


@pytest.mark.parametrize("kind", channels.KINDS)
def test_every_kind_shows_the_line_that_tries_it_with_the_sandbox(
    app: Flask, admin: Browser, alice: Somebody, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"env": "development", "sandbox_url": "http://127.0.0.1:9", "sandbox_imap_port": 9143}
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].model_copy(update=here))
    made = channel_accounts.connect(alice.business, kind, "Acme", dict(kinds.PROVIDERS[kind].config))
    db.session.commit()
    shown = plain(admin.get(f"{HERE}/{made.id}/setup").text)
    assert f"sandbox say {kind} --from " in shown
    assert f"--to {made.id}" in shown
    assert ("IMAP port 9143" in shown) == (kind == "email")


def test_a_test_message_says_why_it_cannot_go(admin: Browser, account: ChannelAccount) -> None:
    path = f"{HERE}/{account.id}/test"
    nobody = admin.post(path)
    assert nobody.status_code == 422
    assert "Choose who shall get the test." in nobody.text
    cold = admin.post(path, address="+353 87 123 4567")
    assert cold.status_code == 422
    assert "24 hours after the customer" in plain(cold.text)
    assert admin.post(path, address="not a number").status_code == 422


def test_calls_of_the_provider_show_as_they_come(app: Flask, admin: Browser, account: ChannelAccount) -> None:
    callback, calls = f"/callbacks/whatsapp/{account.id}", f"{HERE}/{account.id}/calls"
    assert "has not verified the address yet" in plain(admin.get(calls).text)
    query = "hub.mode=subscribe&hub.challenge=42&hub.verify_token="
    assert Browser(app).get(f"{callback}?{query}wrong").status_code == 403
    assert "with another verify token" in plain(admin.get(calls).text)
    assert Browser(app).get(f"{callback}?{query}verify-me-please").text == "42"
    assert "Meta has verified the address" in plain(admin.get(calls).text)
    Browser(app).client.post(callback, data=b"{}", headers={"X-Hub-Signature-256": "sha256=00"})
    assert "was not signed with this channel’s secret" in plain(admin.get(calls).text)


def test_a_check_that_nobody_takes_up_says_so(admin: Browser, account: ChannelAccount) -> None:
    account_checks.note(account.id, "check", state="asked", at=now() - 2 * account_checks.PATIENCE)
    assert "No worker has taken the check up" in plain(admin.get(f"{HERE}/{account.id}").text)


# --- against the sandbox, with the worker running ---


class Desk:
    """An admin of a business on the running product, with a number that the sandbox knows."""

    def __init__(self, live: Live) -> None:
        self.api: Caller = business(live)
        self.account = self.api.connect()
        self.path = f"{HERE}/{self.account['id']}"
        self.api.say("Hello")
        email = f"admin-{uuid7().hex}@example.com"
        with live.app.app_context():
            owner = db.session.get_one(Business, UUID(self.api.business_id))
            team.create(owner, name="Ada", email=email, role="admin", password=PASSWORD)
            db.session.commit()
        self.browser = Browser(live.app)
        self.browser.sign_in(email)

    def check(self) -> str:
        self.browser.post(f"{self.path}/check")
        return until(self._answer)

    def _answer(self) -> str:
        page = self.browser.get(f"{self.path}/check", **FRAGMENT).text
        return "" if "Asking the provider" in page else plain(page)


@pytest.fixture
def desk(live: Live) -> Desk:
    return Desk(live)


def test_a_check_tells_what_the_provider_knows_of_the_number(desk: Desk) -> None:
    said = desk.check()
    assert "WhatsApp accepts the credentials" in said
    assert "Name Front desk" in said
    assert "Address +353 15550001" in said
    assert "Quality GREEN" in said


def test_an_expired_token_is_told_in_words_and_the_next_good_check_takes_it_back(desk: Desk) -> None:
    control = f"{desk.api.live.sandbox_url}/control/faults"
    wish: dict[str, Any] = {"provider": "whatsapp", "kind": "expired_token", "times": 1, "on": "*"}
    wish["account"] = desk.account["config"]["phone_number_id"]
    assert fetch(control, "POST", wish).status == 200
    said = desk.check()
    assert "WhatsApp refuses" in said
    assert "The access token has expired or was revoked; enter a new one." in said
    assert "Needs attention" in plain(desk.browser.get(HERE).text)
    assert "It cannot send. The access token has expired" in plain(desk.browser.get(desk.path).text)
    assert "WhatsApp accepts the credentials" in desk.check()
    assert "Needs attention" not in plain(desk.browser.get(HERE).text)


def test_a_test_message_and_the_templates_arrive(desk: Desk) -> None:
    listed = until(lambda: re.findall(r'<option value="([0-9a-f-]{36})"', desk.browser.get(desk.path).text))
    sent = desk.browser.client.post(
        f"{desk.path}/test",
        data={"customer": listed[0], "csrf_token": desk.browser.token("/me")},
        headers=FRAGMENT,
    )
    again = re.search(r'hx-get="([^"]+/test/[^"]+)"', sent.text)
    assert again
    until(lambda: "Delivered." in plain(desk.browser.get(again[1], **FRAGMENT).text))
    desk.browser.post(f"{desk.path}/templates")
    until(lambda: "price_change" in desk.browser.get(desk.path).text)
    page = plain(desk.browser.get(desk.path).text)
    assert re.search(r"hello_world en_US Approved", page)
    assert re.search(r"price_change \S+ Pending", page)
