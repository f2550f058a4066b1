"""When a message goes: in its conversation's order, at its provider's pace, and never held by another account's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import pytest
import time_machine
from flask import Flask, current_app
from redis import Redis

import channels
import jobs
from channels.base import ChannelError, Rate, Sent
from dispatch import Dispatch
from lib import rate_limit
from lib.ids import uuid7
from models import Attachment, Business, ChannelAccount, Conversation, Message, db, now
from services import channel_accounts, customers, messages, outbound, pacing
from services.messages import Sender
from tests.channels import kinds
from tests.factories import received, whatsapp


@pytest.fixture(autouse=True)
def nothing_else_is_due(in_app: Flask) -> Iterator[None]:
    """Let nothing of other tests be due, and no account of theirs rest."""
    db.session.query(Message).filter(Message.next_attempt_at.is_not(None)).update({"next_attempt_at": None})
    db.session.commit()
    yield
    pacing._resting.clear()


@pytest.fixture
def line(acme: Business) -> ChannelAccount:
    return whatsapp(acme)


def write(business: Business, to: Message, text: str, *files: Attachment) -> Message:
    """Answer somebody who wrote."""
    customer = customers.get(business, id=str(to.customer_id))
    place = db.session.get_one(Conversation, (business.id, to.conversation_id))
    made = messages.send(
        business,
        customer,
        channel=place.channel,
        sender=Sender("user", None, "Bob"),
        content=text,
        conversation=place,
        attachments=files,
    )
    db.session.commit()
    return made


def send_due(each: int = 8) -> list[str]:
    """Send all that may go now, one after the other; give what went."""
    went = []
    while rows := pacing.due(each=each, most=100):
        for row in rows:
            task = outbound.prepare(row.business_id, row.id)
            db.session.commit()
            if task:
                went.append(task.message.text)
                outbound.record(row.business_id, row.id, Sent((uuid7().hex,)))
                db.session.commit()
        db.session.expire_all()
    return went


def texts(count: int) -> list[str]:
    return [f"Message {number}" for number in range(count)]


class TestPace:
    def test_a_burst_to_one_person_is_spread_at_the_providers_pace_and_stays_in_order(
        self, acme: Business, line: ChannelAccount
    ) -> None:
        joe = received(acme, line)
        sent = [write(acme, joe, text) for text in texts(20)]
        assert send_due() == texts(20)[:10]
        first = db.session.get_one(Message, (acme.id, sent[10].id))
        assert first.next_attempt_at is not None
        assert timedelta(seconds=4) < first.next_attempt_at - now() < timedelta(seconds=6.1)
        assert (first.status, first.attempts) == ("queued", 0)
        assert pacing.due(each=8, most=100) == [], "none overtakes the one that waits"

    def test_one_that_is_tried_again_soon_holds_those_behind_it_and_one_that_waits_for_minutes_does_not(
        self, acme: Business, line: ChannelAccount
    ) -> None:
        joe = received(acme, line)
        first, second = write(acme, joe, "one"), write(acme, joe, "two")
        for wait, due in ((timedelta(seconds=45), []), (timedelta(minutes=5), [second.id])):
            first.next_attempt_at = now() + wait
            db.session.commit()
            assert [row.id for row in pacing.due(each=8, most=100)] == due

    def test_the_rest_of_a_burst_goes_one_by_one(
        self, acme: Business, line: ChannelAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("channels.whatsapp.WhatsApp.limits", _limits("whatsapp", person_rate=Rate(3, 1.5)))
        joe = received(acme, line)
        for text in texts(6):
            write(acme, joe, text)
        went: list[tuple[float, str]] = []
        until = time.monotonic() + 8
        while len(went) < 6 and time.monotonic() < until:
            went += [(time.monotonic(), text) for text in send_due()]
            time.sleep(0.02)
        assert [text for _, text in went] == texts(6)
        assert all(later[0] - earlier[0] > 0.4 for earlier, later in pairwise(went[2:]))

    def test_one_persons_burst_delays_nobody_else(self, acme: Business, line: ChannelAccount) -> None:
        joe, ann = received(acme, line), received(acme, line, number="353861111111")
        for text in texts(12):
            write(acme, joe, text)
        write(acme, ann, "For Ann")
        assert "For Ann" in send_due()

    def test_an_account_that_has_spent_its_rate_rests_and_nothing_is_asked_of_it(
        self, acme: Business, globex: Business, line: ChannelAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("channels.whatsapp.WhatsApp.limits", _limits("whatsapp", rate=Rate(2, 60)))
        people = [received(acme, line, number=f"35386111111{number}") for number in range(5)]
        waiting = [write(acme, person, text) for person, text in zip(people, texts(5), strict=True)]
        other = received(globex, whatsapp(globex))
        write(globex, other, "Another account's")
        assert sorted(send_due(each=3)) == ["Another account's", *texts(2)]
        untouched = [one for one in waiting if one.next_attempt_at and one.next_attempt_at <= now()]
        assert len(untouched) == 2, "of each look one finds out, and the others are not even asked"

    def test_sound_has_a_rate_of_its_own(self, acme: Business, monkeypatch: pytest.MonkeyPatch) -> None:
        account = channel_accounts.connect(acme, "whatsapp", "Acme", dict(kinds.PROVIDERS["whatsapp"].config))
        monkeypatch.setattr("channels.whatsapp.WhatsApp.limits", _limits("whatsapp", media_rate=Rate(1, 60)))
        message = Message(business_id=acme.id, conversation_id=received(acme, account).conversation_id)
        for mime, waits in (("audio/ogg", False), ("image/png", False), ("audio/ogg", True), ("image/png", False)):
            message.attachments = [Attachment(mime=mime)]
            assert bool(pacing.pause(message, account)) is waits

    def test_without_valkey_messages_go_at_the_pace_that_this_process_counts(
        self, acme: Business, line: ChannelAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        joe = received(acme, line)
        for text in texts(12):
            write(acme, joe, text)
        jobs.flush()
        monkeypatch.setattr(rate_limit, "_broken_until", 0.0)
        with Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2) as nowhere:
            monkeypatch.setitem(current_app.extensions, "redis", nowhere)
            assert send_due() == texts(10)


def _limits(kind: str, **rates: Any) -> Any:
    none: dict[str, Any] = {"rate": None, "media_rate": None, "person_rate": None}
    return replace(channels.get(kind).limits, **none | rates)


class TestOrder:
    def test_a_message_waits_for_those_before_it_in_its_conversation_while_they_are_tried_again(
        self, acme: Business, line: ChannelAccount
    ) -> None:
        joe, ann = received(acme, line), received(acme, line, number="353861111111")
        first = write(acme, joe, "first")
        outbound.prepare(acme.id, first.id)
        outbound.record(acme.id, first.id, ChannelError("Too many.", action="retry", retry_after=60))
        db.session.commit()
        write(acme, joe, "second")
        write(acme, ann, "For Ann")
        assert send_due() == ["For Ann"]
        with time_machine.travel(now() + timedelta(seconds=61)):
            assert send_due() == ["first", "second"]

    def test_one_that_failed_or_may_have_gone_holds_nobody(self, acme: Business, line: ChannelAccount) -> None:
        joe = received(acme, line)
        for text, unknown in (("failed", False), ("lost", True)):
            message = write(acme, joe, text)
            outbound.prepare(acme.id, message.id)
            outbound.record(acme.id, message.id, ChannelError("No.", unknown=unknown))
            db.session.commit()
        write(acme, joe, "next")
        assert send_due() == ["next"]

    def test_each_account_has_its_first_message_first(self, acme: Business, globex: Business) -> None:
        mine = whatsapp(acme)
        flood = [received(acme, mine, number=f"3538611111{number:02}") for number in range(20)]
        for number, person in enumerate(flood):
            write(acme, person, f"Flood {number}")
        theirs = write(globex, received(globex, whatsapp(globex)), "One alone")
        rows = pacing.due(each=8, most=3)
        assert theirs.id in [row.id for row in rows][:2]
        assert len(pacing.due(each=8, most=100)) == 9


class TestDispatch:
    def test_a_provider_that_hangs_holds_its_own_account_alone(
        self, app: Flask, acme: Business, globex: Business
    ) -> None:
        line, other = whatsapp(acme), whatsapp(globex)
        hanging = [write(acme, received(acme, line, number=f"3538611111{n:02}"), "hangs") for n in range(12)]
        quick = [write(globex, received(globex, other, number=f"3538622222{n:02}"), "quick") for n in range(12)]
        names, release = {str(one.id) for one in hanging}, Event()
        begun: set[str] = set()

        def deliver(business_id: str, message_id: str) -> None:
            begun.add(message_id)
            if message_id in names:
                release.wait(20)
            _done(message_id)

        with _running(app, deliver, release):
            assert _until(lambda: {str(one.id) for one in quick} <= begun)
            assert len(names & begun) == 8, "as many as an account may have under way"

    def test_an_account_that_has_been_slow_sends_one_at_a_time(
        self, app: Flask, acme: Business, line: ChannelAccount
    ) -> None:
        for n in range(5):
            write(acme, received(acme, line, number=f"3538611111{n:02}"), "slow")
        release, under_way, most = Event(), [], []

        def deliver(business_id: str, message_id: str) -> None:
            under_way.append(message_id)
            most.append(len(under_way))
            time.sleep(0.05)
            under_way.remove(message_id)
            time.sleep(0.01)
            _done(message_id)

        with _running(app, deliver, release) as dispatch:
            dispatch.slow.add(line.id)
            assert _until(lambda: len(most) == 5)
        assert most[0] == 1

    def test_our_own_mistake_ends_neither_the_drain_nor_the_message(
        self, app: Flask, acme: Business, line: ChannelAccount
    ) -> None:
        message = write(acme, received(acme, line), "Hello")
        tried: list[str] = []

        def deliver(business_id: str, message_id: str) -> None:
            tried.append(message_id)
            if len(tried) == 1:
                raise RuntimeError("our own mistake")
            _done(message_id)

        with _running(app, deliver, Event()):
            assert _until(lambda: tried == [str(message.id)] * 2)


def _done(message_id: str) -> None:
    db.session.query(Message).filter_by(id=message_id).update({"status": "sent", "next_attempt_at": None})
    db.session.commit()


class _running:
    """Run a drain in a thread, as the worker does in a process; what hangs is released at the end."""

    def __init__(self, app: Flask, deliver: Callable[[str, str], None], release: Event) -> None:
        self.app, self.release, self.ended = app, release, False
        self.dispatch = Dispatch(app, deliver, lambda: self.ended)

    def __enter__(self) -> Dispatch:
        self.thread = Thread(target=self._run)
        self.thread.start()
        return self.dispatch

    def _run(self) -> None:
        with self.app.app_context():
            self.dispatch.run()

    def __exit__(self, *exc: object) -> None:
        self.ended = True
        self.release.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


def _until(look: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not look() and time.monotonic() < deadline:
        time.sleep(0.02)
    return look()
