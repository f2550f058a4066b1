"""Turn one message of ours into the calls that Messenger or Instagram needs for it, and make those not made yet.

https://developers.facebook.com/documentation/business-messaging/messenger-platform/send-messages
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from channels import untrusted
from channels.base import ChannelError, File, Outgoing, Sent

Body = dict[str, Any]
HUMAN_AGENT: Body = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
HUMAN_AGENT_HOURS = 7 * 24
_JOINS = {"\u200d", "\ufe0f", *(chr(code) for code in range(0x1F3FB, 0x1F400))}  # these belong to what stands before


@dataclass(frozen=True, slots=True)
class Rules:
    """How one of the two wants its calls: the longest text, what a call within the window says of itself, quotes."""

    longest: int
    size: Callable[[str], int]
    within: Mapping[str, str]
    quotes: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What one call brings: a text or a file, never both."""

    text: str = ""
    file: File | None = None


Post = Callable[[Body, Part], Mapping[str, Any]]


def characters(text: str) -> int:
    """Count as most strict servers do: an emoji beyond the basic plane is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def octets(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def person(address: str) -> str:
    """Give a person's scoped id, which is of digits alone, or refuse what is none."""
    if not (address.isdecimal() and address.isascii() and len(address) <= 32):
        raise ChannelError("This is no id of a person on this channel.", code="bad_recipient")
    return address


def parts(message: Outgoing, rules: Rules) -> list[Part]:
    """List what each call brings, always in the same order: the text in pieces, then each file."""
    made = [Part(text=piece) for piece in split(message.text, rules.longest, rules.size)]
    made += [Part(file=file) for file in message.files]
    if not made:
        raise ChannelError("There is nothing in this message.", code="empty")
    return made


def send(message: Outgoing, rules: Rules, post: Post, *, human_agent: bool) -> Sent:
    """Make the calls that are not yet made (`message.sent_ids`); an error carries the ids of those that were.

    Outside the window an answer goes as a person's, where the account may do that and a person wrote it.
    """
    may_tag = human_agent and message.by_person
    tagged = may_tag and not message.window_open
    sent = list(message.sent_ids)
    try:
        to = person(message.to)
        for part in parts(message, rules)[len(sent) :]:
            body: Body = {"recipient": {"id": to}}
            if message.reply_to and rules.quotes and not sent:
                body["reply_to"] = {"mid": message.reply_to}
            try:
                answer = post(body | (HUMAN_AGENT if tagged else dict(rules.within)), part)
            except ChannelError as error:
                if error.action != "window" or tagged or not may_tag:
                    raise
                tagged = True  # the provider's clock counts, not ours
                answer = post(body | HUMAN_AGENT, part)
            sent.append(_accepted(answer))
    except ChannelError as error:
        error.sent_ids = tuple(sent)
        raise
    return Sent(tuple(sent))


def _accepted(answer: Mapping[str, Any]) -> str:
    provider_id = untrusted.identifier(answer.get("message_id"))
    if not provider_id:
        raise ChannelError("This message was taken but got no id.", action="retry", unknown=True)
    return provider_id


def attachment_type(mime: str, pictures: Sequence[str]) -> str:
    """Name Meta's type for a file; only these types of pictures are shown as such."""
    kind = mime.partition(";")[0].strip().lower()
    family = kind.partition("/")[0]
    if family == "image":
        return "image" if kind in pictures else "file"
    return family if family in ("video", "audio") else "file"


def split(text: str, longest: int, size: Callable[[str], int]) -> list[str]:
    """Cut a text into pieces of at most so large, at ends of lines or of words; a word that is too long anywhere."""
    pieces, rest = [], text.strip()
    while rest:
        end = _fitting(rest, longest, size)
        if end < len(rest):
            end = _boundary(rest, end)
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return pieces


def _fitting(text: str, longest: int, size: Callable[[str], int]) -> int:
    """Count the characters from the start that fit."""
    used = 0
    for place, char in enumerate(text):
        used += size(char)
        if used > longest:
            return place
    return len(text)


def _boundary(text: str, end: int) -> int:
    """Go back from `end` to where a reader would pause, or at least not into the middle of a character."""
    head = text[: end + 1]  # the character after the last that fits may be the pause itself
    line = head.rfind("\n")
    if line >= end // 2:
        return line
    space = max((place for place, char in enumerate(head) if char.isspace()), default=0)
    if space:
        return space
    whole = end
    while whole > 1 and _belongs(text, whole):
        whole -= 1
    return whole if whole > 1 else end


def _belongs(text: str, place: int) -> bool:
    """Say whether the character here is drawn together with the one before."""
    char, before = text[place], text[place - 1]
    return char in _JOINS or before == "\u200d" or bool(unicodedata.combining(char))
