"""How the phone page writes things: times, previews, WhatsApp's marks for bold and links, and the rows of a chat."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

_MARKS = (
    (re.compile(r"```(.+?)```", re.S), r"<code>\1</code>"),
    (re.compile(r"(?<!\w)\*(?=\S)([^*\n]+?)(?<=\S)\*(?!\w)"), r"<b>\1</b>"),
    (re.compile(r"(?<!\w)_(?=\S)([^_\n]+?)(?<=\S)_(?!\w)"), r"<i>\1</i>"),
    (re.compile(r"(?<!\w)~(?=\S)([^~\n]+?)(?<=\S)~(?!\w)"), r"<s>\1</s>"),
)
_LINK = re.compile(r"(https?://[^\s<]*[^\s<.,;:!?)\]'\"])")
_KINDS = {
    "image": "Photo",
    "video": "Video",
    "audio": "Voice message",
    "document": "Document",
    "sticker": "Sticker",
    "location": "Location",
    "contacts": "Contact",
    "reaction": "Reaction",
}


def install(app: Flask) -> None:
    """Give the templates their filters."""
    for filter_ in (clock, day, duration, initials, hue, marked, pretty, size, preview):
        app.add_template_filter(filter_)


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()


def clock(at: float) -> str:
    """Write the time of day."""
    return _local(at).strftime("%H:%M")


def day(at: float, now: float) -> str:
    """Write the day, as chats do."""
    then, today = _local(at).date(), _local(now).date()
    ago = (today - then).days
    return {0: "Today", 1: "Yesterday"}.get(ago) or then.strftime("%-d %B %Y" if ago > 300 else "%A, %-d %B")


def duration(seconds: float) -> str:
    """Write how long something still lasts."""
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def initials(name: str) -> str:
    """Give one or two letters for an avatar."""
    words = re.findall(r"[^\W\d_]+", name)
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words[:1])).upper() or "#"


def hue(name: str) -> int:
    """Give one of eight colours, always the same for a name."""
    return sum(name.encode()) % 8


def marked(text: str) -> Markup:
    """Write text as the app does: *bold*, _italic_, ~struck~, ```code```, and links one can follow."""
    parts = _LINK.split(text)
    return Markup("").join(
        Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>').format(part)
        if place % 2
        else _mark(part)
        for place, part in enumerate(parts)
    )


def _mark(text: str) -> Markup:
    html = str(escape(text))
    for pattern, replacement in _MARKS:
        html = pattern.sub(replacement, html)
    return Markup(html)  # escaped above; the marks add nothing but their own tags


def pretty(body: str | None) -> str:
    """Write JSON over several lines, and anything else as it is."""
    try:
        return json.dumps(json.loads(body or ""), indent=2, ensure_ascii=False)
    except ValueError:
        return body or ""


def size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1024 / 1024:.1f} MB" if count >= 1024 * 1024 else f"{max(1, round(count / 1024))} KB"


def preview(message: dict[str, Any] | None) -> str:
    """Write a message in one line."""
    if message is None:
        return "No messages yet"
    if message.get("deleted"):
        return "Message deleted"
    text = message.get("text") or _KINDS.get(message["type"], message["type"].replace("_", " ").capitalize())
    return f"You: {text}" if message["direction"] == "from_customer" else str(text)


def rows(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Prepare a chat: quotes looked up, reactions left out (they hang on their target), neighbours grouped."""
    known = {message["id"]: message for message in messages}
    shown = [one for one in messages if one["type"] not in ("reaction", "edit", "revoke", "system") or _lost(one)]
    last: dict[str, Any] | None = None
    for message in shown:
        message["lost"] = _lost(message)
        message["quote"] = known.get(message.get("quoted", ""))
        same_side = last is not None and not last["lost"] and last["direction"] == message["direction"]
        message["joined"] = same_side and message["at"] - last["at"] < 180  # type: ignore[index]
        message["new_day"] = last is None or _local(last["at"]).date() != _local(message["at"]).date()
        last = message
    return shown


def _lost(message: dict[str, Any]) -> bool:
    return message["direction"] == "from_business" and message["status"] in ("failed", "accepted")
