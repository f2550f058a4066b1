"""Small questions that the rules ask of a JSON body; each refuses in the Graph API's words. Knows no message type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.meta.errors import GraphError


def only(value: dict[str, Any], allowed: Iterable[str], at: str) -> None:
    """Refuse keys that are not documented."""
    for key in value:
        if key not in allowed:
            raise GraphError(100, f'Unexpected key "{key}" on param "{at}".')


def table(parent: dict[str, Any], key: str, at: str = "", *, required: bool = True) -> dict[str, Any]:
    """Give an object."""
    name = f"{at}['{key}']" if at else key
    if key not in parent:
        if required:
            raise GraphError(100, f"The parameter {name} is required.")
        return {}
    if not isinstance(parent[key], dict):
        raise GraphError(100, f"Param {name} must be a JSON object.")
    return parent[key]  # type: ignore[no-any-return]


def rows(parent: dict[str, Any], key: str, at: str, *, low: int, high: int) -> list[dict[str, Any]]:
    """Give a list of objects, no shorter and no longer than allowed."""
    name = f"{at}['{key}']" if at else key
    value = parent.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise GraphError(100, f"Param {name} must be an array of objects.")
    if not low <= len(value) <= high:
        raise GraphError(131009, f"Param {name} must have {low} to {high} elements, got {len(value)}.")
    return value


def text(parent: dict[str, Any], key: str, at: str = "", *, high: int = 0, required: bool = True) -> str:
    """Give a text that is not empty and not too long; lengths count characters."""
    name = f"{at}['{key}']" if at else key
    if parent.get(key) is None:
        if required:
            raise GraphError(100, f"The parameter {name} is required.")
        return ""
    value = parent[key]
    if not isinstance(value, str):
        raise GraphError(100, f"Param {name} must be a string.")
    if required and not value.strip():
        raise GraphError(100, f"Param {name} cannot be an empty string.")
    if high and len(value) > high:
        raise GraphError(100, f"Param {name} must be at most {high} characters long.")
    return value


def number(parent: dict[str, Any], key: str, at: str, limit: float) -> float:
    """Give a number within ±limit; the docs show coordinates as numbers and as texts, so both pass."""
    value = parent.get(key)
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except ValueError:
        found = None
    if found is None or not -limit <= found <= limit:
        raise GraphError(131009, f"Param {at}['{key}'] must be a number between -{limit:g} and {limit:g}.")
    return found


def flag(parent: dict[str, Any], key: str, at: str) -> bool:
    """Give a true or false; absent is false."""
    value = parent.get(key, False)
    if not isinstance(value, bool):
        raise GraphError(100, f"Param {at}['{key}'] must be a boolean.")
    return value


def one_of(value: object, allowed: Iterable[str], name: str) -> str:
    """Give a word that is one of these."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        choice = ", ".join(word.upper() for word in words)
        raise GraphError(100, f'Param {name} must be one of {{{choice}}} - got "{value}".')
    return value


def link(value: str, name: str) -> str:
    """Give an http(s) address."""
    if not value.startswith(("http://", "https://")):
        raise GraphError(100, f"Param {name} is not a valid URI.")
    return value


def media(content: dict[str, Any], kind: str, at: str = "") -> dict[str, Any]:
    """Give the one of `id` and `link` that a media object must have."""
    at = at or kind
    if ("id" in content) == ("link" in content):
        problem = "only one of them is allowed" if "id" in content else "one of them is required"
        raise GraphError(131009 if "id" in content else 131008, f"Param {at}: 'id' or 'link', {problem}.")
    if "link" in content:
        return {"type": kind, "link": link(text(content, "link", at), f"{at}['link']")}
    return {"type": kind, "id": text(content, "id", at)}
