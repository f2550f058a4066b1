"""What the messages endpoint refuses at once; what passes comes back as the view on the phone.

A view is what a customer sees: `text`, `parts` (attachments still to be resolved), `buttons`. Limits are those of the
documentation in November 2026.
"""

from __future__ import annotations

from typing import Any

from sandbox.messaging.network import Network
from sandbox.meta import shapes
from sandbox.meta.errors import GraphError

View = dict[str, Any]
ACTIONS = ("typing_on", "typing_off", "mark_seen", "react", "unreact")
DEAD_TAGS = ("ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE")
TYPES = ("RESPONSE", "UPDATE", "MESSAGE_TAG")


def recipient(body: dict[str, Any]) -> str:
    """Give the scoped id that a call is for."""
    who = shapes.table(body, "recipient")
    shapes.only(who, ("id",), "recipient")
    id_ = shapes.text(who, "id", "recipient")
    if not id_.isdecimal():
        raise GraphError(100, 'Param recipient[id] must be a valid ID string (e.g., "123")')
    return id_


def action(net: Network, body: dict[str, Any]) -> str:
    """Check a call that is no message: typing, seen, a reaction."""
    shapes.only(body, ("recipient", "sender_action", "payload", "messaging_type"), "$")
    name = shapes.one_of(body["sender_action"], ACTIONS, "sender_action")
    if name in ("react", "unreact"):
        if net.delivers:
            raise GraphError(100, f"Param sender_action must not be {name}.")
        payload = shapes.table(body, "payload")
        shapes.only(payload, ("message_id", "reaction"), "payload")
        shapes.text(payload, "message_id", "payload")
        if name == "react":
            shapes.text(payload, "reaction", "payload")
    return name


def check(net: Network, body: dict[str, Any], *, has_file: bool) -> tuple[str, View]:
    """Check a message; give the tag it goes under ("" within the window) and its view."""
    shapes.only(body, net.envelope, "$")
    tag = _tag(net, body)
    if reply := shapes.table(body, "reply_to", required=False):
        shapes.only(reply, ("mid",), "reply_to")
        shapes.text(reply, "mid", "reply_to")
    message = shapes.table(body, "message")
    shapes.only(message, net.message, "message")
    shapes.text(message, "metadata", "message", high=1000, required=False)
    brought = [name for name in ("text", "attachment", "attachments") if name in message]
    if len(brought) != 1:
        raise GraphError(100, f"A message must have exactly one of text, attachment and attachments, got {brought}.")
    view: View = {"quoted": reply["mid"]} if reply else {}
    if brought == ["text"]:
        if has_file:
            raise GraphError(100, "A call with filedata must have an attachment.")
        view["text"] = _text(net, message)
    else:
        many = shapes.rows(message, "attachments", "message", low=1, high=10) if "attachments" in message else None
        rows = many if many is not None else [shapes.table(message, "attachment", "message")]
        view |= _attachments(net, rows, has_file=has_file, pictures_only=many is not None)
    if "quick_replies" in message:
        view["buttons"] = [
            _quick_reply(one) for one in shapes.rows(message, "quick_replies", "message", low=1, high=13)
        ]
    return tag, view


def _tag(net: Network, body: dict[str, Any]) -> str:
    """Give the message tag; several of them went away in April 2026."""
    if "messaging_type" not in body:
        if net.type_required:
            raise GraphError(100, "The parameter messaging_type is required.")
        if "tag" in body:
            raise GraphError(100, "Param tag needs messaging_type MESSAGE_TAG.")
        return ""
    kind = shapes.one_of(body["messaging_type"], TYPES, "messaging_type")
    if (kind == "MESSAGE_TAG") != ("tag" in body):
        raise GraphError(100, "Param tag goes with messaging_type MESSAGE_TAG, and only with it.")
    if kind != "MESSAGE_TAG":
        return ""
    tag = shapes.text(body, "tag")
    if tag in DEAD_TAGS:
        raise GraphError(100, f"The message tag {tag} is no longer supported.")
    return shapes.one_of(tag, ("HUMAN_AGENT",), "tag")


def _text(net: Network, message: dict[str, Any]) -> str:
    said = shapes.text(message, "text", "message")
    if net.size(said) > net.longest:
        raise GraphError(100, f"Length of param message[text] must be less than or equal to {net.longest}.")
    return said


def _attachments(net: Network, rows: list[dict[str, Any]], *, has_file: bool, pictures_only: bool) -> View:
    view: View = {"parts": []}
    for place, attachment in enumerate(rows):
        at = f"message['attachments'][{place}]" if pictures_only else "message['attachment']"
        shapes.only(attachment, ("type", "payload"), at)
        allowed = ("image",) if pictures_only else (*net.files, "template", *(() if net.delivers else ("like_heart",)))
        kind = shapes.one_of(attachment.get("type"), allowed, f"{at}['type']")
        if kind == "like_heart":
            view["text"] = "❤️"
        elif kind == "template":
            view |= _template(shapes.table(attachment, "payload", at), at)
        else:
            view["parts"].append({"type": kind, **_source(net, shapes.table(attachment, "payload", at), at, has_file)})
    return view


def _source(net: Network, payload: dict[str, Any], at: str, has_file: bool) -> dict[str, str]:
    """Say where a file comes from: along with the call, from an address, or from an earlier upload."""
    if has_file:
        shapes.only(payload, ("is_reusable",), f"{at}['payload']")
        shapes.flag(payload, "is_reusable", f"{at}['payload']")
        return {"along": "yes"}
    shapes.only(payload, ("url", "attachment_id", *(("is_reusable",) if net.delivers else ())), f"{at}['payload']")
    if ("url" in payload) == ("attachment_id" in payload):
        raise GraphError(100, f"Param {at}['payload'] must have exactly one of url and attachment_id.")
    if "url" in payload:
        return {"url": shapes.link(shapes.text(payload, "url", at), f"{at}['payload']['url']")}
    return {"attachment_id": shapes.text(payload, "attachment_id", at)}


def _template(payload: dict[str, Any], at: str) -> View:
    """Check as much of a template as the phone shows."""
    kind = shapes.one_of(payload.get("template_type"), ("generic", "button"), f"{at}['payload']['template_type']")
    if kind == "button":
        said = shapes.text(payload, "text", at, high=640)
        return {"text": said, "buttons": [_button(one) for one in shapes.rows(payload, "buttons", at, low=1, high=3)]}
    cards = shapes.rows(payload, "elements", at, low=1, high=10)
    lines = [shapes.text(card, "title", at, high=80) for card in cards]
    buttons = [_button(one) for card in cards for one in card.get("buttons", [])]
    return {"text": "\n".join(lines), "buttons": buttons}


def _button(button: dict[str, Any]) -> dict[str, Any]:
    kind = shapes.one_of(button.get("type"), ("postback", "web_url"), "buttons['type']")
    title = shapes.text(button, "title", "buttons", high=20)
    if kind == "web_url":
        return {
            "kind": kind,
            "title": title,
            "url": shapes.link(shapes.text(button, "url", "buttons"), "buttons['url']"),
        }
    return {"kind": kind, "title": title, "id": shapes.text(button, "payload", "buttons", high=1000)}


def _quick_reply(reply: dict[str, Any]) -> dict[str, Any]:
    shapes.only(reply, ("content_type", "title", "payload", "image_url"), "quick_replies")
    shapes.one_of(reply.get("content_type"), ("text",), "quick_replies['content_type']")
    title = shapes.text(reply, "title", "quick_replies", high=20)
    return {"kind": "quick_reply", "title": title, "id": shapes.text(reply, "payload", "quick_replies", high=1000)}
