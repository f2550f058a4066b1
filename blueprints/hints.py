"""What a message says besides its words: where it came from, what it answers, what became of it. One quiet line each.

Providers tell all of it in `extra`, and strangers may have written it: nothing is taken for what it should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask

LONGEST = 80


@dataclass(frozen=True, slots=True)
class Hint:
    """A line with its icon; `link` leads to what it speaks of."""

    symbol: str
    text: str
    link: str = ""


def register(app: Flask) -> None:
    app.jinja_env.filters["hints"] = hints


def hints(message: Any) -> list[Hint]:
    """List what is to be told of a message, the most important first."""
    extra = message.extra or {}
    return [hint for tell in _TELLERS for hint in tell(extra, message)]


def _wish(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    if extra.get("opt_out") == "stop":
        yield Hint("ban", "Asked for no more messages")
    elif extra.get("opt_out") == "start":
        yield Hint("check", "Asked to get messages again")


def _standby(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    if extra.get("standby"):
        yield Hint("app-window", "Another app holds this conversation, so an answer may be refused")


def _referral(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    told = _table(extra.get("referral"))
    if not told:
        return
    title = _text(told.get("headline")) or _text(_table(told.get("ads_context_data")).get("ad_title"))
    kind, ref = _text(told.get("source_type")), _text(told.get("ref"))
    link = _text(told.get("source_url"), 2000)
    if kind == "post":
        words = f"Came from the post “{title}”" if title else "Came from a post"
    elif kind == "ad" or title or told.get("ad_id") or told.get("source") == "ADS":
        words = f"Came from the ad “{title}”" if title else "Came from an ad"
    else:
        words = f"Came by a link ({ref})" if ref else "Came by a link"
    yield Hint("flag", words, link if link.startswith(("https://", "http://")) else "")


def _product(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    if product := _text(_table(extra.get("referred_product")).get("product_retailer_id")):
        yield Hint("tag", f"Asks about the product {product}")


def _story(extra: Mapping[str, Any], message: Any) -> Iterator[Hint]:
    story = _table(extra.get("story"))
    if story.get("type") == "reply":
        gone = "" if story.get("url") or message.attachments else ", which is no longer available"
        yield Hint("photo", f"Replied to your story{gone}")


def _quote(extra: Mapping[str, Any], message: Any) -> Iterator[Hint]:
    """Tell of an answer to a message that we never had; a mail's `quoted` is what it repeats."""
    if message.channel != "email" and extra.get("quoted") and not message.reply_to_id:
        yield Hint("arrow-back-up", "Answers an earlier message: original unavailable")


def _forwarded(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    if extra.get("forwarded"):
        yield Hint("send", "Forwarded many times" if extra.get("frequently_forwarded") else "Forwarded")


def _setting(extra: Mapping[str, Any], _: Any) -> Iterator[Hint]:
    if extra.get("group"):
        yield Hint("users", "Written in a group")
    if extra.get("ephemeral"):
        yield Hint("eye-off", "Disappears in the customer’s app")


_TELLERS = (_wish, _standby, _referral, _product, _story, _quote, _forwarded, _setting)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object, longest: int = LONGEST) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
