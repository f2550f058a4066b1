"""Mails in the database: which conversation, whose, once; what bounces do; and who looks into which mailbox."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from flask import current_app
from sqlalchemy import select

import worker
from channels.base import Callback, ChannelError, Sent
from channels.email import outbound as writing
from lib import letters, reply_marks, signing
from lib.ids import uuid7
from models import (
    Attachment,
    Business,
    ChannelAccount,
    Conversation,
    Customer,
    Event,
    Mailbox,
    Message,
    Notice,
    db,
    now,
)
from models import Callback as StoredCallback
from services import (
    channel_accounts,
    conversations,
    customer_lifecycle,
    customers,
    inbound,
    mailboxes,
    messages,
    outbound,
)
from services.messages import Sender

_numbers = count(1)


def connect(business: Business, **config: str) -> ChannelAccount:
    given = {
        "address": f"support-{next(_numbers)}@acme.ie",
        "password": "x",
        "imap_host": "imap.acme.ie",
        "smtp_host": "smtp.acme.ie",
    }
    account = channel_accounts.connect(business, "email", "Support", given | config)
    db.session.commit()
    return account


@pytest.fixture
def box(acme: Business) -> ChannelAccount:
    return connect(acme)


def mail(account: ChannelAccount, text: str = "Hello", *, sender: str = "Joe <joe@x.example>", **headers: str) -> bytes:
    """Write a mail to the mailbox; `in_reply_to="<…>"` and the like become headers."""
    head = {"from": sender, "to": account.address, "subject": "Order 17", "message_id": f"<{uuid7()}@x.example>"}
    lines = (f"{name.replace('_', '-')}: {value}\n" for name, value in (head | headers).items())
    return f"{''.join(lines)}\n{text}\n".encode()


def arrives(account: ChannelAccount, raw: bytes, **headers: str) -> list[Message]:
    """Let a mail come in as the mail part does, and give the messages that came of it."""
    given = {"account": account.account_key, "authserv": ""}
    inbound.keep(account, Callback("IMAP", "imap://test", {}, {}, raw), headers=given | headers)
    db.session.commit()
    stored = db.session.scalars(select(StoredCallback).order_by(StoredCallback.id.desc()).limit(1)).one()
    before = set(db.session.scalars(select(Message.id).where(Message.account_id == account.id)))
    while worker.apply_due():  # whatever other tests left goes first
        pass
    assert db.session.get_one(StoredCallback, (stored.business_id, stored.id)).error is None
    rows = db.session.scalars(select(Message).where(Message.account_id == account.id).order_by(Message.created_at))
    return [row for row in rows if row.id not in before]


def conversation_of(message: Message) -> Conversation:
    return db.session.get_one(Conversation, (message.business_id, message.conversation_id))


def answer(message: Message, text: str = "Yes") -> tuple[Message, dict[str, Any]]:
    """Answer a mail, and give what the channel would write: the ids and the address to answer to."""
    business = db.session.get_one(Business, message.business_id)
    customer = customers.get(business, id=str(message.customer_id))
    reply = messages.send(
        business,
        customer,
        channel="email",
        sender=Sender("user", None, "Bob"),
        content=text,
        conversation=conversation_of(message),
    )
    db.session.commit()
    task = outbound.prepare(business.id, reply.id)
    db.session.commit()
    assert task is not None
    own = writing.message_id(task.account, task.message)
    outbound.record(business.id, reply.id, Sent((own,)))
    db.session.commit()
    local, _, domain = task.account.address.partition("@")
    token = task.message.thread["token"]
    return reply, {"id": own, "to": f"{local}+{token}@{domain}", "root": f"<{token}@{domain}>", "task": task}


def people(business: Business) -> list[str]:
    return list(db.session.scalars(select(Customer.name).where(Customer.business_id == business.id)))


class TestThreads:
    def test_a_first_mail_makes_a_customer_and_a_conversation_of_its_own(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box))
        [second] = arrives(box, mail(box, subject="Something else"))
        assert first.conversation_id != second.conversation_id
        assert first.customer_id == second.customer_id
        found = conversation_of(first)
        assert (found.subject, found.address, found.customer.email) == ("Order 17", "joe@x.example", "joe@x.example")
        assert (first.extra["subject"], first.extra["from"]["name"], first.sender_name) == ("Order 17", "Joe", "Joe")

    @pytest.mark.parametrize("by", ["token", "upper token", "mark", "root", "own id", "their id", "trace"])
    def test_an_answer_finds_its_conversation(self, box: ChannelAccount, by: str) -> None:
        [first] = arrives(box, mail(box, message_id="<first@x.example>"))
        _, ours = answer(first)
        headers = {
            "token": {"to": ours["to"]},
            "upper token": {"to": ours["to"].upper()},
            "mark": {"in_reply_to": ours["id"].replace("@acme.ie", "@eu-west-1.amazonses.com")},
            "root": {"references": f"<x@relay.example> {ours['root']} <unknown@x.example>"},
            "own id": {"in_reply_to": ours["id"]},
            "their id": {"references": "<first@x.example>"},
            "trace": {"delivered_to": ours["to"]},
        }[by]
        [second] = arrives(box, mail(box, subject="no relation", **headers))
        assert second.conversation_id == first.conversation_id
        assert "new_participant" not in second.extra

    def test_the_subject_alone_ties_nothing(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box))
        [second] = arrives(box, mail(box, subject="Re: Order 17"))
        assert second.conversation_id != first.conversation_id

    def test_a_token_that_somebody_made_up_proves_nothing(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box))
        _, ours = answer(first)
        local, _, domain = ours["to"].partition("@")
        for forged in (f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}", f"support+cae.aaaaaaaaaa@{domain}"):
            [other] = arrives(box, mail(box, sender="eve@y.example", to=forged))
            assert other.conversation_id != first.conversation_id

    def test_a_token_of_another_business_leads_nowhere(self, box: ChannelAccount, globex: Business) -> None:
        theirs = connect(globex)
        [first] = arrives(theirs, mail(theirs))
        _, ours = answer(first)
        [other] = arrives(box, mail(box, to=ours["to"], in_reply_to=ours["id"], references=ours["root"]))
        assert other.business_id == box.business_id
        assert other.conversation_id != first.conversation_id

    def test_a_token_of_another_mailbox_of_ours_leads_nowhere(self, box: ChannelAccount, acme: Business) -> None:
        sales = connect(acme)
        [first] = arrives(sales, mail(sales))
        _, ours = answer(first)
        [other] = arrives(box, mail(box, to=ours["to"]))
        assert other.conversation_id != first.conversation_id

    def test_a_stranger_with_a_token_joins_is_shown_as_new_and_gets_no_answers(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box))
        _, ours = answer(first)
        [second] = arrives(box, mail(box, sender="Eve <eve@y.example>", to=ours["to"], cc="mallory@y.example"))
        conversation = conversation_of(second)
        assert second.conversation_id == first.conversation_id
        assert second.extra["new_participant"] is True
        assert (second.sender_name, second.sender_id, second.customer_id) == ("Eve", None, first.customer_id)
        assert conversation.address == "joe@x.example"
        assert people(db.session.get_one(Business, box.business_id)) == ["Joe"]
        [third] = arrives(box, mail(box, sender="mallory@y.example", in_reply_to=ours["id"]))
        assert third.extra["new_participant"] is True, "a stranger brings nobody in"

    def test_a_stranger_who_only_knows_an_id_begins_a_conversation_of_their_own(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box, message_id="<first@x.example>"))
        [second] = arrives(box, mail(box, sender="eve@y.example", in_reply_to="<first@x.example>"))
        assert second.conversation_id != first.conversation_id
        assert second.customer_id != first.customer_id

    def test_whoever_was_in_copy_takes_part_but_is_not_answered(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box, message_id="<first@x.example>", cc="Ann <Ann@Y.example>"))
        [second] = arrives(box, mail(box, sender="Ann <ann@y.example>", in_reply_to="<first@x.example>"))
        assert second.conversation_id == first.conversation_id
        assert (second.sender_name, "new_participant" in second.extra) == ("Ann", False)
        assert conversation_of(first).address == "joe@x.example"

    def test_a_customer_who_asks_for_answers_elsewhere_gets_them_there(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box, message_id="<first@x.example>"))
        arrives(box, mail(box, in_reply_to="<first@x.example>", reply_to="desk@x.example"))
        assert conversation_of(first).address == "desk@x.example"

    def test_our_mail_names_the_whole_thread(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box, message_id="<1@x.example>"))
        _, ours = answer(first)
        arrives(box, mail(box, message_id="<2@x.example>", in_reply_to=ours["id"]))
        _, again = answer(first)
        assert again["task"].message.thread["references"] == ["<1@x.example>", ours["id"], "<2@x.example>"]
        assert again["task"].message.subject == "Order 17"
        assert conversation_of(first).thread["references"][-1] == again["id"]

    def test_a_new_subject_of_ours_begins_a_thread_and_none_goes_on_with_the_last(
        self, box: ChannelAccount, acme: Business
    ) -> None:
        [first] = arrives(box, mail(box))
        customer = customers.get(acme, id=str(first.customer_id))
        said = {"channel": "email", "sender": Sender("api"), "account_id": box.id, "content": "x"}
        other = messages.send(acme, customer, subject="Your invoice", **said)
        db.session.commit()
        on = messages.send(acme, customer, **said)
        db.session.commit()
        assert other.conversation_id != first.conversation_id
        assert conversation_of(other).subject == "Your invoice"
        assert on.conversation_id == other.conversation_id

    def test_an_answer_opens_a_closed_conversation_however_old_and_a_program_does_not(
        self, box: ChannelAccount, acme: Business
    ) -> None:
        [first] = arrives(box, mail(box, message_id="<first@x.example>"))
        conversation = conversation_of(first)
        conversations.set_status(acme, conversation, "closed")
        conversation.closed_at = now() - timedelta(days=90)
        db.session.commit()
        [away] = arrives(box, mail(box, in_reply_to="<first@x.example>", auto_submitted="auto-replied"))
        assert away.extra["automatic"] == "auto-replied"
        assert (conversation.status, conversation.waiting_since) == ("closed", None)
        arrives(box, mail(box, in_reply_to="<first@x.example>"))
        assert conversation.status == "open"


class TestOnce:
    def test_the_same_mail_by_two_ways_is_one_message(self, box: ChannelAccount) -> None:
        raw = mail(box)
        assert len(arrives(box, raw)) == 1
        assert arrives(box, b"Received: from elsewhere\nDelivered-To: x@y.example\n" + raw) == []

    def test_two_mails_with_one_id_are_two_messages(self, box: ChannelAccount) -> None:
        [first] = arrives(box, mail(box, "one", message_id="<form@x.example>"))
        [second] = arrives(box, mail(box, "two", message_id="<form@x.example>"))
        assert [first.content, second.content] == ["one", "two"]

    def test_mails_to_two_mailboxes_are_two_messages(self, box: ChannelAccount, acme: Business) -> None:
        sales, raw = connect(acme), mail(box)
        assert len(arrives(box, raw)) == len(arrives(sales, raw)) == 1

    def test_what_the_mailbox_sent_itself_makes_nobody(self, box: ChannelAccount, acme: Business) -> None:
        assert arrives(box, mail(box, sender=box.address)) == []
        assert arrives(box, mail(box, x_alc_loop=box.address, auto_submitted="auto-replied")) == []
        assert people(acme) == []

    def test_a_bounce_makes_nobody_either(self, box: ChannelAccount, acme: Business) -> None:
        assert arrives(box, mail(box, "550 5.1.1 unknown user", sender="MAILER-DAEMON@mx.example")) == []
        assert people(acme) == []

    def test_two_answering_machines_fall_silent(self, box: ChannelAccount) -> None:
        """Nothing of ours answers an automatic mail, and one of ours that comes back is stopped."""
        [away] = arrives(box, mail(box, auto_submitted="auto-replied"))
        assert db.session.scalars(select(Message).where(Message.conversation_id == away.conversation_id)).all() == [
            away
        ]


REPORT = """From: MAILER-DAEMON@mx.example
To: {to}
Content-Type: multipart/report; report-type={kind}; boundary=B

--B
Content-Type: text/plain

told
--B
Content-Type: message/{kind}

{fields}
--B
Content-Type: text/rfc822-headers

Message-ID: {id}
--B--
"""
DSN = """Reporting-MTA: dns; mx

Final-Recipient: rfc822; joe@x.example
Action: {}
Status: {}
Diagnostic-Code: smtp; {}"""


class TestReports:
    @pytest.mark.parametrize(
        ("kind", "fields", "status", "code"),
        [
            ("delivery-status", DSN.format("failed", "5.1.1", "550 unknown"), "failed", "5.1.1"),
            ("delivery-status", DSN.format("failed", "4.2.2", "452 full"), "sent", None),
            ("delivery-status", DSN.format("delayed", "4.4.1", "no answer"), "sent", None),
            ("delivery-status", DSN.format("delivered", "2.0.0", "ok"), "delivered", None),
            ("disposition-notification", "Disposition: manual-action/MDN-sent-manually; displayed", "read", None),
        ],
    )
    def test_what_a_program_tells_becomes_the_status_of_our_message(
        self, box: ChannelAccount, kind: str, fields: str, status: str, code: str | None
    ) -> None:
        [first] = arrives(box, mail(box))
        reply, ours = answer(first)
        report = REPORT.format(to=ours["to"], kind=kind, fields=fields, id=ours["id"]).encode()
        assert arrives(box, report) == []
        assert arrives(box, report) == []
        db.session.refresh(reply)
        assert (reply.status, reply.error_code) == (status, code)
        if status == "failed":
            assert reply.error == "The mail could not be delivered to joe@x.example: 550 unknown"

    def test_a_bounce_proves_a_mail_whose_receipt_was_lost(self, box: ChannelAccount, acme: Business) -> None:
        [first] = arrives(box, mail(box))
        customer = customers.get(acme, id=str(first.customer_id))
        conversation = conversation_of(first)
        said = {"channel": "email", "sender": Sender("api"), "content": "x", "conversation": conversation}
        message = messages.send(acme, customer, **said)
        db.session.commit()
        task = outbound.prepare(acme.id, message.id)
        db.session.commit()
        assert task is not None
        outbound.record(acme.id, message.id, ChannelError("lost", action="retry", unknown=True))
        db.session.commit()
        own = writing.message_id(task.account, task.message)
        fields = DSN.format("failed", "5.1.1", "550 unknown")
        arrives(box, REPORT.format(to=box.address, kind="delivery-status", fields=fields, id=own).encode())
        db.session.refresh(message)
        assert message.status == "failed"

    def test_a_bounce_of_anothers_mail_changes_nothing_of_ours(self, box: ChannelAccount, globex: Business) -> None:
        theirs = connect(globex)
        [first] = arrives(theirs, mail(theirs))
        reply, ours = answer(first)
        fields = DSN.format("failed", "5.1.1", "550 unknown")
        arrives(box, REPORT.format(to=box.address, kind="delivery-status", fields=fields, id=ours["id"]).encode())
        db.session.refresh(reply)
        assert reply.status == "sent"


WITH_FILES = b"""From: joe@x.example
Message-ID: <files-%d@x.example>
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

two files
--b
Content-Type: text/plain; name=a.txt
Content-Disposition: attachment

first
--b
Content-Type: application/pdf; name=b.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjQ=
--b--
"""


class TestFiles:
    def files(self, message: Message) -> list[Attachment]:
        query = select(Attachment).where(Attachment.message_id == message.id).order_by(Attachment.position)
        return list(db.session.scalars(query, execution_options={"populate_existing": True}))

    def told(self, message: Message) -> list[str]:
        query = select(Event.type).where(Event.message_id == message.id, Event.body != b"")
        return list(db.session.scalars(query))

    def test_files_are_taken_out_of_the_mail_and_then_it_is_told_of(self, box: ChannelAccount) -> None:
        [message] = arrives(box, WITH_FILES % next(_numbers))
        assert self.told(message) == []
        for file in self.files(message):
            worker.fetch_attachment(str(file.business_id), str(file.id))
        files = self.files(message)
        assert [(file.filename, file.state, file.mime) for file in files] == [
            ("a.txt", "ready", "text/plain"),
            ("b.pdf", "ready", "application/pdf"),
        ]
        stored = [current_app.extensions["storage"].get(file.storage_key) for file in files]
        assert stored == [b"first", b"%PDF-1.4"]
        assert self.told(message) == ["message.received"]

    def test_a_mail_that_is_not_kept_any_more_says_so(self, box: ChannelAccount) -> None:
        [message] = arrives(box, WITH_FILES % next(_numbers))
        db.session.query(StoredCallback).filter_by(account_id=box.id).delete()
        db.session.commit()
        for file in self.files(message):
            worker.fetch_attachment(str(file.business_id), str(file.id))
        assert {file.state for file in self.files(message)} == {"failed"}
        assert self.told(message) == ["message.received"]

    def test_a_mail_that_nobody_can_read_is_shown_as_it_came_and_the_next_is_read(
        self, box: ChannelAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: bytes) -> letters.Letter:
            raise letters.Unreadable("It took too long.")

        with monkeypatch.context() as patched:
            patched.setattr(letters, "read", refuse)
            raw = mail(box)
            [message] = arrives(box, raw)
        assert (message.kind, message.extra["from"]["address"]) == ("unsupported", "joe@x.example")
        [file] = self.files(message)
        worker.fetch_attachment(str(file.business_id), str(file.id))
        assert current_app.extensions["storage"].get(self.files(message)[0].storage_key) == raw
        assert len(arrives(box, mail(box))) == 1


def test_who_is_erased_is_gone_from_what_is_kept_raw_too(box: ChannelAccount, acme: Business) -> None:
    [message] = arrives(box, mail(box, sender="Joe <JOE@X.example>", message_id=""))
    arrives(box, mail(box, sender="ann@y.example"))
    customer_lifecycle.erase(acme, message.customer_id)
    db.session.commit()
    kept = db.session.scalars(select(StoredCallback.body).where(StoredCallback.account_id == box.id)).all()
    assert len(kept) == 1
    assert b"ann@y.example" in kept[0]


class TestMailboxes:
    def watched(self, watcher: UUID, box: ChannelAccount) -> bool:
        found = [one.account_id for one in mailboxes.watch(watcher)]
        db.session.commit()
        return box.id in found

    def test_one_process_looks_into_a_mailbox_and_another_takes_over(self, box: ChannelAccount) -> None:
        one, other = uuid7(), uuid7()
        assert self.watched(one, box)
        assert not self.watched(other, box)
        assert self.watched(one, box)
        db.session.get_one(Mailbox, (box.business_id, box.id)).watched_until = now() - timedelta(seconds=1)
        db.session.commit()
        assert self.watched(other, box)
        assert not self.watched(one, box)
        mailboxes.let_go(other)
        db.session.commit()
        assert self.watched(one, box)

    def test_what_is_paused_disconnected_or_only_forwarded_is_not_looked_into(
        self, box: ChannelAccount, acme: Business
    ) -> None:
        forwarded = connect(acme, imap_host="", password="")
        assert not self.watched(uuid7(), forwarded)
        channel_accounts.change(acme, box, paused=True)
        db.session.commit()
        assert not self.watched(uuid7(), box)

    def test_a_mail_and_the_position_behind_it_are_kept_as_one(self, box: ChannelAccount) -> None:
        self.watched(uuid7(), box)
        key, raw = (box.business_id, box.id), Callback("IMAP", "imap://x", {"account": box.address}, {}, mail(box))
        before = mailboxes.position(*key)
        assert mailboxes.keep(*key, before, raw, {"uid": 1})
        db.session.commit()
        assert not mailboxes.keep(*key, before, raw, {"uid": 1}), "another process was here first"
        db.session.commit()
        assert mailboxes.position(*key) == {"uid": 1}
        assert db.session.query(StoredCallback).filter_by(account_id=box.id).count() == 1

    def test_what_is_known_is_known_by_its_message_id(self, box: ChannelAccount) -> None:
        arrives(box, mail(box, message_id="<known@x.example>"))
        found = mailboxes.known(box.business_id, box.id, ["<known@x.example>", "<new@x.example>"])
        assert found == {"<known@x.example>"}

    def test_the_admins_are_told_once_of_a_mailbox_that_cannot_be_read(self, box: ChannelAccount) -> None:
        self.watched(uuid7(), box)
        key = (box.business_id, box.id)
        notices = select(Notice).where(Notice.subject_id == box.id, Notice.dismissed_at.is_(None))
        for _ in range(2):
            mailboxes.failed(*key, ChannelError("The mail server does not let us in.", action="account"))
            db.session.commit()
        assert len(db.session.scalars(notices).all()) == 1
        assert box.last_error == "The mail server does not let us in."
        mailboxes.works(*key)
        db.session.commit()
        assert db.session.scalars(notices).all() == []

    def test_a_server_that_is_away_for_a_moment_is_no_news(self, box: ChannelAccount) -> None:
        self.watched(uuid7(), box)
        mailboxes.failed(box.business_id, box.id, ChannelError("hung up", action="retry"))
        db.session.commit()
        assert db.session.scalars(select(Notice).where(Notice.subject_id == box.id)).all() == []

    def test_an_address_finds_its_mailbox(self, box: ChannelAccount) -> None:
        local, _, domain = box.address.partition("@")
        for recipient in (box.address, box.address.upper(), f"{local}+c4kq.9f3a1c2e5b@{domain}", f"{box.id}@anything"):
            assert [one.id for one in mailboxes.addressed(recipient)] == [box.id]
        for recipient in (f"x{box.address}", "", "@", f"{uuid7()}@anything", "a@b@c"):
            assert mailboxes.addressed(recipient) == []


def test_a_mark_proves_itself_in_any_case_and_nothing_else_does(app: Any) -> None:
    key, other = signing.derive("a" * 32, "mail"), signing.derive("b" * 32, "mail")
    message_id = uuid7()
    for number in (0, 1, 255, 256, 2**31 - 1):
        token = reply_marks.token(key, "business", number)
        assert reply_marks.number_in(key, "business", f"support+{token.upper()}@acme.ie") == number
        assert reply_marks.number_in(key, "another", f"support+{token}@acme.ie") is None
        assert reply_marks.number_in(other, "business", token) is None
        assert len(f"support-and-sales-department+{token}") <= 64
    mark = reply_marks.mark(key, message_id)
    assert reply_marks.message_in(key, f"<{mark.upper()}@x>") == message_id
    assert reply_marks.message_in(other, mark) is None
