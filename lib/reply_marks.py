"""What our mails carry so that answers find their conversation: short, signed, and the same in upper and lower case.

A conversation's token stands in the address to answer to (`support+c4kq.9f3a1c2e5b@…`) and as the root of every thread;
a message's mark is the local part of its Message-ID. Made and checked by services; nobody else can make one.
"""

from __future__ import annotations

import base64
import hmac
import re
from uuid import UUID

_SIGNATURE = 10  # characters of base32: 50 bits, with nothing to try them against but our own mailbox
TOKEN = re.compile(rf"c([a-z2-7]{{1,13}})\.([a-z2-7]{{{_SIGNATURE}}})", re.IGNORECASE)
MARK = re.compile(rf"m\.([0-9a-f]{{32}})\.([a-z2-7]{{{_SIGNATURE}}})", re.IGNORECASE)


def token(key: bytes, scope: str, number: int) -> str:
    """Make the token of a conversation by its number within a scope."""
    digits = _base32(number.to_bytes((number.bit_length() + 7) // 8 or 1))
    return f"c{digits}.{_signature(key, 'conversation', scope, str(number))}"


def number_in(key: bytes, scope: str, text: str) -> int | None:
    """Find a token of ours in a text, such as an address, and give its conversation's number."""
    for digits, signature in TOKEN.findall(text.lower()):
        number = int.from_bytes(_unbase32(digits))
        if hmac.compare_digest(_signature(key, "conversation", scope, str(number)), signature):
            return number
    return None


def mark(key: bytes, message_id: UUID) -> str:
    """Make the local part of a message's Message-ID."""
    return f"m.{message_id.hex}.{_signature(key, 'message', message_id.hex)}"


def message_in(key: bytes, text: str) -> UUID | None:
    """Find a mark of ours in a text, such as a Message-ID, and give the message's id."""
    for digits, signature in MARK.findall(text.lower()):
        if hmac.compare_digest(_signature(key, "message", digits), signature):
            return UUID(digits)
    return None


def _signature(key: bytes, *parts: str) -> str:
    return _base32(hmac.digest(key, "\0".join(parts).encode(), "sha256"))[:_SIGNATURE]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _unbase32(text: str) -> bytes:
    try:
        return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError:
        return b""
