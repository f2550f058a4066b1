"""One good call of every operation of the API, on things of Acme's: what the tables of the tests are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from uuid import UUID

from lib.ids import uuid7
from models import Business, db
from services import canned_replies, channel_accounts, keys, replays, team, webhooks
from tests import factories
from tests.factories import Api


@dataclass
class World:
    """Things of one business, by id."""

    business: Business
    customer: UUID
    other_customer: UUID
    external_id: str
    conversation: UUID
    message: UUID
    webhook: UUID
    channel: UUID
    user: UUID
    key: UUID
    reply: UUID
    replay: UUID


def world(business: Business) -> World:
    """Make one of everything."""
    external_id = f"CRM-{uuid7().hex}"
    person = factories.customer(business, external_id=external_id, phone="+353871230000")
    account = factories.whatsapp(business)
    message = factories.received(business, account, number="353871230000")
    endpoint, _ = webhooks.create(business, name="CRM", url="http://localhost/hook", events=["message.received"])
    user, _ = team.create(business, name="Dan", email=f"{uuid7().hex}@example.com")
    key, _ = keys.create(business, "to be revoked", ["send"])
    reply = canned_replies.create(business, shortcut=uuid7().hex[:20], body="Hello")
    other = factories.customer(business)
    spare = channel_accounts.connect(business, "whatsapp", "Spare", _whatsapp())
    replay = replays.start(business, endpoint, failed=True)
    db.session.commit()
    return World(
        business=business,
        customer=person.id,
        other_customer=other.id,
        external_id=external_id,
        conversation=message.conversation_id,
        message=message.id,
        webhook=endpoint.id,
        channel=spare.id,
        user=user.id,
        key=key.id,
        reply=reply.id,
        replay=replay.id,
    )


def _whatsapp() -> dict[str, str]:
    number = uuid7().int % 10**9
    return {
        "phone_number_id": f"3{number:09d}",
        "business_account_id": "2000000001",
        "phone_number": "+35316000009",
        "access_token": "EAAGtoken",
        "app_secret": "0123456789abcdef0123456789abcdef",
        "verify_token": "verify-me-please",
    }


@dataclass
class Call:
    """A query and a body; `names` says that it names a thing of the business by its id."""

    query: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    names: bool = True
    status: int = 200

    def make(self, api: Api, method: str, path: str) -> Any:
        if path == "/api-upload-attachment":
            form = {"file": (BytesIO(b"hello"), "note.txt")}
            return api.call(method, path, data=form, content_type="multipart/form-data")
        return api.call(method, path, self.json, query_string=self.query)


def _fresh() -> str:
    return uuid7().hex


CALLS: dict[tuple[str, str], Callable[[World], Call]] = {
    ("GET", "/api-customers"): lambda w: Call({"external_id": w.external_id}),
    ("POST", "/api-customers"): lambda w: Call(
        json={"name": "New", "email": f"{_fresh()}@example.com"}, names=False, status=201
    ),
    ("PATCH", "/api-customers"): lambda w: Call({"id": w.customer}, {"notes": "VIP"}),
    ("DELETE", "/api-customers"): lambda w: Call({"id": w.other_customer}),
    ("POST", "/api-customers-merge"): lambda w: Call(
        json={"keep_id": str(w.customer), "merge_id": str(w.other_customer)}
    ),
    ("GET", "/api-customers-export"): lambda w: Call({"id": w.customer}),
    ("POST", "/api-customers-batch-lookup"): lambda w: Call(json={"ids": [str(w.customer)]}, names=False),
    ("POST", "/api-customers-bulk-create"): lambda w: Call(
        json={"customers": [{"name": "B", "email": f"{_fresh()}@example.com"}]}, names=False
    ),
    ("POST", "/api-customers-sync"): lambda w: Call(
        json={"customers": [{"name": "C", "email": f"{_fresh()}@example.com"}]}, names=False
    ),
    ("GET", "/api-conversations-by-customer"): lambda w: Call({"customer_id": w.customer, "include_messages": "true"}),
    ("GET", "/api-conversations"): lambda w: Call({"id": w.conversation}),
    ("PATCH", "/api-conversations"): lambda w: Call({"id": w.conversation}, {"tags": ["urgent"]}),
    ("GET", "/api-messages"): lambda w: Call({"conversation_id": w.conversation}),
    ("GET", "/api-messages-since"): lambda w: Call({"since": "2025-01-01T00:00:00Z"}, names=False),
    ("POST", "/api-send-message"): lambda w: Call(
        json={"customer_id": str(w.customer), "channel": "whatsapp", "content": "Hi"}, status=202
    ),
    ("POST", "/api-upload-attachment"): lambda w: Call(names=False, status=201),
    ("POST", "/api-sso-generate-token"): lambda w: Call(json={"customer_id": str(w.customer)}),
    ("POST", "/api-sso-revoke-token"): lambda w: Call(json={"customer_id": str(w.customer)}),
    ("GET", "/api-events"): lambda w: Call(names=False),
    ("GET", "/api-webhooks"): lambda w: Call({"id": w.webhook}),
    ("POST", "/api-webhooks"): lambda w: Call(
        json={"name": "W", "url": "http://localhost/w", "events": ["*"]}, names=False, status=201
    ),
    ("PATCH", "/api-webhooks"): lambda w: Call({"id": w.webhook}, {"name": "Other"}),
    ("DELETE", "/api-webhooks"): lambda w: Call({"id": w.webhook}),
    ("GET", "/api-webhook-deliveries"): lambda w: Call({"webhook_id": w.webhook}),
    ("GET", "/api-webhook-replays"): lambda w: Call({"id": w.replay}),
    ("POST", "/api-webhook-replays"): lambda w: Call(
        json={"webhook_id": str(w.webhook), "failed": True, "dry_run": True}, status=202
    ),
    ("DELETE", "/api-webhook-replays"): lambda w: Call({"id": w.replay}),
    ("GET", "/api-channels"): lambda w: Call({"id": w.channel}),
    ("POST", "/api-channels"): lambda w: Call(
        json={"channel": "whatsapp", "name": "N", "config": _whatsapp()}, names=False, status=201
    ),
    ("PATCH", "/api-channels"): lambda w: Call({"id": w.channel}, {"name": "Desk"}),
    ("DELETE", "/api-channels"): lambda w: Call({"id": w.channel}),
    ("GET", "/api-users"): lambda w: Call({"id": w.user}),
    ("POST", "/api-users"): lambda w: Call(
        json={"name": "Eve", "email": f"{_fresh()}@example.com"}, names=False, status=201
    ),
    ("PATCH", "/api-users"): lambda w: Call({"id": w.user}, {"name": "Daniel"}),
    ("DELETE", "/api-users"): lambda w: Call({"id": w.user}),
    ("GET", "/api-canned-replies"): lambda w: Call({"id": w.reply}),
    ("POST", "/api-canned-replies"): lambda w: Call(
        json={"shortcut": _fresh()[:20], "body": "Hi"}, names=False, status=201
    ),
    ("PATCH", "/api-canned-replies"): lambda w: Call({"id": w.reply}, {"body": "Hello"}),
    ("DELETE", "/api-canned-replies"): lambda w: Call({"id": w.reply}),
    ("GET", "/api-keys"): lambda w: Call({"id": w.key}),
    ("POST", "/api-keys"): lambda w: Call(json={"name": "K", "scopes": ["send"]}, names=False, status=201),
    ("PATCH", "/api-keys"): lambda w: Call({"id": w.key}, {"name": "Other"}),
    ("DELETE", "/api-keys"): lambda w: Call({"id": w.key}),
}
