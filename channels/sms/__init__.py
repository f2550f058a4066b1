"""SMS and MMS, by Twilio's Programmable Messaging: the channel itself. Its parts: signature, inbound, api, errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from channels import fields, untrusted
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
    Rate,
    Receipt,
    Reply,
    Sent,
)
from channels.contract import Channel
from channels.sms import api, inbound, signature
from lib import addresses

MIB = 1024 * 1024
LONGEST, MEDIA_TOTAL = 1600, 5 * MIB
_SECRET = r"[!-~]+"
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
_ANSWERABLE = re.compile(r"(?:[a-z]+:)?\+?[0-9]{3,20}")


class Sms(Channel):
    kind: ClassVar[Kind] = "sms"
    label: ClassVar[str] = "SMS"
    fields: ClassVar[tuple[Field, ...]] = (
        Field(
            "account_sid",
            "Account SID",
            pattern=r"AC[0-9a-f]{32}",
            hint="AC and 32 digits and letters, from the start page of Twilio's console.",
        ),
        Field(
            "auth_token",
            "Auth token",
            secret=True,
            pattern=_SECRET,
            hint="Beside the account SID. It proves that callbacks are Twilio's, so an API key cannot replace it.",
        ),
        Field(
            "from_number",
            "Sender",
            required=False,
            hint="Your Twilio number with its country code, a short code or a sender name. Or leave it empty and enter "
            "a Messaging Service.",
        ),
        Field(
            "messaging_service_sid",
            "Messaging Service SID",
            required=False,
            pattern=r"MG[0-9a-f]{32}",
            hint="MG and 32 digits and letters, if Twilio is to choose the sender.",
        ),
        Field(
            "api_key_sid",
            "API key SID",
            required=False,
            pattern=r"SK[0-9a-f]{32}",
            hint="SK and 32 digits and letters. Empty: calls are made with the auth token.",
        ),
        Field("api_key_secret", "API key secret", secret=True, required=False, pattern=_SECRET),
        Field(
            "webhook_shared_key",
            "Shared key for webhooks",
            secret=True,
            required=False,
            pattern=_SECRET,
            hint="Only if one was set up at Twilio to sign callbacks with SHA-256.",
        ),
        Field(
            "default_region",
            "Country",
            pattern=r"[A-Z]{2}",
            default="IE",
            hint="Two capital letters, like IE: how a sender without its country code is read.",
        ),
    )
    # Twilio gives a callback up at the first 5xx or time-out unless the address asks for more ("connection overrides").
    traces: ClassVar[bool] = True
    opt_out_codes: ClassVar[frozenset[str]] = frozenset({"21610"})
    paste_suffix: ClassVar[str] = "#rc=3&rp=all"
    limits: ClassVar[Limits] = Limits(
        text=LONGEST,
        rate=Rate(10),  # most senders' own pace; for slower ones Twilio keeps a queue of some hours
        media=dict.fromkeys(
            ("image/*", "audio/*", "video/*", "application/pdf", "text/vcard", "text/x-vcard", "text/calendar"),
            MEDIA_TOTAL,
        ),
        total=MEDIA_TOTAL,
    )

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        read = fields.read(self.fields, config)
        if not read["from_number"] and not read["messaging_service_sid"]:
            raise ValueError("from_number: enter a sender, or a Messaging Service SID")
        if bool(read["api_key_sid"]) != bool(read["api_key_secret"]):
            missing = "api_key_secret" if read["api_key_sid"] else "api_key_sid"
            raise ValueError(f"{missing}: an API key has an SID and a secret; enter both or neither")
        return read | {"from_number": _sender(read["from_number"], read["default_region"])}

    def account_key(self, config: Mapping[str, Any]) -> str:
        return str(config.get("messaging_service_sid") or config["from_number"])

    def names(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        given = (config.get("messaging_service_sid"), config.get("from_number"))
        return tuple(str(name) for name in given if name)

    def address(self, config: Mapping[str, Any]) -> str:
        return str(config.get("from_number") or config["messaging_service_sid"])

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        """Refuse: Twilio verifies no address, so a GET is a webhook set to the wrong method."""
        del callback, config
        return Reply(404, "Set this webhook to HTTP POST at Twilio.")

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        signature.verify(callback, config)

    def parse(self, callback: Callback) -> list[Item]:
        return inbound.parse(callback)

    def reply(self, callback: Callback) -> Reply:
        """Say nothing, in TwiML: plain text would go to the customer as a message."""
        del callback
        return Reply(body="<Response/>", content_type="text/xml; charset=utf-8")

    def send(self, account: Account, message: Outgoing) -> Sent:
        """Make the one call; our id goes along in the address that Twilio tells the status to."""
        if message.sent_ids:  # it went out, although its answer was lost: its status came before
            return Sent(tuple(message.sent_ids))
        config = account.config
        _check(message)
        service = config.get("messaging_service_sid")
        pairs = [("To", message.to), ("MessagingServiceSid", service) if service else ("From", config["from_number"])]
        if message.text.strip():
            pairs.append(("Body", message.text))
        pairs += [("MediaUrl", file.url) for file in message.files]
        if account.callback_url:
            pairs.append(("StatusCallback", f"{account.callback_url}?{urlencode({inbound.OUR_ID: message.id})}"))
        answer = api.post(config, "/Messages.json", pairs, attempt=message.attempt)
        return Sent((untrusted.identifier(answer["sid"]),))

    def trace(self, account: Account, to: str, text: str, since: datetime) -> list[Receipt]:
        """Read Twilio's list of what went to this number, which takes days, not times."""
        query = urlencode({"To": to, "DateSent>": since.strftime("%Y-%m-%d"), "PageSize": "100"})
        listed = untrusted.items(api.get(account.config, f"/Messages.json?{query}").get("messages"))
        return inbound.listed([one for one in listed if untrusted.text(one.get("body")).strip() == text.strip()], since)

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        return api.download(account.config, media, max_bytes)

    def check(self, account: Account) -> dict[str, Any]:
        """Read the account with the auth token, which callbacks need, and try the API key on what it may read."""
        found = api.get(account.config, ".json", by_token=True)
        status = untrusted.text(found.get("status"))
        if status not in ("", "active"):
            raise ChannelError(f"This Twilio account is {status}; see to it at Twilio.", action="account", code="20005")
        if account.config.get("api_key_sid"):
            api.get(account.config, "/Messages.json?PageSize=1")
        details = {"status": status, "type": untrusted.text(found.get("type"))}
        return {
            "name": untrusted.text(found.get("friendly_name")),
            "address": self.address(account.config),
            "details": details,
        }

    def subscribe(self, account: Account) -> None:
        """Do nothing: an admin pastes the address at Twilio, where a number may serve other apps too."""

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Do nothing: texts have no read receipts."""

    def templates(self, account: Account) -> list[dict[str, Any]]:
        del account
        return []


def _check(message: Outgoing) -> None:
    """Refuse what Twilio would refuse, or never deliver."""
    if not _ANSWERABLE.fullmatch(message.to):
        raise ChannelError(f"{message.to} is a sender's name, which takes no answer.", code="no_answer")
    if not message.text.strip() and not message.files:
        raise ChannelError("There is nothing to send.", code="empty")
    if len(message.text) > LONGEST:
        raise ChannelError(f"The text has {len(message.text)} characters; an SMS takes {LONGEST}.", code="21617")
    if sum(file.size for file in message.files) > MEDIA_TOTAL:
        raise ChannelError("The files of one message may have 5 MB together.", code="too_large")
    if not all(file.url for file in message.files):
        raise ChannelError("Twilio fetches files itself, but this one has no public address.", code="no_file_url")


def _sender(entered: str, region: str) -> str:
    """Write a number in E.164; a short code and a sender's name stay as they are."""
    bare = re.sub(r"[\s()./-]", "", entered)
    if not entered or re.fullmatch(r"[0-9]{3,6}", bare):
        return bare
    if re.search(r"[^\W\d]", entered):
        if not _NAME.fullmatch(entered):
            raise ValueError("from_number: a sender's name has up to 11 letters and digits")
        return entered
    try:
        return addresses.phone(entered, region)
    except ValueError as error:
        if re.fullmatch(r"\+[0-9]{7,15}", bare):
            return bare  # Twilio knows its numbers better, the ones for trials among them
        raise ValueError(f"from_number: {error}") from None
