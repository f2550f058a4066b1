"""Messenger and Instagram through the services: echoes, watermarks, changes out of order, names, tokens, siblings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from channels.base import Change, ChannelError, Inbound, Person, Receipt, Sent, Token
from errors import Invalid
from models import Attachment, Business, ChannelAccount, Conversation, Message, Notice, ProviderId, db, now
from services import (
    arrivals,
    changes,
    channel_accounts,
    customers,
    inbound,
    messages,
    outbound,
    profiles,
    reach,
    receipts,
    tokens,
)
from services.messages import Sender
from tests.channels import kinds

PSID = "222"


def connect(business: Business, kind: str, **config: str) -> ChannelAccount:
    given = dict(kinds.PROVIDERS[kind].config) | config
    account = channel_accounts.connect(business, kind, "Acme", given)
    db.session.commit()
    return account


@pytest.fixture
def page(acme: Business) -> ChannelAccount:
    return connect(acme, "facebook")


@pytest.fixture
def gram(acme: Business) -> ChannelAccount:
    return connect(acme, "instagram")


def item(account: ChannelAccount, provider_id: str, text: str = "", **parts: Any) -> Inbound:
    given = {"account": account.account_key, "person": Person(PSID, scoped_id=PSID), "at": now(), "text": text}
    return Inbound(**{"provider_id": provider_id, **given, **parts})


def receive(
    business: Business, account: ChannelAccount, provider_id: str, text: str = "", **parts: Any
) -> Message | None:
    message = arrivals.receive(business, account, item(account, provider_id, text, **parts))
    db.session.commit()
    return message


def answer(business: Business, account: ChannelAccount, text: str, *, files: tuple[Attachment, ...] = ()) -> Message:
    """Queue an answer to the customer who wrote."""
    conversation = db.session.query(Conversation).filter_by(account_id=account.id).one()
    customer = customers.get(business, id=str(conversation.customer_id))
    sender = Sender("user", None, "Bob")
    message = messages.send(
        business,
        customer,
        channel=account.kind,
        sender=sender,
        content=text,
        conversation=conversation,
        attachments=files,
    )
    db.session.commit()
    return message


def take(message: Message) -> outbound.Task:
    """Let the worker take a message, so that it is being sent."""
    task = outbound.prepare(message.business_id, message.id)
    db.session.commit()
    assert task is not None
    return task


def record(message: Message, outcome: Sent | ChannelError) -> Message:
    outbound.record(message.business_id, message.id, outcome)
    db.session.commit()
    return message


def sent(business: Business, account: ChannelAccount, text: str, *provider_ids: str) -> Message:
    message = answer(business, account, text)
    take(message)
    return record(message, Sent(provider_ids))


def told(account: ChannelAccount, status: Any, **parts: Any) -> None:
    receipts.apply(account, Receipt(account.account_key, status, parts.pop("at", now()), person=PSID, **parts))
    db.session.commit()


def bubbles(account: ChannelAccount) -> list[tuple[str, str]]:
    """List what is shown of an account: (sender's kind, text)."""
    rows = db.session.query(Message).filter_by(account_id=account.id).order_by(Message.created_at)
    return [(row.sender_kind, row.content) for row in rows]


def lost() -> ChannelError:
    return ChannelError("The answer was lost.", action="retry", unknown=True)


class TestEchoes:
    def test_the_echo_of_a_sent_message_adds_nothing(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        message = sent(acme, page, "Yes", "m_OUT")
        at = now() - timedelta(seconds=1)
        assert receive(acme, page, "m_OUT", "Yes", echo=True, message_id=str(message.id), at=at) is None
        assert (message.provider_at, bubbles(page)) == (at, [("customer", "Hello"), ("user", "Yes")])

    @pytest.mark.parametrize("ours", [True, False])
    def test_an_echo_before_the_answer_to_the_call_is_known_by_our_id_or_by_its_words(
        self, acme: Business, page: ChannelAccount, gram: ChannelAccount, ours: bool
    ) -> None:
        account = page if ours else gram
        receive(acme, account, "m_1", "Hello")
        message = answer(acme, account, "Yes,\nwe are")
        take(message)
        echo = {"echo": True, "message_id": str(message.id) if ours else None}
        assert receive(acme, account, "m_OUT", "Yes, we are", **echo) is None
        assert message.status == "sending"
        assert record(message, Sent(("m_OUT",))).status == "sent"
        assert len(bubbles(account)) == 2

    @pytest.mark.parametrize("early", [True, False])
    def test_an_echo_proves_a_message_whose_answer_was_lost(
        self, acme: Business, gram: ChannelAccount, early: bool
    ) -> None:
        receive(acme, gram, "m_1", "Hello")
        message = answer(acme, gram, "Yes")
        take(message)
        if early:
            receive(acme, gram, "m_OUT", "Yes", echo=True)
        record(message, lost())
        assert message.status == ("queued" if early else "unknown")
        receive(acme, gram, "m_OUT", "Yes", echo=True)
        assert message.status == "queued"
        task = take(message)  # the channel makes the calls that are missing, which here are none
        assert task.message.sent_ids == ["m_OUT"]
        assert record(message, Sent(("m_OUT",))).status == "sent"
        assert len(bubbles(gram)) == 2

    def test_a_worker_that_died_over_a_message_leaves_it_to_the_echo(
        self, acme: Business, gram: ChannelAccount
    ) -> None:
        receive(acme, gram, "m_1", "Hello")
        known, unknown = answer(acme, gram, "one"), answer(acme, gram, "two")
        for message in (known, unknown):
            take(message)
        receive(acme, gram, "m_A", "one", echo=True)
        for message in (known, unknown):
            message.next_attempt_at = now() - timedelta(seconds=1)  # the lease is over
            db.session.commit()
        assert take(known).message.sent_ids == ["m_A"]
        assert outbound.prepare(acme.id, unknown.id) is None
        assert unknown.status == "unknown"

    def test_a_piece_of_a_long_text_is_recognised(self, acme: Business, gram: ChannelAccount) -> None:
        receive(acme, gram, "m_1", "Hello")
        message = answer(acme, gram, "one two three")
        take(message)
        assert receive(acme, gram, "m_A", "one two", echo=True) is None
        assert receive(acme, gram, "m_B", "three", echo=True) is None
        ids = db.session.query(ProviderId.value).filter_by(message_id=message.id)
        assert sorted(value for (value,) in ids) == ["m_A", "m_B"]

    @pytest.mark.parametrize("claim", ["", "their-own", "019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f"])
    def test_what_was_typed_elsewhere_is_shown_with_where(
        self, acme: Business, page: ChannelAccount, claim: str | None
    ) -> None:
        receive(acme, page, "m_1", "Hello")
        sent(acme, page, "Yes", "m_OUT")
        extra = {"sent_from": "Facebook inbox"}
        message = receive(acme, page, "m_E", "Yes", echo=True, message_id=claim, extra=extra)
        assert message is not None
        assert (message.sender_kind, message.sender_name, message.status) == ("app", "Facebook inbox", "sent")
        assert receive(acme, page, "m_E", "Yes", echo=True) is None

    def test_another_business_cannot_claim_our_message(
        self, acme: Business, page: ChannelAccount, globex: Business
    ) -> None:
        receive(acme, page, "m_1", "Hello")
        message = answer(acme, page, "Yes")
        take(message)
        theirs = connect(globex, "facebook")
        assert receive(globex, theirs, "m_X", "Yes", echo=True, message_id=str(message.id)) is not None
        assert message.provider_at is None


class TestWatermarks:
    def test_all_messages_up_to_then_are_read_and_none_after(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        first, second = sent(acme, page, "one", "m_A"), sent(acme, page, "two", "m_B")
        until = second.sent_at
        assert until is not None
        third = sent(acme, page, "three", "m_C")
        told(page, "delivered", watermark=until)
        assert [one.status for one in (first, second, third)] == ["delivered", "delivered", "sent"]
        told(page, "read", watermark=until)
        assert [one.status for one in (first, second, third)] == ["read", "read", "sent"]

    def test_only_that_persons_messages_are_meant(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        message = sent(acme, page, "Yes", "m_OUT")
        receipts.apply(page, Receipt("111", "read", now(), person="999", watermark=now()))
        assert message.status == "sent"

    def test_the_providers_clock_counts_where_an_echo_told_it(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        message = sent(acme, page, "Yes", "m_OUT")
        taken_at = now() - timedelta(minutes=3)  # our clock is ahead of theirs
        told(page, "read", watermark=taken_at)
        assert message.status == "sent"
        receive(acme, page, "m_OUT", "Yes", echo=True, message_id=str(message.id), at=taken_at)
        assert message.status == "read"

    def test_a_watermark_before_the_answer_to_the_call_is_not_lost(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        message, at = answer(acme, page, "Yes"), now()
        take(message)
        receive(acme, page, "m_OUT", "Yes", echo=True, message_id=str(message.id), at=at)
        told(page, "read", watermark=at)
        assert message.status == "sending"
        assert record(message, Sent(("m_OUT",))).status == "read"

    def test_a_receipt_that_names_the_message_counts_before_the_answer(
        self, acme: Business, page: ChannelAccount
    ) -> None:
        receive(acme, page, "m_1", "Hello")
        message, at = answer(acme, page, "Yes"), now()
        take(message)
        receive(acme, page, "m_OUT", "Yes", echo=True, message_id=str(message.id), at=at)
        told(page, "delivered", provider_id="m_OUT")
        assert message.status == "sending"  # there may be more calls to make
        assert record(message, Sent(("m_OUT",))).status == "delivered"

    def test_a_message_that_went_only_in_part_failed_even_if_that_part_was_read(
        self, acme: Business, page: ChannelAccount
    ) -> None:
        receive(acme, page, "m_1", "Hello")
        message = answer(acme, page, "Yes")
        take(message)
        receive(acme, page, "m_A", "Yes", echo=True, message_id=str(message.id))
        told(page, "delivered", provider_id="m_A")
        refused = ChannelError("Too large.", code="100/2018109", sent_ids=("m_A",))
        assert record(message, refused).status == "failed"

    def test_a_later_message_is_not_taken_for_read(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Hello")
        first = sent(acme, page, "one", "m_A")
        told(page, "read", watermark=first.sent_at)
        second = sent(acme, page, "two", "m_B")
        receive(acme, page, "m_B", "two", echo=True, message_id=str(second.id))
        assert (first.status, second.status) == ("read", "sent")

    def test_a_message_read_on_instagram_stands_for_all_before_it(self, acme: Business, gram: ChannelAccount) -> None:
        receive(acme, gram, "m_1", "Hello")
        first, second, third = (sent(acme, gram, word, f"m_{word}") for word in ("one", "two", "three"))
        told(gram, "read", provider_id="m_two", and_before=True)
        assert [one.status for one in (first, second, third)] == ["read", "read", "sent"]

    def test_it_does_so_too_when_it_comes_before_the_answer_to_the_call(
        self, acme: Business, gram: ChannelAccount
    ) -> None:
        receive(acme, gram, "m_1", "Hello")
        first, second = sent(acme, gram, "one", "m_one"), answer(acme, gram, "two")
        take(second)
        told(gram, "read", provider_id="m_two", and_before=True)
        record(second, Sent(("m_two",)))
        assert (first.status, second.status) == ("read", "read")


class TestOutOfOrder:
    def test_an_edit_before_its_message_is_applied_when_that_comes(self, acme: Business, gram: ChannelAccount) -> None:
        changes.apply(gram, Change(gram.account_key, "edit", "m_1", now(), text="Is it *open*?"))
        db.session.commit()
        message = receive(acme, gram, "m_1", "Is it opne?")
        assert message is not None
        assert (message.content, message.extra["first_content"]) == ("Is it *open*?", "Is it opne?")

    def test_what_was_taken_back_before_it_came_is_never_stored(self, acme: Business, gram: ChannelAccount) -> None:
        changes.apply(gram, Change(gram.account_key, "delete", "m_1", now()))
        db.session.commit()
        message = receive(acme, gram, "m_1", "my card is 4111", extra={"story": {"url": "https://x.example"}})
        assert message is not None
        assert (message.content, message.extra, bool(message.deleted_at)) == ("", {}, True)

    def test_an_older_edit_does_not_undo_a_newer_one(self, acme: Business, gram: ChannelAccount) -> None:
        message = receive(acme, gram, "m_1", "a")
        for seconds, text in ((2, "c"), (1, "b")):
            at = now() + timedelta(seconds=seconds)
            changes.apply(gram, Change(gram.account_key, "edit", "m_1", at, text=text))
        assert message is not None
        assert message.content == "c"

    def test_a_reaction_opens_the_window_where_the_channel_says_so(self, acme: Business, page: ChannelAccount) -> None:
        message = receive(acme, page, "m_1", "a", at=now() - timedelta(days=3))
        assert message is not None
        customer = customers.get(acme, id=str(message.customer_id))
        assert not reach.choose(acme, customer, "facebook").window_open
        changes.apply(page, Change("111", "reaction", "m_1", now(), emoji="👍", opens_window=True))
        db.session.commit()
        assert reach.choose(acme, customer, "facebook").window_open


class TestWindow:
    @pytest.fixture
    def stale(self, acme: Business) -> Callable[..., reach.Way]:
        """Give the way to a customer who wrote some days ago."""

        def make(days: float, **config: str) -> reach.Way:
            account = connect(acme, "facebook", **config)
            message = receive(acme, account, "m_1", "Hello", at=now() - timedelta(days=days))
            assert message is not None
            return reach.choose(acme, customers.get(acme, id=str(message.customer_id)), "facebook")

        return make

    def test_it_is_a_day(self, stale: Callable[..., reach.Way]) -> None:
        way = stale(2)
        assert (way.window_open, way.limits.window_hours) == (False, 24)

    def test_with_human_agents_it_is_a_week(self, stale: Callable[..., reach.Way]) -> None:
        way = stale(2, human_agent="yes")
        assert (way.window_open, way.limits.window_hours) == (True, 168)

    def test_a_week_is_not_for_ever(self, stale: Callable[..., reach.Way]) -> None:
        assert not stale(8, human_agent="yes").window_open

    @pytest.mark.parametrize(
        ("sender", "days", "by_person"),
        [
            pytest.param(Sender("user", None, "X"), 2, True, id="an agent, late"),
            pytest.param(Sender("api", None, "X", typed=True), 2, True, id="somebody in a CRM, late"),
            pytest.param(Sender("api", None, "X"), 0.5, False, id="a program, in time"),
            pytest.param(Sender("automation", None, "X"), 0.5, False, id="an automation, in time"),
        ],
    )
    def test_the_channel_hears_whether_a_day_has_passed_and_a_person_writes(
        self, acme: Business, stale: Callable[..., reach.Way], sender: Sender, days: float, by_person: bool
    ) -> None:
        way = stale(days, human_agent="yes")
        customer = db.session.query(Conversation).filter_by(account_id=way.account.id).one().customer
        message = messages.send(acme, customer, channel="facebook", sender=sender, content="hi")
        db.session.commit()
        outgoing = take(message).message
        assert (outgoing.window_open, outgoing.by_person, outgoing.to) == (days < 1, by_person, PSID)

    @pytest.mark.parametrize("kind", ["api", "automation"])
    def test_a_program_has_a_day_even_where_people_have_a_week(
        self, acme: Business, stale: Callable[..., reach.Way], kind: str
    ) -> None:
        way = stale(2, human_agent="yes")
        customer = db.session.query(Conversation).filter_by(account_id=way.account.id).one().customer
        with pytest.raises(Invalid, match=r"24 hours .* For 168 hours only people may") as refused:
            messages.send(acme, customer, channel="facebook", sender=Sender(kind, None, "X"), content="hi")
        assert refused.value.code == "window_closed"

    def test_a_note_of_the_system_opens_none(self, acme: Business, page: ChannelAccount) -> None:
        receive(acme, page, "m_1", "Agreed.", kind="system", opens_window=False)
        assert db.session.query(Conversation).filter_by(account_id=page.id).one().last_inbound_at is None


class TestNames:
    def test_a_bare_id_gets_the_name_that_the_provider_tells(self, acme: Business, page: ChannelAccount) -> None:
        message = receive(acme, page, "m_1", "Hello")
        assert message is not None
        key = (acme.id, message.conversation_id)
        task = profiles.prepare(*key)
        assert task is not None
        assert (task.address, task.account.kind) == (PSID, "facebook")
        profiles.record(*key, Person(PSID, name="Aoife  Walsh"))
        db.session.commit()
        assert customers.get(acme, id=str(message.customer_id)).name == "Aoife Walsh"
        assert profiles.prepare(*key) is None

    @pytest.mark.parametrize("person", [Person(PSID), Person(PSID, name=PSID)])
    def test_no_name_is_no_change(self, acme: Business, page: ChannelAccount, person: Person) -> None:
        message = receive(acme, page, "m_1", "Hello")
        assert message is not None
        profiles.record(acme.id, message.conversation_id, person)
        assert customers.get(acme, id=str(message.customer_id)).name == PSID

    def test_a_name_that_an_agent_gave_stays(self, acme: Business, page: ChannelAccount) -> None:
        message = receive(acme, page, "m_1", "Hello")
        assert message is not None
        customers.update(acme, message.customer_id, {"name": "Aoife (VIP)"})
        db.session.commit()
        profiles.record(acme.id, message.conversation_id, Person(PSID, name="Aoife Walsh"))
        db.session.commit()
        assert customers.get(acme, id=str(message.customer_id)).name == "Aoife (VIP)"

    def test_one_id_on_two_pages_is_two_people(self, acme: Business, page: ChannelAccount) -> None:
        other = connect(acme, "facebook", page_id="112")
        people = {receive(acme, each, "m_1", "Hello").customer_id for each in (page, other)}  # type: ignore[union-attr]
        assert len(people) == 2


class TestTokens:
    def test_a_renewed_token_takes_the_place_of_the_old(self, acme: Business, gram: ChannelAccount) -> None:
        assert tokens.prepare(acme.id, gram.id) is not None
        ends = now() + timedelta(days=60)
        tokens.record(acme.id, gram.id, Token({"access_token": "IGAA-new"}, ends))
        db.session.commit()
        assert channel_accounts.to_channel(gram).config["access_token"] == "IGAA-new"
        assert channel_accounts.to_channel(gram).config["instagram_app_secret"] == "ig-secret-456"
        assert gram.token_expires_at == ends
        assert tokens.prepare(acme.id, gram.id) is None

    @pytest.mark.parametrize(("days", "warned"), [(30, 0), (6, 1)])
    def test_the_admins_are_warned_once_in_the_last_week(
        self, acme: Business, gram: ChannelAccount, days: int, warned: int
    ) -> None:
        gram.token_expires_at = now() + timedelta(days=days)
        for _ in range(2):
            tokens.record(acme.id, gram.id, ChannelError("No.", action="permanent"))
            db.session.commit()
        notices = db.session.query(Notice).filter_by(business_id=acme.id).all()
        assert (len(notices), gram.state) == (warned, "connected")
        assert all("could not be renewed: No." in notice.text for notice in notices)

    def test_nobody_knows_when_a_new_token_ends(self, acme: Business, gram: ChannelAccount) -> None:
        gram.token_expires_at = now() + timedelta(days=60)
        channel_accounts.change(acme, gram, config={"username": "acme2"})
        assert gram.token_expires_at is not None
        channel_accounts.change(acme, gram, config={"access_token": "IGAA-other"})
        assert gram.token_expires_at is None


class TestSiblings:
    def call(self, account: ChannelAccount, body: dict[str, Any], secret: str = "app-secret-123") -> list[str | None]:
        """Let Meta call an account's address; give the accounts at which messages came up."""
        written = kinds.as_meta_writes(body)
        callback = kinds.callback(account.kind, written, headers=kinds.as_meta_signs(secret)(written))
        inbound.accept(account.kind, account.id, callback)
        db.session.commit()
        stored = db.session.query(inbound.StoredCallback).filter_by(account_id=account.id).one()
        for each in inbound.items(stored):
            inbound.apply(stored, each)
        db.session.commit()
        rows = db.session.query(Message.account_id).filter_by(business_id=account.business_id)
        return [str(account_id) for (account_id,) in rows]

    def said(self, kind: str, owner: str) -> dict[str, Any]:
        event = {"sender": {"id": PSID}, "recipient": {"id": owner}, "timestamp": 1764000000000}
        message = {"mid": "m_1", "text": "Hello"}
        entry = {"id": owner, "time": 1764000000000, "messaging": [event | {"message": message}]}
        return {"object": {"facebook": "page"}.get(kind, kind), "entry": [entry]}

    def test_an_event_reaches_another_page_of_the_same_app(self, acme: Business, page: ChannelAccount) -> None:
        sibling = connect(acme, "facebook", page_id="112")
        assert self.call(page, self.said("facebook", "112")) == [str(sibling.id)]

    def test_but_none_whose_secret_did_not_sign(self, acme: Business, page: ChannelAccount) -> None:
        connect(acme, "facebook", page_id="112", app_secret="another")
        assert self.call(page, self.said("facebook", "112")) == []

    def test_nor_one_of_another_business(self, acme: Business, page: ChannelAccount, globex: Business) -> None:
        connect(globex, "facebook", page_id="112")
        assert self.call(page, self.said("facebook", "112")) == []

    def test_instagram_may_name_the_linked_page(self, acme: Business) -> None:
        account = connect(acme, "instagram", login="facebook", page_id="333")
        assert self.call(account, self.said("instagram", "333")) == [str(account.id)]
