"""Small treatments of text that several floors need."""

from __future__ import annotations


def like(text: str) -> str:
    """Escape what LIKE would take for a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
