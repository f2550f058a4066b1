"""Whose pages may frame an embed: origins as an admin lists them, `https://*.example.com` for every host below one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"https?://(?:\*\.)?(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::\d{1,5})?|https?://\[[0-9a-f:]+\](?::\d{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def normalise(text: str) -> str:
    """Give the origin as browsers write it; raise `ValueError` for anything that is more or less than one."""
    scheme, _, host = text.strip().lower().rstrip("/").partition("://")
    origin = f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}"
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(
            "write an origin like https://crm.example.com, or https://*.example.com for all hosts below it"
        )
    return origin


def of(url: str) -> str:
    """Give the origin of a page's address, or an empty text."""
    try:
        parts = urlsplit(url)
        return normalise(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    except ValueError:
        return ""


def allow(listed: Iterable[str], origin: str) -> bool:
    """Say whether a list names an origin; an empty list names all."""
    listed = list(listed)
    return not listed or any(_names(item, origin) for item in readable(listed))


def policy(listed: Iterable[str]) -> str:
    """Write the list as a `frame-ancestors` directive; an empty list lets everybody, and so says nothing."""
    listed = list(listed)
    return f"frame-ancestors {' '.join(readable(listed))}" if listed else ""


def readable(listed: Iterable[str]) -> list[str]:
    """Give the list as browsers compare it; what is no origin names nobody, and never everybody."""
    found = []
    for item in listed:
        try:
            found.append(normalise(item))
        except ValueError:
            found.append("'none'")
    return [item for item in found if item != "'none'"] or found[:1]


def _names(item: str, origin: str) -> bool:
    scheme, _, host = item.partition("://*.")
    return origin.startswith(f"{scheme}://") and origin.endswith(f".{host}") if host else item == origin
