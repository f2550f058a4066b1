"""What each event looks like: made by the very functions that make the real ones, of a customer who does not exist.

Settings show them beside the events, and tests send them, marked `"test": true` in `data`.
"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from lib.ids import uuid7
from models import now
from services import payloads

_FILE = {"filename": "receipt.pdf", "mime": "application/pdf", "size": 52468, "state": "ready", "error": None}


def data(kind: str, *, files: bool = False) -> dict[str, Any]:
    """Give the `data` of a sample event; a sent one has no files, since its receiver would try to download them."""
    person, place, message = _rows()
    agent = SimpleNamespace(id=uuid7(), name="Mary Ryan", email="mary@example.com")
    if kind in ("message.received", "webhook.test"):
        attached = [SimpleNamespace(id=uuid7(), **_FILE)] if files else []
        shown = payloads.message_event(message, person, place, attached)
    elif kind.startswith("message."):
        vars(message).update(direction="outbound", sender_kind="user", sender_name=agent.name, sender_id=agent.id)
        message.content, message.status = "It is on its way.", "sent" if kind == "message.sent" else "delivered"
        shown = payloads.message_event(message, person, place)
    elif kind == "conversation.created":
        shown = payloads.conversation_event(place, person)
    elif kind == "conversation.assigned":
        shown = payloads.conversation_event(place, person, agent, assigned_by=agent.name)
    elif kind == "conversation.status_changed":
        place.status = "closed"
        shown = payloads.conversation_event(place, person, agent, previous_status="open", changed_by=agent.name)
    elif kind == "customer.deleted":
        shown = {"customer_id": str(person.id), "deleted_at": payloads.time(now())}
    else:
        merged = {"kept_id": str(person.id), "merged_id": str(uuid7())} if kind == "customer.merged" else {}
        shown = payloads.customer_event(person, **merged)
    return shown | {"test": True}


def _rows() -> tuple[Any, Any, Any]:
    at, account_id = now() - timedelta(seconds=2), uuid7()
    person = SimpleNamespace(
        id=uuid7(),
        name="Test Customer",
        first_name="Test",
        last_name="Customer",
        email="test@example.com",
        phone="+353871234567",
        whatsapp_number="+353871234567",
        external_id="CRM-12345",
        external_system="default",
        external_ids={"default": "CRM-12345"},
        address=None,
        notes=None,
        tags=["VIP"],
        custom_fields={"account_manager": "Sarah Johnson", "contract_value": 50000},
        created_at=at - timedelta(days=30),
        updated_at=at,
    )
    place = SimpleNamespace(
        id=uuid7(),
        number=1,
        customer_id=person.id,
        channel="whatsapp",
        account_id=account_id,
        status="open",
        subject=None,
        tags=[],
        unread_count=1,
        snoozed_until=None,
        last_message_at=at,
        created_at=at,
        updated_at=at,
    )
    return person, place, _message(place, person.id)


def _message(place: Any, customer_id: UUID) -> Any:
    return SimpleNamespace(
        id=uuid7(),
        conversation_id=place.id,
        customer_id=customer_id,
        content="Hello, this is a test from À La Carte Chat.",
        kind="text",
        channel="whatsapp",
        direction="inbound",
        status="received",
        error=None,
        error_code=None,
        reply_to_id=None,
        sender_kind="customer",
        sender_id=customer_id,
        sender_name="Test Customer",
        private=False,
        created_at=place.created_at,
        updated_at=place.updated_at,
    )
