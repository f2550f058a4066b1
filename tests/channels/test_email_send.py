"""Sending mail: what is written, by whom it is taken, and what follows when it is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

import channels
from channels import endpoints
from channels.base import Account, ChannelError, File, Outgoing, Sent
from channels.email import oauth, outbound
from channels.email import servers as mail_hosts
from lib.fetch import servers, smtp
from tests.channels import kinds
from tests.channels.mail_servers import PASSWORD, PostOffice, post_office, script, trusting
from tests.lib.strangers import certificate

EMAIL = channels.get("email")
MARK, TOKEN = "m.0197aaaabbbb7cccdddd0123456789ab.abcdefghij", "c4kq.9f3a1c2e5b"


@pytest.fixture(autouse=True)
def _strangers() -> Iterator[None]:
    """Trust no host but those that a test names."""
    with trusting():
        yield


def account(port: int, **config: str) -> Account:
    given = {"smtp_host": "127.0.0.1", "smtp_port": str(port), "smtp_security": "none", "password": PASSWORD}
    read = EMAIL.normalise(kinds.PROVIDERS["email"].config | given | config)
    return Account("a", "b", "email", "support@acme.ie", read)


def outgoing(text: str = "Yes, we are open.", to: str = "joe@x.example", **parts: Any) -> Outgoing:
    return Outgoing("0197aaaa-bbbb-7ccc-dddd-0123456789ab", to, text, **{"subject": "Order 17"} | parts)


def refusal(send: Callable[[], object]) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        send()
    return caught.value


@pytest.fixture(scope="module")
def open_office() -> Iterator[PostOffice]:
    with post_office() as started:
        yield started


@pytest.fixture
def office(open_office: PostOffice) -> Iterator[PostOffice]:
    open_office.taken.clear()
    with trusting(open_office.port):
        yield open_office


def sent(office: PostOffice, message: Outgoing, **config: str) -> EmailMessage:
    EMAIL.send(account(office.port, **config), message)
    return office.mail()


class TestWhatIsWritten:
    def test_an_answer_carries_all_that_ties_it_to_its_thread(self, office: PostOffice) -> None:
        thread = {"references": ["<1@x.example>", "<2@x.example>"], "token": TOKEN, "mark": MARK}
        answer = EMAIL.send(account(office.port), outgoing(thread=thread))
        mail, (sender, recipients, _) = office.mail(), office.taken[-1]
        assert (sender, recipients) == ("support@acme.ie", ["joe@x.example"])
        assert mail["From"] == "Acme Support <support@acme.ie>"
        assert mail["Reply-To"] == f"Acme Support <support+{TOKEN}@acme.ie>"
        assert mail["Subject"] == "Re: Order 17"
        assert mail["Message-ID"] == f"<{MARK}@acme.ie>"
        assert mail["In-Reply-To"] == "<2@x.example>"
        assert mail["References"].split() == [f"<{TOKEN}@acme.ie>", "<1@x.example>", "<2@x.example>"]
        assert mail["Auto-Submitted"] is None
        assert answer == Sent((f"<{MARK}@acme.ie>",))

    def test_text_and_html_say_the_same_and_html_in_the_text_stays_text(self, office: PostOffice) -> None:
        mail = sent(office, outgoing("See <b>https://x.example/a?b=1&c=2</b>\nBye"), signature="Acme\\nDublin")
        plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
        assert plain is not None
        assert html is not None
        assert (
            plain.get_content().replace("\r\n", "\n")
            == "See <b>https://x.example/a?b=1&c=2</b>\nBye\n\n-- \nAcme\nDublin\n"
        )
        assert '&lt;b&gt;<a href="https://x.example/a?b=1&amp;c=2">' in html.get_content()

    def test_files_come_along_with_their_names_and_types(self, office: PostOffice) -> None:
        files = [
            File("1", "Réceipt №1.pdf", "application/pdf", 4, lambda: b"%PDF"),
            File("2", "note.txt", "text/plain; charset=utf-8", 3, lambda: b"\xff\x00x"),
            File("3", "old.eml", "message/rfc822", 4, lambda: b"A: b"),
            File("4", "odd", "nonsense", 1, lambda: b"x"),
        ]
        found = list(sent(office, outgoing(files=files)).iter_attachments())
        assert [part.get_filename() for part in found] == ["Réceipt №1.pdf", "note.txt", "old.eml", "odd"]
        assert [part.get_payload(decode=True) for part in found] == [b"%PDF", b"\xff\x00x", b"A: b", b"x"]
        assert [part.get_content_type() for part in found[2:]] == ["application/octet-stream"] * 2

    def test_a_dot_at_the_beginning_of_a_line_and_a_long_line_arrive(self, office: PostOffice) -> None:
        text = "..\n.hidden\n" + "x" * 3000 + "\nEnde"
        plain = sent(office, outgoing(text)).get_body(("plain",))
        assert plain is not None
        assert plain.get_content().replace("\r\n", "\n") == text + "\n"
        assert max(map(len, office.taken[-1][2].split(b"\r\n"))) < 998

    @pytest.mark.parametrize(
        ("subject", "before", "shown"),
        [
            ("Order 17", [], "Order 17"),
            ("AW: Order", ["<1@x>"], "AW: Order"),
            ("Ceist\r\nBcc: x@y.ie", [], "Ceist Bcc: x@y.ie"),
            ("Fáilte 😀 " + "ü" * 150, ["<1@x>"], "Re: Fáilte 😀 " + "ü" * 150),
            (None, [], "Yes, we are open."),
        ],
    )
    def test_the_subject(self, office: PostOffice, subject: str | None, before: list[str], shown: str) -> None:
        mail = sent(office, outgoing(subject=subject, thread={"references": before}))
        assert mail["Subject"] == shown
        assert mail["Bcc"] is None

    def test_a_long_thread_keeps_its_root_and_its_end_and_no_id_is_encoded(self, office: PostOffice) -> None:
        before = [f"<{'x' * 100}{number}@mail.example>" for number in range(60)] + ["<bad id>", "<é@x>"]
        mail = sent(office, outgoing(thread={"references": before, "token": TOKEN, "mark": MARK}))
        kept = mail["References"].split()
        assert (len(kept), kept[1], kept[-1]) == (outbound.KEPT_IDS, before[0], before[59])
        assert b"=?" not in office.taken[-1][2].partition(b"\r\nFrom:")[0]

    def test_without_plus_addressing_the_mailbox_itself_is_answered(self, office: PostOffice) -> None:
        mail = sent(office, outgoing(thread={"token": TOKEN}), plus_addressing="no")
        assert mail["Reply-To"] is None
        assert mail["References"] == f"<{TOKEN}@acme.ie>"

    def test_what_a_program_writes_says_so(self, office: PostOffice) -> None:
        mail = sent(office, outgoing(automatic=True))
        assert mail["Auto-Submitted"] == "auto-replied"
        assert (mail["X-Auto-Response-Suppress"], mail["Precedence"]) == ("All", "auto_reply")
        assert mail["X-ALC-Loop"] == "support@acme.ie"

    def test_every_try_carries_the_same_id(self, office: PostOffice) -> None:
        for attempt in (1, 2):
            EMAIL.send(account(office.port), outgoing(thread={"mark": MARK}, attempt=attempt))
        ids = {re.search(rb"Message-ID: (\S+)", mail)[1] for _, _, mail in office.taken}  # type: ignore[index]
        assert ids == {f"<{MARK}@acme.ie>".encode()}

    @pytest.mark.parametrize("to", ["joe", "joe@x.example>\r\nRCPT TO:<ann@y.example", "a@b@c.ie", "", "@x.example"])
    def test_what_is_no_address_is_refused_before_anybody_is_asked(self, to: str) -> None:
        error = refusal(lambda: EMAIL.send(account(1), outgoing(to=to)))
        assert (error.action, error.code) == ("permanent", "bad_recipient")


class TestSigningIn:
    def test_starttls_comes_before_the_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        server, client = certificate(tmp_path, "localhost")
        monkeypatch.setattr(servers, "tls_context", lambda: client)
        with post_office(server) as office, trusting(office.port):
            config = {"smtp_host": "localhost", "smtp_security": "starttls", "user": "joe"}
            EMAIL.send(account(office.port, **config), outgoing())
            assert office.logins == [("PLAIN", b"joe")]
            unencrypted = refusal(lambda: EMAIL.send(account(office.port), outgoing()))
        assert (unencrypted.action, unencrypted.code) == ("account", "530")

    def test_a_certificate_of_another_name_holds_the_account(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server, client = certificate(tmp_path, "other.example")
        monkeypatch.setattr(servers, "tls_context", lambda: client)
        with post_office(server) as office, trusting(office.port):
            error = refusal(lambda: EMAIL.send(account(office.port, smtp_security="starttls"), outgoing()))
        assert (error.action, error.code, office.taken) == ("account", "tls", [])

    def test_without_starttls_no_password_leaves(self) -> None:
        with script() as server, trusting(server.port):
            error = refusal(lambda: EMAIL.send(account(server.port, smtp_security="starttls"), outgoing()))
        assert (error.action, error.code) == ("account", "tls")
        assert [line.partition(" ")[0].upper() for line in server.said] == ["EHLO"]

    def test_no_encryption_is_for_hosts_that_the_operator_trusts(self, office: PostOffice) -> None:
        endpoints.configure(endpoints.Endpoints())
        error = refusal(lambda: EMAIL.send(account(office.port), outgoing()))
        assert (error.action, error.code) == ("account", "blocked")

    @pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 587), ("169.254.169.254", 25), ("8.8.8.8", 22)])
    def test_no_mail_server_is_no_door_into_our_network(self, host: str, port: int) -> None:
        config = {"smtp_host": host, "smtp_security": "starttls"}
        error = refusal(lambda: EMAIL.send(account(port, **config), outgoing()))
        assert (error.action, error.code) == ("account", "blocked")

    def test_a_wrong_password_holds_the_account(self, office: PostOffice) -> None:
        error = refusal(lambda: EMAIL.send(account(office.port, smtp_password="wrong"), outgoing()))
        assert (error.action, error.code) == ("account", "535 5.7.8")

    def test_a_relay_that_asks_nobody_is_told_nothing(self) -> None:
        with script() as server, trusting(server.port):
            EMAIL.send(account(server.port, password="", imap_host=""), outgoing())
        assert not [line for line in server.said if "AUTH" in line]

    def test_where_plain_is_not_offered_login_is_used(self) -> None:
        with script(ehlo="250-x\r\n250 AUTH LOGIN", auth="535 no") as server, trusting(server.port):
            refusal(lambda: EMAIL.send(account(server.port), outgoing()))
        assert "AUTH LOGIN" in server.said


class TestOAuth:
    @pytest.fixture
    def microsoft(self, httpserver: HTTPServer) -> HTTPServer:
        oauth._kept.clear()
        return httpserver

    def config(self, port: int, **more: str) -> Account:
        given = {"oauth": "microsoft", "client_id": "id", "client_secret": "s", "refresh_token": "r", "tenant": "acme"}
        return account(port, **given | more)

    def send(self, web: HTTPServer, port: int, times: int = 1, **config: str) -> None:
        url = f"http://127.0.0.1:{web.port}"
        hosts = (f"127.0.0.1:{port}",)
        endpoints.configure(
            endpoints.Endpoints(microsoft_login_url=url, google_oauth_url=url, mail_trusted_hosts=hosts)
        )
        try:
            for _ in range(times):
                EMAIL.send(self.config(port, **config), outgoing())
        finally:
            endpoints.configure(endpoints.Endpoints())

    def test_a_token_is_fetched_once_and_shown_to_the_mail_server(self, microsoft: HTTPServer) -> None:
        microsoft.expect_ordered_request("/acme/oauth2/v2.0/token", method="POST").respond_with_json(
            {"access_token": "ey-1", "expires_in": 3599}
        )
        with script() as server:
            self.send(microsoft, server.port, times=2)
        request, _ = microsoft.log[0]
        assert request.form["grant_type"] == "refresh_token"
        assert "SMTP.Send" in request.form["scope"]
        auth = [line for line in server.said if line.startswith("AUTH")]
        assert auth == ["AUTH XOAUTH2 " + "dXNlcj1zdXBwb3J0QGFjbWUuaWUBYXV0aD1CZWFyZXIgZXktMQEB"] * 2
        request.close()

    def test_microsofts_refresh_tokens_are_renewed_before_they_end(self, microsoft: HTTPServer) -> None:
        url = f"http://127.0.0.1:{microsoft.port}"
        microsoft.expect_request("/acme/oauth2/v2.0/token").respond_with_json({"refresh_token": "r-2"})
        endpoints.configure(endpoints.Endpoints(microsoft_login_url=url))
        token = EMAIL.refresh(self.config(1))
        endpoints.configure(endpoints.Endpoints())
        assert token is not None
        assert token.config == {"refresh_token": "r-2"}
        assert EMAIL.refresh(self.config(1, oauth="google")) is None
        microsoft.log[0][0].close()

    @pytest.mark.parametrize(
        ("status", "answer", "action"),
        [
            (400, {"error": "invalid_grant", "error_description": "expired\r\nTrace: 1"}, "account"),
            (503, {"error": "temporarily_unavailable"}, "retry"),
            (500, {}, "retry"),
            (200, {"token": "none"}, "retry"),
        ],
    )
    def test_refusals(self, microsoft: HTTPServer, status: int, answer: dict[str, str], action: str) -> None:
        microsoft.expect_request("/token").respond_with_json(answer, status=status)
        with script() as server:
            error = refusal(lambda: self.send(microsoft, server.port, oauth="google"))
        assert error.action == action
        assert "Trace" not in error.message
        microsoft.log[0][0].close()

    def test_a_refused_token_tells_why_only_after_an_empty_line(self, microsoft: HTTPServer) -> None:
        microsoft.expect_request("/token").respond_with_json({"access_token": "old", "expires_in": "3599"})
        with script(auth="334 eyJzdGF0dXMiOiI0MDAifQ==") as server:
            server.on_empty_line = "535 5.7.8 token expired"
            error = refusal(lambda: self.send(microsoft, server.port, oauth="google"))
        assert (error.action, error.code) == ("account", "535 5.7.8")
        microsoft.log[0][0].close()


REFUSALS = [
    ({"greeting": "421 4.3.2 busy"}, "retry", "421 4.3.2"),
    ({"greeting": "554 5.7.1 your address is blocked"}, "account", "554 5.7.1"),
    ({"auth": "535 5.7.8 bad credentials"}, "account", "535 5.7.8"),
    ({"auth": "454 4.7.0 temporary failure"}, "retry", "454 4.7.0"),
    ({"mail": "550 5.7.30 Basic authentication is not supported"}, "account", "550 5.7.30"),
    ({"mail": "530 5.7.57 Client not authenticated"}, "account", "530 5.7.57"),
    ({"mail": "553 5.7.1 not your address"}, "account", "553 5.7.1"),
    ({"mail": "552 5.3.4 too large"}, "permanent", "552 5.3.4"),
    ({"mail": "451 4.7.1 later"}, "retry", "451 4.7.1"),
    ({"rcpt": "550 5.1.1 no such user"}, "permanent", "550 5.1.1"),
    ({"rcpt": "450 4.2.0 greylisted"}, "retry", "450 4.2.0"),
    ({"rcpt": "452 4.2.2 mailbox full"}, "retry", "452 4.2.2"),
    ({"data": "554 5.5.1 no"}, "permanent", "554 5.5.1"),
    ({"dot": "554 5.7.1 spam"}, "permanent", "554 5.7.1"),
    ({"dot": "552 5.2.3 exceeds"}, "permanent", "552 5.2.3"),
    ({"dot": "451 4.3.0 try again"}, "retry", "451 4.3.0"),
    ({"dot": "550 5.7.30 Basic authentication is not supported"}, "account", "550 5.7.30"),
]


class TestRefusals:
    @pytest.mark.parametrize(("answers", "action", "code"), REFUSALS)
    def test_each_answer_has_its_consequence(self, answers: dict[str, str], action: str, code: str) -> None:
        with script(**answers) as server, trusting(server.port):
            error = refusal(lambda: EMAIL.send(account(server.port), outgoing()))
        assert (error.action, error.code, error.unknown) == (action, code, False)
        assert next(iter(answers.values())).partition(" ")[2].partition(" ")[2] in error.message

    @pytest.mark.parametrize("where", ["greeting", "ehlo", "auth", "mail", "rcpt", "data"])
    def test_a_connection_lost_before_the_mail_is_tried_again(self, where: str) -> None:
        with script(**{where: None}) as server, trusting(server.port):
            error = refusal(lambda: EMAIL.send(account(server.port), outgoing()))
        assert (error.action, error.unknown) == ("retry", False)

    def test_a_connection_lost_after_the_mail_is_never_tried_again_by_itself(self) -> None:
        with script(dot=None) as server, trusting(server.port):
            error = refusal(lambda: EMAIL.send(account(server.port), outgoing()))
        assert error.unknown
        assert server.said[-1] == "."

    def test_a_server_that_is_not_there_is_tried_again(self, unused_port: int) -> None:
        with trusting(unused_port):
            error = refusal(lambda: EMAIL.send(account(unused_port), outgoing()))
        assert (error.action, error.code, error.unknown) == ("retry", "refused", False)

    def test_tries_grow_apart_up_to_two_days(self) -> None:
        waits = []
        with script(rcpt="450 4.2.0 greylisted") as server, trusting(server.port):
            for attempt in range(1, 8):
                message = outgoing(attempt=attempt)
                waits.append(refusal(lambda message=message: EMAIL.send(account(server.port), message)).retry_after)
        assert waits == sorted(waits)
        assert (waits[0], 24 * 3600 < sum(waits) < 48 * 3600) == (60, True)

    def test_a_mail_larger_than_the_server_takes_is_not_sent(self, office: PostOffice) -> None:
        with post_office(size=5000) as small, trusting(small.port):
            error = refusal(lambda: EMAIL.send(account(small.port), outgoing("x" * 6000)))
        assert (error.action, error.code, small.taken) == ("permanent", "552 5.3.4", [])

    def test_an_address_in_another_alphabet_needs_a_server_that_takes_it(self, office: PostOffice) -> None:
        EMAIL.send(account(office.port), outgoing(to="jörg@x.example"))
        assert office.taken[-1][1] == ["jörg@x.example"]
        with script() as server, trusting(server.port):
            error = refusal(lambda: EMAIL.send(account(server.port), outgoing(to="jörg@x.example")))
        assert (error.action, error.code) == ("permanent", "553 5.6.7"), "one person's address is no trouble of ours"

    def test_an_address_of_ours_in_another_alphabet_is_trouble_with_the_account(self) -> None:
        def submit() -> None:
            with mail_hosts.refusals():
                here = mail_hosts.smtp(account(server.port).config)
                smtp.submit(here, None, "büro@acme.ie", ["joe@x.example"], b"Hello", name="acme.ie")

        with script() as server, trusting(server.port):
            error = refusal(submit)
        assert (error.action, error.code) == ("account", "553 5.6.7")

    def test_a_message_that_is_known_to_have_gone_is_not_sent_again(self) -> None:
        assert EMAIL.send(account(1), outgoing(sent_ids=["<1@acme.ie>"])) == Sent(("<1@acme.ie>",))
