"""A shop on the running product: a business with a WhatsApp number that its customers know, and a CRM that listens."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.callers import Caller, business, fetch
from tests.processes import Live
from tests.receivers import Got, Receiver, listening

JOHN = "+353871234567"
EVENTS = [
    "message.received",
    "message.sent",
    "message.status_changed",
    "conversation.created",
    "conversation.assigned",
    "conversation.status_changed",
    "customer.created",
    "customer.updated",
]


class Shop:
    """`api` is the CRM's side, `phone` the customers' (the sandbox's control API), `crm` what the webhooks told."""

    def __init__(self, api: Caller, crm: Receiver) -> None:
        self.api, self.crm, self.live = api, crm, api.live
        self.account = api.connect()
        self.number = self.account["config"]["phone_number_id"]
        wish = {"name": "CRM", "url": crm.url(), "events": EVENTS}
        self.endpoint = api.post("/api-webhooks", wish)["webhook"]
        api.say("Is this the shop?", "--name", "John Doe", sender=JOHN)  # which declares the number at the provider
        crm.wait(3)  # the customer, the conversation, the message

    def phone(self, verb: str, **body: Any) -> Any:
        answer = fetch(f"{self.live.sandbox_url}/control/whatsapp/{verb}", "POST", {"account": self.number} | body)
        assert answer.status == 200, answer.data
        return orjson.loads(answer.data)

    def say(self, text: str, sender: str = JOHN, **more: Any) -> Any:
        """Let a customer write; give the answer once our callback address has taken it."""
        return self.phone("say", **{"from": sender, "text": text} | more)

    def say_file(self, name: str, mime: str, data: bytes, text: str = "") -> Any:
        file = {"filename": name, "mime": mime, "data": base64.b64encode(data).decode()}
        return self.say(text, file=file)

    def fault(self, kind: str, times: int = 1, **more: Any) -> None:
        wish = {"provider": "whatsapp", "kind": kind, "times": times, "account": self.number} | more
        assert fetch(f"{self.live.sandbox_url}/control/faults", "POST", wish).status == 200

    def screen(self, sender: str = JOHN) -> list[dict[str, Any]]:
        """What the customer sees on the phone."""
        query = f"account={self.number}&person={sender.removeprefix('+')}"
        shown = orjson.loads(fetch(f"{self.live.sandbox_url}/control/whatsapp/messages?{query}").data)
        return list(shown["messages"])

    def send(self, content: str = "", to: str = JOHN, **more: Any) -> str:
        """Write to a customer as a CRM does; give the message's id."""
        answer = self.api.post("/api-send-message", {"phone": to, "channel": "whatsapp", "content": content} | more)
        assert answer["status"] == "queued"
        return str(answer["message_id"])

    def message(self, message_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.api.get("/api-messages", id=message_id)["message"]
        return shown

    def told(self, kind: str) -> list[Got]:
        """The webhooks of one type, as they came."""
        return [got for got in list(self.crm.got) if got.event["event"] == kind]


@pytest.fixture
def shop(live: Live) -> Iterator[Shop]:
    with listening() as crm:
        yield Shop(business(live), crm)
