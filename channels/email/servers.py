"""An account's mail servers: where they are, how we sign in there, and what follows when they refuse.

https://www.iana.org/assignments/smtp-enhanced-status-codes says what the codes mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from channels import endpoints
from channels.base import Action, ChannelError
from channels.email import oauth
from lib.fetch import FetchError, Policy
from lib.fetch.servers import Login, MailRefusal, Server

PORTS = frozenset({25, 143, 465, 587, 993, 2525})
PAUSES = (60, 300, 900, 3600, 10_800, 28_800, 86_400)  # seconds: greylisting at once, a full mailbox for two days

_CREDENTIALS = frozenset({530, 534, 535, 538})
_POLICY = re.compile(r"\b5\.7\.(?:30|57|8|9|14)\b")  # Microsoft: basic authentication is off, the client may not send
_SIZE = re.compile(r"\b5\.3\.4\b|\b5\.2\.3\b")


def smtp(config: Mapping[str, Any]) -> Server:
    return Server(config["smtp_host"], int(config["smtp_port"]), config["smtp_security"], _policy())


def imap(config: Mapping[str, Any]) -> Server:
    return Server(config["imap_host"], int(config["imap_port"]), config["imap_security"], _policy())


def imap_login(config: Mapping[str, Any]) -> Login:
    """Say who we are; with OAuth a token is fetched if there is none that lasts."""
    user = config["user"] or config["address"]
    return Login(user, token=oauth.token(config)) if config["oauth"] else Login(user, config["password"])


def smtp_login(config: Mapping[str, Any]) -> Login | None:
    """Say who we are there, or nothing to a server that asks nobody."""
    if config["oauth"]:
        return imap_login(config)
    password = config["smtp_password"] or config["password"]
    return Login(config["smtp_user"] or config["user"] or config["address"], password) if password else None


@contextmanager
def refusals(*, attempt: int = 1, sending: bool = False) -> Iterator[None]:
    """Turn what mail servers and our door refuse into the one error of channels."""
    try:
        yield
    except MailRefusal as refusal:
        raise _refused(refusal, attempt) from None
    except FetchError as error:
        if error.sent and sending:
            sentence = "The mail was handed over, but its receipt was lost: it may have gone out."
            raise ChannelError(sentence, action="retry", code=error.kind, unknown=True) from None
        action: Action = "account" if error.kind in ("blocked", "tls") else "retry"
        raise ChannelError(
            f"The mail server cannot be reached: {error}", action=action, code=error.kind, retry_after=_pause(attempt)
        ) from None


def _refused(refusal: MailRefusal, attempt: int) -> ChannelError:
    code, said = refusal.code, refusal.said
    match refusal.stage:
        case "login":
            passing = 400 <= code < 500 or (not code and re.search(r"\[(UNAVAILABLE|INUSE|LIMIT)\]", said))
            sentence = f"The mail server does not let us in: {said}"
            action: Action = "retry" if passing else "account"
        case "mailbox" | "greeting" | "encrypting":
            sentence, action = f"The mail server refuses us: {said}", "retry" if code < 500 and code else "account"
        case _:
            sentence, action = _judge(refusal)
    shown = re.match(r"[245]\.\d{1,3}\.\d{1,3}", said)
    return ChannelError(
        sentence,
        action=action,
        code=" ".join(part for part in (str(code or ""), shown[0] if shown else "") if part) or "refused",
        retry_after=_pause(attempt) if action == "retry" else None,
    )


def _judge(refusal: MailRefusal) -> tuple[str, Action]:
    """Decide on a refusal of a mail, or of the one who sends it."""
    code, said = refusal.code, refusal.said
    if code in _CREDENTIALS or _POLICY.search(said):
        return f"The mail server does not let this account send: {said}", "account"
    if code < 500:
        return f"The mail server could not take this now: {code} {said}", "retry"
    if code == 552 or _SIZE.search(said):
        return f"This mail is too large: {said}", "permanent"
    if refusal.stage == "sender":
        return f"The mail server does not take mail from this address: {code} {said}", "account"
    what = "does not take mail for this address" if refusal.stage == "recipient" else "refused this mail"
    return f"The mail server {what}: {code} {said}", "permanent"


def _pause(attempt: int) -> float:
    return float(PAUSES[min(attempt, len(PAUSES)) - 1])


def _policy() -> Policy:
    here = endpoints.current()
    return Policy(tuple(here.webhook_allowed_networks), tuple(here.mail_trusted_hosts), ports=PORTS)
