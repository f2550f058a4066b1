"""The running worker sends for many at once: a mail server that hangs holds nobody but its own mailbox."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.callers import business, fetch, until
from tests.journeys import test_sandbox_mail, test_sms
from tests.journeys.conftest import JOHN, Shop
from tests.processes import Live
from tests.receivers import listening


@pytest.fixture
def texts(live: Live) -> Iterator[test_sms.Shop]:
    """Another business, which sends texts."""
    with listening() as crm:
        yield test_sms.Shop(live, crm)


def test_a_mail_server_that_hangs_delays_no_other_business(live: Live, texts: test_sms.Shop) -> None:
    acme = business(live)
    address = test_sandbox_mail.connect(live, acme)
    for number in range(4):
        acme.post("/api-customers", {"name": "Joe", "email": f"joe{number}@customers.example"})
    # The sandbox knows an account from the first thing that it says to it.
    test_sandbox_mail.say(live, acme, "Is it open?")
    first = test_sandbox_mail.found(acme, "Is it open?")
    fault = {"provider": "email", "kind": "timeout_after_accept", "times": 9, "seconds": 15, "account": address}
    assert fetch(f"{live.sandbox_url}/control/faults", "POST", fault).status == 200
    wishes = [{"customer_id": first["customer_id"]}, *({"email": f"joe{n}@customers.example"} for n in range(4))]
    for wish in wishes:
        acme.post("/api-send-message", wish | {"channel": "email", "content": "Until six."})
    seen = f"{live.sandbox_url}/control/email/messages?account={address}&person={test_sandbox_mail.JOE}"
    until(lambda: b"Until six." in fetch(seen).data)
    asked = time.monotonic()
    texts.reach(texts.send("Ready to collect."), "delivered")
    assert time.monotonic() - asked < 5
    assert {one["status"] for one in acme.messages() if one["direction"] == "outbound"} == {"queued"}, "they still hang"


def test_a_burst_to_one_person_arrives_in_order(shop: Shop) -> None:
    sent = [shop.send(f"Part {number}") for number in range(8)]
    until(lambda: all(shop.message(one)["status"] in ("delivered", "read") for one in sent), 20)
    assert [one["text"] for one in shop.screen(JOHN)][-8:] == [f"Part {number}" for number in range(8)]
