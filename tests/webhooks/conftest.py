"""A drain in a thread of the test process, and a receiver for it to send to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from drain import Drain
from models import Business, WebhookEndpoint, db
from services import customers, webhooks
from tests.receivers import Receiver, listening


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


@pytest.fixture
def draining(in_app: Flask) -> Iterator[None]:
    """Drain this worker's database for as long as the test lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(Drain(in_app, stop.is_set, 64).run()))
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def subscribe(business: Business, url: str, *events: str, **options: object) -> WebhookEndpoint:
    wanted = list(events or ["customer.created", "customer.updated"])
    endpoint, _ = webhooks.create(business, name="CRM", url=url, events=wanted, **options)
    db.session.commit()
    return endpoint


def tell(business: Business, *names: str) -> None:
    """Make customers, each of which is an event."""
    customers.sync(business, [{"name": name, "email": f"{name.lower()}@example.com"} for name in names])
    db.session.commit()
