"""What a channel must do; services and the worker rely on this alone. `tests/channels/contract.py` tries it.

A channel knows no database and no Flask, and its network calls run only in the worker, with no transaction open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ClassVar, Protocol

from channels.base import (
    Account,
    Callback,
    Field,
    Item,
    Kind,
    Limits,
    Media,
    Outgoing,
    Person,
    Receipt,
    Reply,
    Sent,
    Token,
)


class Box(Protocol):
    """Something that we look into because nobody calls us, while we are connected to it; every verb may wait."""

    def news(self, position: Mapping[str, Any]) -> Iterator[tuple[Callback | None, dict[str, Any]]]:
        """Give each piece of news after a position, untouched, with the position behind it; both are kept as one."""

    def wait(self, stopping: Callable[[], bool]) -> None:
        """Return when there may be news, or soon after `stopping` says so."""


class Channel(Protocol):
    """A channel inherits this: the verbs below that have a body are what most channels do."""

    kind: ClassVar[Kind]
    label: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]
    limits: ClassVar[Limits]
    paste_suffix: ClassVar[str] = ""  # follows the callback address where an admin pastes it at the provider
    traces: ClassVar[bool] = False  # the provider lists what an account sent, so that a lost answer can be found
    polled: ClassVar[bool] = False  # the provider does not call us: the worker's mail part looks for itself
    opt_out_codes: ClassVar[frozenset[str]] = frozenset()  # refusals that mean: this person wants to hear no more

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check and complete what an admin entered; raise `ValueError("field: why")`."""

    def account_key(self, config: Mapping[str, Any]) -> str:
        """Give the provider's own id of this account (phone number id, page id, mailbox), unique within a business."""

    def address(self, config: Mapping[str, Any]) -> str:
        """Give what customers write to, for people to read."""

    def handshake(self, callback: Callback, config: Mapping[str, Any]) -> Reply:
        """Answer a GET by which the provider verifies the callback URL."""

    def verify(self, callback: Callback, config: Mapping[str, Any]) -> None:
        """Check the signature over the raw bytes; raise `BadSignature`. Never parses before that."""

    def parse(self, callback: Callback) -> list[Item]:
        """Turn one verified callback into items. Never raises: what it does not know becomes an `unsupported` item."""

    def reply(self, callback: Callback) -> Reply:
        """Give the answer that the provider expects to an accepted callback."""

    def send(self, account: Account, message: Outgoing) -> Sent:
        """Send one message; raise `ChannelError`. Blocking; worker only."""

    def fetch_media(self, account: Account, media: Media, *, max_bytes: int) -> tuple[bytes, str, str]:
        """Fetch one file; give (bytes, MIME type as declared, file name); raise `ChannelError`. Worker only."""

    def check(self, account: Account) -> dict[str, Any]:
        """Ask the provider whether the credentials work: its `name`, `address` and `details`; raise `ChannelError`."""

    def subscribe(self, account: Account) -> None:
        """Ask the provider to send us this account's events; safe to repeat; raise `ChannelError`."""

    def mark_read(self, account: Account, to: str, provider_id: str) -> None:
        """Show a person that we read up to this message, where the channel can; raise `ChannelError`."""

    def templates(self, account: Account) -> list[dict[str, Any]]:
        """List the approved and other templates, or nothing where the channel has none."""

    def names(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """List the ids by which the provider's callbacks may name this account; its key is one of them."""
        return (self.account_key(config),)

    def window_hours(self, config: Mapping[str, Any]) -> int:
        """Give for how long after a customer's message this account may answer freely; 0 means for ever."""
        del config
        return self.limits.window_hours

    def profile(self, account: Account, address: str) -> Person:
        """Ask who a person is, where messages come without a name; raise `ChannelError`. Worker only."""
        del account
        return Person(address)

    def refresh(self, account: Account) -> Token | None:
        """Get a new access token where the old one will end; raise `ChannelError`. Worker only, at most daily."""
        return None

    def trace(self, account: Account, to: str, text: str, since: datetime) -> list[Receipt]:
        """List what became of this account's messages with this text to this address since a time, the oldest first.

        Only asked where the channel `traces`; each has a `provider_id`. Raise `ChannelError`. Worker only.
        """
        raise ValueError(f"{self.label} lists nothing.")

    def polls(self, config: Mapping[str, Any]) -> bool:
        """Say whether this account has something to look into; only asked where the channel is `polled`."""
        del config
        return False

    def box(self, account: Account, known: Callable[[Sequence[str]], set[str]]) -> AbstractContextManager[Box]:
        """Connect to what is to be looked into; raise `ChannelError`, then and as long as it is open. Worker only.

        A first position holds `since`, a time. `known` says which of some ids of messages we have.
        """
        raise ValueError(f"{self.label} calls us, not we it.")

    def forwarded(self, config: Mapping[str, Any], recipient: str, mail: bytes) -> Callback:
        """Make what `parse` takes of a mail that was forwarded to us for this account."""
        raise ValueError(f"{self.label} takes no mail.")
