"""WhatsApp, by Meta's Cloud API: the channel itself. Its parts: inbound (and content), outbound, errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from channels import endpoints, fields, meta, untrusted
from channels.base import (
    Account,
    Callback,
    ChannelError,
    Field,
    File,
    Item,
    Kind,
    Limits,
    Media,
    Outgoing,
    Rate,
    Reply,
    Sent,
)
from channels.contract import Channel
from channels.whatsapp import download, inbound, outbound
from channels.whatsapp.errors import VERDICTS

KIB, MIB = 1024, 1024 * 1024
_ID, _NUMBER, _TOKEN = r"\d{1,32}", r"\+\d{5,20}", r"[!-~]+"
_TEMPLATE_FIELDS = "id,name,language,status,category,parameter_format,components,rejected_reason,quality_score"
_OFFICE = "application/vnd.openxmlformats-officedocument"


class WhatsApp(Channel):
    kind: ClassVar[Kind] = "whatsapp"
    label: ClassVar[str] = "WhatsApp"
    fields: ClassVar[tuple[Field, ...]] = (
        Field("phone_number_id", "Phone number ID", pattern=_ID, hint="Digits, from WhatsApp → API Setup at Meta."),
        Field("business_account_id", "WhatsApp Business account ID", pattern=_ID, hint="Digits, from API Setup."),
        Field("phone_number", "Phone number", pattern=_NUMBER, hint="With its country code, like +353 1 600 0000."),
        Field(
            "access_token",
            "Access token",
            secret=True,
            pattern=_TOKEN,
            hint="A permanent system user token with whatsapp_business_messaging and whatsapp_business_management.",
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
    )
    limits: ClassVar[Limits] = Limits(
        text=4096,
        caption=outbound.CAPTION,
        window_hours=24,
        templates=True,
        rate=Rate(80),
        person_rate=Rate(10, 60),  # one each 6 s; 45 at once are taken, but lent: the next ones wait for all of them
        media={
            **dict.fromkeys(("image/jpeg", "image/png"), 5 * MIB),
            "image/webp": 500 * KIB,
            **dict.fromkeys(("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"), 16 * MIB),
            **dict.fromkeys(("video/mp4", "video/3gpp"), 16 * MIB),
            **dict.fromkeys(("application/pdf", "text/plain"), 100 * MIB),
            **dict.fromkeys((f"application/{x}" for x in ("msword", "vnd.ms-excel", "vnd.ms-powerpoint")), 100 * MIB),
            f"{_OFFICE}.wordprocessingml.document": 100 * MIB,
            f"{_OFFICE}.spreadsheetml.sheet": 100 * MIB,
            f"{_OFFICE}.presentationml.presentation": 100 * MIB,
        },
    )

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        number = config.get("phone_number")
        if isinstance(number, str):
            config = {**config, "phone_number": re.sub(r"[\s()./-]", "", number)}
        read = fields.read(self.fields, config)
        return read | {"verify_token": read["verify_token"] or secrets.token_urlsafe(24)}

    def account_key(self, config: Mapping[str, Any]) -> str:
        return str(config["phone_number_id"])

    def names(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """News of templates name the business account, which may have several numbers."""
        return tuple(str(config[name]) for name in ("phone_number_id", "business_account_id"))

    def address(self, config: Mapping[str, Any]) -> str:
        return str(config["phone_number"])

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        return meta.handshake(callback, config)

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        meta.verify(callback, [str(config.get("app_secret") or "")])

    def parse(self, callback: Callback) -> list[Item]:
        return inbound.parse(callback.body)

    def reply(self, callback: Callback) -> Reply:
        del callback
        return Reply()

    def send(self, account: Account, message: Outgoing) -> Sent:
        """Make the calls that are not yet made (`message.sent_ids`); an error carries the ids of those that were."""
        graph = _graph(account, message.attempt)
        number = account.config["phone_number_id"]
        sent, address = list(message.sent_ids), None
        try:
            to = outbound.recipient(message.to)
            for make in outbound.calls(message, lambda file: _upload(graph, number, file))[len(sent) :]:
                body = {"messaging_product": "whatsapp", "recipient_type": "individual", **to, **make()}
                body["biz_opaque_callback_data"] = message.id
                if message.reply_to and not sent:
                    body["context"] = {"message_id": message.reply_to}
                answer = graph.post(f"{number}/messages", body, once=True)
                sent.append(_accepted(answer))
                address = address or _answered_address(answer)
        except ChannelError as error:
            error.sent_ids = tuple(sent)
            raise
        return Sent(tuple(sent), address=address)

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Show blue ticks for this message and all before it."""
        del to
        body = {"messaging_product": "whatsapp", "status": "read", "message_id": provider_id}
        _graph(account).post(f"{account.config['phone_number_id']}/messages", body)

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        return download.fetch(_graph(account), account.config["phone_number_id"], media, max_bytes)

    def check(self, account: Account) -> dict[str, Any]:
        query = {"fields": "display_phone_number,verified_name,quality_rating"}
        found = _graph(account).get(account.config["phone_number_id"], **query)
        name, address = untrusted.text(found.get("verified_name")), untrusted.text(found.get("display_phone_number"))
        return {"name": name, "address": address, "details": {"quality": untrusted.text(found.get("quality_rating"))}}

    def subscribe(self, account: Account) -> None:
        _graph(account).post(f"{account.config['business_account_id']}/subscribed_apps")

    def templates(self, account: Account) -> list[dict[str, Any]]:
        """List all templates as Meta describes them; only those with status APPROVED may be sent."""
        graph, found, after = _graph(account), [], ""
        for _ in range(100):
            query = {"fields": _TEMPLATE_FIELDS, "limit": "100"} | ({"after": after} if after else {})
            page = graph.get(f"{account.config['business_account_id']}/message_templates", **query)
            found += untrusted.items(page.get("data"))
            cursors = untrusted.mapping(untrusted.mapping(page.get("paging")).get("cursors"))
            before, after = after, untrusted.text(cursors.get("after"))
            if not page.get("data") or after in ("", before):
                break
        return found


def _graph(account: Account, attempt: int = 1) -> meta.Graph:
    at, config = endpoints.current(), account.config
    return meta.Graph(
        at.meta_graph_url, at.meta_graph_version, config["access_token"], config["app_secret"], VERDICTS, attempt
    )


def _upload(graph: meta.Graph, number: str, file: File) -> str:
    mime = outbound.base_type(file.mime)
    answer = graph.upload(f"{number}/media", {"messaging_product": "whatsapp", "type": mime}, file, mime)
    uploaded = untrusted.identifier(answer.get("id"))
    if not uploaded:
        raise ChannelError("WhatsApp took the file but gave it no id.", action="retry")
    return uploaded


def _accepted(answer: Mapping[str, Any]) -> str:
    for message in untrusted.items(answer.get("messages")):
        if provider_id := untrusted.identifier(message.get("id")):
            return provider_id
    raise ChannelError("WhatsApp took this message but gave it no id.", action="retry", unknown=True)


def _answered_address(answer: Mapping[str, Any]) -> str | None:
    """Give the id that the person's answers will come from: in Brazil, Mexico and Argentina not always the number."""
    for contact in untrusted.items(answer.get("contacts")):
        return untrusted.identifier(contact.get("wa_id")) or untrusted.identifier(contact.get("user_id")) or None
    return None
