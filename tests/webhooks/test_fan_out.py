"""Which endpoint hears of what: by event, by channel, by direction. From what was written to the receiver."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from models import Business, Delivery, db
from services import channel_accounts
from tests.channels import kinds
from tests.factories import received, whatsapp
from tests.receivers import Receiver
from tests.webhooks.conftest import subscribe, tell
from tests.webhooks.test_drain import settled

ALL = {"whatsapp in", "whatsapp out", "sms in", "sms out"}
EVENTS = ("message.received", "message.sent", "customer.created")
_numbers = itertools.count(353860000000)


def write_four(business: Business) -> None:
    """Let a customer write, and the owner in the provider's own app, on two channels."""
    sms = channel_accounts.connect(business, "sms", "Texts", dict(kinds.PROVIDERS["sms"].config))
    for account, echo in itertools.product((whatsapp(business), sms), (False, True)):
        way = "out" if echo else "in"
        received(business, account, f"{account.kind} {way}", number=str(next(_numbers)), echo=echo)


def heard(receiver: Receiver, path: str) -> set[str]:
    messages = (got for got in receiver.on(path) if got.headers["x-webhook-event"].startswith("message."))
    return {got.event["data"]["content"] for got in messages}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ALL),
        ({"channels": ["whatsapp"]}, {"whatsapp in", "whatsapp out"}),
        ({"channels": ["sms", "email"]}, {"sms in", "sms out"}),
        ({"direction": "inbound"}, {"whatsapp in", "sms in"}),
        ({"direction": "outbound"}, {"whatsapp out", "sms out"}),
        ({"channels": ["sms"], "direction": "outbound"}, {"sms out"}),
        ({"channels": ["email"]}, set()),
    ],
    ids=["all", "one-channel", "two-channels", "inbound", "outbound", "both", "none"],
)
def test_a_webhook_hears_only_of_its_channels_and_direction(
    acme: Business, receiver: Receiver, draining: None, options: dict[str, Any], expected: set[str]
) -> None:
    endpoint = subscribe(acme, receiver.url("/some"), *EVENTS, **options)
    write_four(acme)
    tell(acme, "Someone")  # of no channel and no direction, so no filter holds it back
    made = 5  # customers: four who wrote, and one who was told of
    settled(endpoint, len(expected) + made)
    assert heard(receiver, "/some") == expected
    assert len(receiver.on("/some")) == len(expected) + made
    assert db.session.query(Delivery).filter_by(endpoint_id=endpoint.id).count() == len(expected) + made


def test_a_webhook_hears_only_of_its_events(acme: Business, receiver: Receiver, draining: None) -> None:
    endpoint = subscribe(acme, receiver.url("/some"), "message.sent")
    write_four(acme)
    settled(endpoint, 2)
    assert {got.event["event"] for got in receiver.on("/some")} == {"message.sent"}
    assert heard(receiver, "/some") == {"whatsapp out", "sms out"}
