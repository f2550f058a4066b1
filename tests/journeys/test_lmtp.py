"""Mail that another mail server hands over by LMTP: it reaches the inbox once, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lib.ids import uuid7
from mailroom import Door
from tests.callers import Caller, business, until
from tests.ports import free_ports
from tests.processes import Live

MOST = 200_000


@pytest.fixture(scope="module")
def port(live: Live) -> Iterator[int]:
    """Open the door for LMTP in this process, on the database whose callbacks the running worker takes up."""
    place, stopped = free_ports(1)[0], threading.Event()
    door = Door(live.app, f"lmtp://127.0.0.1:{place}", MOST)
    thread = threading.Thread(target=lambda: asyncio.run(door.serve(stopped.is_set)))
    thread.start()
    yield place
    stopped.set()
    thread.join(10)


@pytest.fixture
def client(port: int) -> Iterator[smtplib.LMTP]:
    def connect() -> smtplib.LMTP | None:
        try:
            return smtplib.LMTP("127.0.0.1", port)
        except OSError:
            return None

    with until(connect) as client:
        yield client


@pytest.fixture
def acme(live: Live) -> Caller:
    return business(live)


@pytest.fixture
def address(live: Live, acme: Caller) -> str:
    """Connect a mailbox that nobody reads over IMAP: its mail is forwarded."""
    address = f"hello-{acme.business_id[-8:]}@acme.example"
    config = {"address": address, "smtp_host": "127.0.0.1", "smtp_port": live.env["SANDBOX_SMTP_PORT"]}
    wish = {"channel": "email", "name": "Hello", "config": config | {"smtp_security": "none"}}
    acme.post("/api-channels", wish)
    return address


def mail(text: str) -> str:
    head = f"From: Joe <joe@x.example>\r\nSubject: Question\r\nMessage-ID: <{uuid7()}@x.example>\r\n"
    return f"{head}\r\n{text}\r\n"


def arrived(acme: Caller, text: str) -> dict[str, Any]:
    """Wait for a mail in the inbox, and make sure that it came once."""
    found = until(lambda: [one for one in acme.messages() if one["content"] == text])
    assert len(found) == 1
    return dict(found[0])


def test_a_mail_reaches_the_inbox(client: smtplib.LMTP, acme: Caller, address: str) -> None:
    refused = client.sendmail("joe@x.example", [address], mail("Is it open?"))
    assert refused == {}
    message = arrived(acme, "Is it open?")
    assert (message["channel"], message["direction"], message["sender"]["name"]) == ("email", "inbound", "Joe")


def test_of_several_recipients_those_that_are_nobodys_are_refused_and_the_rest_is_kept(
    client: smtplib.LMTP, acme: Caller, address: str
) -> None:
    strangers = ["sales@acme.example", "nobody@elsewhere.example"]
    refused = client.sendmail("joe@x.example", [*strangers, address], mail("For one of you"))
    assert {one: code for one, (code, _) in refused.items()} == dict.fromkeys(strangers, 550)
    arrived(acme, "For one of you")


def test_a_second_recipient_is_asked_to_come_again_and_then_has_the_mail_once(
    client: smtplib.LMTP, acme: Caller, address: str
) -> None:
    tagged, same = address.replace("@", "+tag@"), mail("For both of you")
    [(again, (code, _))] = client.sendmail("joe@x.example", [address, tagged], same).items()
    assert (again, code) == (tagged, 452)  # for later: each recipient would need an answer of its own
    assert client.sendmail("joe@x.example", [again], same) == {}
    client.sendmail("joe@x.example", [address], mail("After that"))
    arrived(acme, "After that")
    arrived(acme, "For both of you")


def test_a_mail_that_is_too_large_is_refused_and_the_next_is_taken(
    client: smtplib.LMTP, acme: Caller, address: str
) -> None:
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        client.sendmail("joe@x.example", [address], mail("y" * MOST))
    assert caught.value.smtp_code == 552
    client.sendmail("joe@x.example", [address], mail("A smaller one"))
    arrived(acme, "A smaller one")
    assert len(acme.messages()) == 1


def test_a_connection_that_breaks_off_in_the_mail_leaves_nothing_and_the_whole_mail_comes_once(
    client: smtplib.LMTP, port: int, acme: Caller, address: str
) -> None:
    whole = mail("All of it")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock, sock.makefile("rb") as answers:
        answers.readline()
        for line in ("LHLO x.example", "MAIL FROM:<joe@x.example>", f"RCPT TO:<{address}>", "DATA"):
            sock.sendall(f"{line}\r\n".encode())
            while (answer := answers.readline())[3:4] == b"-":
                pass
            assert answer[:1] in (b"2", b"3"), answer
        sock.sendall(whole.encode()[:-5])
    client.sendmail("joe@x.example", [address], whole)
    arrived(acme, "All of it")
    assert len(acme.messages()) == 1


def test_it_speaks_lmtp_and_nothing_else(port: int, client: smtplib.LMTP) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as other:
        assert other.ehlo()[0] == other.helo()[0] == 500
