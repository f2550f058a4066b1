"""Callbacks between the edge and what they say: kept once, applied in their order, none holding another back."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, current_app
from structlog.testing import capture_logs

import jobs
import worker
from channels import whatsapp
from channels.base import Callback
from errors import Forbidden, NotFound
from models import Business, ChannelAccount, Message, db, write_at_once
from services import arrivals, channel_accounts, inbound
from tests.channels import kinds

SECRET = "app-secret-123"
_numbers = itertools.count()


@pytest.fixture
def account(acme: Business) -> ChannelAccount:
    """Connect an account, with nothing of other tests left to apply."""
    db.session.query(inbound.StoredCallback).delete()
    given = dict(kinds.PROVIDERS["whatsapp"].config)
    made = channel_accounts.connect(acme, "whatsapp", "Acme", given)
    db.session.commit()
    return made


def said(*texts: str, secret: str = SECRET, to: str = "5550001") -> Callback:
    """Write a callback with one message for each text, to a phone number id."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "35316000000", "phone_number_id": to},
        "contacts": [{"profile": {"name": "Aoife"}, "wa_id": "353871234567"}],
        "messages": [
            {"from": "353871234567", "id": f"wamid.{next(_numbers)}", "timestamp": "1764000000", "type": "text"}
            | {"text": {"body": text}}
            for text in texts
        ],
    }
    change = {"value": value, "field": "messages"}
    body = kinds.as_meta_writes({"object": "whatsapp_business_account", "entry": [{"id": "9001", "changes": [change]}]})
    return kinds.callback("whatsapp", body, headers=kinds.as_meta_signs(secret)(body))


def comes(account: ChannelAccount, *texts: str) -> None:
    inbound.accept("whatsapp", account.id, said(*texts))


def kept(account: ChannelAccount) -> list[Any]:
    return db.session.query(inbound.StoredCallback).filter_by(account_id=account.id).order_by("id").all()


def shown(account: ChannelAccount) -> list[str]:
    rows = db.session.query(Message.content).filter_by(account_id=account.id).order_by(Message.created_at)
    return [content for (content,) in rows]


def later(account: ChannelAccount) -> None:
    """Let the time pass until what failed is due again."""
    db.session.query(inbound.StoredCallback).filter_by(account_id=account.id).update({"next_attempt_at": db.func.now()})
    db.session.commit()


def test_what_comes_is_applied_in_its_order_and_once(account: ChannelAccount) -> None:
    for number in range(3):
        comes(account, f"{number}, first", f"{number}, second")
    assert worker.apply_due() == 3
    assert shown(account) == [f"{number}, {place}" for number in range(3) for place in ("first", "second")]
    assert all(stored.processed_at and stored.error is None for stored in kept(account))
    assert worker.apply_due() == 0


def test_a_callback_is_kept_before_it_is_answered_and_a_forged_one_is_not(account: ChannelAccount) -> None:
    callback = said("Hello")
    inbound.accept("whatsapp", account.id, callback)
    db.session.rollback()
    assert [stored.body for stored in kept(account)] == [callback.body]
    with pytest.raises(Forbidden):
        inbound.accept("whatsapp", account.id, said("Forged", secret="another"))
    assert len(kept(account)) == 1


def test_a_new_secret_holds_for_the_next_callback(acme: Business, account: ChannelAccount) -> None:
    comes(account, "Hello")
    channel_accounts.change(acme, account, config={"app_secret": "changed"})
    db.session.commit()
    with pytest.raises(Forbidden):
        comes(account, "Signed as before")
    inbound.accept("whatsapp", account.id, said("Signed anew", secret="changed"))
    assert len(kept(account)) == 2


def test_a_statement_that_is_said_twice_keeps_one_callback(account: ChannelAccount) -> None:
    row = inbound._row(account, said("Hello"), {}) | {"headers": "{}"}
    for _ in range(2):
        write_at_once(inbound._KEEP, row)
    assert len(kept(account)) == 1


def test_a_bad_item_keeps_none_of_its_siblings_back_and_is_tried_again(
    account: ChannelAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes(account, "before", "bad", "after")
    real = arrivals.receive

    def receive(business: Business, account: ChannelAccount, item: Any, callback_id: UUID) -> Any:
        if item.text == "bad":
            raise RuntimeError("our own mistake")
        return real(business, account, item, callback_id)

    monkeypatch.setattr(arrivals, "receive", receive)
    assert worker.apply_due() == 1
    assert shown(account) == ["before", "after"]
    (stored,) = kept(account)
    assert (stored.processed_at, stored.attempts, stored.error) == (None, 1, "RuntimeError: our own mistake")
    assert worker.apply_due() == 0, "not before its time"
    monkeypatch.setattr(arrivals, "receive", real)
    later(account)
    assert worker.apply_due() == 1
    assert shown(account) == ["before", "after", "bad"]
    db.session.expire_all()
    assert kept(account)[0].processed_at


def test_a_callback_that_cannot_be_read_keeps_none_behind_it_back_and_is_given_up_in_the_end(
    account: ChannelAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes(account, "unreadable")
    comes(account, "behind it")
    real = whatsapp.WhatsApp.parse

    def parse(channel: whatsapp.WhatsApp, callback: Callback) -> Any:
        if b"unreadable" in callback.body:
            raise RuntimeError("a parser's mistake")
        return real(channel, callback)

    monkeypatch.setattr(whatsapp.WhatsApp, "parse", parse)
    assert worker.apply_due() == 2
    assert shown(account) == ["behind it"]
    for _ in range(1, inbound.MAX_ATTEMPTS):
        assert kept(account)[0].processed_at is None
        later(account)
        worker.apply_due()
        db.session.expire_all()
    stored = kept(account)[0]
    assert stored.processed_at
    assert (stored.attempts, stored.error) == (inbound.MAX_ATTEMPTS, "RuntimeError: a parser's mistake")


def test_two_workers_never_take_the_same(app: Flask, account: ChannelAccount) -> None:
    for number in range(40):
        comes(account, str(number))

    def claim(_: int) -> list[UUID]:
        with app.app_context():
            taken = [row.id for row in inbound.claim()]
            db.session.commit()
            return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [callback_id for batch in pool.map(claim, range(4)) for callback_id in batch]
    assert sorted(taken) == sorted(stored.id for stored in kept(account))


def test_the_bell_is_one_wake_up_for_many(account: ChannelAccount) -> None:
    redis = current_app.extensions["redis"]
    redis.delete(f"bell:{inbound.BELL}")
    for number in range(5):
        comes(account, str(number))
    jobs.flush()
    assert redis.llen(f"bell:{inbound.BELL}") == 1
    worker.apply_due()


# --- one app with one address, and several numbers ---


def sibling(business: Business, key: str, **config: str) -> ChannelAccount:
    """Connect another number, of the same app unless told otherwise."""
    given = kinds.PROVIDERS["whatsapp"].config | {"phone_number_id": key} | config
    made = channel_accounts.connect(business, "whatsapp", f"Number {key}", given)
    db.session.commit()
    return made


def gone(account: ChannelAccount) -> UUID:
    """Disconnect an account; give the id in its address."""
    channel_accounts.disconnect(account)
    db.session.commit()
    return account.id


def shakes(account_id: UUID, token: str = "verify-me") -> int:
    query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "42"}
    return inbound.handshake("whatsapp", account_id, Callback("GET", kinds.URL, {}, query, b"")).status


class TestADisconnectedAccount:
    def test_its_address_still_serves_the_others_of_its_app(self, acme: Business, account: ChannelAccount) -> None:
        sibling(acme, "5550003", app_secret="of-another-app", verify_token="of-another-app")
        second = sibling(acme, "5550002")
        address = gone(account)
        assert inbound.accept("whatsapp", address, said("Hello", to="5550002")).status == 200
        assert shakes(address) == 200
        worker.apply_due()
        assert (len(kept(second)), shown(second), kept(account)) == (1, ["Hello"], [])

    def test_what_is_for_itself_is_taken_well_but_shown_to_nobody(
        self, acme: Business, account: ChannelAccount
    ) -> None:
        second = sibling(acme, "5550002")
        address = gone(account)
        assert inbound.accept("whatsapp", address, said("Too late")).status == 200
        worker.apply_due()
        assert (shown(account), shown(second)) == ([], [])
        assert kept(second)[0].processed_at

    def test_who_has_none_of_their_secrets_is_refused(self, acme: Business, account: ChannelAccount) -> None:
        second = sibling(acme, "5550002")
        address = gone(account)
        with pytest.raises(Forbidden):
            inbound.accept("whatsapp", address, said("Forged", secret="another", to="5550002"))
        assert (shakes(address, "guessed"), kept(second)) == (403, [])

    def test_with_none_left_its_address_is_unknown(
        self, acme: Business, globex: Business, account: ChannelAccount
    ) -> None:
        sibling(globex, "5550002")  # the same app, but somebody else's
        kind_of_its_own = kinds.PROVIDERS["facebook"].config
        channel_accounts.connect(acme, "facebook", "Page", dict(kind_of_its_own))
        address = gone(account)
        for call in (lambda: inbound.accept("whatsapp", address, said("Hello")), lambda: shakes(address)):
            with pytest.raises(NotFound):
                call()

    def test_a_connected_account_answers_alone_and_is_found_by_one_statement(
        self, acme: Business, account: ChannelAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sibling(acme, "5550002", app_secret="of-another-app")
        asked: list[str] = []
        real = channel_accounts.read

        def read(query: str, params: Any) -> Any:
            asked.append(query)
            return real(query, params)

        monkeypatch.setattr(channel_accounts, "read", read)
        comes(account, "Hello")
        assert len(asked) == 1
        with pytest.raises(Forbidden):
            inbound.accept("whatsapp", account.id, said("Signed for the other", secret="of-another-app"))


def test_what_is_for_a_number_that_is_not_connected_is_logged_and_told_where_an_admin_looks(
    account: ChannelAccount,
) -> None:
    inbound.accept("whatsapp", account.id, said("Hello", "Anybody?", to="5559999"))
    with capture_logs() as logs:
        worker.apply_due()
    (stored,) = kept(account)
    told = {"callback_id": str(stored.id), "account_id": str(account.id), "named": "5559999"}
    found = [entry for entry in logs if entry["event"] == "callback_for_unknown_account"]
    assert found == [told | {"event": "callback_for_unknown_account", "log_level": "warning"}] * 2
    db.session.expire_all()
    assert (stored.error, bool(stored.processed_at)) == (None, True)
    assert "WhatsApp sent something for 5559999, which is not connected here" in str(account.last_error)
    assert account.last_error_at
    assert account.state == "connected"
