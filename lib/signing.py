"""Signatures, derived keys and text sealed at rest.

Webhooks sign with these, links carry them, settings are sealed by them. No key is kept here but in a small cache.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_WEBHOOK_PREFIX = "whsec_"


class Unreadable(ValueError):
    """A sealed text was changed, or sealed under a key that we no longer have."""


@lru_cache(maxsize=256)
def derive(secret_key: str, purpose: str) -> bytes:
    """Give the 32-byte key for one purpose; keys of two purposes tell nothing of each other."""
    return hmac.digest(secret_key.encode(), b"derive:" + purpose.encode(), "sha256")


def sign_hex(key: bytes, message: bytes) -> str:
    """Give the HMAC-SHA256 as 64 lower-case hex digits."""
    return hmac.digest(key, message, "sha256").hex()


def new_webhook_secret() -> str:
    """Make the secret of a webhook endpoint, in the form that Standard Webhooks libraries read."""
    return _WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def guide_signature(secret: str, timestamp: int, body: bytes) -> str:
    """Sign as the guide's receivers verify: the key is the secret's text itself, just as it is shown."""
    return sign_hex(secret.encode(), b"%d." % timestamp + body)


def standard_signature(secrets: Sequence[str], msg_id: str, timestamp: int, body: bytes) -> str:
    """Sign as Standard Webhooks does, once for each secret: a receiver that knows any one of them accepts."""
    message = f"{msg_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(_standard_key(secret), message, "sha256") for secret in secrets)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


@lru_cache(maxsize=1024)
def _standard_key(secret: str) -> bytes:
    text = secret.removeprefix(_WEBHOOK_PREFIX)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return secret.encode()  # not of our making; its owner can but compare the text


def encrypt(secret_key: str | tuple[str, ...], text: str) -> str:
    """Seal a text for the database. Of several keys the first one seals."""
    return _fernet(secret_key).encrypt(text.encode()).decode()


@lru_cache(maxsize=1024)  # every webhook and every callback needs one, and opening costs more than signing with it
def decrypt(secret_key: str | tuple[str, ...], token: str) -> str:
    """Open a sealed text with whichever key fits; raise `Unreadable`."""
    try:
        return _fernet(secret_key).decrypt(token.encode()).decode()
    except InvalidToken:
        raise Unreadable("a stored secret cannot be opened with the present SECRET_KEY") from None


@lru_cache(maxsize=16)
def _fernet(secret_key: str | tuple[str, ...]) -> MultiFernet:
    keys = (secret_key,) if isinstance(secret_key, str) else secret_key
    return MultiFernet([Fernet(base64.urlsafe_b64encode(derive(key, "seal"))) for key in keys])


def link_signature(key: bytes, *parts: str) -> str:
    """Sign the parts of a link, in their order; 43 characters that need no quoting in a URL."""
    message = b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode() for part in parts))
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")


def link_matches(key: bytes, signature: str, *parts: str) -> bool:
    """Say, in constant time, whether a link's signature is ours. Any text at all may come in."""
    ours = link_signature(key, *parts).encode()
    return hmac.compare_digest(ours, signature.encode("utf-8", "replace"))
