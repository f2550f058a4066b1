"""Email: a mailbox read over IMAP (or forwarded to us), answers over SMTP. Its parts: mailbox, inbound, outbound, …"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from channels import fields
from channels.base import (
    Account,
    BadSignature,
    Callback,
    ChannelError,
    Field,
    Item,
    Kind,
    Limits,
    Media,
    Outgoing,
    Reply,
    Sent,
    Token,
)
from channels.contract import Box, Channel
from channels.email import inbound, mailbox, oauth, outbound, servers
from lib import addresses, letters
from lib.fetch import imap, smtp

MIB = 1024 * 1024
_HOST, _NUMBER, _SECURITY = r"[^\s/@]{1,253}", r"\d{1,5}", ("tls", "starttls", "none")


class Email(Channel):
    kind: ClassVar[Kind] = "email"
    label: ClassVar[str] = "Email"
    polled: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = (
        Field("address", "Email address", pattern=r"[^\s@]+@[^\s@]+", hint="The address that customers write to."),
        Field("display_name", "Name that customers see", required=False),
        Field("user", "User name", required=False, hint="Left empty, the address."),
        Field(
            "password",
            "Password",
            secret=True,
            required=False,
            hint="At Google and others an app password. Not needed with OAuth.",
        ),
        Field(
            "imap_host",
            "IMAP server",
            required=False,
            pattern=_HOST,
            hint="Left empty, mail only comes in where it is forwarded to this server.",
        ),
        Field("imap_port", "IMAP port", pattern=_NUMBER, default="993"),
        Field("imap_security", "IMAP encryption", choices=_SECURITY, default="tls"),
        Field("folder", "Folder", default="INBOX"),
        Field("smtp_host", "SMTP server", pattern=_HOST),
        Field("smtp_port", "SMTP port", pattern=_NUMBER, default="587"),
        Field("smtp_security", "SMTP encryption", choices=_SECURITY, default="starttls"),
        Field("smtp_user", "SMTP user name", required=False, hint="Where it differs from the mailbox's."),
        Field("smtp_password", "SMTP password", secret=True, required=False, hint="Where it differs."),
        Field("oauth", "Sign in with OAuth at", required=False, choices=("google", "microsoft")),
        Field("client_id", "OAuth client ID", required=False),
        Field("client_secret", "OAuth client secret", secret=True, required=False),
        Field("tenant", "Microsoft tenant", pattern=r"[A-Za-z0-9.-]{1,100}", default="organizations"),
        Field("refresh_token", "OAuth refresh token", secret=True, required=False),
        Field("signature", "Signature", required=False, hint="Below every mail. Write \\n for a new line."),
        Field(
            "plus_addressing",
            "Answers to name+tag@…",
            choices=("yes", "no"),
            default="yes",
            hint="Mail servers that know no tags need “no”; answers are then matched by their headers alone.",
        ),
        Field(
            "authserv_id",
            "Trusted authentication server",
            required=False,
            hint="The first word of the Authentication-Results that your own mail server writes, like mx.google.com.",
        ),
        Field("max_mb", "Largest mail (MB)", pattern=r"[1-9]\d?", default="25"),
        Field("poll_seconds", "Look for mail every (seconds)", pattern=r"[1-9]\d{0,3}", default="60"),
    )
    limits: ClassVar[Limits] = Limits(
        text=200_000, attachments=20, media={"*/*": 20 * MIB}, total=20 * MIB, threads=True, at_once=2
    )

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        read = fields.read(self.fields, config)
        try:
            read["address"] = addresses.email(read["address"])
        except ValueError as exc:
            raise ValueError(f"address: {exc}") from None
        for name in ("imap_port", "smtp_port"):
            if not 0 < int(read[name]) < 65536:
                raise ValueError(f"{name}: must be a number from 1 to 65535")
        if read["oauth"]:
            for name in ("client_id", "refresh_token"):
                if not read[name]:
                    raise ValueError(f"{name}: is needed to sign in with OAuth")
        elif read["imap_host"] and not read["password"]:
            raise ValueError("password: is needed to read the mailbox, unless OAuth is used")
        return read

    def account_key(self, config: Mapping[str, Any]) -> str:
        return str(config["address"])

    def address(self, config: Mapping[str, Any]) -> str:
        return str(config["address"])

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        del callback, config
        return Reply(404)

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        """Mail comes by our own doors, never by an HTTP request."""
        del callback, config
        raise BadSignature("mail is not taken here")

    def parse(self, callback: Callback) -> list[Item]:
        return inbound.parse(callback)

    def reply(self, callback: Callback) -> Reply:
        del callback
        return Reply()

    def send(self, account: Account, message: Outgoing) -> Sent:
        if message.sent_ids:  # it went out, although its answer was lost
            return Sent(tuple(message.sent_ids))
        to, message_id = outbound.recipient(message.to), outbound.message_id(account, message)
        mail = outbound.write(account, message, to)
        with servers.refusals(attempt=message.attempt, sending=True):
            smtp.submit(
                servers.smtp(account.config),
                servers.smtp_login(account.config),
                account.config["address"],
                [to],
                mail,
                name=account.config["address"].rpartition("@")[2],
            )
        return Sent((message_id,))

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        """Take a file out of its mail, which is at hand."""
        del account
        mail, path = media.data, media.provider_id or ""
        if mail is None:
            raise ChannelError("The mail that brought this file is not kept any more.", code="gone")
        try:
            data = mail if path == inbound.WHOLE else letters.file(mail, path)
        except letters.Unreadable:
            raise ChannelError("This file could not be read.", code="unreadable") from None
        if len(data) > max_bytes:
            raise ChannelError(f"This file has {len(data)} bytes, and {max_bytes} are taken.", code="too_large")
        return data, media.mime, media.filename

    def check(self, account: Account) -> dict[str, Any]:
        """Sign in at both servers."""
        config, details = account.config, {}
        with servers.refusals():
            name = config["address"].rpartition("@")[2]
            smtp.probe(servers.smtp(config), servers.smtp_login(config), name=name)
            if config["imap_host"]:
                with imap.opened(servers.imap(config), servers.imap_login(config), config["folder"], most=MIB):
                    details["folder"] = config["folder"]
        return {"name": config["display_name"], "address": config["address"], "details": details}

    def subscribe(self, account: Account) -> None:
        """Do nothing: mail is fetched, or forwarded to us, without any subscription."""

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Mail tells nobody that it was read."""

    def templates(self, account: Account) -> list[dict[str, Any]]:
        del account
        return []

    def refresh(self, account: Account) -> Token | None:
        """Renew a refresh token where those end, as Microsoft's do."""
        return oauth.renewed(account.config) if account.config["oauth"] == "microsoft" else None

    def polls(self, config: Mapping[str, Any]) -> bool:
        return bool(config.get("imap_host"))

    def forwarded(self, config: Mapping[str, Any], recipient: str, mail: bytes) -> Callback:
        headers = mailbox.envelope(config) | {"recipient": recipient}
        return Callback("SMTP", f"mailto:{recipient}", headers, {}, mail)

    def box(self, account: Account, known: Callable[[Sequence[str]], set[str]]) -> AbstractContextManager[Box]:
        return mailbox.opened(account, known)
