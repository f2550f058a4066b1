"""What goes into a channel and comes out of it: value objects, normalised events, and one way to fail.

Services hand in plain values and take plain values back. What a channel must do with them is in contract.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

Kind = Literal["whatsapp", "email", "sms", "facebook", "instagram"]
Action = Literal["retry", "window", "permanent", "account"]


class ChannelError(Exception):
    """A provider refused or could not be reached.

    `action` says what follows: `retry` later, `window` (the customer must write first, or a template), `permanent`
    (this message will never go), `account` (the whole account is held and the admin told).
    `unknown` means the request was written but no answer came: the message may have gone, so it is never repeated
    blindly. `sent_ids` are the calls of this message that did go out, as in `Sent.provider_ids`: keep them, and give
    them back in `Outgoing.sent_ids` when it is tried again, so that nothing is sent twice.
    """

    def __init__(
        self,
        message: str,
        *,
        action: Action = "permanent",
        code: str | None = None,
        retry_after: float | None = None,
        unknown: bool = False,
        sent_ids: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message, self.action, self.code = message, action, code
        self.retry_after, self.unknown, self.sent_ids = retry_after, unknown, tuple(sent_ids)

    @property
    def permanent(self) -> bool:
        return self.action != "retry" and not self.unknown


class BadSignature(Exception):
    """A callback did not prove that the provider sent it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting that an admin enters for a channel account."""

    name: str
    label: str
    secret: bool = False
    required: bool = True
    hint: str = ""
    pattern: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()


class Rate(NamedTuple):
    """So many messages within so many seconds, and after a rest all of them at once."""

    messages: int
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel lets us send. `text` counts in `text_unit`; 0 means no limit of the channel's own."""

    text: int = 0
    text_unit: Literal["characters", "bytes"] = "characters"
    caption: int = 0
    window_hours: int = 0  # 0: one may always write first
    templates: bool = False
    attachments: int = 10  # files in one message
    total: int = 0  # bytes of all its files together; 0: no limit but that of each
    media: Mapping[str, int] = field(default_factory=dict)  # MIME type, "image/*" or "*/*" → bytes
    text_with_attachment: bool = True
    rate: Rate | None = None  # what the provider takes of one account; None where it names none
    media_rate: Rate | None = None  # the same for sound and video
    person_rate: Rate | None = None  # the same for one person
    at_once: int = 8  # messages of one account that may be under way together
    threads: bool = False  # a person may have several conversations at once, each a thread of its own

    def max_bytes(self, mime: str) -> int:
        """Give how large a file of this type may be; 0 where the channel does not take the type."""
        kind = mime.partition(";")[0].strip().lower()
        patterns = (kind, f"{kind.partition('/')[0]}/*", "*/*")
        return next((self.media[pattern] for pattern in patterns if pattern in self.media), 0)


@dataclass(frozen=True, slots=True)
class Account:
    """A connected number, mailbox or page, with its secrets in clear: made by services just before a call."""

    id: str
    business_id: str
    kind: Kind
    address: str  # what customers write to, for people to read
    config: Mapping[str, Any]
    callback_url: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way out. `read` is called in the worker, once or more."""

    id: str
    filename: str
    mime: str
    size: int
    read: Callable[[], bytes]
    url: str = ""  # opens without credentials for a while: for providers that fetch files themselves


@dataclass(frozen=True, slots=True)
class Template:
    """A template by name, and its values: a list by position, or a table by name if the template's format is NAMED.

    They stand under `header`, `body`, `button:<index>` (a URL's end) or `button:<index>:<sub type>`. A header that is a
    picture, a video or a document is the message's one file.
    """

    name: str
    language: str
    parameters: Mapping[str, Sequence[str] | Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. `to` is the provider's own id of the person, exactly as it came in where it came in."""

    id: str  # our message id; goes along wherever the provider returns it
    to: str
    text: str = ""
    files: Sequence[File] = ()
    template: Template | None = None
    reply_to: str | None = None  # the provider's id of the quoted message
    subject: str | None = None
    thread: Mapping[str, Any] = field(default_factory=dict)  # what the channel kept for threading (email)
    sender_name: str | None = None
    window_open: bool = True
    by_person: bool = True  # somebody typed it here: some providers give people more time to answer
    automatic: bool = False  # nobody wrote it: mails say so, lest programs answer each other
    attempt: int = 1  # which try this is: some refusals are worth one more, or a longer wait each time
    sent_ids: Sequence[str] = ()  # what earlier tries got through (`ChannelError.sent_ids`)


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider accepted it. `provider_ids` holds one id for each call that one message needed, first one first."""

    provider_ids: tuple[str, ...]
    status: Literal["sent", "delivered"] = "sent"
    thread: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None  # the provider's own id of the person, where it tells: answers will come from that


@dataclass(frozen=True, slots=True)
class Media:
    """A file that came in, not fetched yet: by provider id or by URL, or already at hand (`data`)."""

    mime: str = "application/octet-stream"
    filename: str = ""
    provider_id: str | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    data: bytes | None = None
    voice: bool = False
    content_id: str | None = None  # of an inline image


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote. `address` is what to answer to, verbatim; `phone` and `email` only if the channel proves them."""

    address: str
    name: str = ""
    username: str = ""
    phone: str | None = None  # E.164
    email: str | None = None
    scoped_id: str | None = None  # a BSUID, PSID or IGSID


@dataclass(frozen=True, slots=True)
class Thread:
    """Where a message of a channel with threads belongs, as far as it tells. Services decide what of it to believe."""

    id: str = ""  # its own, by which later ones name it
    answers: Sequence[str] = ()  # ids of those it answers, the nearest first
    addressed: Sequence[str] = ()  # every address that it was sent or carried to
    sender: str = ""  # the address that it came from, which need not be the one to answer to
    people: Sequence[str] = ()  # the addresses of those who read along


@dataclass(frozen=True, slots=True)
class Inbound:
    """A customer wrote, or (`echo`) the owner wrote in the provider's own app."""

    provider_id: str
    account: str  # the provider's own id of our number, page or mailbox
    person: Person
    at: datetime
    text: str = ""
    kind: str = "text"  # text image video audio file sticker location contacts order story system unsupported
    media: Sequence[Media] = ()
    reply_to: str | None = None
    subject: str | None = None
    echo: bool = False
    message_id: str | None = None  # of an echo: our own id, "" if surely not ours, None where the provider keeps none
    opens_window: bool = True
    thread: Thread | None = None
    automatic: bool = False  # written by a program: nobody waits for an answer
    extra: Mapping[str, Any] = field(default_factory=dict)  # shown or kept beside the text: location, contacts, html, …
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a message that we have: a reaction, an edit, a deletion."""

    account: str
    kind: Literal["reaction", "edit", "delete"]
    target: str  # provider id of the message concerned
    at: datetime
    person: Person | None = None
    emoji: str | None = None  # None removes the reaction
    text: str | None = None
    by_customer: bool = True
    opens_window: bool = False  # where the channel counts it as writing to us


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message that we sent: the one with `provider_id`, or all to `person` up to `watermark`.

    With `and_before` the one with `provider_id` stands for all to `person` up to it.
    """

    account: str
    status: Literal["sent", "delivered", "read", "failed"]
    at: datetime
    provider_id: str | None = None
    message_id: str | None = None  # our own id, where the provider returns it
    person: str | None = None
    watermark: datetime | None = None
    and_before: bool = False
    error_code: str | None = None
    error: str | None = None
    action: Action | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)  # what it costs (`billable`, `category`), where told


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """A person's address changed (WhatsApp: a new number or a new business-scoped id). One item for each address."""

    account: str
    old: Person
    new: Person
    at: datetime
    text: str = ""


@dataclass(frozen=True, slots=True)
class AccountNotice:
    """The provider tells something of the account itself: trouble (throughput, a restriction), or what nobody knows.

    `stale` says that what we last read of it, as its templates, is to be read anew.

    An empty `account` means the one whose address was called.
    """

    account: str
    code: str
    text: str
    level: Literal["trouble", "info", "stale"] = "trouble"
    raw: Mapping[str, Any] = field(default_factory=dict)


Item = Inbound | Change | Receipt | IdentityChange | AccountNotice


@dataclass(frozen=True, slots=True)
class Token:
    """A credential that the provider gave in place of an old one: settings to keep, and until when they work."""

    config: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Callback:
    """One HTTP request from a provider, untouched. `url` is the public URL that the provider called.

    What we fetch ourselves (mail) is kept in the same form, and its `headers` say what parsing must know.
    """

    method: str
    url: str
    headers: Mapping[str, str]  # names in lower case
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider must hear at once."""

    status: int = 200
    body: str = ""
    content_type: str = "text/plain; charset=utf-8"
