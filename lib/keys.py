"""The text of an API key: `alc_live_<id>_<secret><checksum>`.

The id is public and finds the row; of the secret only a keyed hash is kept. The checksum lets scanners for leaked
keys, and us, tell a mistyped key without asking the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
from binascii import crc32
from typing import NamedTuple

PREFIX = "alc_live_"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"alc_live_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


class NewKey(NamedTuple):
    """A key just made. `text` is shown once; `id` and `hash` are kept."""

    id: str
    text: str
    hash: bytes


def new(pepper: bytes = b"") -> NewKey:
    """Make a key with 256 random bits; its `hash` is `hash_secret(pepper, text)`."""
    key_id = _base62(secrets.randbelow(62**12), 12)
    body = f"{PREFIX}{key_id}_{_base62(secrets.randbits(256), 43)}"
    text = body + _checksum(body)
    return NewKey(key_id, text, hash_secret(pepper, text))


def parse(text: str) -> tuple[str, str] | None:
    """Split a whole key into id and secret; None for anything that we cannot have made."""
    match = _SHAPE.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match[3]:
        return None
    return match[1], match[2]


def hash_secret(pepper: bytes, text: str) -> bytes:
    """Give the keyed hash (32 bytes) to store and to compare; `text` is a whole key or its secret alone."""
    match = _SHAPE.fullmatch(text)
    return hmac.digest(pepper, (match[2] if match else text).encode("utf-8", "replace"), "sha256")


def preview(text: str) -> str:
    """Give what may be shown of a key for good, like `alc_live_7Qm2…Jf1a`."""
    return f"{text[: len(PREFIX) + 4]}…{text[-4:]}"


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
