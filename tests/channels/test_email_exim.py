"""Sending through a real SMTP server, whatever happens to it: nothing is lost, nothing comes twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import channels
from channels.base import Account, ChannelError, File, Outgoing
from demo import files
from lib.fetch import servers
from tests.channels import kinds
from tests.channels.exim import ACCEPTED, EXIM, Exim, cut_after
from tests.channels.mail_servers import PASSWORD, trusting
from tests.lib.strangers import certificate

pytestmark = pytest.mark.skipif(not EXIM, reason="Exim is not installed (apt-get install exim4-daemon-light)")
EMAIL = channels.get("email")
EVERY_BYTE = bytes(range(256)) * 40 + b"\r\n.\r\nFrom me\n..\n"
PICTURE = files.picture("hill.png")


@pytest.fixture(scope="module")
def shared() -> Iterator[Exim]:
    server = Exim()
    server.start()
    yield server
    server.close()


@pytest.fixture
def exim(shared: Exim) -> Iterator[Exim]:
    """Give a server with empty mailboxes."""
    for path in shared.folder.glob("mail/new/*"):
        path.unlink()
    with trusting(shared.port):
        yield shared


def account(port: int, **config: str) -> Account:
    given = {"smtp_host": "127.0.0.1", "smtp_port": str(port), "smtp_security": "none"}
    given |= {"user": "support", "password": PASSWORD}
    return Account(
        "a", "b", "email", "support@acme.ie", EMAIL.normalise(kinds.PROVIDERS["email"].config | given | config)
    )


def send(port: int, text: str = "Yes, we are open.", to: str = "joe@x.example", **parts: Any) -> str:
    """Send; give the mail's id."""
    sent = EMAIL.send(account(port), Outgoing(text.partition(" ")[0], to, text, **{"subject": "Order 17"} | parts))
    return sent.provider_ids[0]


def refusal(step: Callable[[], object]) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        step()
    return caught.value


def text_of(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content()).rstrip("\n")


def texts(server: Exim) -> list[str]:
    return [text_of(mail) for mail in server.mails()]


class TestSending:
    def test_text_and_files_arrive_byte_for_byte(self, exim: Exim) -> None:
        text = "Dia dhuit 😀\n.\n..two\nFrom here\n" + "x" * 3000 + "\n\tEnd"
        told = [
            File("1", "Réceipt №1.bin", "application/octet-stream", len(EVERY_BYTE), lambda: EVERY_BYTE),
            File("2", "hill.png", "image/png", len(PICTURE), lambda: PICTURE),
        ]
        sent_id = send(exim.port, text, files=told)
        [mail] = exim.mails()
        assert (mail["Message-ID"], mail["Subject"]) == (sent_id, "Order 17")
        assert text_of(mail) == text
        found = [(part.get_filename(), part.get_payload(decode=True)) for part in mail.iter_attachments()]
        assert found == [("Réceipt №1.bin", EVERY_BYTE), ("hill.png", PICTURE)]

    def test_after_starttls_the_password_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _, client = certificate(tmp_path, "localhost")
        monkeypatch.setattr(servers, "tls_context", lambda: client)
        server = Exim(tmp_path / "certificate.pem")
        server.start()
        try:
            with trusting(server.port):
                config = {"smtp_host": "localhost", "smtp_security": "starttls"}
                EMAIL.send(account(server.port, **config), Outgoing("1", "joe@x.example", "Encrypted"))
                unencrypted = refusal(lambda: send(server.port))
            assert texts(server) == ["Encrypted"]
            assert "X=TLS" in server.log()
            assert unencrypted.action == "account"
        finally:
            server.close()

    def test_a_wrong_password_is_the_accounts_trouble(self, exim: Exim) -> None:
        wrong = account(exim.port, password="wrong")
        error = refusal(lambda: EMAIL.send(wrong, Outgoing("1", "joe@x.example", "Hello")))
        assert (error.action, error.code, error.unknown) == ("account", "535", False)
        assert "Incorrect authentication data" in error.message

    def test_an_unknown_recipient_is_the_messages_end(self, exim: Exim) -> None:
        error = refusal(lambda: send(exim.port, to="nobody@x.example"))
        assert (error.action, error.code) == ("permanent", "550")
        assert "Unrouteable address" in error.message
        assert exim.mails() == []

    def test_a_mail_larger_than_it_says_it_takes_is_the_messages_end(self, exim: Exim) -> None:
        big = File("1", "film.bin", "application/octet-stream", 2_000_000, lambda: bytes(2_000_000))
        error = refusal(lambda: send(exim.port, files=[big]))
        assert (error.action, error.code) == ("permanent", "552 5.3.4")

    def test_an_address_in_another_alphabet_is_handed_over(self, exim: Exim) -> None:
        error = refusal(lambda: send(exim.port, to="jörg@x.example"))
        assert (error.action, error.code) == ("permanent", "550")  # it took the letters, and knows nobody of that name


class TestRestarted:
    @pytest.fixture
    def broken(self, exim: Exim) -> Callable[..., ChannelError]:
        """Send, kill and restart the server while it holds an answer, and give what the sender makes of that."""

        def broken(**message: Any) -> ChannelError:
            before = exim.log().count("HELD")
            errors: list[ChannelError] = []
            sender = threading.Thread(target=lambda: errors.append(refusal(lambda: send(exim.port, **message))))
            sender.start()
            exim.held(before + 1)
            exim.kill()
            exim.start()
            sender.join(20)
            [error] = errors
            return error

        return broken

    def test_while_it_is_away_a_mail_waits_and_afterwards_goes_once(self, exim: Exim) -> None:
        exim.stop()
        error = refusal(lambda: send(exim.port, "First"))
        exim.start()
        assert (error.action, error.unknown, error.retry_after) == ("retry", False, 60)
        send(exim.port, "First", attempt=2)
        assert texts(exim) == ["First"]

    def test_between_two_mails_it_loses_neither(self, exim: Exim) -> None:
        send(exim.port, "First")
        assert texts(exim) == ["First"]
        exim.stop()
        exim.start()
        send(exim.port, "Second")
        assert sorted(texts(exim)) == ["First", "Second"]

    def test_before_the_mail_was_written_it_is_sent_again(
        self, exim: Exim, broken: Callable[..., ChannelError]
    ) -> None:
        error = broken(text="First", to="slow@x.example")
        assert (error.action, error.unknown) == ("retry", False)
        send(exim.port, "First", attempt=2)
        assert texts(exim) == ["First"]

    def test_after_the_mail_was_written_nobody_knows(self, exim: Exim, broken: Callable[..., ChannelError]) -> None:
        error = broken(text="First", subject="A slow one")
        assert error.unknown
        assert texts(exim) == []  # this time it had not taken it; the sender cannot tell

    def test_an_answer_that_is_lost_leaves_a_mail_that_came_once_and_is_not_sent_again(self, exim: Exim) -> None:
        with cut_after(exim, ACCEPTED) as port, trusting(port):
            error = refusal(lambda: send(port, "First"))
        assert error.unknown
        [mail] = exim.mails()
        assert text_of(mail) == "First"
        assert send(1, "First", sent_ids=[mail["Message-ID"]], attempt=2) == mail["Message-ID"]
        assert texts(exim) == ["First"]
