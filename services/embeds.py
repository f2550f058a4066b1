"""Embeds: one customer's conversations in somebody else's page.

A token is what a CRM asks for and puts into an iframe's address; a session is one open iframe, known by a secret that
its page alone holds. Called by the SSO edge of the API, by the embed's own edges and by Settings.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update

from errors import Invalid, RateLimited, Unauthenticated
from lib import embed_tokens, signing
from lib.embed_tokens import SCOPES, Claims
from lib.ids import uuid7
from models import ApiKey, Business, Customer, CustomerAlias, EmbedSession, RevokedToken, User, db, now

LIFETIMES = range(60, 86_401)  # seconds
MAX_SESSIONS = 20  # live ones of one token; hosts mount their iframes again and again
IDLE = timedelta(seconds=90)  # a session not seen for so long gives way to a new one of the same token

_NO_SYNC = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Visit:
    """One open iframe, and whom it shows."""

    session: EmbedSession
    business: Business
    customer: Customer
    agent: User | None  # whose name the replies carry

    @property
    def may_reply(self) -> bool:
        return self.session.scope == "inbox"


def issue(
    business: Business,
    customer: Any,
    *,
    scope: str,
    expires_in: int,
    api_key: Any,
    agent: User | None = None,
    single_use: bool = False,
) -> tuple[str, datetime]:
    """Make a token for one customer; give it with the time it expires at."""
    if scope not in SCOPES:
        raise Invalid("`scope` is `inbox` (read and reply) or `inbox:read`.", field="scope")
    if type(expires_in) is not int or expires_in not in LIFETIMES:  # True is an int, and not meant
        raise Invalid("`expires_in` is a whole number of seconds from 60 to 86400.", field="expires_in")
    token_id = uuid7()
    claims = Claims(
        id=token_id,
        business_id=business.id,
        customer_id=customer.id,
        scope=scope,
        api_key_id=api_key.id,
        agent_id=agent.id if agent else None,
        single_use=single_use,
        expires_at=embed_tokens.time_of(token_id).replace(microsecond=0) + timedelta(seconds=expires_in),
    )
    return embed_tokens.write(_key("token"), claims), claims.expires_at


def open(token: str, origin: str = "") -> tuple[Visit, str]:
    """Open a session with a token; give it with its secret, which is kept nowhere else.

    Raises `Unauthenticated` for a token that is false, over, revoked or spent, and `RateLimited` when it has
    `MAX_SESSIONS` live ones already.
    """
    claims = read(token)
    db.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(claims.id), 0))))
    customer_id = db.session.scalar(_kept_customer(claims))
    if customer_id is None:
        raise _ended("embed_token_revoked", "This link was withdrawn.")
    _make_room(claims)
    secret = secrets.token_urlsafe(32)
    session = EmbedSession(
        business_id=claims.business_id,
        id=uuid7(),
        secret_hash=_hash(secret),
        token_id=claims.id,
        api_key_id=claims.api_key_id,
        customer_id=customer_id,
        scope=claims.scope,
        agent_id=claims.agent_id,
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        seen_at=now(),
        origin=origin[:255],
    )
    db.session.add(session)
    db.session.flush()
    visit = _visit(EmbedSession.id == session.id)
    if visit is None:
        raise _ended("embed_token_revoked", "This link was withdrawn.")
    return visit, secret


def read(token: str) -> Claims:
    """Check a token's form, signature and time; raise `Unauthenticated`."""
    try:
        return embed_tokens.read(_key("token"), token)
    except embed_tokens.Expired:
        raise _ended("embed_token_expired", "This link has expired.") from None
    except embed_tokens.NotOurs:
        raise _ended("embed_token_invalid", "This link is not valid.") from None


def resume(secret: str) -> Visit:
    """Find the session of a secret, as long as everything that it stands on does."""
    visit = _visit(EmbedSession.secret_hash == _hash(secret))
    if visit is None:
        raise _ended("embed_session_ended", "This view has expired.")
    return visit


def refresh(secret: str, token: str, origin: str = "") -> tuple[Visit, str]:
    """Go on in the same page with a new token of the same customer; the old session, ended or not, is over."""
    old = db.session.scalar(select(EmbedSession).where(EmbedSession.secret_hash == _hash(secret)))
    if old is None:
        raise _ended("embed_session_ended", "This view has expired.")
    visit, new_secret = open(token, origin)
    if (visit.business.id, visit.customer.id) != (old.business_id, old.customer_id):
        raise Invalid("The new token is for another customer; load the embed anew.", code="embed_other_customer")
    close(old)
    return visit, new_secret


def close(session: EmbedSession) -> None:
    """End one session. Its row stays until the token is past, so that a single-use token is known to be spent."""
    session.expires_at = min(session.expires_at, now())


def living(session_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Say which of these sessions still hold, and whom they show: a merge may have changed that."""
    query = _standing(EmbedSession.id, EmbedSession.customer_id).where(EmbedSession.id.in_(session_ids))
    return {row.id: row.customer_id for row in db.session.execute(query)}


def touch(session_ids: Collection[UUID]) -> None:
    """Note that these iframes are still there."""
    statement = update(EmbedSession).where(EmbedSession.id.in_(session_ids)).values(seen_at=now())
    db.session.execute(statement, execution_options=_NO_SYNC)


def revoke_token(business: Business, token_id: UUID) -> None:
    """End one token (its `jti`) and every session that it opened."""
    db.session.add(RevokedToken(business_id=business.id, token_id=token_id))
    _end_sessions(business, EmbedSession.token_id == token_id)


def revoke_customer(business: Business, customer: Any) -> None:
    """End every token of a customer issued until now, and their sessions."""
    db.session.add(RevokedToken(business_id=business.id, customer_id=customer.id))
    _end_sessions(business, EmbedSession.customer_id == customer.id)


def cut_off(business: Business) -> None:
    """End every embed of the business at once; tokens issued from now on work."""
    business.embed_cut_off_at = now()
    _end_sessions(business)


def sweep_expired() -> None:
    """Forget the sessions and revocations that no token can ask about any more."""
    past = now() - timedelta(seconds=LIFETIMES[-1] + 3600)
    sessions = delete(EmbedSession).where(EmbedSession.expires_at < past)
    revocations = delete(RevokedToken).where(RevokedToken.created_at < past)
    for statement in (sessions, revocations):
        db.session.execute(statement, execution_options=_NO_SYNC)


def _kept_customer(claims: Claims) -> Any:
    """Select the customer's id, or that of the one whom they were merged into."""
    alias = select(CustomerAlias.customer_id).where(
        CustomerAlias.business_id == claims.business_id, CustomerAlias.id == claims.customer_id
    )
    return select(Customer.id).where(
        Customer.business_id == claims.business_id,
        Customer.id == func.coalesce(alias.scalar_subquery(), claims.customer_id),
    )


def _visit(which: ColumnElement[bool]) -> Visit | None:
    row = db.session.execute(_standing(EmbedSession, Business, Customer, User).where(which)).one_or_none()
    return Visit(*row) if row else None


def _standing(*columns: Any) -> Any:
    """Select from the sessions that hold: in time, key and agent in force, nothing revoked, nothing cut off."""
    business_id = EmbedSession.business_id
    return (
        select(*columns)
        .select_from(EmbedSession)
        .join(Business, Business.id == business_id)
        .join(ApiKey, and_(ApiKey.business_id == business_id, ApiKey.id == EmbedSession.api_key_id))
        .join(Customer, and_(Customer.business_id == business_id, Customer.id == EmbedSession.customer_id))
        .outerjoin(User, and_(User.business_id == business_id, User.id == EmbedSession.agent_id))
        .where(
            EmbedSession.expires_at > now(),
            or_(Business.embed_cut_off_at.is_(None), Business.embed_cut_off_at < EmbedSession.issued_at),
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now()),
            or_(EmbedSession.agent_id.is_(None), and_(User.id.is_not(None), User.deactivated_at.is_(None))),
            ~exists().where(_revoked()),
        )
    )


def _revoked() -> ColumnElement[bool]:
    merged = select(CustomerAlias.id).where(
        CustomerAlias.business_id == EmbedSession.business_id, CustomerAlias.customer_id == EmbedSession.customer_id
    )
    whose = or_(RevokedToken.customer_id == EmbedSession.customer_id, RevokedToken.customer_id.in_(merged))
    return and_(
        RevokedToken.business_id == EmbedSession.business_id,
        or_(
            RevokedToken.token_id == EmbedSession.token_id,
            and_(whose, RevokedToken.created_at >= EmbedSession.issued_at),
        ),
    )


def _make_room(claims: Claims) -> None:
    """Refuse a token that is spent or has its fill; a session that nobody looks at any more gives way."""
    mine = and_(EmbedSession.business_id == claims.business_id, EmbedSession.token_id == claims.id)
    if claims.single_use and db.session.scalar(select(exists().where(mine))):
        raise _ended("embed_token_used", "This link was good for one use, and was used.")
    live = list(db.session.scalars(select(EmbedSession).where(mine, EmbedSession.expires_at > now())))
    if len(live) < MAX_SESSIONS:
        return
    oldest = min(live, key=lambda session: session.seen_at)
    if oldest.seen_at > now() - IDLE:
        raise RateLimited(
            f"This link is open in {MAX_SESSIONS} places already. Close one of them, or take a new token.",
            code="embed_too_many_sessions",
            headers={"Retry-After": str(int(IDLE.total_seconds()))},
        )
    close(oldest)


def _end_sessions(business: Business, *which: ColumnElement[bool]) -> None:
    at = now()
    mine = update(EmbedSession).where(EmbedSession.business_id == business.id, EmbedSession.expires_at > at, *which)
    db.session.execute(mine.values(expires_at=at), execution_options=_NO_SYNC)


def _key(purpose: str) -> bytes:
    return signing.derive(current_app.extensions["settings"].secret_key, f"embed {purpose}")


def _hash(secret: str) -> bytes:
    return hmac.digest(_key("session"), secret.encode("utf-8", "replace"), "sha256")


def _ended(code: str, what: str) -> Unauthenticated:
    return Unauthenticated(f"{what} Open the customer's page in your CRM again to get a new one.", code=code)
