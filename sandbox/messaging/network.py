"""The facts in which Messenger and Instagram differ. Knows nothing of what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.meta.errors import GraphError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Refusal:
    """One of the network's own errors."""

    code: int
    subcode: int
    message: str
    status: int = 400

    def error(self) -> GraphError:
        """Make the exception."""
        return GraphError(self.code, status=self.status, subcode=self.subcode, message=f"(#{self.code}) {self.message}")


@dataclass(frozen=True)
class Network:
    """One of the two."""

    provider: str
    label: str
    object: str  # of its callbacks
    key: str  # what a declaration calls the account's id
    mid: str  # how its message ids begin
    fields: tuple[str, ...]  # that one can subscribe to
    field_of: Mapping[str, str]  # part of an event → the field that brings it
    envelope: tuple[str, ...]  # what a call may hold
    message: tuple[str, ...]  # what a message may hold
    type_required: bool  # every call says its messaging_type
    size: Callable[[str], int]
    longest: int  # a text of this size still passes
    files: Mapping[str, tuple[int, tuple[str, ...]]]  # type → most bytes, MIME types; none: any
    multipart: bool  # a file may come with the call
    delivers: bool  # tells of deliveries, and by watermarks
    light_touch_opens: bool  # a reaction or a link opens the window
    closed: Refusal
    nobody: Refusal
    elsewhere: Refusal
    people: str = "person"
    switches: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def characters(text: str) -> int:
    """Count UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def octets(text: str) -> int:
    """Count the bytes of UTF-8."""
    return len(text.encode())


UNAVAILABLE = Refusal(551, 1545041, "This person isn't available right now.")
UNFIT = Refusal(100, 2018047, "Upload attachment failure: the attachment's type does not match its content.")
TOO_LARGE = Refusal(100, 2018109, "Attachment size exceeds allowable limit.")
NOT_FETCHED = Refusal(100, 2018008, "Failed to fetch the file from the url.")
PHONE: dict[str, Any] = {
    "online": ("Phone is on", "Off: messages stay at one tick until it is on again"),
    "blocked": ("Blocks the business", "Messages are refused with 551/1545041"),
    "standby": ("Another app has the chat", "What is written comes as standby, and answers are refused"),
    "hides_name": ("Hides the profile", "Nobody may ask for the name"),
}
