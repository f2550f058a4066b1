"""Passwords, hashed with Argon2id. Only services.team calls this.

A hash keeps a core busy for a tenth of a second: under gevent it runs on a real thread, so that nobody else waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from gevent import get_hub
from gevent.monkey import is_module_patched

SHORTEST, LONGEST = 10, 200

_hasher = PasswordHasher()
_NOBODY = _hasher.hash("nobody has this password")
T = TypeVar("T")


def check(password: str, *known: str) -> None:
    """Refuse a password that is too short or says what everybody knows of its owner; raise `ValueError`."""
    if len(password) < SHORTEST:
        raise ValueError(f"Take at least {SHORTEST} characters. A few words are easier to keep in mind than signs.")
    if len(password) > LONGEST:
        raise ValueError(f"Take at most {LONGEST} characters.")
    if password.casefold() in {word.casefold() for word in known} or len(set(password)) < 4:
        raise ValueError("This password is too easy to guess.")


def hash(password: str) -> str:
    return _aside(lambda: _hasher.hash(password))


def verify(password_hash: str | None, password: str) -> bool:
    """Compare; without a hash it takes the same time and says no, so that nobody learns who has an account."""
    matches = _aside(lambda: _matches(password_hash or _NOBODY, password[: LONGEST + 1]))
    return matches and password_hash is not None


def outdated(password_hash: str) -> bool:
    return _hasher.check_needs_rehash(password_hash)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _aside(work: Callable[[], T]) -> T:
    if is_module_patched("threading"):
        return get_hub().threadpool.apply(work)  # type: ignore[no-any-return]
    return work()
