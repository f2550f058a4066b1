"""How times look on a screen: in the business's zone, which the guards and `fragments` leave in `g.zone`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import g

from models import now


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _local(at: datetime) -> datetime:
    return at.astimezone(g.get("zone") or UTC)


def clock(at: datetime) -> str:
    return f"{_local(at):%H:%M}"


def seconds(at: datetime) -> str:
    """Write a time as a log does: today's to the second, an older one with its day."""
    here = _local(at)
    return f"{here:%H:%M:%S}" if here.date() == _local(now()).date() else f"{here:%-d %b %H:%M:%S}"


def full(at: datetime) -> str:
    return f"{_local(at):%A %-d %B %Y, %H:%M:%S %Z}"


def month(at: datetime) -> str:
    return f"{_local(at):%B %Y}"


def weekday(at: datetime) -> str:
    return f"{_local(at):%a %-d}"


def day(at: str | datetime | date) -> str:
    """Name a day: Today, Yesterday, Sunday 23 November."""
    on = date.fromisoformat(at) if isinstance(at, str) else at.date() if isinstance(at, datetime) else at
    today = _local(now()).date()
    if on == today:
        return "Today"
    if on == today - timedelta(days=1):
        return "Yesterday"
    return f"{on:%A %-d %B}" if on.year == today.year else f"{on:%-d %B %Y}"


def when(at: datetime) -> str:
    """Say when something was, as short as it can be."""
    here, today = _local(at), _local(now()).date()
    if here.date() == today:
        return f"{here:%H:%M}"
    if here.date() == today - timedelta(days=1):
        return "Yesterday"
    return f"{here:%-d %b}" if here.year == today.year else f"{here:%-d %b %Y}"


def soon(at: datetime) -> str:
    """Say when something will be."""
    here, today = _local(at), _local(now()).date()
    if here.date() == today:
        return f"{here:%H:%M}"
    if here.date() == today + timedelta(days=1):
        return f"tomorrow {here:%H:%M}"
    return f"{here:%a %-d %b, %H:%M}" if here.date() - today < timedelta(days=300) else f"{here:%-d %b %Y}"


def span(length: timedelta) -> str:
    """Write a length of time in its two largest units at most: 3 h 12 m."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} m"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} m" if seconds < 6 * 3600 else f"{seconds // 3600} h"
    return f"{seconds // 86400} d"


def elapsed(at: datetime) -> str:
    return span(now() - at) if now() - at >= timedelta(minutes=1) else "a moment"


def ago(at: datetime) -> str:
    passed = now() - at
    if passed < timedelta(seconds=10):
        return "just now"
    return f"{span(passed)} ago" if passed < timedelta(days=1) else when(at)


def zone(name: str) -> ZoneInfo:
    """Read the name of a time zone; UTC where nobody knows it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


FILTERS = (iso, clock, seconds, full, month, weekday, day, when, soon, elapsed, ago)
