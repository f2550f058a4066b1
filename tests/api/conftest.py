"""What the tests of the API ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher
from flask import Flask

from lib import passwords
from tests.factories import Api
from tests.people import Somebody


@pytest.fixture(autouse=True, scope="session")
def cheap_passwords() -> Iterator[None]:
    """Hash passwords quickly: these tests make many people and sign nobody in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture
def api(app: Flask, alice: Somebody) -> Api:
    """Acme's integrator, with a key for everything."""
    return Api(app, alice.key)


@pytest.fixture
def stranger(app: Flask, charlie: Somebody) -> Api:
    """Globex's integrator, with a key for everything of Globex."""
    return Api(app, charlie.key)
