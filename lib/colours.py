"""A colour of somebody else's choice, made fit to read: what an embed's `accent` becomes in light and in dark."""

from __future__ import annotations

import re

_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_LIGHT, _DARK = (255, 255, 255), (24, 26, 30)  # app.css --surface
ENOUGH = 4.5  # WCAG 1.4.3

Colour = tuple[int, int, int]


def accents(text: str) -> tuple[str, str] | None:
    """Give the nearest shades that can be read on a light and on a dark surface; None for what is no colour."""
    match = _HEX.fullmatch(text)
    if match is None:
        return None
    colour = tuple(bytes.fromhex(match[1]))
    return _fit(colour, _LIGHT, (0, 0, 0)), _fit(colour, _DARK, (255, 255, 255))  # type: ignore[arg-type]


def contrast(one: Colour, two: Colour) -> float:
    """Give the contrast of two colours after WCAG, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _fit(colour: Colour, surface: Colour, towards: Colour) -> str:
    """Mix towards black or white in steps of a fiftieth until the contrast is enough."""
    for step in range(51):
        mixed = tuple(round(here + (there - here) * step / 50) for here, there in zip(colour, towards, strict=True))
        if contrast(mixed, surface) >= ENOUGH:  # type: ignore[arg-type]
            return "#" + bytes(mixed).hex()
    return "#" + bytes(towards).hex()


def _luminance(colour: Colour) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
