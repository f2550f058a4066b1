"""Channel accounts that a provider refuses: held once, for as long as it lasts, and nothing that waits is lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import current_app
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

import jobs
import worker
from channels import endpoints
from channels.base import ChannelError, Inbound, Media, Person, Receipt
from lib.ids import uuid7
from models import Attachment, Business, ChannelAccount, Conversation, Message, Notice, ProviderId, db, now
from services import account_checks, arrivals, channel_accounts, customers, inbound, incoming_files, messages, receipts
from services.messages import Sender
from tests.channels import kinds
from tests.factories import received

_numbers = itertools.count(1_000_000)
AOIFE = "+353871234567"
TWILIO = f"/2010-04-01/Accounts/{kinds.PROVIDERS['sms'].config['account_sid']}"


@pytest.fixture
def provider(acme: Business, httpserver: HTTPServer) -> Iterator[HTTPServer]:
    """Stand in for every provider."""
    before, url = endpoints.current(), f"http://127.0.0.1:{httpserver.port}"
    endpoints.configure(endpoints.Endpoints(meta_graph_url=url, instagram_graph_url=url, twilio_api_url=url))
    yield httpserver
    endpoints.configure(before)


class Twilio:
    """Twilio as far as one account sees it."""

    def __init__(self, server: HTTPServer) -> None:
        self.knows_us, self.knows_the_sender = True, True
        self.asked: list[str] = []  # the texts that it was asked to send
        server.expect_request(f"{TWILIO}.json").respond_with_handler(self._account)
        server.expect_request(f"{TWILIO}/Messages.json", method="POST").respond_with_handler(self._send)

    def _account(self, _: Request) -> Response:
        return answered(status="active", friendly_name="Acme") if self.knows_us else answered(401, code=20003)

    def _send(self, request: Request) -> Response:
        self.asked.append(request.form["Body"])
        if not self.knows_us:
            return answered(401, code=20003)
        return answered(201, sid=f"SM{uuid7().hex}") if self.knows_the_sender else answered(400, code=21606)


def answered(http_status: int = 200, **body: Any) -> Response:
    return Response(json.dumps(body), http_status, content_type="application/json")


@pytest.fixture
def twilio(provider: HTTPServer) -> Twilio:
    return Twilio(provider)


@pytest.fixture
def line(acme: Business) -> ChannelAccount:
    """A number to which a customer has written."""
    account = channel_accounts.connect(acme, "sms", "Texts", dict(kinds.PROVIDERS["sms"].config))
    person = Person(AOIFE, phone=AOIFE)
    arrivals.receive(acme, account, Inbound("SM1", account.account_key, person, now(), "Is it open?"))
    db.session.commit()
    return account


def write(business: Business, account: ChannelAccount, *texts: str) -> list[Message]:
    """Queue answers, each to a customer of its own who wrote: in one conversation the first would hold the others."""
    made = []
    for text in texts:
        number = f"+35387{next(_numbers):07}"
        item = Inbound(f"SM{number}", account.account_key, Person(number, phone=number), now(), "Is it open?")
        asked = arrivals.receive(business, account, item)
        db.session.commit()
        assert asked is not None
        conversation = db.session.get_one(Conversation, (business.id, asked.conversation_id))
        customer = customers.get(business, id=str(asked.customer_id))
        by = Sender("user", None, "Bob")
        made.append(
            messages.send(business, customer, channel=account.kind, sender=by, content=text, conversation=conversation)
        )
        db.session.commit()
    return made


def deliver_due(account: ChannelAccount) -> None:
    """Let the worker do all that is due."""
    due = db.session.query(Message).filter_by(account_id=account.id).filter(Message.next_attempt_at <= now())
    for message_id in [message.id for message in due.order_by(Message.created_at)]:
        worker.deliver_message(str(account.business_id), str(message_id))


def time_passes(account: ChannelAccount) -> None:
    """Let the time come when waiting messages look again, and when one may try."""
    db.session.query(Message).filter_by(account_id=account.id, status="queued").update({"next_attempt_at": now()})
    if doubt := account.config.get("hold"):
        channel_accounts.keep_doubt(account, doubt | {"next": now().isoformat()})
    db.session.commit()


def greet(account: ChannelAccount) -> None:
    worker.greet_account(str(account.business_id), str(account.id))


def notices(account: ChannelAccount) -> list[Notice]:
    return db.session.query(Notice).filter_by(subject_id=account.id).order_by(Notice.id).all()


def state(account: ChannelAccount) -> str:
    db.session.expire_all()
    return account.state


def refuse_texts(business: Business, account: ChannelAccount, twilio: Twilio, *texts: str) -> list[Message]:
    """Let the first of these texts find that the sender is refused, so that all wait."""
    twilio.knows_the_sender = False
    first, *others = texts
    made = write(business, account, first)
    deliver_due(account)
    assert state(account) == "attention"
    return made + write(business, account, *others)


class TestCredentials:
    def test_a_hold_stays_until_they_work_again_and_is_told_once(
        self, acme: Business, line: ChannelAccount, twilio: Twilio
    ) -> None:
        twilio.knows_us = False
        (message,) = write(acme, line, "It is.")
        deliver_due(line)
        for _ in range(3):
            greet(line)
            time_passes(line)
            deliver_due(line)
        assert (state(line), twilio.asked) == ("attention", ["It is."])
        (notice,) = notices(line)
        assert notice.dismissed_at is None
        twilio.knows_us = True
        greet(line)
        assert state(line) == "connected"
        assert notice.dismissed_at
        assert message.next_attempt_at <= now(), "what waited goes at once"
        deliver_due(line)
        assert (message.status, len(notices(line))) == ("sent", 1)

    def test_the_daily_look_finds_that_they_do_not_work_any_more(self, line: ChannelAccount, twilio: Twilio) -> None:
        twilio.knows_us = False
        greet(line)
        assert state(line) == "attention"
        assert "enter them anew" in notices(line)[0].text


class TestWhatCredentialsDoNotExplain:
    def test_one_text_tries_after_a_growing_time_while_the_others_wait(
        self, acme: Business, line: ChannelAccount, twilio: Twilio
    ) -> None:
        refuse_texts(acme, line, twilio, "one", "two", "three")
        waits = []
        for tried in range(1, 6):
            greet(line)
            deliver_due(line)
            assert len(twilio.asked) == tried, "not before its time"
            time_passes(line)
            greet(line)
            deliver_due(line)
            assert (state(line), len(twilio.asked)) == ("attention", tried + 1)
            wait = datetime.fromisoformat(line.config["hold"]["next"]) - now()
            waits.append(round(wait / timedelta(minutes=1)))
        assert waits == [10, 20, 40, 60, 60]
        assert set(twilio.asked) == {"one", "two", "three"}, "none stands for all"
        assert [notice.dismissed_at for notice in notices(line)] == [None]

    def test_once_one_went_the_others_follow_and_the_notice_is_taken_back(
        self, acme: Business, line: ChannelAccount, twilio: Twilio
    ) -> None:
        written = refuse_texts(acme, line, twilio, "one", "two", "three")
        twilio.knows_the_sender = True
        time_passes(line)
        greet(line)
        for _ in range(2):
            deliver_due(line)
        assert state(line) == "connected"
        assert {message.status for message in written} == {"sent"}
        assert [bool(notice.dismissed_at) for notice in notices(line)] == [True]

    def test_with_nothing_to_try_it_waits_for_the_next_message(
        self, acme: Business, line: ChannelAccount, twilio: Twilio
    ) -> None:
        (message,) = refuse_texts(acme, line, twilio, "one")
        receipts.fail(message, None, "Given up.")
        twilio.knows_the_sender = True
        time_passes(line)
        greet(line)
        assert state(line) == "attention"
        write(acme, line, "two")
        greet(line)
        deliver_due(line)
        assert state(line) == "connected"

    @pytest.mark.parametrize("status", ["delivered", "failed"])
    def test_what_only_a_receipt_refuses_is_over_when_a_receipt_says_so(
        self, acme: Business, line: ChannelAccount, twilio: Twilio, status: Any
    ) -> None:
        def told(message: Message, status: Any) -> None:
            sid = db.session.query(ProviderId.value).filter_by(message_id=message.id).scalar()
            why = {"action": "account", "error_code": "30034", "error": "Not registered."} if status == "failed" else {}
            receipts.apply(line, Receipt(line.account_key, status, now(), provider_id=sid, **why))
            db.session.commit()

        (first,) = write(acme, line, "one")
        deliver_due(line)
        told(first, "failed")
        assert state(line) == "attention"
        second, third = write(acme, line, "two", "three")
        time_passes(line)
        greet(line)
        deliver_due(line)
        greet(line)
        assert (state(line), twilio.asked) == ("attention", ["one", "two"]), "that it was taken proves nothing"
        told(second, status)
        greet(line)
        assert state(line) == ("connected" if status == "delivered" else "attention")
        assert (third.next_attempt_at <= now(), len(notices(line))) == (status == "delivered", 1)

    def test_an_admin_who_checks_lets_one_try_at_once(
        self, acme: Business, line: ChannelAccount, twilio: Twilio
    ) -> None:
        refuse_texts(acme, line, twilio, "one", "two")
        worker.check_account(str(acme.id), str(line.id))
        found = account_checks.look(line.id, "check")
        deliver_due(line)
        assert found
        assert (found["state"], state(line), len(twilio.asked)) == ("ok", "attention", 2)

    @pytest.mark.parametrize("change", [{"paused": False}, {"config": {"from_number": "+353862222222"}}])
    def test_an_admin_ends_it_by_trying_again_or_by_other_settings(
        self, acme: Business, line: ChannelAccount, twilio: Twilio, change: dict[str, Any]
    ) -> None:
        written = refuse_texts(acme, line, twilio, "one", "two")
        assert "hold" not in channel_accounts.shows(line)["config"]
        assert "hold" not in channel_accounts.to_channel(line).config
        channel_accounts.change(acme, line, **change)
        db.session.commit()
        assert (state(line), "hold" in line.config) == ("connected", False)
        assert all(message.next_attempt_at <= now() for message in written)
        assert notices(line)[0].dismissed_at

    def test_a_notice_of_something_else_stays(self, acme: Business, line: ChannelAccount, twilio: Twilio) -> None:
        other = Notice(business_id=acme.id, kind="channel", subject_id=line.id, text="The token ends on 3 May.")
        db.session.add(other)
        refuse_texts(acme, line, twilio, "one")
        channel_accounts.release(line)
        db.session.commit()
        assert [notice.text for notice in notices(line) if not notice.dismissed_at] == [other.text]


# --- customers' files ---


class Meta:
    """WhatsApp as far as one account sees it: its token may have expired."""

    def __init__(self, server: HTTPServer) -> None:
        self.server, self.expired, self.looks = server, True, 0
        for path in ("/v26.0/5550001", "/v26.0/9001/subscribed_apps", "/v26.0/9001/message_templates"):
            server.expect_request(path).respond_with_handler(lambda _: self._answer(success=True, data=[]))
        server.expect_request("/v26.0/7001").respond_with_handler(self._media)
        server.expect_request("/file").respond_with_data(b"%PDF-1.4", content_type="application/pdf")

    def _answer(self, **body: Any) -> Response:
        return answered(401, error={"code": 190, "message": "Expired"}) if self.expired else answered(**body)

    def _media(self, _: Request) -> Response:
        self.looks += 1
        return self._answer(url=f"http://127.0.0.1:{self.server.port}/file", mime_type="application/pdf", id="7001")


@pytest.fixture
def meta(provider: HTTPServer) -> Meta:
    return Meta(provider)


@pytest.fixture
def shop(acme: Business) -> ChannelAccount:
    account = channel_accounts.connect(acme, "whatsapp", "Shop", dict(kinds.PROVIDERS["whatsapp"].config))
    db.session.commit()
    return account


@pytest.fixture
def file(acme: Business, shop: ChannelAccount) -> Attachment:
    """A file that a customer sent."""
    sent = Media("application/pdf", "receipt.pdf", provider_id="7001")
    message = received(acme, shop, "My receipt", media=[sent])
    return message.attachments[0]


def fetch(file: Attachment, *, after: timedelta = timedelta()) -> None:
    """Let the worker look for a file, after a time."""
    if after:
        file.next_attempt_at, file.created_at = now(), file.created_at - after
        db.session.commit()
    worker.fetch_attachment(str(file.business_id), str(file.id))
    db.session.expire_all()


def waits(file: Attachment) -> float:
    assert file.next_attempt_at
    return (file.next_attempt_at - now()).total_seconds()


class TestFiles:
    def test_a_file_outlives_an_expired_token_and_comes_with_the_new_one(
        self, acme: Business, shop: ChannelAccount, meta: Meta, file: Attachment
    ) -> None:
        fetch(file)
        assert (state(shop), file.state, len(notices(shop))) == ("attention", "pending", 1)
        for _ in range(20):
            assert 3500 < waits(file) <= 3600
            fetch(file, after=timedelta(hours=1))
        assert (meta.looks, file.state, len(notices(shop))) == (21, "pending", 1)
        meta.expired = False
        channel_accounts.change(acme, shop, config={"access_token": "EAAG-new"})
        db.session.commit()
        assert waits(file) <= 0
        fetch(file)
        assert (file.state, file.error, state(shop)) == ("ready", None, "connected")

    def test_a_check_that_goes_well_hurries_files_too(self, shop: ChannelAccount, meta: Meta, file: Attachment) -> None:
        fetch(file)
        meta.expired = False
        greet(shop)
        assert state(shop) == "connected"
        assert waits(file) <= 0

    def test_a_file_that_is_being_fetched_is_not_hurried(self, shop: ChannelAccount, file: Attachment) -> None:
        assert incoming_files.prepare(file.business_id, file.id)
        db.session.commit()
        channel_accounts.hurry(shop)
        db.session.commit()
        db.session.expire_all()
        assert waits(file) > 200

    def test_files_of_another_account_are_not_hurried(
        self, acme: Business, shop: ChannelAccount, meta: Meta, file: Attachment
    ) -> None:
        config = kinds.PROVIDERS["whatsapp"].config | {"phone_number_id": "5550002"}
        other = channel_accounts.connect(acme, "whatsapp", "Other", config)
        fetch(file)
        channel_accounts.hurry(other)
        db.session.commit()
        db.session.expire_all()
        assert waits(file) > 3500

    @pytest.mark.parametrize("action", ["account", "retry"])
    def test_looks_end_when_the_provider_has_it_no_more(
        self, shop: ChannelAccount, file: Attachment, action: Any
    ) -> None:
        refused = ChannelError("Not now.", action=action)
        for days, expected in ((6, "pending"), (7, "failed")):
            file.attempts, file.created_at = 20, now() - timedelta(days=days)
            incoming_files.record(file.business_id, file.id, refused)
            db.session.commit()
            assert (file.state, bool(file.next_attempt_at)) == (expected, expected == "pending")

    def test_what_refuses_files_alone_holds_the_account_once(
        self, shop: ChannelAccount, meta: Meta, file: Attachment
    ) -> None:
        refused = ChannelError("The access token lacks a permission.", action="account")
        meta.expired = False
        states = []
        for _ in range(3):
            incoming_files.record(file.business_id, file.id, refused)
            db.session.commit()
            states.append(state(shop))
            greet(shop)
        assert (states, len(notices(shop))) == (["attention", "connected", "connected"], 1)

    def test_a_file_of_a_disconnected_account_is_given_up(self, shop: ChannelAccount, file: Attachment) -> None:
        channel_accounts.disconnect(shop)
        db.session.commit()
        fetch(file)
        assert (file.state, file.next_attempt_at) == ("failed", None)
        assert "disconnected" in str(file.error)


# --- templates ---


def greeted() -> set[UUID]:
    """Whom the queue is to greet; it is empty then."""
    jobs.flush()
    queue = current_app.extensions["queues"]["slow"]
    asked = {UUID(job.args[1]) for job in queue.jobs if job.func_name == "worker.greet_account"}
    queue.empty()
    return asked


@pytest.mark.parametrize(
    "field", ["message_template_status_update", "message_template_components_update", "template_category_update"]
)
def test_news_of_a_template_have_those_of_each_number_of_its_business_account_read_anew(
    acme: Business, shop: ChannelAccount, field: str
) -> None:
    config = kinds.PROVIDERS["whatsapp"].config
    second = channel_accounts.connect(acme, "whatsapp", "Second", config | {"phone_number_id": "5550002"})
    ids = {"phone_number_id": "5550003", "business_account_id": "9003"}
    channel_accounts.connect(acme, "whatsapp", "Elsewhere", config | ids)
    db.session.commit()
    greeted()
    value = {"event": "APPROVED", "message_template_id": 1, "message_template_name": "order_update"}
    change = {"field": field, "value": value}
    body = kinds.as_meta_writes({"object": "whatsapp_business_account", "entry": [{"id": "9001", "changes": [change]}]})
    inbound.accept("whatsapp", shop.id, kinds.callback("whatsapp", body))
    worker.apply_due()
    assert greeted() == {shop.id, second.id}
