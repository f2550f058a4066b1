"""Mail from end to end: a real Dovecot, a real Exim and the worker between them, whatever happens to each."""

from __future__ import annotations

import re
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from lib.ids import uuid7
from models import Attachment, Business, ChannelAccount, Message, db, now
from services import businesses, channel_accounts, customers, messages
from services.messages import Sender
from tests import servers
from tests.callers import until
from tests.channels.exim import EXIM, Exim
from tests.channels.mail_servers import DOVECOT, PASSWORD, Dovecot
from tests.ports import free_ports
from tests.processes import Live

pytestmark = pytest.mark.skipif(
    not (DOVECOT and EXIM), reason="Mail servers are not installed (apt-get install dovecot-imapd exim4-daemon-light)"
)


@dataclass
class Stage:
    """The worker with a mailbox on either side."""

    live: Live
    dovecot: Dovecot
    exim: Exim
    business: Business
    account: ChannelAccount
    listens: int

    def deliver(self, subject: str, text: str = "Hello", sender: str = "Joe <joe@x.example>", **headers: str) -> None:
        head = {"from": sender, "subject": subject, "message_id": f"<{uuid7()}@x.example>"} | headers
        lines = (f"{name.replace('_', '-')}: {value}\n" for name, value in head.items())
        self.dovecot.deliver(f"{''.join(lines)}\n{text}\n".encode())

    def answer(self, mail: Message, text: str) -> Message:
        """Write back as an agent does; whether it went, the worker tells."""
        customer = customers.get(self.business, id=str(mail.customer_id))
        said = {"channel": "email", "sender": Sender("api"), "content": text}
        reply = messages.send(self.business, customer, account_id=self.account.id, **said)
        db.session.commit()
        return reply

    def reached(self, sent: Message, status: str, *, attempts: int = 1) -> Message:
        """Wait until this became of a message, at that attempt."""

        def look() -> list[Message]:
            found = [one for one in self.messages() if one.id == sent.id]
            return [one for one in found if (one.status, one.attempts) == (status, attempts)]

        return until(look, 30)[0]

    def due(self, sent: Message) -> None:
        """Let the pause before the next attempt be over."""
        sent.next_attempt_at = now()
        db.session.commit()

    def taken(self, text: str) -> list[EmailMessage]:
        """Every copy of a mail that the customers' server has."""
        return [one for one in self.exim.mails() if text in str(one.get_body(("plain",)))]

    def messages(self) -> list[Message]:
        db.session.rollback()
        query = select(Message).where(Message.account_id == self.account.id).order_by(Message.created_at)
        return list(db.session.scalars(query, execution_options={"populate_existing": True}))

    def arrived(self, subject: str, seconds: float = 30) -> Message:
        """Wait for a mail, and make sure that it came once."""

        def look() -> list[Message]:
            return [one for one in self.messages() if one.extra.get("subject", "").startswith(subject)]

        found: list[Message] = until(look, seconds)
        assert len(found) == 1
        return found[0]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    dovecot, exim, listens = Dovecot(), Exim(), free_ports(1)[0]
    dovecot.start()
    exim.start()
    worker = getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]
    hosts = f"127.0.0.1:{dovecot.port} 127.0.0.1:{exim.port}"
    words = {"MAIL_TRUSTED_HOSTS": hosts, "MAIL_LISTEN": f"127.0.0.1:{listens}", "MAIL_MAX_BYTES": 200_000}
    live = Live(servers.provide(f"{worker}_mail"), **words)
    try:
        live.start("worker")
        with live.app.app_context():
            business = businesses.create("Acme")
            account = channel_accounts.connect(business, "email", "Support", settings(dovecot, exim))
            db.session.commit()
            yield Stage(live, dovecot, exim, business, account, listens)
            db.session.rollback()
    finally:
        live.stop()
        exim.close()
        dovecot.close()


def settings(dovecot: Dovecot, exim: Exim) -> dict[str, Any]:
    return {
        **{"address": "support@acme.ie", "user": "support", "password": PASSWORD, "poll_seconds": "60"},
        **{"imap_host": "127.0.0.1", "imap_port": str(dovecot.port), "imap_security": "none"},
        **{"smtp_host": "127.0.0.1", "smtp_port": str(exim.port), "smtp_security": "none"},
    }


def timed(wait: Callable[[], Any]) -> float:
    begun = time.monotonic()
    wait()
    return time.monotonic() - begun


def test_a_mail_is_answered_and_the_answer_to_that_comes_back_to_its_place(stage: Stage) -> None:
    stage.deliver("Question", "Is it open?")
    first = stage.arrived("Question")
    reply = stage.answer(first, "Yes, until six.")
    stage.reached(reply, "sent")
    [sent] = stage.taken("Yes, until six.")
    assert (sent["To"], sent["Subject"]) == ("joe@x.example", "Re: Question")
    assert sent["In-Reply-To"] == first.extra["message_id"]
    stage.deliver("Thanks", to=str(sent["Reply-To"]))
    assert stage.arrived("Thanks").conversation_id == first.conversation_id == reply.conversation_id


def test_while_it_idles_a_mail_comes_at_once(stage: Stage) -> None:
    stage.deliver("Warm")
    stage.arrived("Warm")
    times = []
    for number in range(3):
        stage.deliver(f"Quick {number}")
        times.append(timed(partial(stage.arrived, f"Quick {number}")))
    assert min(times) < 4


def test_mails_that_others_die_of_do_not_hold_up_the_next(stage: Stage) -> None:
    stage.deliver("x" * 280_000)
    parts = "".join(f"--b\nContent-Type: text/plain; name=f{n}.txt\n\nx\n" for n in range(2000))
    stage.deliver("Parts", f"{parts}--b--", content_type='multipart/mixed; boundary="b"')
    stage.deliver("After them")
    assert timed(lambda: stage.arrived("After them")) < 5
    assert stage.arrived("xxx").content == "Hello"
    assert "attached just as it came" in stage.arrived("Parts").content


def test_a_file_arrives_with_its_mail(stage: Stage) -> None:
    part = "--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQ=\n--b--"
    stage.deliver("With a file", part, content_type='multipart/mixed; boundary="b"')
    message = stage.arrived("With a file")

    def look() -> Any:
        db.session.rollback()
        return db.session.scalar(select(Attachment.state).where(Attachment.message_id == message.id)) == "ready"

    until(look)


def test_a_restart_of_the_mail_server_loses_and_doubles_nothing(stage: Stage) -> None:
    stage.deliver("Before")
    stage.arrived("Before")
    stage.dovecot.stop()
    stage.deliver("Meanwhile")
    stage.dovecot.start()
    stage.deliver("Afterwards")
    stage.arrived("Meanwhile")
    stage.arrived("Afterwards")
    stage.arrived("Before")


def test_an_answer_waits_for_a_mail_server_that_is_away_and_goes_once(stage: Stage) -> None:
    stage.deliver("Away")
    asked = stage.arrived("Away")
    stage.exim.stop()
    waiting = stage.reached(stage.answer(asked, "It went on."), "queued", attempts=1)
    assert "cannot be reached" in str(waiting.error)
    stage.exim.start()
    stage.due(waiting)
    stage.reached(waiting, "sent", attempts=2)
    assert len(stage.taken("It went on.")) == 1


def test_an_answer_whose_mail_server_dies_before_it_is_written_goes_once(stage: Stage) -> None:
    stage.deliver("Slow", sender="slow@x.example")
    held = stage.exim.log().count("HELD")
    reply = stage.answer(stage.arrived("Slow"), "After a while.")
    stage.exim.held(held + 1)
    stage.exim.kill()
    stage.exim.start(holding=False)
    stage.due(stage.reached(reply, "queued", attempts=1))
    stage.reached(reply, "sent", attempts=2)
    assert len(stage.taken("After a while.")) == 1
    stage.exim.stop()
    stage.exim.start()


def test_an_answer_whose_mail_server_dies_while_it_takes_it_is_never_sent_again_by_itself(stage: Stage) -> None:
    stage.deliver("A slow one")
    held = stage.exim.log().count("HELD")
    reply = stage.answer(stage.arrived("A slow one"), "Perhaps.")
    stage.exim.held(held + 1)
    stage.exim.kill()
    stage.exim.start()
    lost = stage.reached(reply, "unknown")
    assert "it may have gone out" in str(lost.error)
    assert lost.next_attempt_at is None
    assert stage.taken("Perhaps.") == []


def test_a_new_numbering_of_the_mailbox_doubles_nothing(stage: Stage) -> None:
    stage.deliver("Numbered")
    stage.arrived("Numbered")
    count = len(stage.messages())
    stage.dovecot.renumber()
    stage.deliver("Renumbered")
    stage.arrived("Renumbered")
    assert len(stage.messages()) == count + 1


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_nothing_behind(stage: Stage) -> None:
    for number in range(8):
        stage.deliver(f"Killed {number}")
    until(lambda: [one for one in stage.messages() if "Killed" in one.extra.get("subject", "")])
    stage.live.kill("worker")
    stage.deliver("Killed 8")
    stage.live.start("worker")
    for number in range(9):
        stage.arrived(f"Killed {number}", seconds=60)


class TestForwarded:
    @pytest.fixture
    def client(self, stage: Stage) -> Iterator[smtplib.SMTP]:
        def connect() -> smtplib.SMTP | None:
            try:
                return smtplib.SMTP("127.0.0.1", stage.listens, timeout=10)
            except OSError:
                return None

        with until(connect, 30) as client:
            yield client

    def mail(self, subject: str, text: str = "Hello") -> str:
        return f"From: joe@x.example\r\nSubject: {subject}\r\nMessage-ID: <{uuid7()}@x.example>\r\n\r\n{text}\r\n"

    def test_a_mail_for_a_mailbox_is_kept(self, stage: Stage, client: smtplib.SMTP) -> None:
        client.sendmail("joe@x.example", ["support+tag@acme.ie", "support@acme.ie"], self.mail("Forwarded"))
        assert stage.arrived("Forwarded").extra["from"]["address"] == "joe@x.example"
        client.sendmail("joe@x.example", [f"{stage.account.id}@in.example"], self.mail("By its id"))
        stage.arrived("By its id")

    def test_a_mail_for_nobody_is_refused(self, client: smtplib.SMTP) -> None:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            client.sendmail("joe@x.example", ["sales@acme.ie"], self.mail("x"))
        assert caught.value.recipients["sales@acme.ie"][0] == 550

    def test_a_mail_that_is_too_large_is_refused(self, client: smtplib.SMTP) -> None:
        with pytest.raises(smtplib.SMTPResponseException) as caught:
            client.sendmail("joe@x.example", ["support@acme.ie"], self.mail("x", "y" * 300_000))
        assert caught.value.smtp_code == 552

    def test_noise_harms_nobody(self, stage: Stage, client: smtplib.SMTP) -> None:
        for noise in (
            b"\x00\xff\xfe",
            b"DATA\r\nRCPT TO:<x",
            b"MAIL FROM:<" + b"a" * 5000,
            b"A" * 70_000,
            b"\r\n" * 50,
        ):
            with socket.create_connection(("127.0.0.1", stage.listens), timeout=10) as sock:
                sock.sendall(noise + b"\r\n")
                assert sock.recv(1000).startswith(b"220")
        with smtplib.SMTP("127.0.0.1", stage.listens, timeout=10) as other:
            other.sendmail("joe@x.example", ["support@acme.ie"], self.mail("After noise"))
        stage.arrived("After noise")


def test_the_logs_hold_no_password(stage: Stage) -> None:
    assert not re.search(PASSWORD, stage.live.log("worker"))
