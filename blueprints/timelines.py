"""A thread as a screen shows it: messages, days and facts in one order. Used by the inbox and the embed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import orjson
from flask import g

from blueprints import times

TOGETHER = timedelta(minutes=3)  # messages of one author within this time stand as one group
LATE = timedelta(minutes=1)  # what came later than this stands where it was written, among answers too


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened and that nobody wrote."""

    sequence: int
    at: datetime
    symbol: str
    sentence: str


@dataclass(slots=True)
class Item:
    """One line of a thread, by when it stands there. `joins`: `g` follows its own author, `t` is followed by them."""

    at: datetime
    message: Any = None
    fact: Fact | None = None
    day: str = ""
    joins: str = ""


def written_at(message: Any) -> datetime:
    """Say when a message was written: by the provider's clock if it comes from there, though never after it came."""
    if message.sender_kind in ("customer", "app") and message.provider_at:
        return min(message.provider_at, message.created_at)  # type: ignore[no-any-return]
    return message.created_at  # type: ignore[no-any-return]


def placed_at(message: Any) -> datetime:
    """Say by when a message stands among others: by when it came, since clocks differ; a late one by its own time."""
    written = written_at(message)
    return written if message.created_at - written > LATE else message.created_at  # type: ignore[no-any-return]


def timeline(messages: Sequence[Any], facts: Iterable[Fact] = ()) -> list[Item]:
    """Merge what was written with what happened, oldest first, and put a line where a day begins."""
    items = [*_in_order(messages), *(Item(fact.at, fact=fact) for fact in facts)]
    items.sort(key=lambda item: item.at)
    shown: list[Item] = []
    today = ""
    for item in items:
        day = item.at.astimezone(g.get("zone") or UTC).date().isoformat()
        if day != today:
            shown.append(Item(item.at, day=day))
            today = day
        if _follows(shown[-1], item):
            shown[-1].joins = f"{shown[-1].joins} t".strip()
            item.joins = "g"
        shown.append(item)
    return shown


def _in_order(messages: Sequence[Any]) -> list[Item]:
    """Put messages in their places; those that a customer wrote in a row change places until they are in its order."""
    items = sorted((Item(placed_at(message), message=message) for message in messages), key=lambda item: item.at)
    for (_, inbound), row in groupby(items, key=lambda item: (item.message.conversation_id, _is_inbound(item))):
        run = list(row)
        if inbound:
            for item, message in zip(run, sorted((one.message for one in run), key=written_at), strict=True):
                item.message = message
    return items


def _is_inbound(item: Item) -> bool:
    return bool(item.message.direction == "inbound")


def _follows(before: Item, item: Item) -> bool:
    first, second = before.message, item.message
    if first is None or second is None or item.at - before.at > TOGETHER:
        return False
    if second.channel == "email" and not second.private:
        return False
    return _author(first) == _author(second)


def _author(message: Any) -> tuple[object, ...]:
    return (
        message.kind == "system",
        message.private,
        message.direction,
        message.sender_id,
        message.sender_name,
        message.channel,
    )


def fact(row: Any) -> Fact | None:
    """Tell an event in a sentence; None for one that says nothing to people."""
    data = orjson.loads(row.body)["data"] if row.body else {}
    told = _TELL.get(row.type, lambda _: None)(data)
    return Fact(row.sequence, row.created_at, *told) if told else None


def facts(rows: Iterable[Any]) -> list[Fact]:
    return [told for row in rows if (told := fact(row))]


def _assigned(data: dict[str, Any]) -> tuple[str, str]:
    who, by = (data.get("assignee") or {}).get("name"), data.get("assigned_by")
    if not who:
        return "user-off", f"{by} unassigned this" if by else "Unassigned"
    if by == who:
        return "user-check", f"{who} took this"
    return "user-check", f"{by} assigned this to {who}" if by else f"Assigned to {who}"


def _status(data: dict[str, Any]) -> tuple[str, str] | None:
    by, status = data.get("changed_by"), data.get("status")
    if status == "snoozed":
        until = (data.get("conversation") or {}).get("snoozed_until")
        words = f"snoozed this until {times.soon(datetime.fromisoformat(until))}" if until else "snoozed this"
        return "clock-pause", f"{by} {words}" if by else words.capitalize()
    if status == "open" and by == "snooze":
        return "clock", "The snooze is over"
    verbs = {"open": "reopened", "closed": "closed", "pending": "set to pending"}
    if status not in verbs:
        return None
    verb = verbs[status]
    if status == "pending":
        return "hourglass", f"{by} set this to pending" if by else "Set to pending"
    return "circle-check" if status == "closed" else "refresh", f"{by} {verb} this" if by else verb.capitalize()


def _merged(data: dict[str, Any]) -> tuple[str, str]:
    return "git-merge", "Two customers became one"


_TELL: dict[str, Any] = {
    "conversation.assigned": _assigned,
    "conversation.status_changed": _status,
    "customer.merged": _merged,
}

FILTERS = (written_at, placed_at)
