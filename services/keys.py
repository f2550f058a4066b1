"""API keys: made, shown once, known again by a keyed hash, revoked. Called by the guard, Settings and the API.

What a key may do is kept in this process for under a second, so that a call costs no query, and a key that is revoked
or changed anywhere is so everywhere within that second.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import or_, select
from sqlalchemy.orm import make_transient_to_detached

from errors import Forbidden, Invalid, NotFound, Unauthenticated
from lib import keys, signing
from models import ApiKey, Business, db, now, read
from services import audit, payloads

SCOPES = {
    "customers:read": "Read customers",
    "customers": "Create, change, sync, merge and erase customers",
    "messages:read": "Read conversations, messages, events and files",
    "send": "Send messages, upload files, change conversations",
    "embed": "Issue tokens for the embedded inbox",
    "admin": "Everything, and webhooks, channels, users and keys",
}
CACHE_SECONDS = 0.8
MOST_CACHED = 10_000
OVERLAP = timedelta(hours=24)  # how long a rotated key goes on working


@dataclass(frozen=True, slots=True)
class Caller:
    """The key that a call came with, and whose it is. `id` is the key's, `business` a detached row: read it only."""

    business: Business
    id: UUID
    name: str
    scopes: frozenset[str]
    secret_hash: bytes
    expires_at: datetime | None
    revoked_at: datetime | None


_cache: dict[bytes, tuple[float, Caller]] = {}  # by the hash of a whole key that was found good


def identify(text: str) -> Caller | None:
    """Find whose key this is, expired and revoked ones too; None for one that we did not make."""
    digest = sha256(text.encode("utf-8", "replace")).digest()
    until, caller = _cache.get(digest, (0.0, None))
    if monotonic() < until:
        return caller
    _cache.pop(digest, None)
    parsed = keys.parse(text)
    caller = _read(parsed[0]) if parsed else None
    if parsed is None or caller is None:
        return None
    if not hmac.compare_digest(caller.secret_hash, keys.hash_secret(_pepper(), parsed[1])):
        return None
    if len(_cache) >= MOST_CACHED:
        _cache.clear()
    _cache[digest] = (monotonic() + CACHE_SECONDS, caller)
    return caller


def check(caller: Caller | None) -> None:
    """Raise `Unauthenticated` unless the key is good now."""
    if caller is None:
        raise Unauthenticated("Send a valid API key in the x-api-key header.", code="invalid_api_key")
    if caller.revoked_at:
        raise Unauthenticated("This API key was revoked.", code="revoked_api_key")
    if caller.expires_at and caller.expires_at <= now():
        raise Unauthenticated("This API key has expired.", code="expired_api_key")


def authenticate(text: str) -> Caller:
    """Give the caller of a good key; raise `Unauthenticated`."""
    caller = identify(text)
    check(caller)
    assert caller is not None
    return caller


def alive(key_ids: Collection[UUID]) -> set[UUID]:
    """Say which of these keys are still good."""
    query = select(ApiKey.id).where(
        ApiKey.id.in_(key_ids),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now()),
    )
    return set(db.session.scalars(query))


def allows(caller: Caller, scope: str) -> bool:
    """Say whether a key covers a scope: `admin` covers all, and whoever may write may read."""
    return not caller.scopes.isdisjoint((scope, scope.removesuffix(":read"), "admin"))


def require(caller: Caller, scope: str) -> None:
    """Raise `Forbidden`, naming the scope, unless the key covers it."""
    if not allows(caller, scope):
        raise Forbidden(
            f"This key lacks the scope '{scope}'.",
            code="missing_scope",
            details={"scope": scope, "has": sorted(caller.scopes)},
        )


def create(
    business: Business, name: str, scopes: Collection[str], expires_at: datetime | None = None, by: Any = None
) -> tuple[ApiKey, str]:
    """Make a key; give it with its text, which nobody can show again."""
    new = keys.new(_pepper())
    key = ApiKey(
        business_id=business.id,
        public_id=new.id,
        secret_hash=new.hash,
        preview=keys.preview(new.text),
        created_by=by.id if by else None,
    )
    _fill(key, {"name": name, "scopes": scopes, "expires_at": expires_at})
    db.session.add(key)
    db.session.flush()
    audit.note(business.id, "api_key.created", by, key.id, name=key.name, scopes=key.scopes)
    return key, new.text


def get(business: Business, key_id: UUID) -> ApiKey:
    key = db.session.get(ApiKey, (business.id, key_id))
    if key is None:
        raise NotFound("There is no such API key.", code="api_key_not_found")
    return key


def page(business: Business) -> Sequence[ApiKey]:
    """List all keys, the newest first; revoked ones stay in the list."""
    query = select(ApiKey).where(ApiKey.business_id == business.id)
    return db.session.scalars(query.order_by(ApiKey.id.desc())).all()


def change(business: Business, key: ApiKey, fields: dict[str, Any], by: Any = None) -> None:
    """Change name, scopes or expiry."""
    _fill(key, fields)
    audit.note(business.id, "api_key.changed", by, key.id, fields=sorted(fields))


def rotate(business: Business, key: ApiKey, by: Any = None, overlap: timedelta = OVERLAP) -> tuple[ApiKey, str]:
    """Make a new key like this one, which expires after the overlap."""
    if key.revoked_at:
        raise Invalid("A revoked key cannot be rotated; create a new one.", code="revoked_api_key")
    ends = now() + overlap
    lasting = key.expires_at if key.expires_at and key.expires_at > ends else None
    made = create(business, key.name, key.scopes, lasting, by)
    key.expires_at = min(key.expires_at or ends, ends)
    return made


def revoke(business: Business, key: ApiKey, by: Any = None) -> None:
    """End a key for good; what was signed in its name (embed tokens) ends with it."""
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.note(business.id, "api_key.revoked", by, key.id, name=key.name)


def shows(key: ApiKey) -> dict[str, Any]:
    """Give the key as Settings and the API show it."""
    return {
        "id": str(key.id),
        "name": key.name,
        "preview": key.preview,
        "scopes": key.scopes,
        "expires_at": payloads.time(key.expires_at),
        "revoked_at": payloads.time(key.revoked_at),
        "last_used_at": payloads.time(key.last_used_at),
        "created_at": payloads.time(key.created_at),
    }


_COLUMNS = [column.name for column in Business.__table__.columns]
_READ = f"""
    SELECT k.id AS key_id, k.name AS key_name, k.scopes, k.secret_hash, k.expires_at, k.revoked_at,
           {", ".join(f"b.{name}" for name in _COLUMNS)}
    FROM api_keys k JOIN businesses b ON b.id = k.business_id WHERE k.public_id = %(public_id)s"""


def _read(public_id: str) -> Caller | None:
    rows = read(_READ, {"public_id": public_id})
    if not rows:
        return None
    row = rows[0]
    business = Business(**{name: getattr(row, name) for name in _COLUMNS})
    make_transient_to_detached(business)
    return Caller(
        business, row.key_id, row.key_name, frozenset(row.scopes), row.secret_hash, row.expires_at, row.revoked_at
    )


def _fill(key: ApiKey, fields: dict[str, Any]) -> None:
    if "name" in fields:
        key.name = " ".join(str(fields["name"]).split())[:120]
        if not key.name:
            raise Invalid("Give the key a name, so that you know later what uses it.", field="name")
    if "scopes" in fields:
        key.scopes = [scope for scope in SCOPES if scope in fields["scopes"]]
        if len(key.scopes) != len(set(fields["scopes"])) or not key.scopes:
            raise Invalid(f"Choose one or more scopes of {', '.join(SCOPES)}.", field="scopes")
    if "expires_at" in fields:
        key.expires_at = fields["expires_at"]
        if key.expires_at and key.expires_at <= now():
            raise Invalid("The key would have expired already.", field="expires_at")


def _pepper() -> bytes:
    return signing.derive(current_app.extensions["settings"].secret_key, "api_key")
