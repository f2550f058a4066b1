"""Turn what WhatsApp posts to our callback URL into items. Called by the channel's `parse`; never raises.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from channels.base import AccountNotice, Change, IdentityChange, Inbound, Item, Person, Receipt
from channels.untrusted import identifier, items, load, made_up_id, mapping, moment, text
from channels.verdicts import Refusal
from channels.whatsapp import content
from channels.whatsapp.errors import VERDICTS
from channels.whatsapp.outbound import SCOPED_ID
from lib.addresses import phone_from_digits

OBJECT = "whatsapp_business_account"
STATUSES: dict[str, Literal["sent", "delivered", "read", "failed"]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",  # a voice note was listened to
    "failed": "failed",
}
QUIET_FIELDS = frozenset(  # come to every app that subscribed to all; nothing follows from them
    {
        "account_review_update",
        "business_capability_update",
        "calls",
        "history",
        "message_template_quality_update",
        "phone_number_name_update",
        "security",
        "smb_app_state_sync",
        "user_preferences",
    }
)
TEMPLATE_FIELDS = frozenset(
    {"message_template_components_update", "message_template_status_update", "template_category_update"}
)
ACCOUNT_FIELDS = frozenset({"account_update", "account_alerts", "phone_number_quality_update"})
_TROUBLE = re.compile("RESTRICT|VIOLATION|DISABLED|DELETED|FLAGGED|DOWNGRADE|SUSPEND|BAN", re.IGNORECASE)
_FROM_TO = re.compile(r"changed from (\S+) to (\S+?)\.?$")


def parse(body: bytes) -> list[Item]:
    """Read every change of every entry; a strange one never hides its neighbours."""
    update = load(body)
    if text(update.get("object")) != OBJECT:
        said = text(update.get("object")) or "nothing that can be read"
        return [AccountNotice("", "wrong_object", f"WhatsApp's address was sent {said[:80]}.", "info", update)]
    return [
        item
        for entry in items(update.get("entry"))
        for change in items(entry.get("changes"))
        for item in _change(identifier(entry.get("id")), text(change.get("field")), mapping(change.get("value")))
    ]


def _change(business_account: str, name: str, value: Mapping[str, Any]) -> list[Item]:
    if name in QUIET_FIELDS:
        return []
    if name in TEMPLATE_FIELDS:  # belong to the business account, and so to each of its numbers
        said = f"The template {text(value.get('message_template_name'))[:80]} has changed."
        return [AccountNotice(business_account, name, said, "stale", dict(value))]
    account = identifier(mapping(value.get("metadata")).get("phone_number_id"))
    if name in ACCOUNT_FIELDS:
        return [_account_notice(account, name, value)]
    people = _index(items(value.get("contacts")))
    found: list[Item] = []
    for message in items(value.get("messages")):
        found += _message(account, message, people)
    for echo in items(value.get("message_echoes")):
        found += _echo(account, echo, people)
    found += [receipt for status in items(value.get("statuses")) for receipt in _receipt(account, status)]
    found += [_trouble(account, error) for error in items(value.get("errors"))]
    if not found and name != "messages":
        found.append(AccountNotice(account, "unsupported", f"WhatsApp sent “{name[:80]}”.", "info", dict(value)))
    return found


def _message(account: str, message: dict[str, Any], people: Mapping[str, Mapping[str, Any]]) -> Iterator[Item]:
    """Give the items of one message from a customer: mostly one, two when number and scoped id changed at once."""
    kind = text(message.get("type"))
    person = _person(message.get("from"), message.get("from_user_id"), people)
    if kind == "system":
        changes = _identity_changes(account, message)
        if changes:
            yield from changes
            return
    if person is None:
        yield AccountNotice(account, "unsupported", "WhatsApp sent a message without a sender.", "info", message)
        return
    yield _happened(account, message, person, by_customer=True) or _inbound(account, message, person)


def _echo(account: str, message: dict[str, Any], people: Mapping[str, Mapping[str, Any]]) -> Iterator[Item]:
    """Give what the owner did in the WhatsApp Business app on the phone."""
    person = _person(message.get("to"), message.get("to_user_id"), people)
    if person is None:
        yield AccountNotice(account, "unsupported", "WhatsApp sent an echo without a recipient.", "info", message)
        return
    yield _happened(account, message, person, by_customer=False) or _inbound(account, message, person, echo=True)


def _inbound(account: str, message: dict[str, Any], person: Person, *, echo: bool = False) -> Inbound:
    parts = content.read(message)
    return Inbound(
        provider_id=identifier(message.get("id")) or made_up_id(message),
        account=account,
        person=person,
        at=moment(message.get("timestamp")),
        reply_to=identifier(mapping(message.get("context")).get("id")) or None,
        echo=echo,
        message_id="" if echo else None,  # what we send ourselves does not come back
        opens_window=not echo and text(message.get("type")) != "system",
        raw=message,
        **parts,
    )


def _happened(account: str, message: dict[str, Any], person: Person, *, by_customer: bool) -> Change | None:
    """Give the change to an earlier message, if this is one and says to which."""
    kind = text(message.get("type"))
    body, at = mapping(message.get(kind)), moment(message.get("timestamp"))
    if kind == "reaction" and (target := identifier(body.get("message_id"))):
        emoji = text(body.get("emoji")) or None
        return Change(account, "reaction", target, at, person, emoji=emoji, by_customer=by_customer)
    target = identifier(body.get("original_message_id"))
    if kind == "revoke" and target:
        return Change(account, "delete", target, at, person, by_customer=by_customer)
    if kind == "edit" and target:
        parts = content.read(mapping(body.get("message")))
        if parts["kind"] != "unsupported":
            return Change(account, "edit", target, at, person, text=parts["text"], by_customer=by_customer)
    return None


def _identity_changes(account: str, message: Mapping[str, Any]) -> list[Item]:
    """Give the old and the new address of a person whose number, scoped id or both changed."""
    system, at = mapping(message.get("system")), moment(message.get("timestamp"))
    said = text(system.get("body"))
    told = _FROM_TO.search(said)
    was, became = (told[1], told[2]) if told else ("", "")
    scoped = identifier(system.get("user_id"))
    old_scoped = identifier(system.get("previous_user_id")) or identifier(message.get("from_user_id"))
    if text(system.get("type")) == "user_changed_user_id":
        pairs = [(old_scoped or was, scoped or became)]
    else:
        number = identifier(system.get("wa_id")) or identifier(system.get("new_wa_id"))
        pairs = [(identifier(message.get("from")), number), (old_scoped, scoped)]
    people = [(_addressed(old), _addressed(new)) for old, new in pairs if old and new and old != new]
    return [IdentityChange(account, old, new, at, said) for old, new in people]


def _addressed(address: str) -> Person:
    """Give a person known by one address alone: a number or a scoped id."""
    scoped = SCOPED_ID.fullmatch(address)
    return Person(address, phone=phone_from_digits(address), scoped_id=address if scoped else None)


def _index(contacts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Find each contact of a payload by its number and by its scoped id."""
    keys = ("wa_id", "user_id")
    return {key: contact for contact in contacts for name in keys if (key := identifier(contact.get(name)))}


def _person(number: object, scoped: object, people: Mapping[str, Mapping[str, Any]]) -> Person | None:
    """Put together who this is. The number may be missing (usernames), the scoped id too (old payloads)."""
    wa_id, user_id = identifier(number), identifier(scoped)
    contact = people.get(user_id) or people.get(wa_id) or {}
    profile = mapping(contact.get("profile"))
    wa_id = wa_id or identifier(contact.get("wa_id"))
    user_id = user_id or identifier(contact.get("user_id"))
    if not wa_id and not user_id:
        return None
    return Person(
        address=wa_id or user_id,
        name=text(profile.get("name")),
        username=text(profile.get("username")),
        phone=phone_from_digits(wa_id),
        scoped_id=user_id or None,
    )


def _receipt(account: str, status: Mapping[str, Any]) -> Iterator[Receipt]:
    """Give what became of a message of ours; a status that we do not know says nothing."""
    word = STATUSES.get(text(status.get("status")))
    provider_id = identifier(status.get("id"))
    message_id = identifier(status.get("biz_opaque_callback_data"))
    if word is None or not (provider_id or message_id):
        return
    error: dict[str, Any] = {}
    if word == "failed":
        refusal = _refusal(next(iter(items(status.get("errors"))), {}))
        verdict = VERDICTS.judge(refusal)
        error = {"error_code": refusal.code or None, "error": verdict.sentence, "action": verdict.action}
    pricing = mapping(status.get("pricing"))
    yield Receipt(
        account,
        word,
        moment(status.get("timestamp")),
        provider_id=provider_id or None,
        message_id=message_id or None,
        person=identifier(status.get("recipient_id")) or identifier(status.get("recipient_user_id")) or None,
        extra={name: pricing[name] for name in ("billable", "category") if name in pricing},
        **error,
    )


def _trouble(account: str, error: Mapping[str, Any]) -> AccountNotice:
    refusal = _refusal(error)
    return AccountNotice(account, refusal.code, VERDICTS.judge(refusal).sentence, raw=dict(error))


def _account_notice(account: str, name: str, value: Mapping[str, Any]) -> AccountNotice:
    """Pass on what Meta decided about the account; only what limits it is trouble."""
    alert = mapping(value.get("alert_info"))
    event = text(value.get("event")) or text(alert.get("alert_type")) or name
    said = text(alert.get("alert_description")) or f"WhatsApp reports: {event.replace('_', ' ').lower()}."
    return AccountNotice(account, event, said, "trouble" if _TROUBLE.search(event) else "info", dict(value))


def _refusal(error: Mapping[str, Any]) -> Refusal:
    details = text(mapping(error.get("error_data")).get("details"))
    said = details or text(error.get("message")) or text(error.get("title"))
    return Refusal(code=text(error.get("code")) or "unknown", message=said)
