"""Callbacks between the edge and what they say: kept once, applied in their order, none holding another back."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, current_app

import jobs
import worker
from channels import whatsapp
from channels.base import Callback
from errors import Forbidden
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


def said(*texts: str, secret: str = SECRET) -> Callback:
    """Write a callback with one message for each text."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "35316000000", "phone_number_id": "5550001"},
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
