"""A message on its way out: in several calls, tried again by a person, held with its account, billed or delayed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from channels.base import ChannelError, Inbound, Person, Receipt, Sent
from models import Business, ChannelAccount, Conversation, Event, Message, Notice, ParkedReceipt, db, now
from services import arrivals, channel_accounts, customers, messages, outbound, receipts
from services.messages import Sender
from tests.channels import kinds
from tests.ui.browser import Browser

PEOPLE = {"whatsapp": "353871234567", "sms": "+353871234567", "email": "joe@x.example", "instagram": "222"}


def connect(business: Business, kind: str) -> ChannelAccount:
    """Connect an account to which somebody has written."""
    account = channel_accounts.connect(business, kind, "Acme", dict(kinds.PROVIDERS[kind].config))
    arrivals.receive(business, account, Inbound(account.account_key, "in.1", Person(PEOPLE[kind]), now(), text="Hello"))
    db.session.commit()
    return account


@pytest.fixture
def number(acme: Business) -> ChannelAccount:
    return connect(acme, "whatsapp")


def write(account: ChannelAccount, text: str = "Look at this") -> Message:
    """Queue an answer to whoever wrote."""
    business = db.session.get_one(Business, account.business_id)
    conversation = db.session.query(Conversation).filter_by(account_id=account.id).one()
    customer = customers.get(business, id=str(conversation.customer_id))
    sender = Sender("user", None, "Bob")
    wish: dict[str, Any] = {"channel": account.kind, "content": text, "conversation": conversation, "sender": sender}
    message = messages.send(business, customer, **wish)
    db.session.commit()
    return message


def take(message: Message) -> tuple[str, ...]:
    """Let the worker take a message whose time has come; give the ids of the calls that are not made again."""
    if message.next_attempt_at:
        message.next_attempt_at = now() - timedelta(seconds=1)
        db.session.commit()
    task = outbound.prepare(message.business_id, message.id)
    db.session.commit()
    assert task is not None
    return tuple(task.message.sent_ids)


def record(message: Message, outcome: Sent | ChannelError) -> str:
    outbound.record(message.business_id, message.id, outcome)
    db.session.commit()
    return message.status


def told(message: Message, status: Any, provider_id: str, **parts: Any) -> str:
    """Let the provider tell what became of a message, by our id too."""
    account = db.session.get_one(ChannelAccount, (message.business_id, message.account_id))
    given = {"message_id": str(message.id)} | parts
    receipts.apply(account, Receipt(account.account_key, status, now(), provider_id=provider_id, **given))
    db.session.commit()
    return message.status


def retry(message: Message) -> None:
    messages.retry(db.session.get_one(Business, message.business_id), message)
    db.session.commit()


def sent(account: ChannelAccount, *provider_ids: str) -> Message:
    message = write(account)
    take(message)
    record(message, Sent(provider_ids))
    return message


def events(message: Message) -> list[str]:
    """List what was told of a message, its own queueing aside."""
    rows = db.session.query(Event.type).filter_by(business_id=message.business_id, message_id=message.id)
    return [kind for (kind,) in rows.order_by(Event.sequence) if kind != "message.queued"]


def busy(*sent_ids: str) -> ChannelError:
    return ChannelError("Too many calls.", action="retry", code="130429", retry_after=5, sent_ids=sent_ids)


def lost(*sent_ids: str) -> ChannelError:
    return ChannelError("The answer was lost.", action="retry", unknown=True, sent_ids=sent_ids)


class TestSeveralCalls:
    def test_the_rest_goes_although_the_first_part_was_delivered_meanwhile(self, number: ChannelAccount) -> None:
        message = write(number)
        assert take(message) == ()
        assert record(message, busy("w.1")) == "queued"
        due = message.next_attempt_at
        assert (told(message, "delivered", "w.1"), message.next_attempt_at) == ("queued", due)
        assert take(message) == ("w.1",)
        assert record(message, Sent(("w.1", "w.2"))) == "delivered"
        assert events(message) == ["message.sent", "message.status_changed"]

    def test_it_goes_too_if_the_worker_dies_while_the_first_part_is_delivered(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        assert told(message, "delivered", "w.1") == "sending"
        assert take(message) == ("w.1",)

    def test_a_part_that_was_read_says_nothing_of_one_whose_answer_was_lost(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        assert record(message, lost("w.1")) == "unknown"
        assert told(message, "read", "w.1") == "unknown"
        assert told(message, "sent", "w.2") == "queued"  # which proves the second call, so a third may be missing
        assert take(message) == ("w.1", "w.2")
        assert record(message, Sent(("w.1", "w.2"))) == "read"

    def test_a_worker_that_dies_over_the_rest_does_not_send_it_again(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        record(message, busy("w.1"))
        take(message)
        message.next_attempt_at = now() - timedelta(seconds=1)  # the lease is over
        db.session.commit()
        assert outbound.prepare(message.business_id, message.id) is None
        assert message.status == "unknown"

    @pytest.mark.parametrize("order", [("delivered", "failed"), ("failed", "delivered")], ids=["late", "early"])
    def test_a_part_that_failed_outweighs_one_that_arrived(self, number: ChannelAccount, order: Any) -> None:
        message = sent(number, "w.1", "w.2")
        for status in order:
            refusal = {"error_code": "131053", "error": "This file was refused."} if status == "failed" else {}
            told(message, status, "w.2" if refusal else "w.1", **refusal)
        assert (message.status, message.error_code) == ("failed", "131053")
        assert told(message, "read", "w.1") == "failed"
        assert told(message, "delivered", "w.2") == "delivered"

    def test_every_part_that_failed_has_to_arrive(self, number: ChannelAccount) -> None:
        message = sent(number, "w.1", "w.2")
        told(message, "failed", "w.1")
        told(message, "failed", "w.2")
        assert (told(message, "delivered", "w.2"), told(message, "delivered", "w.1")) == ("failed", "delivered")

    def test_a_rest_that_was_refused_is_not_made_good_by_what_arrived(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        assert record(message, ChannelError("Too large.", code="131053", sent_ids=("w.1",))) == "failed"
        assert (told(message, "delivered", "w.1"), message.error) == ("failed", "Too large.")

    def test_a_part_that_failed_ends_the_waiting_for_the_rest(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        record(message, busy("w.1"))
        assert (told(message, "failed", "w.1"), message.next_attempt_at) == ("failed", None)
        assert told(message, "delivered", "w.1") == "failed"  # the rest has not gone

    @pytest.mark.parametrize("outcome", [Sent(("w.1", "w.2")), busy("w.1")], ids=["sent", "busy"])
    def test_a_part_that_failed_while_the_rest_was_going_stays_failed(
        self, number: ChannelAccount, outcome: Sent | ChannelError
    ) -> None:
        message = write(number)
        take(message)
        told(message, "failed", "w.1", error="No such number.")
        assert (record(message, outcome), message.error, message.next_attempt_at) == ("failed", "No such number.", None)

    def test_a_message_of_one_call_that_arrived_cannot_fail_any_more(self, number: ChannelAccount) -> None:
        message = sent(number, "w.1")
        told(message, "delivered", "w.1")
        assert told(message, "failed", "w.1") == "delivered"


class TestRetry:
    @pytest.fixture
    def failed(self, number: ChannelAccount) -> Message:
        """A message that went out and failed, and that a person tries again."""
        message = sent(number, "w.old")
        assert told(message, "failed", "w.old", error_code="131026") == "failed"
        retry(message)
        return message

    def test_it_is_sent_anew_at_its_second_try_too(self, failed: Message) -> None:
        assert take(failed) == ()
        assert record(failed, busy()) == "queued"
        assert take(failed) == ()
        assert record(failed, Sent(("w.new",))) == "sent"
        assert told(failed, "delivered", "w.new") == "delivered"
        tail = ["message.status_changed"] * 3  # it failed, it was sent after all, it arrived
        assert events(failed) == ["message.sent", "message.status_changed", "message.changed", *tail[1:]]

    def test_what_is_told_of_the_old_one_changes_nothing(self, failed: Message) -> None:
        for status in ("failed", "sent", "delivered"):
            assert (told(failed, status, "w.old"), failed.next_attempt_at is None) == ("queued", False)
        take(failed)
        assert told(failed, "failed", "w.old") == "sending"
        assert record(failed, Sent(("w.new",))) == "sent"
        assert told(failed, "failed", "w.old") == "sent"
        assert not db.session.query(ParkedReceipt).filter_by(business_id=failed.business_id).count()

    def test_an_answer_that_was_lost_is_not_proven_by_the_old_one(self, failed: Message) -> None:
        take(failed)
        assert record(failed, lost()) == "unknown"

    def test_a_worker_that_dies_over_it_leaves_it_unknown(self, failed: Message) -> None:
        take(failed)
        failed.next_attempt_at = now() - timedelta(seconds=1)
        db.session.commit()
        assert outbound.prepare(failed.business_id, failed.id) is None
        assert failed.status == "unknown"

    def test_a_failure_of_what_was_lost_does_not_stop_it_but_a_success_does(self, number: ChannelAccount) -> None:
        for status, calls_made in (("failed", ()), ("delivered", ("w.delivered",))):
            message = write(number)
            take(message)
            assert record(message, lost()) == "unknown"
            retry(message)
            assert told(message, status, f"w.{status}") == "queued"
            assert take(message) == calls_made

    def test_a_mail_goes_under_the_same_id_and_counts_again(self, acme: Business) -> None:
        message = sent(connect(acme, "email"), "<1@acme.ie>")
        told(message, "failed", "<1@acme.ie>", error_code="5.1.1")
        retry(message)
        take(message)
        record(message, ChannelError("Greylisted.", action="retry", code="451"))
        assert take(message) == ()
        assert record(message, Sent(("<1@acme.ie>",))) == "sent"
        assert told(message, "failed", "<1@acme.ie>", error_code="5.1.1") == "failed"

    def test_only_what_is_missing_goes_again(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        record(message, ChannelError("Too large.", code="131053", sent_ids=("w.1",)))
        retry(message)
        assert take(message) == ("w.1",)
        assert record(message, busy("w.1")) == "queued"
        assert take(message) == ("w.1",)
        assert record(message, Sent(("w.1", "w.2"))) == "sent"

    def test_what_went_before_the_part_that_failed_stays(self, number: ChannelAccount) -> None:
        message = sent(number, "w.2", "w.3", "w.1")
        told(message, "failed", "w.3")
        retry(message)
        assert take(message) == ("w.2",)
        assert record(message, Sent(("w.2", "w.4", "w.5"))) == "sent"
        assert told(message, "failed", "w.1") == "sent"

    def test_an_old_delivery_is_not_shown_for_the_new_one(self, number: ChannelAccount) -> None:
        message = sent(number, "w.1", "w.2")
        told(message, "delivered", "w.2")
        told(message, "failed", "w.1")
        retry(message)
        assert take(message) == ()
        assert record(message, Sent(("w.3", "w.4"))) == "sent"

    def test_the_echo_of_the_old_one_changes_nothing(self, acme: Business) -> None:
        account = connect(acme, "instagram")
        message = sent(account, "m.old")
        told(message, "failed", "m.old", message_id=None)
        retry(message)
        echo = Inbound(account.account_key, "m.old", Person("222"), now(), text="Look at this", echo=True)
        assert arrivals.receive(acme, account, echo) is None
        assert (message.status, message.provider_at) == ("queued", None)


class TestHolds:
    @pytest.mark.parametrize(
        ("kind", "code"), [("whatsapp", "190"), ("sms", "20003"), ("email", "535")], ids=["meta", "twilio", "smtp"]
    )
    def test_nothing_fails_while_an_account_is_refused_and_all_goes_in_order_afterwards(
        self, acme: Business, kind: str, code: str
    ) -> None:
        account = connect(acme, kind)
        refused = ChannelError("Sign in again.", action="account", code=code)
        first, second = write(account, "one"), write(account, "two")
        for message in (first, second):  # both are with the provider when it begins to refuse
            take(message)
        for message in (first, second):
            assert record(message, refused) == "queued"
        third = write(account, "three")
        assert outbound.prepare(acme.id, third.id) is None
        db.session.commit()
        notices = db.session.query(Notice).filter_by(business_id=acme.id, dismissed_at=None).all()
        assert (account.state, [notice.text[-14:] for notice in notices]) == ("attention", ["Sign in again."])
        waiting = db.session.query(Message).filter_by(business_id=acme.id, status="queued")
        assert [one.attempts for one in waiting] == [0, 0, 0]

        channel_accounts.release(account)
        db.session.commit()
        in_order = waiting.order_by(Message.next_attempt_at).all()
        for place, message in enumerate(in_order):
            take(message)
            assert record(message, Sent((f"out.{place}",))) == "sent"
        assert [message.content for message in in_order] == ["one", "two", "three"]

    def test_holds_use_up_no_tries(self, number: ChannelAccount) -> None:
        message = write(number)
        for _ in range(outbound.MAX_ATTEMPTS + 1):
            take(message)
            assert record(message, ChannelError("Expired.", action="account", code="190")) == "queued"
            channel_accounts.release(number)
        take(message)
        before = now()
        assert record(message, ChannelError("Busy.", action="retry")) == "queued"
        assert message.next_attempt_at is not None
        assert message.next_attempt_at - before < timedelta(seconds=10)

    def test_what_went_before_a_hold_does_not_go_again(self, number: ChannelAccount) -> None:
        message = write(number)
        take(message)
        record(message, ChannelError("Expired.", action="account", code="190", sent_ids=("w.1",)))
        channel_accounts.release(number)
        assert take(message) == ("w.1",)

    @pytest.mark.parametrize("parked", [True, False])
    def test_a_status_that_refuses_the_account_holds_it(self, number: ChannelAccount, parked: bool) -> None:
        message = write(number)
        take(message)
        refused = {"message_id": None, "action": "account", "error": "Pay your bill."}
        if not parked:
            record(message, Sent(("w.1",)))
        told(message, "failed", "w.1", **refused)
        if parked:
            record(message, Sent(("w.1",)))
        assert (message.status, number.state, number.state_reason) == ("failed", "attention", "Pay your bill.")


class TestDetails:
    @pytest.mark.parametrize("parked", [True, False])
    def test_what_a_message_costs_is_shown(
        self, app: Any, acme: Business, alice: Any, number: ChannelAccount, parked: bool
    ) -> None:
        price = {"billable": True, "category": "service"}
        message = write(number)
        take(message)
        if not parked:
            record(message, Sent(("w.1",)))
        told(message, "sent", "w.1", message_id=None, extra=price)
        if parked:
            record(message, Sent(("w.1",)))
        assert message.extra.items() >= price.items()
        assert "message.changed" in events(message)
        seen = events(message)
        told(message, "sent", "w.1", extra=price)  # a repeat
        assert events(message) == seen
        shown = thread(app, alice)
        assert "billable" in shown
        assert "charges for this message (service)" in shown

    def test_one_billed_part_makes_a_message_billed(self, number: ChannelAccount) -> None:
        message = sent(number, "w.1", "w.2")
        told(message, "sent", "w.1", extra={"billable": True})
        told(message, "sent", "w.2", extra={"billable": False})
        assert message.extra["billable"] is True

    def test_a_mail_that_is_late_says_why_until_it_arrives(self, app: Any, acme: Business, alice: Any) -> None:
        message = sent(connect(acme, "email"), "<1@acme.ie>")
        assert "delayed" not in thread(app, alice)
        assert told(message, "sent", "<1@acme.ie>", extra={"delayed": "greylisted at x.example"}) == "sent"
        assert events(message)[-1] == "message.changed"
        assert "greylisted at x.example" in thread(app, alice)
        told(message, "delivered", "<1@acme.ie>")
        assert "delayed" not in thread(app, alice)


def thread(app: Any, somebody: Any) -> str:
    browser = Browser(app)
    browser.sign_in(somebody.email)
    text: str = browser.get("/inbox/all/c/1").text
    return text
