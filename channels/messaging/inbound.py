"""Turn what Messenger and Instagram post to our callback URL into items. Called by the channels' `parse`; never raises.

https://developers.facebook.com/documentation/business-messaging/messenger-platform/webhooks/webhook-events
https://developers.facebook.com/documentation/instagram-platform/webhooks/examples
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from channels.base import AccountNotice, Change, Inbound, Item, Person, Receipt
from channels.messaging import content
from channels.untrusted import identifier, items, load, made_up_id, mapping, moment, text

PAGE_INBOX = "26390203743090"  # the app id of Meta's own inbox for pages
EMOJIS = {
    "smile": "😆",
    "laugh": "😆",
    "angry": "😠",
    "sad": "😢",
    "wow": "😮",
    "love": "❤️",
    "like": "👍",
    "dislike": "👎",
}
MESSAGE_FIELDS = frozenset(  # come as `changes` from the test button of the dashboard, and perhaps echoes of Instagram
    {
        "message_deliveries",
        "message_echoes",
        "message_edit",
        "message_edits",
        "message_reactions",
        "message_reads",
        "messages",
        "messaging_optins",
        "messaging_postbacks",
        "messaging_referral",
        "messaging_referrals",
        "messaging_seen",
    }
)
QUIET_FIELDS = frozenset({"comments", "feed", "leadgen", "live_comments", "mention", "mentions", "story_insights"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """In what the two differ."""

    name: str
    object: str
    other_app: str  # where a message was typed that neither we nor an app sent
    light_touch_opens: bool  # a reaction or a click on a link opens the window
    keeps_our_id: bool  # an echo of ours brings our own id back


@dataclass(frozen=True, slots=True)
class Event:
    """One item of `messaging`: who did what to whom. `by_us`: the account did it, in some other app."""

    dialect: Dialect
    account: str
    person: Person
    by_us: bool
    at: datetime
    item: dict[str, Any]
    standby: bool

    def part(self, name: str) -> dict[str, Any]:
        return mapping(self.item.get(name))


def parse(body: bytes, dialect: Dialect) -> list[Item]:
    """Read every event of every entry; a strange one never hides its neighbours."""
    update = load(body)
    if text(update.get("object")) != dialect.object:
        said = text(update.get("object")) or "nothing that can be read"
        return [AccountNotice("", "wrong_object", f"{dialect.name}'s address was sent {said[:80]}.", "info", update)]
    found: list[Item] = []
    for entry in items(update.get("entry")):
        owner = identifier(entry.get("id"))
        for list_name in ("messaging", "standby"):
            for item in items(entry.get(list_name)):
                found += _read(dialect, owner, item, standby=list_name == "standby")
        for change in items(entry.get("changes")):
            found += _change(dialect, owner, change)
    return found


def _change(dialect: Dialect, owner: str, change: dict[str, Any]) -> Iterator[Item]:
    name, value = text(change.get("field")), mapping(change.get("value"))
    if name in MESSAGE_FIELDS and value:
        yield from _read(dialect, owner, value, standby=False)
    elif name not in QUIET_FIELDS:
        yield AccountNotice(owner, "unsupported", f"{dialect.name} sent “{name[:80]}”.", "info", change)


def _read(dialect: Dialect, owner: str, item: dict[str, Any], *, standby: bool) -> Iterator[Item]:
    """Give what follows from one event. Who is who decides: an echo comes from the account, all else goes to it."""
    sender, recipient = (identifier(mapping(item.get(name)).get("id")) for name in ("sender", "recipient"))
    if owner == "0":
        yield AccountNotice("", "test", f"{dialect.name}'s dashboard sent a test event.", "info", item)
        return
    names = [name for name in _READERS if name in item]
    by_us = mapping(item.get("message")).get("is_echo") is True or (sender == owner and sender != recipient)
    account = owner or (sender if by_us else recipient)
    address = recipient if by_us else sender
    if not names:
        yield _strange(dialect, account, item)
    elif mapping(item.get("message")).get("is_self") is True or (sender and sender == recipient):
        yield AccountNotice(account, "self", "The account wrote to itself.", "info", item)
    elif not address:
        yield from _nobodys(dialect, account, item)
    else:
        person = Person(address, scoped_id=address)
        event = Event(dialect, account, person, by_us, moment(item.get("timestamp")), item, standby)
        for name in names:
            yield from _READERS[name](event)


def _strange(dialect: Dialect, account: str, item: dict[str, Any]) -> AccountNotice:
    """Tell of what is no message: conversations that another app took over, rules that were broken."""
    name = next((name for name in item if name not in ("sender", "recipient", "timestamp")), "nothing")
    policy = mapping(item.get("policy_enforcement"))
    if text(policy.get("action")) == "block":
        said = text(policy.get("reason")) or f"{dialect.name} has blocked this account."
        return AccountNotice(account, "policy_enforcement", said, raw=item)
    return AccountNotice(account, name[:80], f"{dialect.name} sent “{name[:80]}”.", "info", item)


def _nobodys(dialect: Dialect, account: str, item: dict[str, Any]) -> Iterator[Item]:
    """Give what is known of an event without a person: an edit names its message, and Instagram sends some so."""
    edit = mapping(item.get("message_edit"))
    if (target := identifier(edit.get("mid"))) and text(edit.get("text")):
        yield Change(account, "edit", target, moment(item.get("timestamp")), text=text(edit["text"]))
    else:
        yield AccountNotice(account, "unsupported", f"{dialect.name} sent an event without a person.", "info", item)


def _message(event: Event) -> Iterator[Item]:
    message = event.part("message")
    mid = identifier(message.get("mid"))
    if message.get("is_deleted") is True and mid:
        yield Change(event.account, "delete", mid, event.at, event.person, by_customer=not event.by_us)
        return
    parts = content.read(message)
    if event.by_us:
        parts["extra"]["sent_from"] = _sent_from(event, message)
    yield _inbound(
        event,
        provider_id=mid,
        reply_to=identifier(mapping(message.get("reply_to")).get("mid")) or None,
        message_id=identifier(message.get("metadata")) if event.by_us and event.dialect.keeps_our_id else None,
        opens_window=not event.by_us,
        **parts,
    )


def _sent_from(event: Event, message: Mapping[str, Any]) -> str:
    app = identifier(message.get("app_id"))
    return event.dialect.other_app if app in ("", PAGE_INBOX) else "Another app"


def _inbound(event: Event, *, provider_id: str, extra: Mapping[str, Any], **parts: Any) -> Inbound:
    return Inbound(
        provider_id=provider_id or made_up_id(event.item),
        account=event.account,
        person=event.person,
        at=event.at,
        echo=event.by_us,
        extra={**extra, "standby": True} if event.standby else extra,
        raw=event.item,
        **parts,
    )


def _postback(event: Event) -> Iterator[Item]:
    """A tap on a button counts as a message."""
    postback = event.part("postback")
    said = text(postback.get("title")) or text(postback.get("payload")) or "[Tapped a button]"
    extra = {"postback": {"payload": text(postback.get("payload"))}}
    if referral := mapping(postback.get("referral")):
        extra["referral"] = referral
    yield _inbound(event, provider_id=identifier(postback.get("mid")), text=said, extra=extra)


def _referral(event: Event) -> Iterator[Item]:
    referral = event.part("referral")
    yield _inbound(
        event,
        provider_id="",
        kind="system",
        text=content.came_from(referral),
        extra={"referral": referral},
        opens_window=event.dialect.light_touch_opens,
    )


def _optin(event: Event) -> Iterator[Item]:
    optin = event.part("optin")
    what = text(optin.get("title")) or text(optin.get("ref")) or text(optin.get("type")).replace("_", " ")
    said = f"Agreed to be written to{f': {what}' if what else ''}."
    yield _inbound(event, provider_id="", kind="system", text=said, extra={"optin": optin}, opens_window=False)


def _reaction(event: Event) -> Iterator[Item]:
    reaction = event.part("reaction")
    if not (target := identifier(reaction.get("mid"))):
        yield _strange(event.dialect, event.account, event.item)
        return
    given = text(reaction.get("action")) != "unreact"
    emoji = text(reaction.get("emoji")) or EMOJIS.get(text(reaction.get("reaction")), "❔")
    yield Change(
        event.account,
        "reaction",
        target,
        event.at,
        event.person,
        emoji=emoji if given else None,
        by_customer=not event.by_us,
        opens_window=given and not event.by_us and event.dialect.light_touch_opens,
    )


def _edit(event: Event) -> Iterator[Item]:
    edit = event.part("message_edit")
    target, said = identifier(edit.get("mid")), text(edit.get("text"))
    if target and said:
        yield Change(event.account, "edit", target, event.at, event.person, text=said, by_customer=not event.by_us)
    elif text(edit.get("num_edit")) != "0":  # with 0 it tells of the message itself, which comes anyway
        yield _strange(event.dialect, event.account, event.item)


def _delivery(event: Event) -> Iterator[Item]:
    """Name each message, since the watermark is Meta's clock and ours may be ahead; and all before by the watermark."""
    delivery, person = event.part("delivery"), event.person.address
    mids = delivery.get("mids")
    for mid in mids if isinstance(mids, list) else []:
        if identifier(mid):
            yield Receipt(event.account, "delivered", event.at, provider_id=identifier(mid), person=person)
    if until := _watermark(delivery):
        yield Receipt(event.account, "delivered", event.at, person=person, watermark=until)


def _seen(event: Event) -> Iterator[Item]:
    """Messenger names a time, Instagram a message; each means everything up to it."""
    read, person = event.part("read"), event.person.address
    if mid := identifier(read.get("mid")):
        yield Receipt(event.account, "read", event.at, provider_id=mid, person=person, and_before=True)
    if until := _watermark(read):
        yield Receipt(event.account, "read", event.at, person=person, watermark=until)


def _watermark(body: Mapping[str, Any]) -> datetime | None:
    """Read a watermark; without a number nothing is known, least of all that everything was read by now."""
    given = text(body.get("watermark"))
    return moment(given) if given.isdecimal() and given.isascii() and len(given) < 15 else None


_READERS: dict[str, Callable[[Event], Iterator[Item]]] = {
    "message": _message,
    "message_edit": _edit,
    "reaction": _reaction,
    "postback": _postback,
    "referral": _referral,
    "optin": _optin,
    "delivery": _delivery,
    "read": _seen,
}
