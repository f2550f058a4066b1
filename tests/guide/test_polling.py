"""The guide's poll loop beside eight who write at the same time: it sees every message, and none twice."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any
from uuid import UUID

from channels.base import Inbound, Person
from lib.ids import uuid7
from models import Business, db, now
from services import arrivals, events
from tests import factories
from tests.callers import Caller
from tests.guide.conftest import Stage

WRITERS, EACH = 8, 60


def write(caller: Caller, writer: int, count: int, last: str = "") -> None:
    """Receive one customer's messages on an account of their own, so that nothing but the order itself is shared."""
    number = f"35385{2000000 + writer}"
    with caller.live.app.app_context():
        business = db.session.get_one(Business, UUID(caller.business_id))
        account = factories.whatsapp(business)
        for place in range(count):
            person = Person(address=number, name=f"Writer {writer}", phone=f"+{number}")
            text = last or f"{writer}-{place}"
            item = Inbound(f"wamid.{uuid7().hex}", account.account_key, person, now(), text)
            assert arrivals.receive(business, account, item)
            events.settle()  # from here on it has its stamp, and nobody sees it yet
            sleep(random.uniform(0, 0.008))
            db.session.commit()


def test_a_poller_misses_nothing_and_sees_nothing_twice(caller: Caller) -> None:
    account = caller.connect()
    running = Stage(caller, account).start("poll", last="The end")
    assert running.stderr
    assert running.stderr.readline() == "polling\n"
    with ThreadPoolExecutor(WRITERS) as pool:
        for done in [pool.submit(write, caller, writer, EACH) for writer in range(WRITERS)]:
            done.result()
    write(caller, WRITERS, 1, last="The end")
    seen: dict[str, Any] = Stage(caller, account).result(running)
    texts = [content for _, content in seen["listed"]]
    assert len(texts) == len(set(texts)) == WRITERS * EACH + 1
    assert seen["handled"] == [message_id for message_id, _ in seen["listed"]]
    for writer in range(WRITERS):
        mine = [content for content in texts if content.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{place}" for place in range(EACH)]
    assert seen["polls"] > 10
