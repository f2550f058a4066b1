"""Reading mailboxes on a real Dovecot: news, once each, whatever the server does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

import channels
from channels import endpoints
from channels.base import Account, Callback, ChannelError
from channels.contract import Box
from channels.email import mailbox, oauth
from lib.fetch import imap, servers
from tests.channels import kinds
from tests.channels.mail_servers import DOVECOT, PASSWORD, Dovecot, trusting
from tests.lib.strangers import certificate

pytestmark = pytest.mark.skipif(not DOVECOT, reason="Dovecot is not installed (apt-get install dovecot-imapd)")
EMAIL = channels.get("email")
ALL = {"since": "2020-01-01T00:00:00+00:00"}


@pytest.fixture(autouse=True)
def _strangers() -> Iterator[None]:
    """Trust no host but those that a test names."""
    with trusting():
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[Dovecot]:
    server = Dovecot()
    server.start()
    yield server
    server.close()


@pytest.fixture
def dovecot(shared: Dovecot) -> Iterator[Dovecot]:
    """Give a server with an empty mailbox."""
    shared.empty()
    with trusting(shared.port):
        yield shared


def account(port: int, **config: str) -> Account:
    given = {"imap_host": "127.0.0.1", "imap_port": str(port), "imap_security": "none"}
    given |= {"user": "support", "password": PASSWORD}
    return Account(
        "a", "b", "email", "support@acme.ie", EMAIL.normalise(kinds.PROVIDERS["email"].config | given | config)
    )


def mail(number: int, text: str = "Hello") -> bytes:
    head = f"From: joe@x.example\nSubject: {number}\nMessage-ID: <{number}@x.example>\n"
    return f"{head}\n{text}\n".encode()


@contextmanager
def opened(server: Dovecot, known: Sequence[str] = (), **config: str) -> Iterator[Box]:
    with EMAIL.box(account(server.port, **config), lambda ids: set(known) & set(ids)) as box:
        yield box


def news(box: Box, position: Any = None) -> tuple[list[Callback], dict[str, Any]]:
    """Give what is new, and the position behind all of it."""
    at, found = dict(position or ALL), []
    for callback, after in box.news(at):
        at = after
        if callback:
            found.append(callback)
    return found, at


def subjects(found: Sequence[Callback]) -> list[str]:
    return [callback.body.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for callback in found]


class TestNews:
    def test_each_mail_comes_once_and_in_order_and_stays_unread(self, dovecot: Dovecot) -> None:
        for number in range(3):
            dovecot.deliver(mail(number))
        with opened(dovecot) as box:
            found, at = news(box)
            assert subjects(found) == ["0", "1", "2"]
            assert news(box, at) == ([], at)
            dovecot.deliver(mail(3))
            box.wait(lambda: False)
            assert subjects(news(box, at)[0]) == ["3"]
        assert not [path for path in (dovecot.maildir / "cur").iterdir() if "S" in path.name.partition(":2,")[2]]

    def test_a_mail_says_where_it_lay_and_when_it_came(self, dovecot: Dovecot) -> None:
        dovecot.deliver(mail(1))
        with opened(dovecot) as box:
            found, at = news(box)
        [callback] = found
        assert callback.url == f"imap://127.0.0.1/INBOX;UIDVALIDITY={at['uidvalidity']}/;UID={at['uid']}"
        assert callback.headers["account"] == "support@acme.ie"
        arrived = datetime.fromisoformat(callback.headers["received"])
        assert abs(datetime.now(UTC) - arrived) < timedelta(seconds=60)
        assert EMAIL.parse(callback)[0].account == "support@acme.ie"

    def test_what_lay_there_before_the_account_was_connected_is_left_alone(self, dovecot: Dovecot) -> None:
        dovecot.deliver(mail(1))
        with opened(dovecot) as box:
            found, at = news(box, {"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
            assert found == []
            dovecot.deliver(mail(2))
            box.wait(lambda: False)
            assert subjects(news(box, at)[0]) == ["2"]

    def test_a_deleted_mail_is_passed_over(self, dovecot: Dovecot) -> None:
        for number in range(3):
            dovecot.deliver(mail(number))
        with opened(dovecot) as box:
            steps = box.news(ALL)
            assert next(steps)[0] is not None
            for folder in ("new", "cur"):
                for path in (dovecot.maildir / folder).iterdir():
                    if b"Subject: 1" in path.read_bytes():
                        path.unlink()
            rest = [callback for callback, _ in steps if callback]
        assert subjects(rest)[-1] == "2"

    def test_of_a_mail_that_is_too_large_the_beginning_comes(self, dovecot: Dovecot) -> None:
        dovecot.deliver(mail(1, "See the film.\n" + "x" * 76 + ("\n" + "x" * 76) * 20_000))
        dovecot.deliver(mail(2))
        with opened(dovecot, max_mb="1") as box:
            found, _ = news(box)
        assert (len(found[0].body), subjects(found)) == (mailbox.BEGINNING, ["1", "2"])
        assert int(found[0].headers["size"]) > 1_500_000

    def test_a_mail_of_megabytes_comes_whole(self, dovecot: Dovecot) -> None:
        dovecot.deliver(mail(1, ("x" * 76 + "\n") * 40_000))
        with opened(dovecot) as box:
            found, _ = news(box)
        assert len(found[0].body) > 3_000_000


class TestRenumbered:
    def test_a_new_uidvalidity_brings_back_only_what_is_not_known(self, dovecot: Dovecot) -> None:
        dovecot.deliver(mail(1))
        with opened(dovecot) as box:
            _, at = news(box)
        dovecot.renumber()
        dovecot.deliver(mail(2))
        with opened(dovecot, known=["<1@x.example>"]) as box:
            found, after = news(box, at)
            assert subjects(found) == ["2"]
            assert after["uidvalidity"] != at["uidvalidity"]
            assert news(box, after)[0] == []

    def test_a_look_through_that_breaks_off_goes_on_where_it_was(self, dovecot: Dovecot) -> None:
        for number in range(4):
            dovecot.deliver(mail(number))
        with opened(dovecot) as box:
            steps = box.news(ALL)
            next(steps)
            _, at = next(steps)
        with opened(dovecot) as box:
            found, _ = news(box, at)
        assert len(found) == 2


def test_another_mailbox_in_place_of_the_first_is_read_from_yesterday_on(dovecot: Dovecot) -> None:
    dovecot.deliver(mail(1))
    elsewhere = {**ALL, "uid": 99, "until": 0, "uidvalidity": 7, "place": "old@imap.acme.ie/INBOX"}
    with opened(dovecot) as box:
        found, at = news(box, elsewhere)
    assert subjects(found) == ["1"]
    assert datetime.fromisoformat(at["since"]) > datetime.now(UTC) - timedelta(days=2)


class TestWaiting:
    def test_idle_tells_of_a_mail_at_once(self, dovecot: Dovecot) -> None:
        with opened(dovecot, poll_seconds="60") as box:
            _, at = news(box)
            threading.Timer(0.5, lambda: dovecot.deliver(mail(1))).start()
            begun = time.monotonic()
            box.wait(lambda: False)
            assert time.monotonic() - begun < 10
            assert subjects(news(box, at)[0]) == ["1"]

    def test_a_server_without_idle_is_asked_from_time_to_time(
        self, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(imap._Client, "_get_capabilities", _without_idle(imap._Client._get_capabilities))
        with opened(dovecot, poll_seconds="1") as box:
            _, at = news(box)
            dovecot.deliver(mail(1))
            begun = time.monotonic()
            box.wait(lambda: False)
            assert 0.9 < time.monotonic() - begun < 8
            assert subjects(news(box, at)[0]) == ["1"]

    def test_who_stops_need_not_wait(self, dovecot: Dovecot) -> None:
        with opened(dovecot) as box:
            news(box)
            begun = time.monotonic()
            box.wait(lambda: time.monotonic() - begun > 0.2)
            assert time.monotonic() - begun < 5

    def test_a_restart_of_the_server_is_noticed_while_waiting(self, dovecot: Dovecot) -> None:
        def wait_and_look() -> None:
            with opened(dovecot) as box:
                _, at = news(box)
                threading.Timer(0.2, dovecot.stop).start()
                for _ in range(3):
                    box.wait(lambda: False)
                    news(box, at)

        with pytest.raises(ChannelError) as caught:
            wait_and_look()
        assert caught.value.action == "retry"
        dovecot.start()
        with opened(dovecot) as box:
            assert news(box)[0] == []


def _without_idle(original: Any) -> Any:
    def get(self: Any) -> None:
        original(self)
        self.capabilities = tuple(one for one in self.capabilities if one != "IDLE")

    return get


class TestSigningIn:
    def refusal(self, port: int, **config: str) -> ChannelError:
        with pytest.raises(ChannelError) as caught, EMAIL.box(account(port, **config), lambda _: set()):
            pass
        return caught.value

    def test_a_wrong_password_is_the_accounts_trouble(self, dovecot: Dovecot) -> None:
        error = self.refusal(dovecot.port, password="wrong")
        assert error.action == "account"
        assert "AUTHENTICATIONFAILED" in error.message

    def test_a_folder_that_is_not_there_is_too(self, dovecot: Dovecot) -> None:
        error = self.refusal(dovecot.port, folder="Nicht då & weg")
        assert error.action == "account"

    def test_a_folder_in_another_alphabet_is_found(self, dovecot: Dovecot) -> None:
        with opened(dovecot, folder="Entwürfe & Más") as box:
            assert news(box)[0] == []

    def test_a_server_that_is_away_is_tried_again(self, unused_port: int) -> None:
        with trusting(unused_port):
            assert self.refusal(unused_port).action == "retry"

    def test_private_addresses_are_closed_to_tenants(self) -> None:
        for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
            error = self.refusal(993, imap_host=host, imap_security="tls")
            assert (error.action, error.code) == ("account", "blocked")


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_tls_checks_who_the_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    _, client = certificate(tmp_path, "localhost")
    monkeypatch.setattr(servers, "tls_context", lambda: client)
    server = Dovecot(tmp_path / "certificate.pem")
    server.start()
    port = server.tls_port if security == "tls" else server.port
    try:
        with trusting(port):
            config = {"imap_security": security, "imap_host": "localhost"}
            with EMAIL.box(account(port, **config), lambda _: set()) as box:
                assert news(box)[0] == []
            with pytest.raises(ChannelError) as caught:
                EMAIL.box(account(port, imap_security=security), lambda _: set()).__enter__()
            assert (caught.value.action, caught.value.code) == ("account", "tls")
    finally:
        server.close()


def test_a_mailbox_opens_with_a_token(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/token").respond_with_json({"access_token": "good", "expires_in": 3599})
    httpserver.expect_request("/info", query_string="access_token=good").respond_with_json({"email": "support"})
    url = f"http://127.0.0.1:{httpserver.port}"
    server = Dovecot(tokens=f"{url}/info?access_token=")
    server.start()
    try:
        hosts = (f"127.0.0.1:{server.port}",)
        endpoints.configure(endpoints.Endpoints(google_oauth_url=url, mail_trusted_hosts=hosts))
        tokens = {"oauth": "google", "client_id": "id", "refresh_token": "r", "password": ""}
        with EMAIL.box(account(server.port, **tokens), lambda _: set()) as box:
            assert news(box)[0] == []
        oauth._kept.clear()
        httpserver.clear()
        httpserver.expect_request("/token").respond_with_json({"access_token": "another's"})
        httpserver.expect_request("/info").respond_with_json({"email": "somebody"})
        with pytest.raises(ChannelError) as caught:
            EMAIL.box(account(server.port, **tokens), lambda _: set()).__enter__()
        assert caught.value.action == "account"
    finally:
        server.close()
        for request, _ in httpserver.log:
            request.close()
