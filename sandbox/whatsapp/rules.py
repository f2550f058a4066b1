"""What the messages endpoint refuses at once, type by type; what passes comes back as the view on the phone.

A view is what a customer sees: `text`, `media` (an unresolved `{id|link}`), `buttons`, `list`, `location`, `contacts`.
Limits are those of the documentation in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.meta import shapes
from sandbox.meta.errors import GraphError
from sandbox.whatsapp import interactive, templates
from sandbox.whatsapp.people import BSUID

View = dict[str, Any]
_ENVELOPE = ("messaging_product", "recipient_type", "to", "recipient", "type", "context", "biz_opaque_callback_data")
_CONTACT = ("name", "phones", "emails", "addresses", "org", "urls", "birthday")
_NAMES = ("first_name", "last_name", "middle_name", "suffix", "prefix")


def check(body: dict[str, Any], known: list[dict[str, Any]]) -> tuple[str, View]:
    """Check a message; give its type and its view. `known` are the WABA's templates."""
    kind = shapes.one_of(body.get("type", "text"), (*TYPES, "contacts", "template"), "type")
    shapes.only(body, (*_ENVELOPE, kind), "$")
    shapes.one_of(body.get("recipient_type", "individual"), ("individual",), "recipient_type")
    address(body)
    shapes.text(body, "biz_opaque_callback_data", high=512, required=False)
    view: View = {}
    if context := shapes.table(body, "context", required=False):
        shapes.only(context, ("message_id",), "context")
        view["quoted"] = shapes.text(context, "message_id", "context")
    if kind == "template":
        return kind, view | templates.check(known, shapes.table(body, "template"))
    if kind == "contacts":
        return kind, view | _contacts(body)
    return kind, view | TYPES[kind](shapes.table(body, kind))


def address(body: dict[str, Any]) -> tuple[str, str]:
    """Give (`to`, `recipient`) as asked; a phone number wins over a BSUID."""
    to = shapes.text(body, "to", required="recipient" not in body)
    recipient = shapes.text(body, "recipient", required=not to)
    if to and not re.fullmatch(r"\+?[\d\s().-]{3,30}", to):
        raise GraphError(100, f"Param to is not a phone number - got {to!r}.")
    if recipient and not BSUID.fullmatch(recipient):
        raise GraphError(100, f"Param recipient is not a business-scoped user ID - got {recipient!r}.")
    return to, recipient


def _text(content: dict[str, Any]) -> View:
    shapes.only(content, ("body", "preview_url"), "text")
    shapes.flag(content, "preview_url", "text")
    return {"text": shapes.text(content, "body", "text", high=4096)}


def _media(kind: str, *extra: str) -> Callable[[dict[str, Any]], View]:
    def rule(content: dict[str, Any]) -> View:
        shapes.only(content, ("id", "link", *extra), kind)
        if "voice" in extra:
            shapes.flag(content, "voice", kind)
        view: View = {"media": shapes.media(content, kind)}
        if content.get("caption"):
            view["text"] = shapes.text(content, "caption", kind, high=1024)
        if content.get("filename"):
            view["media"]["filename"] = shapes.text(content, "filename", kind, high=240)
        return view

    return rule


def _location(content: dict[str, Any]) -> View:
    shapes.only(content, ("latitude", "longitude", "name", "address"), "location")
    latitude, longitude = (
        shapes.number(content, name, "location", limit) for name, limit in (("latitude", 90), ("longitude", 180))
    )
    return {
        "location": {
            "latitude": latitude,
            "longitude": longitude,
            "name": shapes.text(content, "name", "location", required=False),
            "address": shapes.text(content, "address", "location", required=False),
        }
    }


def _contacts(body: dict[str, Any]) -> View:
    people = shapes.rows(body, "contacts", "", low=1, high=257)
    for index, person in enumerate(people):
        at = f"contacts[{index}]"
        shapes.only(person, _CONTACT, at)
        name = shapes.table(person, "name", at)
        shapes.only(name, ("formatted_name", *_NAMES), f"{at}['name']")
        shapes.text(name, "formatted_name", f"{at}['name']")
        if not any(name.get(part) for part in _NAMES):
            raise GraphError(131009, f"{at}['name'] needs, besides formatted_name, one of {', '.join(_NAMES)}.")
    return {"contacts": people}


def _reaction(content: dict[str, Any]) -> View:
    shapes.only(content, ("message_id", "emoji"), "reaction")
    emoji = content.get("emoji")
    if not isinstance(emoji, str) or len(emoji) > 16 or (emoji and emoji.isascii()):
        raise GraphError(131009, "Param reaction['emoji'] must be one emoji, or an empty string to remove it.")
    return {"target": shapes.text(content, "message_id", "reaction"), "emoji": emoji}


def mark_as_read(body: dict[str, Any]) -> str:
    """Check a read mark (or typing indicator); give the id of the message."""
    shapes.only(body, ("messaging_product", "status", "message_id", "typing_indicator"), "$")
    shapes.one_of(body["status"], ("read",), "status")
    if indicator := shapes.table(body, "typing_indicator", required=False):
        shapes.only(indicator, ("type",), "typing_indicator")
        shapes.one_of(indicator.get("type"), ("text",), "typing_indicator['type']")
    return shapes.text(body, "message_id")


TYPES: dict[str, Callable[[dict[str, Any]], View]] = {
    "text": _text,
    "image": _media("image", "caption"),
    "video": _media("video", "caption"),
    "audio": _media("audio", "voice"),
    "document": _media("document", "caption", "filename"),
    "sticker": _media("sticker"),
    "location": _location,
    "reaction": _reaction,
    "interactive": interactive.check,
}
