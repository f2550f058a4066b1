"""How values look on a screen: names, numbers, files, links. Template filters; nothing here asks the database."""

from __future__ import annotations

import re
import unicodedata
from binascii import crc32
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from flask import Flask
from markupsafe import Markup, escape

from blueprints import timelines, times
from lib import addresses
from models import now
from services import payloads, reach

CHANNELS = {
    "whatsapp": ("WhatsApp", "brand-whatsapp"),
    "email": ("Email", "mail"),
    "sms": ("SMS", "device-mobile-message"),
    "facebook": ("Messenger", "brand-messenger"),
    "instagram": ("Instagram", "brand-instagram"),
}
LONG_TEXT = 2000
LONG_LINES = 20

_ACRONYMS = {word.lower(): word for word in ("CRM", "ID", "URL", "VAT", "LTV", "API", "SLA", "B2B")}
_LINK = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_TAIL = ".,;:!?)]}»”’"
_QUOTE = re.compile(
    r"^(?:>|On .{4,200} wrote:$|Am .{4,200} schrieb .*:$|Le .{4,200} a écrit :$|-{2,}\s?Original)", re.M
)


def register(app: Flask) -> None:
    for function in (*_FILTERS, *times.FILTERS, *timelines.FILTERS):
        app.jinja_env.filters[function.__name__] = function


# --- names, numbers, files ---


def hue(text: str) -> int:
    """Give one of twelve hues, always the same for a name."""
    return crc32(str(text).encode()) % 12


def initials(name: str) -> str:
    """Give up to two letters; nothing for a number or an address without a name."""
    words = [word for word in str(name).split() if word[:1].isalpha()]
    letters = [words[0][0], words[-1][0]] if len(words) > 1 else [words[0][0]] if words else []
    return "".join(letters).upper()


def capped(number: int | None) -> str:
    return ">999" if (number or 0) > 999 else str(number or 0)


def milliseconds(length: float) -> str:
    return f"{length / 1000:.1f} s" if length >= 1000 else f"{length:.0f} ms" if length >= 1 else "<1 ms"


def filesize(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1024 or unit == "MB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}".replace(".0", "")


def extension(filename: str) -> str:
    suffix = filename.rpartition(".")[2] if "." in filename else ""
    return suffix.upper() if suffix.isalnum() and len(suffix) <= 4 else ""


def file_link(file: Any) -> str:
    """Give the signed address of a file, on whatever host the page was opened."""
    link = urlsplit(payloads.signed_link(file.id))
    return f"{link.path}?{link.query}"


def label(name: str) -> str:
    """Write the name of a custom field for people: contract_value → Contract value."""
    words = [_ACRONYMS.get(word.lower(), word) for word in str(name).replace("_", " ").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if value is None:
        return "–"
    if isinstance(value, int | float):
        return f"{value:,}" if not isinstance(value, int) or value > 9999 else str(value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def phone(number: str | None) -> str:
    return addresses.national(number, None) if number else ""


def dict_json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(value)).decode()


def channel_name(kind: str) -> str:
    return CHANNELS.get(kind, (kind.capitalize(), ""))[0]


def channel_icon(kind: str) -> str:
    return CHANNELS.get(kind, ("", "messages"))[1]


# --- text that others wrote ---


def linkify(text: str) -> Markup:
    """Escape everything, and make web addresses into links that tell nothing about us."""
    parts: list[Markup] = []
    end = 0
    for found in _LINK.finditer(text):
        link = found[0].rstrip(_TAIL)
        parts += [escape(text[end : found.start()]), _anchor(link)]
        end = found.start() + len(link)
    return Markup("").join([*parts, escape(text[end:])])


def _anchor(link: str) -> Markup:
    return Markup('<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>').format(link)


def split_quote(text: str) -> tuple[str, str]:
    """Cut a mail where it begins to repeat the one before."""
    found = _QUOTE.search(text)
    if found is None or not text[: found.start()].strip():
        return text, ""
    return text[: found.start()].rstrip(), text[found.start() :]


def is_long(text: str) -> bool:
    return len(text) > LONG_TEXT or text.count("\n") > LONG_LINES


def is_emoji(text: str) -> bool:
    """Say whether a message is nothing but a few pictures."""
    signs = [sign for sign in text if sign not in " \ufe0f\u200d"]
    return 0 < len(signs) <= 6 and all(
        unicodedata.category(sign) == "So" or 0x1F3FB <= ord(sign) <= 0x1F3FF for sign in signs
    )


def emojis(reactions: Mapping[str, str]) -> list[str]:
    return [str(emoji)[:16] for emoji in reactions.values() if emoji]


def map_link(place: Mapping[str, Any]) -> str:
    point = f"{place.get('latitude')}/{place.get('longitude')}"
    return f"https://www.openstreetmap.org/?mlat={place.get('latitude')}&mlon={place.get('longitude')}#map=16/{quote(point)}"


def record_link(business: Any, external_id: str) -> str | None:
    """Give the address of a customer's record in the CRM, if the business told how it is made."""
    pattern = business.crm_record_url or ""
    if not pattern.startswith(("https://", "http://")) or "{external_id}" not in pattern:
        return None
    return pattern.replace("{external_id}", quote(external_id, safe=""))


# --- the inbox ---


def window_closes(conversation: Any) -> datetime | None:
    """Say when the channel stops taking free text, where it does."""
    closes = reach.window_closes_at(conversation)
    return closes if closes and closes > now() else None


def with_query(query: Mapping[str, Any], **changes: Any) -> str:
    merged = {name: value for name, value in {**query, **changes}.items() if value}
    return urlencode(merged)


_FILTERS = (
    hue,
    initials,
    capped,
    milliseconds,
    filesize,
    extension,
    file_link,
    label,
    shown,
    phone,
    dict_json,
    channel_name,
    channel_icon,
    linkify,
    split_quote,
    is_long,
    is_emoji,
    emojis,
    map_link,
    record_link,
    window_closes,
    with_query,
)
