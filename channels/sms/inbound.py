"""What Twilio's callbacks say: a text that came in, or what became of one of ours. Called by the channel.

Fields: https://www.twilio.com/docs/messaging/guides/webhook-request and …/guides/track-outbound-message-status
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from channels import untrusted
from channels.base import AccountNotice, Callback, Inbound, Item, Media, Person, Receipt
from channels.sms import signature
from channels.sms.errors import VERDICTS
from channels.verdicts import Refusal
from lib import addresses

OUR_ID = "message"  # in the query of the address that Twilio tells a status to
STATUSES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), "sent"),  # all of them: Twilio has it
    **dict.fromkeys(("delivered", "partially_delivered"), "delivered"),
    "read": "read",
    **dict.fromkeys(("undelivered", "failed", "canceled"), "failed"),
}
STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START = frozenset({"START", "UNSTOP"})
_MEDIA = re.compile(r"MediaUrl([0-9]{1,3})")
Form = Mapping[str, str]


def parse(callback: Callback) -> list[Item]:
    """Read one callback, which is about one message. Its account is empty where only the address called tells it."""
    form = {untrusted.text(name): untrusted.text(value) for name, value in signature.form(callback.body)}
    status = (form.get("MessageStatus") or form.get("SmsStatus") or "received").lower()
    if not form:
        return []
    if status in ("received", "receiving") and untrusted.identifier(form.get("From")):
        return [_message(form)]
    if status in STATUSES and _sid(form):
        return [_receipt(form, STATUSES[status], callback.url)]
    said = f"Twilio sent a callback of a kind that is not known here ({status[:40]})."
    return [AccountNotice("", "twilio", said, level="info", raw=form)]


def _sid(form: Form) -> str:
    return next((sid for name in ("MessageSid", "SmsSid", "SmsMessageSid") if (sid := _id(form, name))), "")


def _id(form: Form, name: str) -> str:
    return untrusted.identifier(form.get(name))


def _message(form: Form) -> Inbound:
    text, media = form.get("Body", "").strip(), _media(form)
    kind = media[0].mime.partition("/")[0] if media else ""
    parts: dict[str, Any] = {"kind": kind if kind in ("image", "video", "audio") else "file" if media else "text"}
    if not text and not media:
        lost = form.get("NumMedia", "0") not in ("", "0")
        text = "Sent a file that Twilio did not hand on." if lost else "Sent an empty message."
        parts = {"kind": "unsupported", "raw": form}
    if wish := _wish(form, text):
        parts["extra"] = {"opt_out": wish}
    return Inbound(
        _sid(form) or untrusted.made_up_id(form),
        "" if form.get("MessagingServiceSid") else _id(form, "To"),
        _person(_id(form, "From")),
        untrusted.moment(None),  # Twilio does not say when
        text=text,
        media=media,
        **parts,
    )


def _person(sender: str) -> Person:
    """Name who wrote; a short code or a sender name is no phone number."""
    try:
        return Person(sender, phone=addresses.phone(sender, None) if sender.startswith("+") else None)
    except ValueError:
        return Person(sender)


def _media(form: Form) -> list[Media]:
    places = sorted(int(found[1]) for name in form if (found := _MEDIA.fullmatch(name)) and form[name])
    return [
        Media(
            mime=form.get(f"MediaContentType{place}", "").partition(";")[0].strip().lower()
            or "application/octet-stream",
            url=form[f"MediaUrl{place}"],
        )
        for place in dict.fromkeys(places)
        if f"MediaUrl{place}" in form
    ]


def _wish(form: Form, text: str) -> str:
    """Say whether the customer asked to hear no more (`stop`), to hear again (`start`) or for `help`, as Twilio does.

    Twilio names it only where Advanced Opt-Out is on; its default words have the same effect without.
    """
    told = form.get("OptOutType", "").lower()
    word = text.upper()
    if told in ("stop", "start", "help"):
        return told
    return "stop" if word in STOP else "start" if word in START else ""


def listed(messages: Sequence[Mapping[str, Any]], since: datetime) -> list[Receipt]:
    """Read entries of Twilio's list of messages, the oldest first: those that we made since a time."""
    found = []
    for one in reversed(messages):
        form = {name: untrusted.text(one.get(name)) for name in ("sid", "status", "direction", "error_code")}
        made, status = _rfc2822(one.get("date_created")), STATUSES.get(form["status"])
        if made and made >= since and status and form["direction"].startswith("outbound"):
            told = {"MessageSid": form["sid"], "MessageStatus": form["status"], "ErrorCode": form["error_code"]}
            found.append(replace(_receipt(told, status, ""), at=_rfc2822(one.get("date_sent")) or made))
    return [receipt for receipt in found if receipt.provider_id]


def _rfc2822(value: object) -> datetime | None:
    try:
        return parsedate_to_datetime(untrusted.text(value))
    except ValueError:
        return None


def _receipt(form: Form, status: Literal["sent", "delivered", "read", "failed"], url: str) -> Receipt:
    our_id = untrusted.identifier(dict(parse_qsl(urlsplit(url).query)).get(OUR_ID)) or None
    receipt = Receipt("", status, untrusted.moment(None), provider_id=_sid(form), message_id=our_id)
    if status != "failed":
        return receipt
    code = _id(form, "ErrorCode")
    said = form.get("ErrorMessage", "").strip()[:500]
    verdict = VERDICTS.judge(Refusal(code=code or form.get("MessageStatus", "").lower() or "failed", message=said))
    return replace(receipt, error_code=code or None, error=verdict.sentence, action=verdict.action)
