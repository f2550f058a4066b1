"""What may be sent to whom: STOP and START, files that are too large together, and what only people may do late."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from flask import Flask

from channels.base import ChannelError, Inbound, Person, Receipt, Sent
from channels.sms import inbound as texts
from errors import Invalid
from lib.ids import uuid7
from models import Attachment, Business, ChannelAccount, Conversation, Message, db, now
from services import arrivals, channel_accounts, customers, messages, outbound, reach, receipts
from services.messages import Sender
from tests import factories
from tests.channels import kinds
from tests.people import Somebody

AOIFE = "+353871234567"
MIB = 1024 * 1024
AGENT = Sender("user", None, "Mary")
_numbers = count(1)


@pytest.fixture
def phone(acme: Business) -> ChannelAccount:
    account = channel_accounts.connect(acme, "sms", "Texts", dict(kinds.PROVIDERS["sms"].config))
    db.session.commit()
    return account


def says(business: Business, account: ChannelAccount, text: str, **form: str) -> Message:
    """Let a customer text, in Twilio's own words."""
    given = {"MessageSid": f"SM{next(_numbers):032x}", "From": AOIFE, "To": account.address, "Body": text} | form
    message = arrivals.receive(business, account, texts._message(given))
    db.session.commit()
    assert message is not None
    return message


def way(business: Business, message: Message) -> reach.Way:
    db.session.expire_all()
    return reach.choose(business, customers.get(business, id=str(message.customer_id)), message.channel)


def send(business: Business, message: Message, content: str = "Hi", sender: Sender = AGENT, **more: Any) -> Message:
    customer = customers.get(business, id=str(message.customer_id))
    sent = messages.send(business, customer, channel=message.channel, sender=sender, content=content, **more)
    db.session.commit()
    return sent


class TestStop:
    @pytest.mark.parametrize(
        ("text", "form"),
        [
            pytest.param("STOP", {}, id="a word that Twilio knows"),
            pytest.param("revoke ", {}, id="another one"),
            pytest.param("No more please", {"OptOutType": "STOP"}, id="a word of the business's own"),
        ],
    )
    def test_who_texts_stop_is_written_to_no_more(
        self, acme: Business, phone: ChannelAccount, text: str, form: dict[str, str]
    ) -> None:
        message = says(acme, phone, text, **form)
        closed = way(acme, message)
        assert (closed.opted_out, "START" in (closed.why_not or "")) == (True, True)
        with pytest.raises(Invalid, match="They can send START") as refused:
            send(acme, message)
        assert refused.value.code == "opted_out"

    def test_who_texts_start_is_written_to_again(self, acme: Business, phone: ChannelAccount) -> None:
        says(acme, phone, "STOP")
        message = says(acme, phone, "Unstop")
        assert not way(acme, message).opted_out
        assert send(acme, message).status == "queued"

    @pytest.mark.parametrize("text", ["HELP", "Please stop by the shop", "Hello again"])
    def test_other_words_change_nothing(self, acme: Business, phone: ChannelAccount, text: str) -> None:
        assert not way(acme, says(acme, phone, text)).opted_out
        says(acme, phone, "STOP")
        assert way(acme, says(acme, phone, text)).opted_out

    def test_the_wish_outlives_its_conversation_and_so_does_its_end(
        self, acme: Business, phone: ChannelAccount
    ) -> None:
        first = says(acme, phone, "STOP")
        place = db.session.get_one(Conversation, (acme.id, first.conversation_id))
        place.status, place.closed_at = "closed", now() - timedelta(days=9)
        db.session.commit()
        message = says(acme, phone, "A new matter")
        assert message.conversation_id != first.conversation_id
        assert way(acme, message).opted_out
        says(acme, phone, "START")
        assert not way(acme, message).opted_out

    def test_it_holds_for_the_number_that_asked(self, acme: Business, phone: ChannelAccount) -> None:
        message = says(acme, phone, "STOP")
        place = db.session.get_one(Conversation, (acme.id, message.conversation_id))
        place.address = "+353861111111"  # what the customer writes from now
        db.session.commit()
        assert not way(acme, message).opted_out

    def test_a_refusal_that_tells_of_it_closes_the_way_too(self, acme: Business, phone: ChannelAccount) -> None:
        message = says(acme, phone, "Hello")
        sent = send(acme, message)
        outbound.record(acme.id, sent.id, ChannelError("opted out", code="21610"))
        db.session.commit()
        assert way(acme, message).opted_out

    def test_so_does_one_that_comes_later(self, acme: Business, phone: ChannelAccount) -> None:
        message = says(acme, phone, "Hello")
        sent = send(acme, message)
        outbound.prepare(acme.id, sent.id)
        outbound.record(acme.id, sent.id, Sent(("SM9",)))
        receipts.apply(
            phone, Receipt("", "failed", now(), message_id=str(sent.id), provider_id="SM9", error_code="21610")
        )
        db.session.commit()
        assert way(acme, message).opted_out

    def test_another_refusal_does_not(self, acme: Business, phone: ChannelAccount) -> None:
        message = says(acme, phone, "Hello")
        outbound.record(acme.id, send(acme, message).id, ChannelError("filtered", code="30007"))
        db.session.commit()
        assert not way(acme, message).opted_out

    def test_the_api_says_so_at_once(self, app: Flask, acme: Business, alice: Somebody, phone: ChannelAccount) -> None:
        api, wish = factories.Api(app, alice.key), {"phone": AOIFE, "channel": "sms", "content": "Hi"}
        says(acme, phone, "STOP")
        answer = api.post("/api-send-message", wish)
        assert (answer.status_code, answer.json["error"]["code"]) == (422, "opted_out")
        says(acme, phone, "START")
        assert api.post("/api-send-message", wish).status_code == 202


def files(business: Business, *sizes: int, mime: str = "image/png") -> list[Attachment]:
    return [
        Attachment(business_id=business.id, id=uuid7(), filename="a", mime=mime, size=size, state="ready", source={})
        for size in sizes
    ]


class TestTotal:
    @pytest.fixture
    def ways(self, acme: Business) -> dict[str, reach.Way]:
        """Give a way by each channel, as to a customer who has just written."""
        found = {}
        for kind in ("whatsapp", "email", "sms", "facebook", "instagram"):
            account = channel_accounts.connect(acme, kind, "Acme", dict(kinds.PROVIDERS[kind].config))
            found[kind] = reach.Way(account, kind, "x", reach.channels.get(kind).limits)
        return found

    @pytest.mark.parametrize(
        ("kind", "sizes", "limit"),
        [
            pytest.param("sms", (3 * MIB, 2 * MIB + 1), 5 * MIB, id="sms"),
            pytest.param("email", (10 * MIB, 10 * MIB, 1), 20 * MIB, id="email"),
        ],
    )
    def test_files_that_are_too_large_together_are_refused_at_once(
        self, acme: Business, ways: dict[str, reach.Way], kind: str, sizes: tuple[int, ...], limit: int
    ) -> None:
        with pytest.raises(Invalid, match=f"takes {limit} in one message") as refused:
            reach.check(ways[kind], content="", attachments=files(acme, *sizes), template=False)
        assert (refused.value.code, refused.value.field) == ("files_too_large", "attachments")

    @pytest.mark.parametrize(
        ("kind", "sizes"),
        [
            pytest.param("sms", (3 * MIB, 2 * MIB), id="sms"),
            pytest.param("email", (10 * MIB, 10 * MIB), id="email"),
            pytest.param("whatsapp", (5 * MIB,) * 10, id="whatsapp"),
            pytest.param("facebook", (10 * MIB,) * 10, id="messenger"),
            pytest.param("instagram", (8 * MIB,) * 10, id="instagram"),
        ],
    )
    def test_what_just_fits_goes_and_a_call_for_each_file_has_no_total(
        self, acme: Business, ways: dict[str, reach.Way], kind: str, sizes: tuple[int, ...]
    ) -> None:
        reach.check(ways[kind], content="", attachments=files(acme, *sizes), template=False)


class TestPeople:
    def test_the_api_has_a_day_where_people_have_a_week(self, app: Flask, acme: Business, alice: Somebody) -> None:
        config = dict(kinds.PROVIDERS["facebook"].config) | {"human_agent": "yes"}
        account = channel_accounts.connect(acme, "facebook", "Acme", config)
        person = Person("222", scoped_id="222")
        item = Inbound("m_1", account.account_key, person, now() - timedelta(days=2), text="Hello")
        message = arrivals.receive(acme, account, item)
        assert message is not None
        db.session.commit()
        wish = {"customer_id": str(message.customer_id), "channel": "facebook", "content": "Hi"}
        answer = factories.Api(app, alice.key).post("/api-send-message", wish)
        assert (answer.status_code, answer.json["error"]["code"]) == (422, "window_closed")
        assert "only people may" in answer.json["error"]["message"]
        assert send(acme, message).status == "queued"
