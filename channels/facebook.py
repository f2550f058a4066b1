"""Facebook Messenger, by Meta's Messenger Platform: the conversations of one page. Its parts are in messaging/."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from channels import endpoints, fields, meta, untrusted
from channels.base import Account, Callback, Field, Item, Kind, Limits, Media, Outgoing, Person, Rate, Reply, Sent
from channels.contract import Channel
from channels.messaging import download, errors, inbound, outbound
from channels.messaging.outbound import Body, Part

MIB = 1024 * 1024
SUBSCRIBED = (
    "messages,messaging_postbacks,message_deliveries,message_reads,message_echoes,message_reactions,message_edits,"
    "messaging_referrals,messaging_optins"
)
PICTURES = ("image/jpeg", "image/png", "image/gif")
LONGEST = 1999
VERDICTS = errors.verdicts("Messenger")
DIALECT = inbound.Dialect("Messenger", "page", other_app="Facebook inbox", light_touch_opens=True, keeps_our_id=True)
RULES = outbound.Rules(LONGEST, outbound.characters, {"messaging_type": "RESPONSE"}, quotes=True)
_TOKEN = r"[!-~]+"


class Messenger(Channel):
    kind: ClassVar[Kind] = "facebook"
    label: ClassVar[str] = "Messenger"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("page_id", "Page ID", pattern=r"\d{1,32}", hint="Digits, from the page's About → Page transparency."),
        Field("page_name", "Page name", pattern=".{1,100}", hint="As customers see it."),
        Field(
            "access_token",
            "Page access token",
            secret=True,
            pattern=_TOKEN,
            hint="With pages_messaging and pages_manage_metadata, from Messenger API settings at Meta.",
        ),
        Field("app_secret", "App secret", secret=True, pattern=_TOKEN, hint="From App settings → Basic at Meta."),
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
        text=LONGEST,
        window_hours=24,
        media={"*/*": 25 * MIB},
        text_with_attachment=False,
        rate=Rate(40),  # 300 are taken, but above 40 the page's own inbox stops
        media_rate=Rate(10),
    )

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        read = fields.read(self.fields, config)
        return read | {"verify_token": read["verify_token"] or secrets.token_urlsafe(24)}

    def account_key(self, config: Mapping[str, Any]) -> str:
        return str(config["page_id"])

    def address(self, config: Mapping[str, Any]) -> str:
        return str(config["page_name"])

    def window_hours(self, config: Mapping[str, Any]) -> int:
        return outbound.HUMAN_AGENT_HOURS if config.get("human_agent") == "yes" else self.limits.window_hours

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        return meta.handshake(callback, config)

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        meta.verify(callback, [str(config.get("app_secret") or "")])

    def parse(self, callback: Callback) -> list[Item]:
        return inbound.parse(callback.body, DIALECT)

    def reply(self, callback: Callback) -> Reply:
        del callback
        return Reply()

    def send(self, account: Account, message: Outgoing) -> Sent:
        """Make one call for each text and each file; files go along with their call, so none needs an address."""
        graph, path = _graph(account, message.attempt), f"{account.config['page_id']}/messages"

        def post(body: Body, part: Part) -> dict[str, Any]:
            if not part.file:
                return graph.post(path, {**body, "message": {"text": part.text, "metadata": message.id}}, once=True)
            kind = outbound.attachment_type(part.file.mime, PICTURES)
            attachment = {"type": kind, "payload": {"is_reusable": False}}
            form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
            form["message"] = json.dumps({"attachment": attachment, "metadata": message.id})
            return graph.upload(path, form, part.file, part.file.mime, name="filedata", once=True)

        return outbound.send(message, RULES, post, human_agent=account.config.get("human_agent") == "yes")

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Show the person that all they wrote was seen; Messenger knows no less."""
        del provider_id
        body = {"recipient": {"id": to}, "sender_action": "mark_seen"}
        _graph(account).post(f"{account.config['page_id']}/messages", body)

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        return download.fetch(_graph(account), media, max_bytes)

    def check(self, account: Account) -> dict[str, Any]:
        found = _graph(account).get(account.config["page_id"], fields="name")
        name = untrusted.text(found.get("name"))
        return {"name": name, "address": name, "details": {}}

    def subscribe(self, account: Account) -> None:
        _graph(account).post(f"{account.config['page_id']}/subscribed_apps", subscribed_fields=SUBSCRIBED)

    def templates(self, account: Account) -> list[dict[str, Any]]:
        del account
        return []

    def profile(self, account: Account, address: str) -> Person:
        found = _graph(account).get(outbound.person(address), fields="first_name,last_name")
        names = (untrusted.text(found.get(part)).strip() for part in ("first_name", "last_name"))
        return Person(address, name=" ".join(name for name in names if name), scoped_id=address)


def _graph(account: Account, attempt: int = 1) -> meta.Graph:
    at, config = endpoints.current(), account.config
    return meta.Graph(
        at.meta_graph_url, at.meta_graph_version, config["access_token"], config["app_secret"], VERDICTS, attempt
    )
