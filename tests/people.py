"""The people of the tests: alice (admin) and bob (agent) of Acme, charlie (admin) of Globex. Fresh for each test.

Rows are committed and stay: each test looks at its own businesses and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask import Flask

from lib.ids import uuid7
from models import Business, User, db
from services import businesses, keys, team

PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Somebody:
    """A user with their business, and an API key for everything in it."""

    user: User
    business: Business
    key: str
    email: str
    password: str = PASSWORD


@pytest.fixture
def in_app(app: Flask) -> Iterator[Flask]:
    """Run the test inside the application, with a session of its own."""
    with app.app_context():
        yield app
        db.session.rollback()


@pytest.fixture
def acme(in_app: Flask) -> Business:
    return _business("Acme")


@pytest.fixture
def globex(in_app: Flask) -> Business:
    return _business("Globex")


@pytest.fixture
def alice(acme: Business) -> Somebody:
    return _somebody(acme, "Alice", "admin")


@pytest.fixture
def bob(acme: Business) -> Somebody:
    return _somebody(acme, "Bob", "agent")


@pytest.fixture
def charlie(globex: Business) -> Somebody:
    return _somebody(globex, "Charlie", "admin")


def _business(name: str) -> Business:
    business = businesses.create(name)
    db.session.commit()
    return business


def _somebody(business: Business, name: str, role: str) -> Somebody:
    email = f"{name.lower()}-{uuid7().hex}@example.com"
    user, _ = team.create(business, name=name, email=email, role=role, password=PASSWORD)
    _, key = keys.create(business, f"{name}'s key", ["admin"], by=user)
    db.session.commit()
    return Somebody(user, business, key, email)
