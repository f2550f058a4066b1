"""What a WhatsApp message says: one function for each type, giving the parts of an `Inbound`.

Called by inbound.py. A type that is not in the table becomes a placeholder; so does one whose content is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from channels.base import Media
from channels.untrusted import identifier, items, load, mapping, text
from channels.verdicts import Refusal
from channels.whatsapp.errors import VERDICTS

Parts = dict[str, Any]
LARGEST_RAW_FORM = 100_000


def read(message: Mapping[str, Any]) -> Parts:
    """Give kind, text, media and extra of a message, whatever its type."""
    kind = text(message.get("type"))
    reader = _READERS.get(kind)
    parts = reader(mapping(message.get(kind)), message) if reader else None
    parts = parts or _placeholder(message, kind)
    extra = {**parts.get("extra", {}), **_around(message)}
    return {**parts, "extra": extra}


def _around(message: Mapping[str, Any]) -> Parts:
    """Give what any type may carry: forwarding, the advertisement or the product it answers, the group it is in."""
    context = mapping(message.get("context"))
    found: Parts = {
        "forwarded": context.get("forwarded") is True or context.get("frequently_forwarded") is True,
        "frequently_forwarded": context.get("frequently_forwarded") is True,
        "referred_product": mapping(context.get("referred_product")),
        "referral": mapping(message.get("referral")),
        "group": identifier(message.get("group_id")),
    }
    return {name: value for name, value in found.items() if value}


def _placeholder(message: Mapping[str, Any], kind: str) -> Parts:
    """Stand in for what cannot be shown, with WhatsApp's reason where it gives one."""
    what = text(mapping(message.get("unsupported")).get("type")) or (kind if kind != "unsupported" else "")
    extra: Parts = {"unsupported": what or "unknown"}
    for error in items(message.get("errors"))[:1]:
        refusal = Refusal(code=text(error.get("code")), message=text(error.get("title")))
        extra["error"] = {"code": refusal.code, "text": VERDICTS.judge(refusal).sentence}
    named = f": {what.replace('_', ' ')}" if what else ""
    return {"kind": "unsupported", "text": f"[Unsupported message{named}]", "extra": extra}


def _text(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    return {"kind": "text", "text": text(body["body"])} if text(body.get("body")) else None


def _media(kind: str) -> Callable[[Parts, Mapping[str, Any]], Parts | None]:
    def read_media(body: Parts, _: Mapping[str, Any]) -> Parts | None:
        if not identifier(body.get("id")):
            return None
        media = Media(
            mime=text(body.get("mime_type")).partition(";")[0].strip().lower() or "application/octet-stream",
            filename=text(body.get("filename")),
            provider_id=identifier(body["id"]),
            url=text(body.get("url")) or None,
            sha256=text(body.get("sha256")) or None,
            voice=body.get("voice") is True,
        )
        extra = {"animated": True} if body.get("animated") is True else {}
        return {"kind": kind, "text": text(body.get("caption")), "media": (media,), "extra": extra}

    return read_media


def _location(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    place: Parts = {name: text(body.get(name)) for name in ("name", "address", "url") if text(body.get(name))}
    for name in ("latitude", "longitude"):
        try:
            place[name] = float(text(body.get(name)))
        except ValueError:
            return None
    point = f"{place['latitude']}, {place['longitude']}"
    said = ", ".join(place[name] for name in ("name", "address") if name in place)
    return {"kind": "location", "text": f"{said} ({point})" if said else point, "extra": {"location": place}}


def _contacts(_: Parts, message: Mapping[str, Any]) -> Parts | None:
    cards = items(message.get("contacts"))
    if not cards:
        return None
    lines = [_card(card) for card in cards]
    return {"kind": "contacts", "text": "\n".join(lines), "extra": {"contacts": cards}}


def _card(card: Parts) -> str:
    """Write one contact on a line; any part may be missing."""
    name = mapping(card.get("name"))
    said = [
        text(name.get("formatted_name")) or text(name.get("first_name")),
        text(mapping(card.get("org")).get("company")),
        *(text(phone.get("phone")) or text(phone.get("wa_id")) for phone in items(card.get("phones"))),
        *(text(email.get("email")) for email in items(card.get("emails"))),
    ]
    return ", ".join(part for part in said if part) or "[Contact without a name]"


def _interactive(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    kind = text(body.get("type"))
    answer = mapping(body.get(kind))
    if kind == "nfm_reply":
        said = text(answer.get("body")) or text(answer.get("name")) or "[Form]"
        form = text(answer.get("response_json"))
        filled = load(form.encode()) if len(form) <= LARGEST_RAW_FORM else {}
        return {"kind": "text", "text": said, "extra": {"interactive": {"type": kind, "form": filled}}}
    if kind == "call_permission_reply":
        said = f"[Permission to call: {text(answer.get('response')) or 'unknown'}]"
        return {"kind": "text", "text": said, "extra": {"interactive": {"type": kind, **answer}}}
    if not text(answer.get("title")):
        return None
    return {"kind": "text", "text": text(answer["title"]), "extra": {"interactive": {"type": kind, **answer}}}


def _button(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    said = text(body.get("text")) or text(body.get("payload"))
    return {"kind": "text", "text": said, "extra": {"button": body}} if said else None


def _order(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    lines = [text(body.get("text"))]
    for item in items(body.get("product_items")):
        price = " ".join(part for part in (text(item.get("item_price")), text(item.get("currency"))) if part)
        lines.append(f"{text(item.get('quantity')) or '1'} × {text(item.get('product_retailer_id'))} {price}".strip())
    said = "\n".join(line for line in lines if line)
    return {"kind": "order", "text": said, "extra": {"order": body}} if said else None


def _system(body: Parts, _: Mapping[str, Any]) -> Parts | None:
    said = text(body.get("body")) or text(body.get("type")).replace("_", " ")
    return {"kind": "system", "text": said, "extra": {"system": body}} if said else None


_READERS: dict[str, Callable[[Parts, Mapping[str, Any]], Parts | None]] = {
    "text": _text,
    "image": _media("image"),
    "video": _media("video"),
    "audio": _media("audio"),
    "document": _media("file"),
    "sticker": _media("sticker"),
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "system": _system,
}
