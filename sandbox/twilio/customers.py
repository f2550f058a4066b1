"""A customer texts: the form as documented, signed and called back, and what Twilio does with the answer to it.

Fields: https://www.twilio.com/docs/messaging/guides/webhook-request. Called by the control API and the phone page.
"""

from __future__ import annotations

import base64
import binascii
import io
import mimetypes
import secrets
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from sandbox import numbers
from sandbox.callbacks import Answer
from sandbox.errors import Refused
from sandbox.store import Row
from sandbox.twilio import accounts, chats, hooks, media, messages, people, statuses
from sandbox.twilio.accounts import PROVIDER
from sandbox.world import Upload, World

_SAYS = {
    "STOP": "You have successfully been unsubscribed. You will not receive any more messages from this number. "
    "Reply START to resubscribe.",
    "START": "You have successfully been re-subscribed to messages from this number. Reply HELP for help. Reply STOP "
    "to unsubscribe. Msg&Data Rates May Apply.",
    "HELP": "Reply STOP to unsubscribe. Msg&Data Rates May Apply.",
}
_TWIML = ("text/xml", "application/xml", "text/html")


def say(world: World, body: dict[str, Any], upload: Upload | None) -> dict[str, Any]:
    """Let a customer write `text` with a `file` or `files`; wait for the first callback attempt.

    Gives `{"message", "item": the form as called back, "delivery"}`.
    """
    account = accounts.named(world, body.get("account"))
    person = people.who(world, account, body)
    text = body.get("text") or ""
    uploads = [upload] if upload else [_given(one) for one in _files(body)]
    if not isinstance(text, str) or not (text or uploads):
        raise Refused("text: give what the customer writes, or a file", code="missing")
    given = str(body.get("id") or "")
    sid = given or f"{'MM' if uploads else 'SM'}{secrets.token_hex(16)}"
    parts = [media.keep(world, account, one, "callback") for one in uploads]
    row = messages.put(
        world, account, person["id"], direction="inbound", status="received", body=text, parts=parts, sid=sid
    )
    wish = people.wish(world, account, person, text)
    form = form_of(world, account, row, wish if account["data"]["advanced_opt_out"] else "")
    form |= {str(name): str(value) for name, value in (body.get("raw") or {}).items()} if _is_form(body) else {}
    id_ = hooks.post(
        world, account, account["data"]["callback_url"], form, person=person["id"], label=f"message {row['kind']}"
    )
    row["data"]["delivery"] = id_
    world.store.update("messages", {"seq": row["seq"]}, data=row["data"])
    if wish:
        reply(world, account, person["id"], _SAYS[wish])
    delivery = world.sender.wait(id_, 15) if id_ and body.get("wait", True) not in (False, "false", "0") else None
    note = {} if id_ else {"note": "This number has no callback_url, so nothing was called back"}
    return {"message": chats.shown(world, row), "item": form, "delivery": delivered(delivery), **note}


def raw(world: World, body: dict[str, Any], _: Upload | None) -> dict[str, Any]:
    """Call back a whole `body` (an object of fields) or `text` (byte for byte), with this account's signature."""
    account = accounts.named(world, body.get("account"))
    if isinstance(body.get("text"), str):
        content = body["text"].encode()
    elif isinstance(body.get("body"), dict):
        content = urlencode({str(name): str(value) for name, value in body["body"].items()}).encode()
    else:
        raise Refused("body: give the fields to call back, or text with the exact bytes", code="missing")
    id_ = hooks.post(world, account, account["data"]["callback_url"], content, person="raw", label="raw")
    return {"delivery": delivered(world.sender.wait(id_, 15) if id_ else None)}


def delivered(row: Row | None) -> dict[str, Any] | None:
    """Write what became of a callback so far."""
    return {name: row[name] for name in ("id", "state", "url", "attempts")} if row else None


def form_of(world: World, account: Row, row: Row, wish: str) -> dict[str, str]:
    """Write what a customer texted as it stands in a callback."""
    data, sid = row["data"], account["data"]["account_sid"]
    form = {"ToCountry": accounts.country(account), "ToState": "", "ToCity": "", "ToZip": ""}
    form |= {"FromCountry": numbers.country(numbers.digits(data["from"])), "FromState": "", "FromCity": ""}
    form |= {"SmsMessageSid": row["id"], "NumMedia": str(len(data["parts"])), "FromZip": "", "SmsSid": row["id"]}
    form |= {"SmsStatus": "received", "Body": data["view"]["text"], "To": data["to"]}
    form |= {"MessagingServiceSid": data["service"]} if data["service"] else {}
    form |= {"OptOutType": wish} if wish else {}
    form |= {"NumSegments": str(messages.segments(data["view"]["text"])), "MessageSid": row["id"], "AccountSid": sid}
    for place, part in enumerate(data["parts"]):
        path = f"/{messages.VERSION}/Accounts/{sid}/Messages/{row['id']}/Media/{part['sid']}"
        form |= {f"MediaContentType{place}": part["mime"], f"MediaUrl{place}": world.base_url + path}
    return form | {"From": data["from"], "ApiVersion": messages.VERSION}


def reply(world: World, account: Row, person: str, text: str) -> None:
    """Send what Twilio says by itself, or by the answer to a callback; it has no status callback."""
    facts: dict[str, Any] = {"fate": 0, "skip_delivered": False, "silent": True}
    row = messages.put(
        world, account, person, direction="outbound-reply", status="queued", body=text, parts=[], **facts
    )
    statuses.start(world, row["id"])


def heard(world: World, row: Row, answer: Answer) -> None:
    """Do what the answer to a customer's message asks for: a text or TwiML is sent to the customer, by mistake or not.

    Other answers are Twilio's errors 12300 and 12100, which nobody hears of but the log.
    """
    body, account = (
        answer.body.decode("utf-8", "replace").strip(),
        world.store.one("accounts", provider=PROVIDER, id=row["account"]),
    )
    person = people.find(world, account, row["person"]) if account else None
    if not row["label"].startswith("message") or not account or not person or not body:
        return
    texts, trouble = [body], ""
    if answer.mime in _TWIML:
        texts, trouble = _said(body)
    elif answer.mime != "text/plain":
        texts, trouble = [], f"12300: Invalid Content-Type “{answer.mime}” in the answer to the callback"
    if trouble:
        url = row["url"]
        world.log.record(
            "control", PROVIDER, row["account"], "POST", url, request="", status=None, answer=body, ms=0, note=trouble
        )
    for text in texts if not person["data"]["opted_out"] else []:
        reply(world, account, person["id"], text)


def _said(body: str) -> tuple[list[str], str]:
    """Read the messages of a TwiML document, or say what is wrong with it."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as exc:
        return [], f"12100: Document parse failure: {exc}"
    texts = ["".join(one.findtext("Body") or one.text or "").strip() for one in root.iter("Message")]
    return [text for text in texts if text], ""


def _is_form(body: dict[str, Any]) -> bool:
    return isinstance(body.get("raw"), dict)


def _files(body: dict[str, Any]) -> list[Any]:
    files = body.get("files") or ([body["file"]] if isinstance(body.get("file"), dict) else [])
    if not isinstance(files, list) or len(files) > 10:
        raise Refused("files: give a list of up to 10 files")
    return files


def _given(file: Any) -> Upload:
    """Read a file that came as `{"filename", "mime"?, "data": base64}`."""
    try:
        stream = io.BytesIO(base64.b64decode(file["data"], validate=True))
        name = str(file.get("filename") or "file")
    except (binascii.Error, TypeError, KeyError, ValueError, AttributeError):
        raise Refused("file.data: give the bytes in base64") from None
    return Upload(name, str(file.get("mime") or mimetypes.guess_type(name)[0] or ""), stream)


def gesture(done: dict[str, str]) -> dict[str, Any]:
    """Turn what was done on the phone page into the body of `say`; texts know no quotes and no reactions."""
    return {"text": done.get("text", "").strip()}
