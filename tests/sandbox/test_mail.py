"""The mail room: a strict SMTP server, an IMAP server that other people's clients can use, and customers who write."""

from __future__ import annotations

import base64
import imaplib
import itertools
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest
from imap_tools import AND, MailBoxUnencrypted

from tests.sandbox.conftest import Box

_numbers = itertools.count(1)
JOE = "joe@x.example"


@dataclass
class Post:
    """A declared mailbox."""

    box: Box
    id: str

    def say(self, text: str = "Hello", **more: Any) -> Any:
        return self.box.control("email/say", {"account": self.id, "from": JOE, "text": text, **more})["message"]

    def people(self, **facts: Any) -> None:
        self.box.control("email/people", {"account": self.id, "from": JOE, **facts})

    def fault(self, kind: str, **more: Any) -> None:
        self.box.control("faults", {"provider": "email", "kind": kind, "account": self.id, **more})

    def chat(self, wait: int = 0) -> list[Any]:
        found: list[Any] = self.box.control(f"email/messages?account={self.id}&person={JOE}&wait={wait}")["messages"]
        return found

    def smtp(self, password: str = "secret") -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.box.ports["SMTP"], timeout=10)
        try:
            client.login(self.id, password)
        except smtplib.SMTPException:
            client.close()
            raise
        return client

    def send(self, text: str = "Hi", to: str = JOE, **headers: str) -> None:
        with self.smtp() as client:
            client.send_message(self.mail(text, to, **headers), self.id, [to])

    def mail(self, text: str, to: str = JOE, **headers: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.id, to, "An answer"
        for name, value in {"Message-ID": f"<{next(_numbers)}@acme.example>", **headers}.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(text)
        return mail

    def imap(self) -> Any:
        return MailBoxUnencrypted("127.0.0.1", self.box.ports["IMAP"]).login(self.id, "secret")


@pytest.fixture
def post(box: Box) -> Iterator[Post]:
    made = Post(box, f"support-{next(_numbers)}@acme.example")
    box.control("email/accounts", {"address": made.id, "password": "secret", "verified_name": "Acme"})
    yield made
    box.control("faults", method="DELETE")


class TestReading:
    def test_another_ones_client_reads_what_customers_write(self, post: Post) -> None:
        post.say("Is it open?", name="Joe", subject="Question")
        with post.imap() as mailbox:
            [mail] = mailbox.fetch(mark_seen=False)
            assert (mail.from_, mail.subject, mail.text.strip()) == (JOE, "Question", "Is it open?")
            assert mail.from_values.name == "Joe"
            assert 200 < mail.size < 600
            assert mailbox.folder.status()["MESSAGES"] == 1
            assert [one.uid for one in mailbox.fetch(AND(uid=f"{mail.uid}:*"), headers_only=True)] == [mail.uid]
            assert list(mailbox.fetch(AND(date_gte=mail.date.date().replace(year=2099)))) == []

    def test_idle_tells_of_a_mail(self, post: Post) -> None:
        with post.imap() as mailbox, mailbox.idle as idle:
            threading.Timer(0.3, post.say).start()
            begun = time.monotonic()
            assert b"* 1 EXISTS" in idle.poll(timeout=10)
            assert time.monotonic() - begun < 5

    def test_a_file_comes_along(self, post: Post) -> None:
        file = {"filename": "a.pdf", "mime": "application/pdf", "data": base64.b64encode(b"%PDF").decode()}
        post.say(file=file)
        with post.imap() as mailbox:
            [mail] = mailbox.fetch()
            assert [(one.filename, one.payload) for one in mail.attachments] == [("a.pdf", b"%PDF")]

    def test_any_bytes_can_lie_there(self, post: Post) -> None:
        raw = b"no mail \x00\xff at all\n" * 3
        post.box.control("email/raw", {"account": post.id, "data": base64.b64encode(raw).decode()})
        client = imaplib.IMAP4("127.0.0.1", post.box.ports["IMAP"])
        client.login(post.id, "secret")
        client.select("INBOX", readonly=True)
        _, found = client.uid("FETCH", "1:*", "(BODY.PEEK[]<3.8>)")
        assert found[0][1] == raw[3:11]  # type: ignore[index]
        client.logout()

    @pytest.mark.parametrize(
        "line",
        ["x SELECT INBOX", "x LOGIN a b", "x UID SEARCH ALL", "x LOGIN", "x NONSENSE", "", "x", "x UID", "(x) NOOP"],
    )
    def test_who_has_not_signed_in_gets_nothing(self, post: Post, line: str) -> None:
        with socket.create_connection(("127.0.0.1", post.box.ports["IMAP"]), timeout=5) as sock:
            lines = sock.makefile("rb")
            lines.readline()
            sock.sendall(f"{line}\r\nz NOOP\r\n".encode())
            assert b" OK" not in lines.readline()
            assert b"z OK" in lines.readline()
            lines.close()

    @pytest.mark.parametrize(
        "command", ["UID FETCH 1 (BODY[7])", "UID FETCH x FLAGS", "UID SEARCH SINCE 99-Foo-1", "UID SEARCH FROM joe"]
    )
    def test_what_it_cannot_do_it_says(self, post: Post, command: str) -> None:
        post.say()
        client = imaplib.IMAP4("127.0.0.1", post.box.ports["IMAP"])
        client.login(post.id, "secret")
        client.select("INBOX")
        with pytest.raises(imaplib.IMAP4.error, match="BAD"):
            client.uid(*command.removeprefix("UID ").replace("FETCH 1", "FETCH 1:*").split(" ", 2))
        client.logout()


class TestSending:
    def test_a_mail_reaches_its_customer(self, post: Post) -> None:
        post.say("Is it open?", subject="Question")
        post.send("Yes.\n.dot")
        sent, got = post.chat()
        assert (sent["direction"], got["direction"], got["text"]) == ("from_customer", "from_business", "Yes.\n.dot")
        assert got["header"] == "An answer"

    def test_a_customer_answers_in_the_thread_and_to_where_they_are_asked_to(self, post: Post) -> None:
        post.send(Reply_To=f"Acme <support+tag@{post.id.partition('@')[2]}>", References="<root@acme.example>")
        post.say("Thanks")
        with post.imap() as mailbox:
            [mail] = mailbox.fetch()
        assert mail.subject == "Re: An answer"
        assert mail.to[0].startswith("support+tag@")
        assert mail.headers["references"][0].split()[0] == "<root@acme.example>"
        assert mail.headers["in-reply-to"][0] == mail.headers["references"][0].split()[-1]

    def test_strangers_and_other_senders_are_refused(self, post: Post) -> None:
        with smtplib.SMTP("127.0.0.1", post.box.ports["SMTP"]) as client:
            client.ehlo("x")
            assert client.mail("joe@x.example")[0] == 530
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login(post.id, "wrong")
        with post.smtp() as client:
            assert client.mail("boss@acme.example")[0] == 553
            assert client.mail(post.id, ["SIZE=99999999"])[0] == 552
            assert client.docmd("DATA")[0] == 503
            client.mail(post.id)
            assert client.rcpt("nobody")[0] == 501

    def test_the_switches_of_a_customer(self, post: Post) -> None:
        post.people(unknown=True)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            post.send()
        post.people(unknown=False, bounces=True)
        post.send("lost")
        post.people(bounces=False, away=True)
        post.send("hello")
        post.send("a robot", Auto_Submitted="auto-replied")

        def mails() -> list[Any]:
            with post.imap() as mailbox:
                return list(mailbox.fetch())

        until = time.monotonic() + 10
        while len(found := mails()) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert [one.subject for one in found] == ["Undelivered Mail Returned to Sender", "Out of office"]
        assert found[0].obj.get_content_type() == "multipart/report"
        assert [one["text"] for one in post.chat() if one["direction"] == "from_business"] == ["hello", "a robot"]

    @pytest.mark.parametrize(("kind", "code"), [("rate_limit", 450), ("unavailable", 421), ("error", 550)])
    def test_trouble_before_a_mail_is_taken(self, post: Post, kind: str, code: int) -> None:
        post.fault(kind, **({"code": 550, "details": "5.7.1 No"} if kind == "error" else {}))
        with pytest.raises(smtplib.SMTPDataError) as caught:
            post.send()
        assert caught.value.smtp_code == code
        post.send()

    def test_trouble_after_it_was_taken(self, post: Post) -> None:
        post.fault("drop_after_accept")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            post.send("taken all the same")
        assert [one["text"] for one in post.chat()] == ["taken all the same"]

    def test_an_expired_login(self, post: Post) -> None:
        post.fault("expired_token", times=2)  # the client tries two ways to sign in
        with pytest.raises(smtplib.SMTPAuthenticationError):
            post.send()
        post.send()

    def test_noise_ends_only_the_connection_that_made_it(self, post: Post) -> None:
        for noise in (
            b"\x00\xff\r\n",
            b"A" * 100_000,
            b"AUTH PLAIN !!!\r\n",
            b"EHLO x\r\nAUTH LOGIN\r\n*\r\n",
            b"\r\n",
        ):
            for server in post.box.ports.values():
                with socket.create_connection(("127.0.0.1", server), timeout=5) as sock:
                    sock.sendall(noise)
                    sock.recv(1000)
        post.send()
        assert len(post.chat()) == 1


def test_a_customers_mailbox_is_a_page(post: Post) -> None:
    post.say("Is it <b>open</b>?", name="Joe", subject="Question & more")
    status, page = post.box.call("GET", f"/phone/email/{post.id}/{JOE}")
    assert status == 200
    text = page.decode()
    assert "Is it &lt;b&gt;open&lt;/b&gt;?" in text
    assert "Question &amp; more" in text
    assert "24-hour window" not in text
    status, _ = post.box.call("POST", f"/phone/email/{post.id}/new", fields={"name": "Ann Lee", "address": ""})
    assert status == 303
    status, page = post.box.call("GET", f"/phone/email/{post.id}/ann.lee@customers.example")
    assert "Ann Lee" in page.decode()


def test_mails_outlive_a_restart(new_box: Any) -> None:
    box = new_box()
    made = Post(box, "support@acme.example")
    box.control("email/accounts", {"address": made.id, "password": "secret"})
    made.say("kept", subject="Kept")
    with made.imap() as mailbox:
        before = mailbox.folder.status()
    box.stop()
    box.start()
    with made.imap() as mailbox:
        assert [one.subject for one in mailbox.fetch()] == ["Kept"]
        assert mailbox.folder.status() == before
