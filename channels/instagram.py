"""Instagram direct messages of one professional account, by either of Meta's logins. Its parts are in messaging/.

With Instagram Login the account has a token of its own, which is renewed before it ends; with Facebook Login it is
reached through the page it is linked to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from channels import endpoints, fields, meta, untrusted
from channels.base import (
    Account,
    Callback,
    ChannelError,
    Field,
    Item,
    Kind,
    Limits,
    Media,
    Outgoing,
    Person,
    Rate,
    Reply,
    Sent,
    Token,
)
from channels.contract import Channel
from channels.messaging import download, errors, inbound, outbound
from channels.messaging.outbound import Body, Part

MIB = 1024 * 1024
SUBSCRIBED = (
    "messages,messaging_postbacks,messaging_seen,message_reactions,messaging_referral,message_edit,message_echoes"
)
PICTURES = ("image/jpeg", "image/png")
LONGEST = 1000  # bytes of one message; a longer text goes out in several
SECRETS = ("app_secret", "instagram_app_secret")
VERDICTS = errors.verdicts("Instagram")
DIALECT = inbound.Dialect(
    "Instagram", "instagram", other_app="Instagram app", light_touch_opens=False, keeps_our_id=False
)
RULES = outbound.Rules(LONGEST, outbound.octets, {}, quotes=False)
_ID, _TOKEN = r"\d{1,32}", r"[!-~]+"


class Instagram(Channel):
    kind: ClassVar[Kind] = "instagram"
    label: ClassVar[str] = "Instagram"
    fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "login",
            "Login",
            choices=("instagram", "facebook"),
            default="instagram",
            hint="How the app was set up at Meta: with Instagram Login, or with Facebook Login through a page.",
        ),
        Field("account_id", "Instagram account ID", pattern=_ID, hint="Digits, the user_id of the account."),
        Field("username", "Instagram name", pattern=r"[A-Za-z0-9._]{1,30}", hint="Like acme.ie, with or without @."),
        Field("page_id", "Page ID", required=False, pattern=_ID, hint="Of the linked page; for Facebook Login."),
        Field(
            "access_token",
            "Access token",
            secret=True,
            pattern=_TOKEN,
            hint="With instagram_business_manage_messages; for Facebook Login that of the page.",
        ),
        Field(
            "app_secret",
            "App secret",
            secret=True,
            required=False,
            pattern=_TOKEN,
            hint="From App settings → Basic at Meta.",
        ),
        Field(
            "instagram_app_secret",
            "Instagram app secret",
            secret=True,
            required=False,
            pattern=_TOKEN,
            hint="From Instagram → API setup with Instagram login at Meta. Enter both secrets if in doubt.",
        ),
        Field(
            "verify_token",
            "Verify token",
            secret=True,
            required=False,
            pattern=_TOKEN,
            hint="Enter the same at Meta, without spaces. Left empty, one is made.",
        ),
        Field(
            "human_agent",
            "Answer for 7 days",
            choices=("no", "yes"),
            default="no",
            hint="Say yes once Meta has granted the Human Agent feature: people, not programs, may then answer longer.",
        ),
    )
    limits: ClassVar[Limits] = Limits(
        text=4 * LONGEST,
        text_unit="bytes",
        window_hours=24,
        text_with_attachment=False,
        rate=Rate(100),
        media_rate=Rate(10),
        media={
            **dict.fromkeys(PICTURES, 8 * MIB),
            **dict.fromkeys(("audio/aac", "audio/mp4", "audio/x-m4a", "audio/wav", "audio/x-wav"), 25 * MIB),
            **dict.fromkeys(("video/mp4", "video/ogg", "video/quicktime", "video/webm", "video/x-msvideo"), 25 * MIB),
            "application/pdf": 25 * MIB,
        },
    )

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        name = config.get("username")
        if isinstance(name, str):
            config = {**config, "username": name.strip().removeprefix("@")}
        read = fields.read(self.fields, config)
        if read["login"] == "facebook":
            for needed, label in (("page_id", "Page ID"), ("app_secret", "App secret")):
                if not read[needed]:
                    raise ValueError(f"{needed}: {label} is missing; Facebook Login needs it")
        elif not any(read[secret] for secret in SECRETS):
            raise ValueError("instagram_app_secret: Instagram app secret is missing")
        return read | {"verify_token": read["verify_token"] or secrets.token_urlsafe(24)}

    def account_key(self, config: Mapping[str, Any]) -> str:
        return str(config["account_id"])

    def names(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Some of Meta's callbacks name the linked page in place of the account."""
        return tuple(str(config[name]) for name in ("account_id", "page_id") if config.get(name))

    def address(self, config: Mapping[str, Any]) -> str:
        return f"@{config['username']}"

    def window_hours(self, config: Mapping[str, Any]) -> int:
        return outbound.HUMAN_AGENT_HOURS if config.get("human_agent") == "yes" else self.limits.window_hours

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        return meta.handshake(callback, config)

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        """Accept either secret: Meta does not say with which of them it signs."""
        meta.verify(callback, [str(config.get(name) or "") for name in SECRETS])

    def parse(self, callback: Callback) -> list[Item]:
        return inbound.parse(callback.body, DIALECT)

    def reply(self, callback: Callback) -> Reply:
        del callback
        return Reply()

    def send(self, account: Account, message: Outgoing) -> Sent:
        """Make one call for each piece of text and each file; Instagram fetches files from our own address."""
        graph, path = _graph(account, message.attempt), f"{_sender(account)}/messages"

        def post(body: Body, part: Part) -> dict[str, Any]:
            if not part.file:
                return graph.post(path, {**body, "message": {"text": part.text}}, once=True)
            if not part.file.url:
                raise ChannelError("This file has no address from which Instagram could fetch it.", code="no_url")
            kind = outbound.attachment_type(part.file.mime, PICTURES)
            attachment = {"type": kind, "payload": {"url": part.file.url}}
            return graph.post(path, {**body, "message": {"attachment": attachment}}, once=True)

        return outbound.send(message, RULES, post, human_agent=account.config.get("human_agent") == "yes")

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Show the person that all they wrote was seen; Instagram knows no less."""
        del provider_id
        body = {"recipient": {"id": to}, "sender_action": "mark_seen"}
        _graph(account).post(f"{_sender(account)}/messages", body)

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        return download.fetch(_graph(account), media, max_bytes)

    def check(self, account: Account) -> dict[str, Any]:
        graph, ours = _graph(account), str(account.config["account_id"])
        if _by_page(account):
            found = graph.get(ours, fields="username,name")
        else:
            found = graph.get("me", fields="user_id,username,name")
            if untrusted.identifier(found.get("user_id")) != ours:
                said = f"The access token is for another account, @{untrusted.text(found.get('username'))}."
                raise ChannelError(said, action="account", code="other_account")
        name = untrusted.text(found.get("username"))
        return {"name": untrusted.text(found.get("name")) or name, "address": f"@{name}", "details": {}}

    def subscribe(self, account: Account) -> None:
        """Ask for the account's events; a linked page needs any field of its own, and `feed` asks least."""
        graph = _graph(account)
        if _by_page(account):
            graph.post(f"{account.config['page_id']}/subscribed_apps", subscribed_fields="feed")
            return
        path = f"{account.config['account_id']}/subscribed_apps"
        try:
            graph.post(path, subscribed_fields=SUBSCRIBED)
        except ChannelError as error:
            if error.code != "100":
                raise
            # Some versions send echoes with the messages, and know no field of that name.
            graph.post(path, subscribed_fields=SUBSCRIBED.removesuffix(",message_echoes"))

    def templates(self, account: Account) -> list[dict[str, Any]]:
        del account
        return []

    def profile(self, account: Account, address: str) -> Person:
        found = _graph(account).get(outbound.person(address), fields="name,username")
        name, username = (untrusted.text(found.get(part)).strip() for part in ("name", "username"))
        return Person(address, name=name or username, username=username, scoped_id=address)

    def refresh(self, account: Account) -> Token | None:
        """Exchange a token that is at least a day old for one that lasts 60 days; pages' tokens do not end."""
        if _by_page(account):
            return None
        query = {"grant_type": "ig_refresh_token", "access_token": account.config["access_token"]}
        answer = _graph(account).get("refresh_access_token", **query)
        token, seconds = untrusted.text(answer.get("access_token")), 0.0
        with suppress(ValueError):
            seconds = float(untrusted.text(answer.get("expires_in")))
        if not token or not 0 < seconds < 10**9:
            raise ChannelError("Instagram renewed the access token but did not say it.", action="retry")
        return Token({"access_token": token}, datetime.now(UTC) + timedelta(seconds=seconds))


def _by_page(account: Account) -> bool:
    return account.config.get("login") == "facebook"


def _sender(account: Account) -> str:
    """Name the node that sends."""
    return str(account.config["page_id" if _by_page(account) else "account_id"])


def _graph(account: Account, attempt: int = 1) -> meta.Graph:
    """Reach the API of the account's login; only Facebook's own asks for the proof of the app secret."""
    at, config = endpoints.current(), account.config
    base, secret = (at.meta_graph_url, config["app_secret"]) if _by_page(account) else (at.instagram_graph_url, "")
    return meta.Graph(base, at.meta_graph_version, config["access_token"], secret, VERDICTS, attempt)
