"""What SMTP and IMAP share: where a mail server is, how we say who we are, and the encrypted way there.

Called by `smtp` and `imap`. Never speaks in the clear but to hosts that an operator's setting trusts.
"""

from __future__ import annotations

import base64
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lib.fetch import wires
from lib.fetch.calls import connect
from lib.fetch.rules import Policy, Refused, check_host

Security = Literal["tls", "starttls", "none"]
Stage = Literal["greeting", "encrypting", "login", "sender", "recipient", "data", "answer", "mailbox"]


class MailRefusal(Exception):
    """A mail server said no. `code` is SMTP's, and 0 for IMAP, which has words alone."""

    def __init__(self, stage: Stage, code: int, said: str) -> None:
        super().__init__(f"{code} {said}" if code else said)
        self.stage, self.code, self.said = stage, code, said


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server that somebody named, and where our calls may go."""

    host: str
    port: int
    security: Security
    policy: Policy


@dataclass(frozen=True, slots=True)
class Login:
    """A user with a password, or with a token of OAuth 2."""

    user: str
    password: str = ""
    token: str = ""

    def xoauth2(self) -> bytes:
        """Give the answer that Google and Microsoft want to AUTH XOAUTH2, not yet in base64."""
        return f"user={self.user}\x01auth=Bearer {self.token}\x01\x01".encode()

    def plain(self) -> bytes:
        return b"\0".join((b"", self.user.encode(), self.password.encode()))


@cache
def tls_context() -> ssl.SSLContext:
    """Give the TLS context for mail; it offers no protocol by ALPN, since some servers refuse what is not theirs."""
    return ssl.create_default_context()


def name_of(server: Server) -> str:
    """Give the host's name as certificates have it; raise `Refused` for one that we do not call."""
    target = check_host(server.host, server.port, server.policy)
    if server.security == "none" and not server.policy.trusts(target):
        raise Refused(
            f"{target.place} would be spoken to without encryption. Choose TLS or STARTTLS, or an operator lists it in "
            "MAIL_TRUSTED_HOSTS."
        )
    return target.host


def reach(server: Server, timeout: float) -> socket.socket:
    """Give a connected socket, encrypted where encryption comes first; raise `FetchError`."""
    name = name_of(server)
    sock = connect(server.host, server.port, policy=server.policy, timeout=timeout)
    if server.security != "tls":
        return sock
    try:
        return tls_context().wrap_socket(sock, server_hostname=name)
    except (OSError, ValueError) as exc:
        sock.close()
        raise wires.explain(exc, timeout, sent=False) from None
    except BaseException:
        sock.close()
        raise


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
