"""What a message of Messenger or Instagram says: one function for each type of attachment.

Called by inbound.py, for the parts of an `Inbound`. A type that is not in the table becomes a placeholder; so does one
whose content is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from channels import endpoints, meta
from channels.base import Media
from channels.untrusted import identifier, items, mapping, text

Parts = dict[str, Any]
LIKES = frozenset({"369239263222822", "369239343222814", "369239383222810"})  # the thumb, in three sizes
_MIMES = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/mp4", "sticker": "image/png"}
_SHARED = {
    "ig_post": "Post",
    "post": "Post",
    "share": "Post",
    "ig_reel": "Reel",
    "reel": "Reel",
    "ig_story": "Story",
    "story": "Story",
}


def read(message: Mapping[str, Any]) -> Parts:
    """Give kind, text, media and extra of a message, whatever is attached to it."""
    said = text(message.get("text"))
    found = [_attachment(attachment, said) for attachment in _distinct(items(message.get("attachments")))]
    found += _story_reply(message)
    lines: list[str] = [said, *(part.get("text", "") for part in found)]
    media = [file for part in found for file in part.get("media", ())]
    if not any(lines) and not media:
        what = "only the app shows it" if message.get("is_unsupported") is True else "empty"
        found.append(_placeholder(what))
        lines.append(found[-1]["text"])
    kinds = [part["kind"] for part in found if part["kind"] != "text"]
    kind = "unsupported" if "unsupported" in kinds else next(iter(kinds), "text")
    extra = _around(message) | _merged(part.get("extra", {}) for part in found)
    return {"kind": kind, "text": "\n".join(line for line in lines if line), "media": tuple(media), "extra": extra}


def came_from(referral: Mapping[str, Any]) -> str:
    """Say in a sentence by which way somebody opened the conversation."""
    ad = text(mapping(referral.get("ads_context_data")).get("ad_title"))
    if text(referral.get("source")) == "ADS" or ad or text(referral.get("ad_id")):
        return f"Came from the ad “{ad}”." if ad else f"Came from an ad ({text(referral.get('ad_id')) or 'unnamed'})."
    ref = text(referral.get("ref"))
    return f"Opened the conversation by a link ({ref})." if ref else "Opened the conversation by a link."


def _distinct(attachments: list[Parts]) -> Iterator[Parts]:
    """Leave out the second of a sticker that came as two types, as it did until August 2026."""
    seen: set[str] = set()
    for attachment in attachments:
        sticker = identifier(mapping(attachment.get("payload")).get("sticker_id"))
        if sticker and sticker in seen:
            continue
        seen |= {sticker}
        yield {**attachment, "type": "sticker"} if sticker else attachment


def _attachment(attachment: Mapping[str, Any], said: str) -> Parts:
    kind, payload = text(attachment.get("type")), mapping(attachment.get("payload"))
    if kind == "fallback":
        return _link({**attachment, **payload}, said)
    reader = _READERS.get(kind)
    return (reader(kind, payload) if reader else None) or _placeholder(kind.replace("_", " "))


def _around(message: Mapping[str, Any]) -> Parts:
    """Give what any message may carry: the button that was tapped, the advertisement or product it answers."""
    found = {"quick_reply": mapping(message.get("quick_reply")), "referral": mapping(message.get("referral"))}
    return {name: value for name, value in found.items() if value}


def _merged(extras: Iterator[Parts]) -> Parts:
    """Put together what several attachments say; all links, of anything else the first."""
    merged: Parts = {}
    for extra in extras:
        for name, value in extra.items():
            merged[name] = merged[name] + value if name in merged and name == "links" else merged.get(name, value)
    return merged


def _placeholder(what: str) -> Parts:
    what = what[:80]
    return {
        "kind": "unsupported",
        "text": f"[Unsupported message{f': {what}' if what else ''}]",
        "extra": {"unsupported": what or "unknown"},
    }


def _file(kind: str, payload: Parts) -> Parts | None:
    url = _address(payload)
    if not url:
        return None
    named = unquote(urlsplit(url).path.rpartition("/")[2]) if kind == "file" else ""
    media = Media(_MIMES.get(kind, "application/octet-stream"), named if "." in named else "", url=url)
    return {"kind": kind, "media": (media,)}


def _any_file(kind: str, payload: Parts) -> Parts | None:
    """A file whose type shows only when it is fetched; one that disappears may have no address at all."""
    found = _file("image", payload)
    if kind == "ephemeral":
        return found | {"extra": {"ephemeral": True}} if found else _placeholder("disappearing photo or video")
    return found


def _sticker(_: str, payload: Parts) -> Parts | None:
    sticker = identifier(payload.get("sticker_id"))
    extra = {"sticker_id": sticker} if sticker else {}
    if sticker in LIKES:
        return {"kind": "sticker", "text": "👍", "extra": extra}
    found = _file("sticker", payload)
    return found and found | {"extra": extra}


def _heart(_: str, __: Parts) -> Parts:
    return {"kind": "sticker", "text": "❤️"}


def _link(card: Parts, said: str) -> Parts:
    """A link's preview: the link stands in the text already, or else is written there."""
    url, title = _address(card), text(card.get("title"))
    if not url:
        return {"kind": "text", "text": title if title not in said else "", "extra": {}}
    known = _bare(url) in said or url in said
    line = "" if known else "\n".join(part for part in (title, url) if part)
    return {"kind": "text", "text": line, "extra": {"links": [{"url": url, "title": title}]}}


def _address(payload: Mapping[str, Any]) -> str:
    """Give the web address of a payload, out of the wrapping that Facebook puts around links."""
    url = text(payload.get("url"))
    try:
        parts = urlsplit(url)
        if parts.hostname in ("l.facebook.com", "l.instagram.com", "lm.facebook.com"):
            url = text(next(iter(parse_qs(parts.query).get("u", [])), "")) or url
        return url if urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname else ""
    except ValueError:
        return ""


def _bare(url: str) -> str:
    """Write a link as people type it."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}".removeprefix("www.").rstrip("/")


def _shared(kind: str, payload: Parts) -> Parts | None:
    """A post, reel or story that was passed on: its picture where Meta gives that, else its address."""
    url, title = _address(payload), text(payload.get("title"))
    names = ("id", "ig_post_media_id", "reel_video_id", "title", "url")
    shared = {"type": kind, **{name: text(payload[name]) for name in names if text(payload.get(name))}}
    if len(shared) == 1:
        return None
    line = title or f"[{_SHARED[kind]}]"
    if url and not _is_file(url):
        return {"kind": "text", "text": f"{line}\n{url}", "extra": {"shared": shared}}
    media = (Media("image/jpeg", url=url),) if url else ()
    return {"kind": "text", "text": line, "media": media, "extra": {"shared": shared}}


def _is_file(url: str) -> bool:
    at = endpoints.current()
    bases = (at.meta_graph_url, at.instagram_graph_url)
    return any(endpoints.serves_media(url, hosts=meta.MEDIA_HOSTS, base=base) for base in bases)


def _story_mention(_: str, payload: Parts) -> Parts:
    url = _address(payload)
    if not url:
        return {"kind": "story", "text": "[Mentioned you in a story that is no longer available]"}
    story = {"story": {"type": "mention", "url": url}}
    media = (Media("image/jpeg", url=url),)
    return {"kind": "story", "text": "[Mentioned you in a story]", "media": media, "extra": story}


def _story_reply(message: Mapping[str, Any]) -> list[Parts]:
    """The story that a message answers: it is gone within a day, so it is kept beside the answer."""
    story = mapping(mapping(message.get("reply_to")).get("story"))
    if not story:
        return []
    url = _address(story)
    kept = {"type": "reply", "id": identifier(story.get("id")), "url": url}
    media = (Media("image/jpeg", url=url),) if url else ()
    return [{"kind": "story", "media": media, "extra": {"story": {name: one for name, one in kept.items() if one}}}]


def _location(_: str, payload: Parts) -> Parts | None:
    coordinates = mapping(payload.get("coordinates"))
    try:
        latitude, longitude = (float(text(coordinates.get(name))) for name in ("lat", "long"))
    except ValueError:
        return None
    place: Parts = {"latitude": latitude, "longitude": longitude}
    if name := text(payload.get("title")):
        place["name"] = name
    point = f"{latitude}, {longitude}"
    return {"kind": "location", "text": f"{name} ({point})" if name else point, "extra": {"location": place}}


def _template(_: str, payload: Parts) -> Parts | None:
    """Cards and buttons that some app sent, or a product of the shop, written as lines."""
    cards = items(payload.get("elements")) + items(mapping(payload.get("product")).get("elements"))
    lines = [text(payload.get("text"))]
    lines += [
        ": ".join(part for part in (text(card.get("title")), text(card.get("subtitle"))) if part) for card in cards
    ]
    said = "\n".join(line for line in lines if line)
    return {"kind": "text", "text": said, "extra": {"template": payload}} if said else None


def _appointment(_: str, payload: Parts) -> Parts:
    return {"kind": "text", "text": "[Appointment booking]", "extra": {"appointment": payload}}


_READERS: dict[str, Callable[[str, Parts], Parts | None]] = {
    **dict.fromkeys(("image", "video", "audio", "file"), _file),
    **dict.fromkeys(("media", "ephemeral"), _any_file),
    **dict.fromkeys(_SHARED, _shared),
    "sticker": _sticker,
    "like_heart": _heart,
    "story_mention": _story_mention,
    "location": _location,
    "template": _template,
    "appointment_booking": _appointment,
}
