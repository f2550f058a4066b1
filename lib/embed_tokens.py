"""The text of an embed token: an HS256 JWT with exactly our claims, in the one spelling that means them.

`services.embeds` makes and reads them; whether a genuine token still holds is for the database to tell.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jwt

SCOPES = ("inbox", "inbox:read")  # read and reply, or read alone

_ISSUER, _AUDIENCE, _ALGORITHM = "alacarte", "embed", "HS256"
_REQUIRED = ["iss", "aud", "sub", "business", "scope", "key", "jti", "iat", "exp"]
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_LENGTH = 2048  # ours have about 500 characters


class NotOurs(ValueError):
    """No token of our making."""


class Expired(ValueError):
    """Ours, and past its time."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    id: UUID
    business_id: UUID
    customer_id: UUID
    scope: str
    api_key_id: UUID
    agent_id: UUID | None
    single_use: bool
    expires_at: datetime

    @property
    def issued_at(self) -> datetime:
        """The time within the id: `iat` has whole seconds, too coarse to tell a token from a cut-off just before it."""
        return time_of(self.id)


def time_of(token_id: UUID) -> datetime:
    """Read the milliseconds that a UUIDv7 begins with."""
    return datetime.fromtimestamp((token_id.int >> 80) / 1000, UTC)


def write(key: bytes, claims: Claims) -> str:
    """Sign the claims."""
    payload: dict[str, Any] = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(claims.customer_id),
        "business": str(claims.business_id),
        "scope": claims.scope,
        "key": str(claims.api_key_id),
        "jti": str(claims.id),
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
    }
    if claims.agent_id:
        payload["agent"] = str(claims.agent_id)
    if claims.single_use:
        payload["once"] = True
    return jwt.encode(payload, key, _ALGORITHM)


def read(key: bytes, token: str) -> Claims:
    """Check form, signature and time; raise `NotOurs` or `Expired`. Any text at all may come in."""
    if len(token) > _MAX_LENGTH or not _SHAPE.fullmatch(token) or not all(map(_is_canonical, token.split("."))):
        raise NotOurs
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            audience=_AUDIENCE,
            # `iat` is for other people's eyes: two machines' clocks may differ by more than an iframe takes to open.
            options={"require": _REQUIRED, "strict_aud": True, "verify_iat": False},
        )
        return _claims(payload)
    except jwt.ExpiredSignatureError:
        raise Expired from None
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError):
        raise NotOurs from None


def _claims(payload: dict[str, Any]) -> Claims:
    if type(payload["exp"]) is not int or type(payload["iat"]) is not int or payload["scope"] not in SCOPES:
        raise ValueError
    return Claims(
        id=UUID(payload["jti"]),
        business_id=UUID(payload["business"]),
        customer_id=UUID(payload["sub"]),
        scope=payload["scope"],
        api_key_id=UUID(payload["key"]),
        agent_id=UUID(payload["agent"]) if "agent" in payload else None,
        single_use=payload.get("once") is True,
        expires_at=datetime.fromtimestamp(payload["exp"], UTC),
    )


def _is_canonical(part: str) -> bool:
    """Say whether a base64 text is the one that means its bytes: its unused bits could spell them in other ways."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
    except binascii.Error:
        return False
    return base64.urlsafe_b64encode(raw).decode().rstrip("=") == part
