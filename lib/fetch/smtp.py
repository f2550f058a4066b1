"""Hand one mail to a mail server. Called by the email channel, in the worker.

What counts is where it breaks off: before the last dot nothing was sent, after it nobody knows.
"""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Timer

from lib.fetch import servers, wires
from lib.fetch.rules import FetchError
from lib.fetch.servers import Login, MailRefusal, Server, Stage

TIMEOUT = 30.0  # seconds for each answer
DEADLINE = 180.0  # for all of it: a server may drip


class _Client(smtplib.SMTP):
    """The standard library's client on a socket of our door."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(local_hostname=name, timeout=TIMEOUT)
        self._server = server

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return servers.reach(self._server, timeout)


def submit(
    server: Server, login: Login | None, sender: str, recipients: Sequence[str], mail: bytes, *, name: str
) -> str:
    """Send; give the server's last words. Raise `MailRefusal`, or `FetchError`, with `sent` if nobody knows.

    `name` is how we introduce ourselves.
    """
    with _session(server, login, name) as client:
        utf8 = not (sender.isascii() and all(map(str.isascii, recipients)))
        if utf8 and not client.has_extn("smtputf8"):
            whose: Stage = "recipient" if sender.isascii() else "sender"
            raise MailRefusal(whose, 553, "5.6.7 This server takes no addresses in other alphabets")
        most = client.esmtp_features.get("size", "")
        if most.isdigit() and 0 < int(most) < len(mail):
            raise MailRefusal(
                "sender", 552, f"5.3.4 This server takes mails up to {most} bytes; this one has {len(mail)}"
            )
        options = [f"SIZE={len(mail)}"] if client.has_extn("size") else []
        options += ["SMTPUTF8"] if utf8 else []
        options += ["BODY=8BITMIME"] if client.has_extn("8bitmime") else []
        _ask(client, "sender", f"MAIL FROM:<{sender}>{''.join(f' {option}' for option in options)}", utf8)
        for recipient in recipients:
            _ask(client, "recipient", f"RCPT TO:<{recipient}>", utf8)
        _ask(client, "data", "DATA", utf8)
        client.send(_stuffed(mail))
        try:
            code, said = client.getreply()
        except (OSError, smtplib.SMTPException) as exc:
            raise _explained(exc, sent=True) from None
        if code != 250:
            raise MailRefusal("answer", code, _text(said))
        return _text(said)


def probe(server: Server, login: Login | None, *, name: str) -> None:
    """Sign in and hang up; raise what `submit` raises."""
    with _session(server, login, name):
        pass


@contextmanager
def _session(server: Server, login: Login | None, name: str) -> Iterator[_Client]:
    client = _Client(server, name)
    watch = Timer(DEADLINE, lambda: _cut(client))
    watch.daemon = True
    watch.start()
    try:
        code, said = client.connect(server.host, server.port)
        if code != 220:
            raise MailRefusal("greeting", code, _text(said))
        _greet(client)
        if server.security == "starttls":
            _encrypt(client, server)
        if login:
            _sign_in(client, login)
        yield client
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
    except (OSError, smtplib.SMTPException, UnicodeError) as exc:
        raise _explained(exc, sent=False) from None
    finally:
        watch.cancel()
        client.close()


def _greet(client: _Client) -> None:
    code, said = client.ehlo()
    if not 200 <= code <= 299:
        code, said = client.helo()
    if not 200 <= code <= 299:
        raise MailRefusal("greeting", code, _text(said))


def _encrypt(client: _Client, server: Server) -> None:
    """Encrypt or give up: what a stranger on the way could prevent is no encryption."""
    if not client.has_extn("starttls"):
        raise FetchError("tls", "The server offers no STARTTLS.")
    code, said = client.docmd("STARTTLS")
    if code != 220:
        raise MailRefusal("encrypting", code, _text(said))
    assert client.sock is not None
    client.sock = servers.tls_context().wrap_socket(client.sock, server_hostname=servers.name_of(server))
    client.file = None  # what came in the clear after the answer is not listened to
    client.helo_resp = client.ehlo_resp = None
    client.esmtp_features, client.does_esmtp = {}, False
    _greet(client)


def _sign_in(client: _Client, login: Login) -> None:
    offered = client.esmtp_features.get("auth", "").upper().split()
    if login.token:
        code, said = client.docmd("AUTH", f"XOAUTH2 {servers.encoded(login.xoauth2())}")
        if code == 334:  # the reason, in JSON; the refusal itself follows
            code, said = client.docmd("")
    elif "PLAIN" in offered or "LOGIN" not in offered:
        code, said = client.docmd("AUTH", f"PLAIN {servers.encoded(login.plain())}")
    else:
        code, said = client.docmd("AUTH", "LOGIN")
        for word in (login.user, login.password):
            if code == 334:
                code, said = client.docmd(servers.encoded(word.encode()))
    if code not in (235, 503):
        raise MailRefusal("login", code, _text(said))


def _ask(client: _Client, stage: Stage, command: str, utf8: bool) -> None:
    client.command_encoding = "utf-8" if utf8 else "ascii"
    client.putcmd(command)
    code, said = client.getreply()
    if code not in ((354,) if stage == "data" else (250, 251)):
        raise MailRefusal(stage, code, _text(said))


def _stuffed(mail: bytes) -> bytes:
    lines = mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b"\r\n.\r\n"


def _cut(client: _Client) -> None:
    if client.sock:
        with suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)


def _text(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())[:500]


def _explained(exc: BaseException, *, sent: bool) -> FetchError | MailRefusal:
    if isinstance(exc, smtplib.SMTPServerDisconnected):
        return FetchError("reset", "The mail server hung up.", sent=sent)
    if isinstance(exc, smtplib.SMTPResponseException):
        return MailRefusal("greeting", exc.smtp_code, str(exc.smtp_error)[:500])
    if isinstance(exc, (smtplib.SMTPException, UnicodeError)):
        return FetchError("protocol", "The answer is not SMTP.", sent=sent)
    found = wires.explain(exc, TIMEOUT, sent=sent)
    return FetchError(found.kind, found.message.replace("is not HTTP", "is not SMTP"), sent=found.sent)
