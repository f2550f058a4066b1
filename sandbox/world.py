"""What every room is handed: the memory, the clock, the post office, and the other rooms.

`World` is made once, by `build`. A room is one provider: what its control verbs do, what nodes its API has,
and how its chats look on a customer's phone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from flask import current_app

from sandbox.callbacks import Answer, Sender
from sandbox.clock import Clock
from sandbox.errors import Refused
from sandbox.faults import Faults
from sandbox.live import Live
from sandbox.log import Log
from sandbox.rates import Rates
from sandbox.store import Row, Store


@dataclass(frozen=True)
class Upload:
    """A file that came with a control request."""

    name: str
    mime: str
    stream: IO[bytes]


Verb = Callable[["World", dict[str, Any], "Upload | None"], dict[str, Any]]
Read = Callable[["World", dict[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class Node:
    """An object of the Graph API: whose it is, which tokens may see it, and what one can do with it."""

    provider: str
    account: str
    kind: str  # what a fault of calls names in `on` when there is no edge
    tokens: frozenset[str]
    secret: str
    require_proof: bool  # the app's "Require App Secret" switch
    verbs: Mapping[tuple[str, str], Callable[[], Any]]  # (HTTP method, edge) → handler


@dataclass(frozen=True)
class Room:
    """One provider."""

    provider: str
    label: str
    verbs: Mapping[str, Verb]  # POST /control/<provider>/<verb>
    reads: Mapping[str, Read]  # GET /control/<provider>/<noun>
    resume: Callable[[World], None]  # takes up after a restart what was under way
    business: Callable[[World, str], dict[str, Any]]  # account → title, subtitle, callback_url
    customer: Callable[[World, str, str], dict[str, Any]]  # account, person → name, address, handle, switches, …
    chat: Callable[[World, str, str], list[dict[str, Any]]]  # account, person → messages, oldest first
    seen: Callable[[World, str, str], None]  # a customer's phone shows this chat of (account, person)
    new_person: Callable[[World, str, str, str], str]  # account, name, address ("" makes one up) → person
    gesture: Callable[[dict[str, str]], dict[str, Any]]  # what was done on the phone page → the body of `say`
    node: Callable[[World, str], Node | None] | None = None  # an object of the Graph API, by id
    tokens: Callable[[World], frozenset[str]] | None = None  # every Graph access token that this room knows
    heard: Callable[[World, Row, Answer], None] | None = None  # what we answered to one of its callbacks
    trouble: Mapping[str, int] = field(default_factory=dict)  # kind of fault → the provider's own code for it
    address: tuple[str, str] = ("Phone number", "+353 87 123 4567, or empty for any")  # what a new customer is asked
    closed: str = "Closed: only templates arrive"  # what follows when the 24-hour window is over


@dataclass
class World:
    """Everything there is."""

    store: Store
    clock: Clock
    live: Live
    faults: Faults
    log: Log
    rates: Rates
    sender: Sender
    base_url: str
    pace: float  # seconds between the statuses of a message
    rooms: dict[str, Room] = field(default_factory=dict)

    def room(self, provider: str) -> Room:
        """Give a room by its provider's name."""
        if provider not in self.rooms:
            there_are = ", ".join(self.rooms)
            raise Refused(f"There is no provider “{provider}” here; there is {there_are}", code="not_found", status=404)
        return self.rooms[provider]

    def account(self, provider: str, id_: str | None) -> Row:
        """Give an account by its provider's id; without one, the only account that there is."""
        if id_:
            if row := self.store.one("accounts", provider=provider, id=str(id_)):
                return row
            raise Refused(f"account: {id_} is not declared here", code="unknown_account", status=404)
        rows = self.store.all("accounts", provider=provider)
        if len(rows) != 1:
            ids = ", ".join(row["id"] for row in rows) or "none is declared yet"
            raise Refused(f"account: say which one ({ids})", code="which_account")
        return rows[0]


def build(*, folder: Path | None, clock_offset: float, pace: float, base_url: str) -> World:
    """Make a world; without a folder it ends with the process."""
    store = Store(folder)
    clock = Clock(store, clock_offset)
    live, log = Live(), Log(store, clock)
    return World(
        store=store,
        clock=clock,
        live=live,
        faults=Faults(store),
        log=log,
        rates=Rates(clock),
        sender=Sender(store, clock, log, live),
        base_url=base_url.rstrip("/"),
        pace=pace,
    )


def world() -> World:
    """Give the world of the request that is being answered."""
    return cast(World, current_app.extensions["sandbox"])
