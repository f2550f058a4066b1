"""The agents and admins of a business: who they are, and whether a password is theirs.

Called by the sign-in, Settings → Team, the API of users and the command line. Ends all of a person's sessions by
counting `session_epoch` up, and one by its name; never reads a session.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import joinedload

from errors import Conflict, Invalid, NotFound
from lib import addresses, passwords
from lib.ids import is_uuid
from models import Business, EndedSession, User, db, now
from services import audit

ROLES = ("agent", "admin")
NAME_LENGTH = 120
# What an agent may set for their own screens, and what it may be.
PREFERENCES: dict[str, tuple[Any, ...]] = {
    "theme": ("auto", "light", "dark"),
    "shortcuts": (True, False),
    "side": (True, False),
    "send_key": ("enter", "mod"),
}


def authenticate(email: str, password: str) -> User | None:
    """Give the active user whom this address and password belong to. Takes the same time for all others."""
    user = find_by_email(email)
    known = user is not None and user.is_active
    if not passwords.verify(user.password_hash if user and known else None, password) or user is None:
        return None
    if passwords.outdated(user.password_hash or ""):
        user.password_hash = passwords.hash(password)
    user.last_seen_at = now()
    return user


def begin_session(user: User) -> None:
    """Give a session that begins a name of its own, so that it can be ended alone."""
    user.session_id = secrets.token_urlsafe(12)


def end_session(user: User) -> None:
    """End the session that this user was loaded for, wherever a copy of its cookie is."""
    if user.session_id:  # all that have no name would end with one of them
        db.session.merge(EndedSession(business_id=user.business_id, id=user.session_id))


def of_session(session_id: str) -> User | None:
    """Give the active user of `User.get_id`, unless the session ended since."""
    user_id, epoch, name = _parts(session_id)
    if not is_uuid(user_id) or not epoch.isdigit():
        return None
    ended = (
        select(EndedSession.id).where(EndedSession.business_id == User.business_id, EndedSession.id == name).exists()
    )
    query = select(User).where(User.id == UUID(user_id), ~ended).options(joinedload(User.business))
    user: User | None = db.session.scalar(query)
    if user is None or not user.is_active or user.session_epoch != int(epoch):
        return None
    user.session_id = name
    return user


def signed_in(session_ids: Collection[str]) -> set[str]:
    """Give those of many sessions that have not ended."""
    sessions = {session_id: _parts(session_id) for session_id in session_ids}
    users = {UUID(user_id) for user_id, _, _ in sessions.values() if is_uuid(user_id)}
    query = select(User.id, User.session_epoch).where(User.id.in_(users), User.deactivated_at.is_(None))
    good = {(str(row.id), str(row.session_epoch)) for row in db.session.execute(query)}
    named = select(EndedSession.id).where(EndedSession.id.in_({name for _, _, name in sessions.values()}))
    ended = set(db.session.scalars(named))
    return {whole for whole, (*who, name) in sessions.items() if tuple(who) in good and name not in ended}


def _parts(session_id: str) -> tuple[str, str, str]:
    user_id, epoch, name = [*session_id.split(":", 2), "", ""][:3]
    return user_id, epoch, name


def find_by_email(email: str) -> User | None:
    """Look in every business: an address signs in to one alone."""
    try:
        address = addresses.email(email)
    except ValueError:
        return None
    return db.session.scalar(select(User).where(func.lower(User.email) == address))


def get(business: Business, user_id: UUID) -> User:
    user = db.session.get(User, (business.id, user_id))
    if user is None:
        raise NotFound("There is no such user.", code="user_not_found")
    return user


def page(
    business: Business, *, deactivated: bool = True, cursor: UUID | None = None, limit: int = 100
) -> tuple[list[User], UUID | None]:
    """Give users in the order in which they joined; the next cursor is an id."""
    query = select(User).where(User.business_id == business.id).order_by(User.id).limit(limit + 1)
    if not deactivated:
        query = query.where(User.deactivated_at.is_(None))
    if cursor:
        query = query.where(User.id > cursor)
    rows = list(db.session.scalars(query))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def active(business: Business) -> list[User]:
    """Give who can be assigned, by name."""
    query = select(User).where(User.business_id == business.id, User.deactivated_at.is_(None))
    return list(db.session.scalars(query.order_by(func.lower(User.name)).limit(500)))


def admins(business: Business) -> list[str]:
    """Name who can grant what an agent may not do."""
    return [user.name for user in active(business) if user.is_admin]


def create(
    business: Business,
    *,
    name: str,
    email: str,
    role: str = "agent",
    password: str | None = None,
    by: Any = None,
) -> tuple[User, str]:
    """Add a person; give the user and the password, which is made up where none is given."""
    user = User(business_id=business.id, preferences={})
    _fill(user, {"name": name, "email": email, "role": role})
    chosen = password if password is not None else secrets.token_urlsafe(12)
    _put_password(user, chosen)
    db.session.add(user)
    db.session.flush()
    audit.note(user.business_id, "user.created", by, user.id, role=user.role)
    return user, chosen


def change(business: Business, user: User, fields: dict[str, Any], *, by: Any = None) -> User:
    """Change name, email or role."""
    before = {name: getattr(user, name) for name in fields}
    if before.get("role") == "admin" and fields["role"] != "admin":
        _keep_an_admin(business, user)
    _fill(user, fields)
    changed = {name: [before[name], getattr(user, name)] for name in fields if before[name] != getattr(user, name)}
    if changed:
        audit.note(user.business_id, "user.changed", by, user.id, **changed)
    return user


def prefer(user: User, **wishes: Any) -> None:
    """Keep what an agent wants of their screens; nonsense is ignored."""
    good = {name: value for name, value in wishes.items() if value in PREFERENCES.get(name, ())}
    user.preferences = user.preferences | good


def deactivate(business: Business, user: User, *, by: Any = None) -> None:
    """Sign a person out everywhere and keep them out. What they wrote stays under their name."""
    if user.is_active:
        _keep_an_admin(business, user)
        user.deactivated_at = now()
        user.session_epoch += 1
        audit.note(user.business_id, "user.deactivated", by, user.id)


def reactivate(business: Business, user: User, *, by: Any = None) -> None:
    if not user.is_active:
        user.deactivated_at = None
        audit.note(user.business_id, "user.reactivated", by, user.id)


def set_password(user: User, password: str, *, by: Any = None) -> None:
    """Change the password and end every session of this user."""
    _put_password(user, password)
    user.session_epoch += 1
    audit.note(user.business_id, "user.password_changed", by, user.id)


def reset_password(user: User, *, by: Any = None) -> str:
    """Give a new password, made up, to be told to its owner once."""
    password = secrets.token_urlsafe(12)
    set_password(user, password, by=by)
    return password


def has_password(user: User, password: str) -> bool:
    return passwords.verify(user.password_hash, password)


def _put_password(user: User, password: str) -> None:
    try:
        passwords.check(password, user.email, user.name)
    except ValueError as exc:
        raise Invalid(str(exc), code="weak_password", field="password") from None
    user.password_hash = passwords.hash(password)


def _fill(user: User, fields: dict[str, Any]) -> None:
    if "name" in fields:
        name = " ".join(str(fields["name"]).split())
        if not name or len(name) > NAME_LENGTH:
            raise Invalid(f"Enter a name of up to {NAME_LENGTH} characters.", field="name")
        user.name = name
    if "email" in fields:
        user.email = _free_email(user, str(fields["email"]))
    if "role" in fields:
        if fields["role"] not in ROLES:
            raise Invalid("The role is either agent or admin.", field="role")
        user.role = fields["role"]


def _free_email(user: User, email: str) -> str:
    try:
        address = addresses.email(email)
    except ValueError as exc:
        raise Invalid(str(exc), field="email") from None
    owner = find_by_email(address)
    if owner is not None and owner.id != user.id:
        raise Conflict("Somebody already signs in with this email address.", code="email_taken", field="email")
    return address


def _keep_an_admin(business: Business, user: User) -> None:
    """Refuse to take the last admin away; the lock keeps two admins from removing each other at once."""
    db.session.execute(select(Business.id).where(Business.id == business.id).with_for_update())
    others = select(func.count()).where(
        User.business_id == business.id, User.role == "admin", User.deactivated_at.is_(None), User.id != user.id
    )
    if user.is_admin and user.is_active and not db.session.scalar(others):
        raise Conflict("This is the only admin. Make somebody else an admin first.", code="last_admin")


def touch(user: User) -> None:
    """Note that this person is here, at most once a minute."""
    statement = update(User).where(User.business_id == user.business_id, User.id == user.id)
    if user.last_seen_at is None or (now() - user.last_seen_at).total_seconds() > 60:
        db.session.execute(statement.values(last_seen_at=now()))
