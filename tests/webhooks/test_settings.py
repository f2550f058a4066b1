"""Settings → Webhooks and CRM Integration over HTTP: who may, what a test tells, drafts, forms, replays, notices."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import g
from flask.testing import FlaskClient
from sqlalchemy import select, text

from blueprints.settings import snippets
from lib import js_json
from lib.signing import guide_signature
from models import AuditEntry, Delivery, Notice, WebhookEndpoint, db, now
from services import customers, delivery_log, events, notices, replays, webhook_samples, webhooks
from tests import receivers
from tests.lib import strangers
from tests.people import PASSWORD, Somebody
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import attempts, settled

HOOKS = "/settings/webhooks"
CRM = "/settings/business/crm-integration"
FORM = {"name": "My CRM Webhook", "events": ["customer.created"], "policy": "standard", "timeout": "15"}


class Browser:
    """Somebody signed in, without a script: the test's own context is shared by its requests, so `g` is swept."""

    def __init__(self, client: FlaskClient, who: Somebody) -> None:
        self.client = client
        self.token = re.findall(r'name="csrf_token" value="([^"]+)"', self.get("/login").text)[0]
        self.post("/login", email=who.email, password=PASSWORD)
        self.token = re.findall(r'X-CSRFToken": "([^"]+)"', self.get("/me").text)[0]

    def get(self, path: str, **options: Any) -> Any:
        return self._ask("GET", path, **options)

    def post(self, path: str, *, hx: bool = False, **form: Any) -> Any:
        headers = {"X-CSRFToken": self.token} | ({"HX-Request": "true"} if hx else {})
        return self._ask("POST", path, data=form | {"csrf_token": self.token}, headers=headers)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        for name in ("_login_user", "navigation", "business", "csrf_token", "csrf_valid"):
            g.pop(name, None)
        answer = self.client.open(path, method=method, **options)
        db.session.expire_all()
        return answer


@pytest.fixture
def admin(client: FlaskClient, alice: Somebody) -> Browser:
    return Browser(client, alice)


def plain(answer: Any) -> str:
    """Give a page as it reads: no tags, one space between words."""
    body = re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", answer.text, flags=re.S))
    return " ".join(html.unescape(body).split())


def actions(who: Somebody) -> list[str]:
    query = select(AuditEntry.action).where(AuditEntry.business_id == who.business.id).order_by(AuditEntry.id)
    return [action for action in db.session.scalars(query) if action.partition(".")[0] in ("webhook", "business")]


def try_out(admin: Browser, path: str, **form: Any) -> Any:
    """Send a test as the dialog does, and ask for its result as long as it says so."""
    answer = admin.post(path, hx=True, **form)
    for _ in range(200):
        again = re.search(r'hx-get="([^"]+/test/[^"]+)"', answer.text)
        if answer.status_code != 200 or again is None:
            return answer
        time.sleep(0.1)
        answer = admin.get(again[1], headers={"HX-Request": "true"})
    raise AssertionError("no result came")


def aged(delivery_id: UUID, days: float) -> UUID:
    """Make of an id the one that its row would have, had it been made so many days earlier."""
    return UUID(int=delivery_id.int - (int(days * 86_400_000) << 80))


def tell_of(who: Somebody, name: str) -> None:
    customers.sync(who.business, [{"name": name, "email": "someone@example.com"}])
    db.session.commit()


# --- who may ---


def test_an_agent_is_told_whom_to_ask(alice: Somebody, bob: Somebody, client: FlaskClient) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    agent = Browser(client, bob)
    for path in (HOOKS, f"{HOOKS}/new", f"{HOOKS}/{endpoint.id}", CRM, "/settings/business"):
        answer = agent.get(path)
        assert answer.status_code == 403
        assert "Ask Alice" in plain(answer)
    for path in (f"{HOOKS}/{endpoint.id}/secret", f"{HOOKS}/trial", f"{HOOKS}/{endpoint.id}/delete", CRM):
        assert agent.post(path, name="CRM", url="https://example.com").status_code == 403
    assert webhooks.get(alice.business, endpoint.id).state == "active"


def test_another_business_finds_nothing(alice: Somebody, charlie: Somebody, client: FlaskClient) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    webhooks.warn(endpoint, "Trouble.")
    tell(alice.business, "Joe")
    delivery = db.session.scalar(select(Delivery).where(Delivery.endpoint_id == endpoint.id))
    notice = notices.unread(alice.business)[0]
    stranger, here = Browser(client, charlie), f"{HOOKS}/{endpoint.id}"
    pages = ("", "/edit", "/menu", "/test", "/rotate", "/delete", "/deliveries", "/health", "/figures", "/chart")
    for path in (
        *pages,
        "/replays/new",
        f"/deliveries/{delivery.id}",
        f"/deliveries/{delivery.id}/body.json",
        f"/test/{delivery.id}",
    ):
        assert stranger.get(here + path).status_code == 404, path
    for path in ("/edit", "/state", "/secret", "/rotate", "/delete", "/test", "/replays"):
        form = FORM | {"url": "https://example.com", "state": "paused"}
        assert stranger.post(here + path, **form).status_code == 404, path
    assert stranger.post(f"/settings/notices/{notice.id}/dismiss").status_code == 404
    assert stranger.post(f"{HOOKS}/trial", endpoint=endpoint.id, url="https://example.com").status_code == 404
    assert "CRM" not in plain(stranger.get(HOOKS)).partition("Endpoints")[2].partition("Add your first")[0]


def test_a_delivery_is_found_under_its_own_webhook_alone(alice: Somebody, admin: Browser) -> None:
    one, other = (subscribe(alice.business, f"https://{name}.invalid/hook") for name in "ab")
    tell(alice.business, "Joe")
    delivery = db.session.scalar(select(Delivery).where(Delivery.endpoint_id == one.id))
    assert admin.get(f"{HOOKS}/{one.id}/deliveries/{delivery.id}").status_code == 200
    assert admin.get(f"{HOOKS}/{other.id}/deliveries/{delivery.id}").status_code == 404


# --- tests ---


@pytest.mark.parametrize(
    ("answer", "label", "hint"),
    [
        (status(200, b'{"success": true}'), "200 OK The receiver accepted it", '{"success": true}'),
        (status(302, location="https://example.com/login"), "302 Found", "https://example.com/login"),
        (status(401), "401 Unauthorized The receiver refused it", "Compare its secret"),
        (status(410), "410 Gone", "gone for good"),
        (status(429, retry_after="7"), "429 Too Many Requests", "slow down"),
        (status(500, b"Traceback"), "500 Internal Server Error The receiver failed", "Its log should say where."),
        (receivers.after(3, status(200)), "Time-out No answer in time", "within 1 seconds"),
        (receivers.reset, "Cut off", "may have crashed"),
    ],
    ids=["200", "302", "401", "410", "429", "500", "timeout", "reset"],
)
def test_a_test_tells_what_the_receiver_did(
    alice: Somebody,
    admin: Browser,
    receiver: Receiver,
    draining: None,
    answer: receivers.Answer,
    label: str,
    hint: str,
) -> None:
    receiver.will(answer)
    endpoint = subscribe(alice.business, receiver.url(), timeout=1)
    shown = plain(try_out(admin, f"{HOOKS}/{endpoint.id}/test", test_event="message.received"))
    assert label in shown
    assert hint in shown
    (got,) = receiver.on("/hook")
    assert got.event["event"] == got.headers["x-webhook-event"] == "message.received"
    assert got.event["data"]["test"] is True
    assert guide_signature(webhooks.secret(endpoint), int(got.headers["x-webhook-timestamp"]), got.body) in shown or (
        "Address" not in shown
    )
    (delivery,) = settled(endpoint)
    assert (delivery.reason, delivery.attempt_count) == ("test", 1)
    after = webhooks.get(alice.business, endpoint.id)
    assert (after.state, after.failing_since) == ("active", None)
    assert db.session.query(Notice).filter_by(subject_id=endpoint.id).count() == 0


@pytest.mark.parametrize(
    ("url", "label", "hint"),
    [
        ("http://127.0.0.1:1/hook", "Refused Nothing listens there", "Check the port"),
        ("http://10.255.255.1/hook", "Blocked We do not call this address", "WEBHOOK_ALLOWED_NETWORKS"),
        ("https://nowhere.invalid/hook", "DNS The host's name was not found", "Check the spelling"),
    ],
    ids=["refused", "blocked", "dns"],
)
def test_a_test_tells_why_nobody_was_reached(
    alice: Somebody, admin: Browser, draining: None, url: str, label: str, hint: str
) -> None:
    endpoint = subscribe(alice.business, url)
    shown = plain(try_out(admin, f"{HOOKS}/{endpoint.id}/test", test_event="webhook.test"))
    assert label in shown
    assert hint in shown


def test_a_certificate_that_nobody_vouches_for_is_named(
    alice: Somebody, admin: Browser, draining: None, tmp_path: Path
) -> None:
    with strangers.stranger(tls=strangers.certificate(tmp_path, "127.0.0.1")[0]) as server:
        endpoint = subscribe(alice.business, f"{server.url}/hook")
        shown = plain(try_out(admin, f"{HOOKS}/{endpoint.id}/test"))
    assert "TLS The secure connection failed" in shown
    assert "The certificate is not valid: self-signed certificate" in shown


def test_a_test_passes_a_pause_and_a_backlog(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    webhooks.pause(endpoint, "Paused.")
    tell(alice.business, *(f"P{i}" for i in range(30)))
    assert "200 OK" in plain(try_out(admin, f"{HOOKS}/{endpoint.id}/test"))
    time.sleep(0.5)
    assert [got.event["event"] for got in receiver.on("/hook")] == ["webhook.test"]
    admin.post(f"{HOOKS}/{endpoint.id}/state", state="active")
    assert len(receiver.wait(31)) == 31


def test_a_test_is_no_fact_of_the_log(alice: Somebody, admin: Browser, client: FlaskClient, receiver: Receiver) -> None:
    endpoint = subscribe(alice.business, receiver.url(), "message.received")
    admin.post(f"{HOOKS}/{endpoint.id}/test", test_event="message.received")
    assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id).count() == 1
    headers = {"x-api-key": alice.key}
    assert client.get("/functions/v1/api-events", headers=headers).json["events"] == []
    (shown,) = client.get("/functions/v1/api-events?type=webhook.test", headers=headers).json["events"]
    assert shown["data"]["test"] is True


def test_the_test_button_is_no_port_scanner(alice: Somebody, admin: Browser) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    answers = [admin.post(f"{HOOKS}/{endpoint.id}/test", hx=True).status_code for _ in range(25)]
    assert answers.count(200) >= 20
    assert answers[-1] == 422


@pytest.mark.parametrize("kind", events.TYPES)
def test_every_event_has_a_sample_that_survives_javascript(kind: str, in_app: Any) -> None:
    data = webhook_samples.data(kind, files=True)
    assert js_json.loads(js_json.dumps(data)) == data
    assert "customer_id" in data


# --- before it is saved ---


def test_a_test_goes_out_before_saving_and_into_the_log_when_saved(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    page = admin.get(f"{HOOKS}/new").text
    secret = html.unescape(re.findall(r'name="secret" value="([^"]+)"', page)[0])
    form = FORM | {"url": receiver.url(), "secret": secret, "header_name": ["X-Team"], "header_value": ["blue"]}
    assert "200 OK" in plain(try_out(admin, f"{HOOKS}/trial", **form, test_event="customer.created"))
    (got,) = receiver.on("/hook")
    assert got.headers["x-webhook-signature"] == guide_signature(
        secret, int(got.headers["x-webhook-timestamp"]), got.body
    )
    assert got.headers["x-team"] == "blue"
    assert webhooks.page(alice.business) == []
    tell(alice.business, "Nobody hears of this")
    answer = admin.post(HOOKS, **form)
    (endpoint,) = webhooks.page(alice.business)
    assert answer.headers["Location"] == f"{HOOKS}/{endpoint.id}"
    assert webhooks.secret(endpoint) == secret
    (delivery,) = settled(endpoint)
    assert delivery.reason == "test"
    assert db.session.query(WebhookEndpoint).filter_by(business_id=alice.business.id).count() == 1
    assert actions(alice) == ["webhook.tested", "webhook.created"]


def test_an_edited_address_is_tried_with_the_stored_secret(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook", headers={"X-Team": "blue"})
    form = {"endpoint": endpoint.id, "url": receiver.url()}
    assert "200 OK" in plain(try_out(admin, f"{HOOKS}/trial", **form))
    (got,) = receiver.on("/hook")
    expected = guide_signature(webhooks.secret(endpoint), int(got.headers["x-webhook-timestamp"]), got.body)
    assert (got.headers["x-webhook-signature"], got.headers["x-team"]) == (expected, "blue")
    assert webhooks.get(alice.business, endpoint.id).url == "https://crm.invalid/hook"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://10.0.0.8/hook", "10.0.0.8 is a private address. An operator can allow its network with WEBHOOK_"),
        ("https://[::ffff:169.254.169.254]/", "WEBHOOK_ALLOWED_NETWORKS"),
        ("http://crm.example.com/hook", "Use https:// for a public host"),
        ("https://user:pass@crm.example.com/", "must not hold a user name"),
        ("ftp://crm.example.com/", "must start with http:// or https://"),
        ("", "Enter the address"),
    ],
)
def test_an_address_that_we_would_not_call_is_refused_at_its_field(admin: Browser, url: str, why: str) -> None:
    answer = admin.post(HOOKS, **FORM | {"url": url, "secret": "whsec_" + "A" * 44})
    assert answer.status_code == 422
    assert why in plain(answer)
    assert re.search(r'name="url"[^>]*aria-invalid="true"', answer.text)
    trial = admin.post(f"{HOOKS}/trial", hx=True, url=url, secret="whsec_" + "A" * 44)
    assert trial.status_code == 422
    assert why in plain(trial)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"timeout": "31"}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"secret": "whsec_short"}, "secret"),
        ({"events": []}, "events"),
        ({"header_name": ["Host"], "header_value": ["x"]}, "headers"),
    ],
)
def test_nonsense_is_named_at_its_field_and_nothing_is_saved(
    alice: Somebody, admin: Browser, change: dict[str, Any], field: str
) -> None:
    answer = admin.post(HOOKS, **FORM | {"url": "https://crm.invalid", "secret": "whsec_" + "A" * 44} | change)
    assert answer.status_code == 422
    assert "Nothing was saved." in answer.text
    assert f'id="f-{field}-hint"' in answer.text or f'id="{field}-problem"' in answer.text
    assert webhooks.page(alice.business) == []


# --- one webhook ---


def test_a_header_keeps_its_value_unless_another_is_typed(alice: Somebody, admin: Browser) -> None:
    headers = {"Authorization": "Bearer 1", "X-Team": "blue"}
    endpoint = subscribe(alice.business, "https://crm.invalid/hook", headers=headers)
    page = admin.get(f"{HOOKS}/{endpoint.id}/edit").text
    assert "Authorization" in page
    assert "Bearer 1" not in page
    form = FORM | {"url": endpoint.url, "header_name": ["Authorization", "X-Team", "X-New"]}
    admin.post(f"{HOOKS}/{endpoint.id}/edit", **form, header_value=["", "red", "1"])
    kept = {"Authorization": "Bearer 1", "X-Team": "red", "X-New": "1"}
    assert webhooks.custom_headers(webhooks.get(alice.business, endpoint.id)) == kept
    entry = db.session.scalar(select(AuditEntry).where(AuditEntry.subject_id == str(endpoint.id)))
    assert entry.details["fields"] == ["events", "headers", "name"]


def test_the_secret_is_shown_to_admins_and_that_is_written_down(alice: Somebody, admin: Browser) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    here, secret = f"{HOOKS}/{endpoint.id}", webhooks.secret(endpoint)
    assert html.escape(secret) not in admin.get(here).text
    assert secret in html.unescape(admin.post(f"{here}/secret", hx=True).text)
    shown = html.unescape(admin.post(f"{here}/rotate", hx=True, hours="24").text)
    assert "whsec_" in shown
    assert secret not in shown
    assert "Rotating" in admin.get(here).text
    assert webhooks.signing_secrets(webhooks.get(alice.business, endpoint.id))[0] == secret
    admin.post(f"{here}/rotate", hx=True, hours="0")
    assert len(webhooks.signing_secrets(webhooks.get(alice.business, endpoint.id))) == 1
    assert actions(alice) == ["webhook.secret_revealed", "webhook.secret_rotated", "webhook.secret_rotated"]


def test_the_page_says_which_version_of_the_api_a_webhook_speaks(alice: Somebody, admin: Browser) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    endpoint.api_version = "2024-01-31"
    db.session.commit()
    assert "API version 2024-01-31" in plain(admin.get(f"{HOOKS}/{endpoint.id}"))


def test_it_goes_when_its_name_is_typed(alice: Somebody, admin: Browser) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    webhooks.warn(endpoint, "Trouble.")
    db.session.commit()
    answer = admin.post(f"{HOOKS}/{endpoint.id}/delete", name="another")
    assert answer.status_code == 422
    assert "Type CRM to confirm." in plain(answer)
    assert admin.post(f"{HOOKS}/{endpoint.id}/delete", name="CRM").headers["Location"] == HOOKS
    assert webhooks.page(alice.business) == []
    assert notices.unread(alice.business) == []
    assert actions(alice) == ["webhook.deleted"]


def test_the_programs_verify_the_delivery_with_its_own_numbers(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None, tmp_path: Path
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell_of(alice, "Zoë's “quotes” \\ and 😀")
    (got,) = receiver.wait(1)
    (delivery,) = settled(endpoint)
    page = admin.get(f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}").text
    shown = dict(re.findall(r'id="verify-(\w+)"[^>]*>(.*?)</pre>', page, flags=re.S))
    assert set(shown) == {"Node", "Python", "PHP"}
    known = {"Node": ["node", "-e"], "Python": [sys.executable, "-c"], "PHP": ["php", "-r"]}
    for name, command in known.items():
        if shutil.which(command[0]) is None:
            continue  # PHP is on few machines
        for secret, verdict in ((webhooks.secret(endpoint), "the signature is right"), ("whsec_other", "wrong")):
            done = subprocess.run(
                [*command, html.unescape(shown[name]).removeprefix("<?php")],
                env=os.environ | {"WEBHOOK_SECRET": secret},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip().endswith(verdict), (name, done.stdout)
    (tmp_path / "body.json").write_bytes(admin.get(f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}/body.json").data)
    signature, stamp = got.headers["x-webhook-signature"], got.headers["x-webhook-timestamp"]
    long = snippets.verify(stamp, signature, b"x" * 5000)
    env = os.environ | {"WEBHOOK_SECRET": webhooks.secret(endpoint)}
    for command in (["node", "-e", long["Node"]], [sys.executable, "-c", long["Python"]]):
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "the signature is right" in done.stdout


def test_the_curl_command_says_what_was_sent(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(alice.business, receiver.url(), headers={"X-Key": "hidden"})
    tell_of(alice, "O'Brien $HOME `id`")
    (first,) = receiver.wait(1)
    (delivery,) = settled(endpoint)
    page = admin.get(f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}").text
    command = html.unescape(re.findall(r'id="curl"[^>]*>(.*?)</pre>', page, flags=re.S)[0])
    assert "hidden" not in command
    subprocess.run(["sh", "-c", command.replace("curl ", "curl -s ", 1)], check=True, capture_output=True)
    again = receiver.wait(2)[1]
    assert again.body == first.body
    assert again.headers["x-webhook-signature"] == first.headers["x-webhook-signature"]


def test_each_attempt_says_where_it_went_though_the_address_has_changed_since(
    alice: Somebody, admin: Browser, client: FlaskClient, receiver: Receiver, draining: None
) -> None:
    receiver.will(status(500), path="/old")
    endpoint = subscribe(alice.business, receiver.url("/old"))
    tell_of(alice, "Joe")
    receiver.wait(1, path="/old")
    webhooks.change(endpoint, url=receiver.url("/new"))
    db.session.commit()
    (delivery,) = settled(endpoint)
    webhooks.change(endpoint, url="https://newest.invalid/hook")
    db.session.commit()
    old, new = receiver.url("/old"), receiver.url("/new")
    api = f"/functions/v1/api-webhook-deliveries?id={delivery.id}"
    assert [item["url"] for item in client.get(api, headers={"x-api-key": alice.key}).json["attempts"]] == [old, new]
    page = admin.get(f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}")
    assert html.unescape(re.findall(r'id="curl"[^>]*>(.*?)</pre>', page.text, flags=re.S)[0]).startswith(
        f"curl -X POST {new} "
    )
    assert f"POST {new} " in plain(page)
    assert [f"to {url}" in plain(page) for url in (old, new)] == [True, True]
    db.session.execute(text("UPDATE attempts SET url = NULL WHERE delivery_id = :id"), {"id": delivery.id})
    db.session.commit()  # as those are that were made before addresses were kept
    assert "POST https://newest.invalid/hook" in plain(admin.get(f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}"))


# --- replays ---


def test_what_failed_is_counted_replayed_and_its_progress_shown(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    receiver.will(status(400))
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, *(f"P{i}" for i in range(12)))
    failed = settled(endpoint, 12)
    here = f"{HOOKS}/{endpoint.id}"
    page = plain(admin.get(here))
    assert "Failing since" in page
    assert "12 deliveries failed, all: The receiver answered 400." in page
    assert "12 deliveries will be sent" in plain(admin.get(f"{here}/replays/new"))
    nothing = admin.get(f"{here}/replays/new?window=own&since=2020-01-01T00:00&until=2020-01-02T00:00")
    assert "There is nothing to send." in plain(nothing)
    backwards = admin.get(f"{here}/replays/new?window=own&since=2020-01-02T00:00&until=2020-01-01T00:00")
    assert backwards.status_code == 422
    receiver.will(status(200))
    admin.post(f"{here}/replays", delivery=[str(item.id) for item in failed[:2]])
    replays.step()
    db.session.commit()
    settled(endpoint, 14)
    page = plain(admin.get(here))
    assert "10 deliveries failed since" in page
    assert "It answers again since" in page
    assert "Replayed 2 of 2: 2 delivered" in page
    admin.post(f"{here}/replays", window="24", what="failed")
    replays.step()
    db.session.commit()
    settled(endpoint, 24)
    page = plain(admin.get(here))
    assert "deliveries failed since" not in page
    assert "Replayed 10 of 10: 10 delivered · Alice" in page
    assert len({got.headers["x-webhook-id"] for got in receiver.got}) == 12


def test_a_replay_that_is_stopped_takes_back_what_has_not_gone_out(
    alice: Somebody, admin: Browser, receiver: Receiver
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, *(f"P{i}" for i in range(5)))
    db.session.execute(
        text("UPDATE deliveries SET state = 'failed', attempt_count = 1, finished_at = now() WHERE endpoint_id = :id"),
        {"id": endpoint.id},
    )
    begun = replays.start(alice.business, endpoint, failed=True)
    replays.step()
    db.session.commit()
    here = f"{HOOKS}/{endpoint.id}"
    assert "Replaying 0 of 5" in plain(admin.get(here))
    admin.post(f"{here}/replays/{begun.id}/stop")
    assert "Replay stopped 0 of 5" in plain(admin.get(here))
    assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id, state="pending").count() == 0
    assert "5 deliveries will be sent" in plain(admin.get(f"{here}/replays/new"))


@pytest.mark.parametrize("form", [{}, {"delivery": "nonsense"}], ids=["nothing", "nonsense"])
def test_nothing_ticked_sends_nothing(
    alice: Somebody, admin: Browser, receiver: Receiver, form: dict[str, str]
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann")
    db.session.execute(text("UPDATE deliveries SET state = 'failed' WHERE endpoint_id = :id"), {"id": endpoint.id})
    db.session.commit()
    answer = admin.post(f"{HOOKS}/{endpoint.id}/replays", **form)
    assert answer.status_code == 422
    assert "Nothing is ticked." in plain(answer)
    assert "1 delivery will be sent" in plain(answer)  # once they say so
    assert replays.page(alice.business, endpoint) == []


def test_a_replay_is_stopped_under_its_own_webhook_alone(alice: Somebody, admin: Browser, receiver: Receiver) -> None:
    endpoint, other = subscribe(alice.business, receiver.url()), subscribe(alice.business, receiver.url())
    begun = replays.start(alice.business, endpoint)
    db.session.commit()
    assert admin.post(f"{HOOKS}/{other.id}/replays/{begun.id}/stop").status_code == 404
    assert begun.state == "running"
    assert actions(alice) == []


def test_the_bytes_of_an_erased_delivery_are_gone(alice: Somebody, admin: Browser, receiver: Receiver) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Ann")
    (delivery,) = db.session.scalars(select(Delivery).where(Delivery.endpoint_id == endpoint.id))
    delivery.event.body = events.ERASED
    db.session.commit()
    here = f"{HOOKS}/{endpoint.id}/deliveries/{delivery.id}"
    assert admin.get(f"{here}/body.json").status_code == 404
    assert "erased" in plain(admin.get(here))


def test_the_figures_of_a_day_and_a_week_come_apart_from_the_page_that_asks_every_few_seconds(
    alice: Somebody, admin: Browser, receiver: Receiver
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    here = f"{HOOKS}/{endpoint.id}"
    tell(alice.business, *(f"P{i}" for i in range(6)))
    ids = list(db.session.scalars(select(Delivery.id).where(Delivery.endpoint_id == endpoint.id).order_by(Delivery.id)))
    set_to = text("UPDATE deliveries SET state = :state, attempt_count = :n, finished_at = now() WHERE id = :id")
    log = text(
        "INSERT INTO attempts (business_id, delivery_id, number, part, started_at, duration_ms, request_headers,"
        " response_headers) VALUES (:business, :id, :n, 1, now(), :ms, '{}', '{}')"
    )
    past = [("delivered", 1, 100), ("delivered", 1, 200), ("delivered", 2, 300), ("failed", 4, 400)]
    for delivery_id, (state, tries, ms) in zip(ids, past, strict=False):
        db.session.execute(set_to, {"id": delivery_id, "state": state, "n": tries})
        db.session.execute(log, {"id": delivery_id, "business": alice.business.id, "n": tries, "ms": ms})
    for delivery_id, days in ((ids[0], 3), (ids[3], 8)):  # ids tell the time; one was in this week, one before it
        moved = {"id": delivery_id, "to": aged(delivery_id, days), "at": now() - timedelta(days=days)}
        db.session.execute(text("DELETE FROM attempts WHERE delivery_id = :id"), moved)
        db.session.execute(text("UPDATE deliveries SET id = :to, created_at = :at WHERE id = :id"), moved)
    db.session.commit()
    told = plain(admin.get(f"{here}/figures"))
    assert "Delivered, 24 h 2 of 4, 1 after a retry" in told
    assert "Success rate 100.0% 100.0% over 7 days" in told
    assert "p95 295 ms p50 250 ms" in told
    assert "Waiting now 2 oldest" in told
    page = admin.get(here).text
    assert "of 4, 1 after" not in page
    assert re.search(rf'hx-get="{here}/figures" hx-trigger="load"', page)
    assert re.search(rf'hx-get="{here}/chart" hx-trigger="load"', page)
    whole = plain(admin.get(f"{here}?range=7d"))  # as those get it who come without a script
    assert "of 4, 1 after a retry" in whole
    assert "The same as a table" in whole
    assert 'data-refresh="30"' in admin.get(f"{here}/figures").text
    assert "Waiting" not in plain(admin.get(f"{here}/health"))
    live = plain(admin.get(f"{HOOKS}/live"))
    assert "2 oldest" in live


def test_it_answers_again_when_what_was_kept_from_before_arrives_though_nothing_new_does(
    alice: Somebody, receiver: Receiver
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Kept")
    (kept,) = db.session.scalars(select(Delivery.id).where(Delivery.endpoint_id == endpoint.id))
    failed_at, arrived_at = now() - timedelta(minutes=10), now() - timedelta(minutes=5)
    db.session.execute(
        text("UPDATE deliveries SET id = :to, state = 'delivered', finished_at = :at WHERE id = :id"),
        {"id": kept, "to": aged(kept, 1 / 24), "at": arrived_at},
    )
    db.session.commit()
    assert delivery_log.answered_after(alice.business, endpoint, failed_at) == arrived_at
    assert delivery_log.answered_after(alice.business, endpoint, arrived_at) is None


def test_the_log_is_filtered_by_state_event_and_id(alice: Somebody, admin: Browser, receiver: Receiver) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    tell(alice.business, "Joe", "Ann")
    first = db.session.scalars(
        select(Delivery).where(Delivery.endpoint_id == endpoint.id).order_by(Delivery.id)
    ).first()
    log = f"{HOOKS}/{endpoint.id}/deliveries"

    def rows(query: str) -> int:
        return admin.get(f"{log}?{query}", headers={"HX-Request": "true"}).text.count("data-row")

    assert rows("") == 2
    assert rows("state=failed") == 0
    assert rows("state=retrying") == 0
    assert rows("event=customer.updated") == 0
    assert rows(f"about={first.event.id}") == 1
    assert rows(f"about={first.id}") == 1
    assert rows("about=nonsense") == 0
    assert rows("hours=1&event=customer.created&state=pending") == 2


# --- CRM Integration ---


def test_the_guides_four_steps_make_one_webhook(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    page = admin.get(CRM).text
    assert "Not set up yet" in page
    secret = html.unescape(re.findall(r'name="secret" value="([^"]+)"', page)[0])
    form = {"url": receiver.url(), "secret": secret, "enabled": "on"}
    assert "200 OK" in plain(try_out(admin, f"{HOOKS}/trial", **form))
    told = {"crm_name": "Salesforce", "crm_record_url": "https://acme.example/{external_id}"}
    origins = "https://acme.example\nhttps://*.Force.com/"
    assert admin.post(CRM, **form, **told, embed_origins=origins).headers["Location"] == CRM
    endpoint = webhooks.of_crm(alice.business)
    assert (endpoint.url, endpoint.events, endpoint.state) == (receiver.url(), ["message.received"], "active")
    assert webhooks.secret(endpoint) == secret
    assert alice.business.embed_origins == ["https://acme.example", "https://*.force.com"]
    shown = plain(admin.get(CRM))
    assert "Alice's key" in shown
    assert "Test passed" in shown
    assert "0 linked of 0" in shown
    assert "https://acme.example/CRM-12345" in shown
    assert set(actions(alice)) == {"webhook.tested", "business.changed", "webhook.created"}


def test_the_switch_turns_forwarding_off_and_on(alice: Somebody, admin: Browser) -> None:
    form = {"url": "https://crm.invalid/hook", "secret": "whsec_" + "A" * 44}
    admin.post(CRM, **form)
    endpoint = webhooks.of_crm(alice.business)
    assert endpoint.state == "disabled"
    assert notices.unread(alice.business) == []
    tell(alice.business, "Joe")
    assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id).count() == 0
    admin.post(CRM, **form, enabled="on")
    assert webhooks.of_crm(alice.business).state == "active"
    webhooks.pause(webhooks.of_crm(alice.business), "Paused after failing for a day.")
    db.session.commit()
    admin.post(CRM, **form, enabled="on")
    assert webhooks.of_crm(alice.business).state == "paused"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://192.168.1.5/"}, "f-url"),
        ({"url": "", "enabled": "on"}, "f-url"),
        ({"crm_record_url": "javascript:alert(1)//{external_id}"}, "f-crm_record_url"),
        ({"crm_record_url": "https://crm.example.com/"}, "f-crm_record_url"),
        ({"embed_origins": "https://ok.example https://no.example/path"}, "f-embed_origins"),
    ],
)
def test_nothing_of_the_form_is_saved_when_a_part_is_wrong(
    alice: Somebody, admin: Browser, change: dict[str, str], field: str
) -> None:
    form = {"url": "https://crm.example.com/", "secret": "whsec_" + "A" * 44, "crm_name": "HubSpot"}
    answer = admin.post(CRM, **form | change)
    assert answer.status_code == 422
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text)
    db.session.refresh(alice.business)
    assert alice.business.crm_name == ""
    assert webhooks.of_crm(alice.business) is None


def test_the_business_has_a_name_a_region_and_a_time_zone(alice: Somebody, admin: Browser) -> None:
    assert admin.post("/settings/business", name="Acme", default_region="XX", timezone="UTC").status_code == 422
    answer = admin.post("/settings/business", name="Acme Ltd", default_region="DE", timezone="Europe/Berlin")
    assert answer.status_code == 303
    db.session.refresh(alice.business)
    assert (alice.business.name, alice.business.default_region) == ("Acme Ltd", "DE")
    assert actions(alice) == ["business.changed"]


# --- notices ---


def test_admins_see_a_notice_until_it_is_dismissed_or_mended(
    alice: Somebody, bob: Somebody, admin: Browser, client: FlaskClient, app: Any
) -> None:
    endpoint = subscribe(alice.business, "https://crm.invalid/hook")
    webhooks.pause(endpoint, "Paused after failing for a day.")
    webhooks.warn(endpoint, "Paused after failing for a day.")
    webhooks.warn(endpoint, "Another.")
    db.session.commit()
    page = admin.get("/inbox/mine")
    assert "Webhook CRM: Another." in plain(page)
    assert f'href="{HOOKS}/{endpoint.id}"' in page.text
    newest = notices.unread(alice.business)[0]
    assert admin.post(f"/settings/notices/{newest.id}/dismiss", back="//evil.example").headers["Location"] == (
        "/inbox/mine"
    )
    assert "Webhook CRM: Paused after" in plain(admin.get("/settings/webhooks"))
    assert "Webhook CRM" not in plain(Browser(app.test_client(), bob).get("/inbox/mine"))
    admin.post(f"{HOOKS}/{endpoint.id}/state", state="active")
    assert "Webhook CRM:" not in plain(admin.get("/settings/webhooks"))


def test_a_rotation_ends_when_a_test_is_accepted_with_the_new_secret(
    alice: Somebody, admin: Browser, receiver: Receiver, draining: None
) -> None:
    endpoint = subscribe(alice.business, receiver.url())
    admin.post(f"{HOOKS}/{endpoint.id}/rotate", hx=True, hours="24")
    receiver.will(status(401), status(200))
    assert "200 OK" in plain(try_out(admin, f"{HOOKS}/{endpoint.id}/test"))
    (delivery,) = settled(endpoint)
    assert [(item.number, item.part, item.status) for item in attempts(delivery)] == [(1, 1, 401), (1, 2, 200)]
    assert "Your receiver accepts the new secret" in plain(admin.get(f"{HOOKS}/{endpoint.id}"))
    assert webhooks.get(alice.business, endpoint.id).rotation_ends_at > now()
