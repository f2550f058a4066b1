"""A believable business for the screens: a team, channels, customers and conversations in every state.

Rows are written directly, since a scene needs a past: the verbs stamp everything with the present.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from flask import current_app

import channels
from lib import signing, storage
from lib.ids import uuid7
from models import (
    Attachment,
    Business,
    BusinessClock,
    CannedReply,
    ChannelAccount,
    Conversation,
    Customer,
    Event,
    Identity,
    Message,
    MessageTemplate,
    User,
    db,
    now,
)
from services import businesses, keys, team

PASSWORD = "correct horse battery"


def picture(width: int = 240, height: int = 160) -> bytes:
    """Draw a PNG with soft colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = [
        bytes([0, *(part for x in range(width) for part in (190 - y // 2, 120 + x // 3, 150))]) for y in range(height)
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(line))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PIXEL = picture()


@dataclass
class Scene:
    """What a test may want to name."""

    business: Business
    mary: User
    tom: User
    accounts: dict[str, ChannelAccount]
    joe: Conversation
    key: str
    numbers: dict[str, int] = field(default_factory=dict)


def build(kinds: Sequence[str] = channels.KINDS, *, size: int = 0) -> Scene:
    """Make the scene and commit it; `size` adds that many plain conversations."""
    business = businesses.create("Acme Outdoor")
    business.crm_name, business.crm_record_url = "Salesforce", "https://acme.lightning.force.com/{external_id}"
    mark = uuid7().hex[-8:]
    mary, _ = team.create(
        business, name="Mary Ryan", email=f"mary-{mark}@acme.example", role="admin", password=PASSWORD
    )
    tom, _ = team.create(business, name="Tom Keane", email=f"tom-{mark}@acme.example", password=PASSWORD)
    _, key = keys.create(business, "Salesforce production", ["customers", "messages:read", "send", "embed"], by=mary)
    accounts = {kind: _account(business, kind) for kind in kinds}
    db.session.flush()
    teller = _Teller(business, mary, tom, accounts)
    joe = teller.joe()
    teller.others()
    for number in range(size):
        teller.plain(number)
    teller.finish()
    db.session.commit()
    return Scene(business, mary, tom, accounts, joe, key, teller.numbers)


def _account(business: Business, kind: str) -> ChannelAccount:
    name, address = _ACCOUNTS[kind]
    secrets = signing.encrypt(
        current_app.extensions["settings"].secret_key,
        orjson.dumps({"access_token": "token", "app_secret": "secret", "verify_token": "verify"}).decode(),
    )
    account = ChannelAccount(
        business_id=business.id,
        id=uuid7(),
        kind=kind,
        name=name,
        address=address,
        account_key=f"{kind}-{uuid7().hex}",
        config={"phone_number_id": "1", "business_account_id": "2", "phone_number": address},
        secrets=secrets,
    )
    if kind == "sms":
        account.state, account.state_reason = "attention", "The last message was refused: the number is not registered."
    db.session.add(account)
    return account


_ACCOUNTS = {
    "whatsapp": ("WhatsApp shop", "+353 1 555 0100"),
    "email": ("Support mailbox", "support@acme.example"),
    "sms": ("Texts", "+353 1 555 0199"),
    "facebook": ("Acme on Messenger", "Acme Outdoor"),
    "instagram": ("@acmeoutdoor", "acmeoutdoor"),
}


class _Teller:
    """Writes the past of one business."""

    def __init__(self, business: Business, mary: User, tom: User, accounts: dict[str, ChannelAccount]) -> None:
        self.business, self.mary, self.tom, self.accounts = business, mary, tom, accounts
        self.numbers: dict[str, int] = {}
        self.count = self.facts = 0

    def person(self, name: str, *, claims: bool = True, **columns: Any) -> Customer:
        external = columns.get("external_id")
        customer = Customer(
            business_id=self.business.id,
            id=uuid7(),
            name=name,
            external_ids={"salesforce": external} if external else {},
            created_at=now() - timedelta(days=620),
            updated_at=now(),
            tags=columns.pop("tags", []),
            custom_fields=columns.pop("custom_fields", {}),
            **columns,
        )
        parts = (name, customer.email, customer.phone, external)
        customer.search = " ".join(part for part in parts if part).lower()
        db.session.add(customer)
        db.session.flush()
        for kind, value in (("email", customer.email), ("phone", customer.phone)):
            if value and claims:
                self._identity(customer, kind, value)
        return customer

    def _identity(self, customer: Customer, kind: str, value: str) -> None:
        db.session.add(Identity(business_id=self.business.id, kind=kind, value=value, customer_id=customer.id))

    def conversation(self, customer: Customer, kind: str, at: datetime, **columns: Any) -> Conversation:
        self.count += 1
        kind = kind if kind in self.accounts else next(iter(self.accounts))
        conversation = Conversation(
            business_id=self.business.id,
            id=uuid7(),
            number=self.count,
            customer_id=customer.id,
            account_id=self.accounts[kind].id,
            channel=kind,
            address=customer.phone or customer.email or "1234",
            last_message_at=at,
            created_at=columns.pop("created_at", at),
            tags=columns.pop("tags", []),
            thread={},
            **columns,
        )
        db.session.add(conversation)
        db.session.flush()
        self.numbers[customer.name] = conversation.number
        return conversation

    def say(self, place: Conversation, at: datetime, content: str, who: Any = None, **columns: Any) -> Message:
        """Write one message; the customer's unless `who` wrote it."""
        customer = db.session.get_one(Customer, (self.business.id, place.customer_id))
        private = columns.pop("private", False)
        message = Message(
            business_id=self.business.id,
            id=uuid7(),
            conversation_id=place.id,
            customer_id=place.customer_id,
            account_id=place.account_id,
            channel=place.channel,
            direction="outbound" if who else "inbound",
            private=private,
            status=columns.pop("status", "note" if private else "read" if who else "received"),
            content=content,
            sender_kind="user" if who else "customer",
            sender_id=who.id if who else customer.id,
            sender_name=who.name if who else customer.name,
            created_at=at,
            extra=columns.pop("extra", {}),
            **columns,
        )
        db.session.add(message)
        if not private:
            place.preview, place.last_direction, place.last_message_at = content[:200], message.direction, at
            if who is None:
                place.last_inbound_at = at
        return message

    def file(self, message: Message, filename: str, mime: str, data: bytes, size: int | None = None) -> None:
        db.session.flush()
        key = storage.new_key(self.business.id)
        current_app.extensions["storage"].put(key, data, mime)
        db.session.add(
            Attachment(
                business_id=self.business.id,
                message_id=message.id,
                filename=filename,
                mime=mime,
                size=size or len(data),
                storage_key=key,
                state="ready",
                source={},
            )
        )

    def fact(self, place: Conversation, at: datetime, kind: str, data: dict[str, Any]) -> None:
        self.facts += 1
        db.session.add(
            Event(
                business_id=self.business.id,
                sequence=self.facts,
                id=uuid7(),
                type=kind,
                created_at=at,
                customer_id=place.customer_id,
                conversation_id=place.id,
                body=orjson.dumps({"data": data}),
            )
        )

    def finish(self) -> None:
        clock = db.session.get_one(BusinessClock, self.business.id)
        clock.last_conversation, clock.last_sequence, clock.last_at = self.count, self.facts, now()
        for shortcut, title, body in _CANNED:
            db.session.add(CannedReply(business_id=self.business.id, shortcut=shortcut, title=title, body=body))
        if "whatsapp" in self.accounts:
            for name, text, more in _TEMPLATES:
                components = [*more.get("components", ()), {"type": "BODY", "text": text}]
                details = {"category": "UTILITY"} | more | {"components": components}
                db.session.add(
                    MessageTemplate(
                        business_id=self.business.id,
                        account_id=self.accounts["whatsapp"].id,
                        name=name,
                        language="en",
                        status="APPROVED",
                        details=details,
                    )
                )

    def joe(self) -> Conversation:
        """Tell the conversation that the screens show: every kind of line is in it."""
        joe = self.person(
            "Joe Bloggs",
            email="joe@example.com",
            phone="+353871234567",
            whatsapp_number="+353871234567",
            external_id="CRM-12345",
            external_system="salesforce",
            address="123 Main St, Dublin",
            notes="Prefers WhatsApp. Ask for the invoice number first.",
            tags=["VIP", "enterprise"],
            custom_fields={
                "crm_segment": "enterprise",
                "account_manager": "Sarah Johnson",
                "contract_value": 50000,
                "renewal_date": "2025-12-31",
            },
        )
        self.person("J. Bloggs", phone="+353871234567", claims=False)
        today = now()
        old = self.conversation(
            joe, "email", today - timedelta(days=20), subject="Invoice for October", status="closed"
        )
        self.say(old, today - timedelta(days=20), "Could you send me the invoice for October again?")
        place = self.conversation(
            joe,
            "whatsapp",
            today,
            subject="Order #4821 refund",
            assignee_id=self.mary.id,
            tags=["refund", "VIP"],
            created_at=today - timedelta(days=1, hours=3),
        )
        before = today - timedelta(days=1, hours=2)
        receipt = self.say(place, before, "Hi, I sent the jacket back last Monday and still see no refund on my card.")
        self.file(receipt, "receipt.pdf", "application/pdf", b"%PDF-1.7 receipt", 52468)
        self.fact(
            place,
            before + timedelta(minutes=1),
            "conversation.assigned",
            {"assignee": {"name": "Mary Ryan"}, "assigned_by": "Tom Keane"},
        )
        start = today - timedelta(minutes=24)
        hello = self.say(place, start, "Hello, me again. Any news on the refund?")
        self.say(place, start + timedelta(seconds=40), "It was €189.00 on the card ending 4417")
        note = "Warehouse scanned it on the 20th, so finance should have it. @Tom can you confirm?"
        self.say(place, start + timedelta(minutes=3), note, self.mary, private=True)
        self.say(
            place,
            start + timedelta(minutes=9),
            "Hi Joe! The jacket reached us on the 20th and your €189.00 refund was approved this morning. "
            "It should show up within 3–5 business days: https://acme.example/refunds/4821",
            self.mary,
            reply_to_id=hello.id,
        )
        self.say(
            place,
            start + timedelta(minutes=17),
            "Great, thank you. Could you also send me the return label for the second parcel?",
            extra={"reactions": {"business": "👍"}},
        )
        self.say(
            place,
            start + timedelta(minutes=18),
            "Of course, one moment.",
            self.mary,
            status="failed",
            error="the number cannot be reached",
            error_code="131026",
        )
        self.say(place, start + timedelta(minutes=22), "Sending the label now.", self.mary, status="delivered")
        place.waiting_since, place.unread_count = None, 0
        place.last_inbound_at = today - timedelta(hours=20, minutes=48)
        return place

    def others(self) -> None:
        today = now()
        for name, kind, minutes, text, unread, details in _OTHERS:
            contact = {"email": f"{name.split()[0].lower()}@example.com"} if name[0] != "+" else {"phone": name}
            customer = self.person(name, **contact)
            columns = dict(details)
            owner = {"mary": self.mary.id, "tom": self.tom.id}.get(columns.pop("owner", ""))
            hours = columns.pop("until", None)
            at = today - timedelta(minutes=minutes)
            place = self.conversation(customer, kind, at, assignee_id=owner, unread_count=unread, **columns)
            answered = text.startswith("You: ")
            extra = _EXTRA.get(name, {})
            self.say(place, at, text.removeprefix("You: "), self.mary if answered else None, extra=extra)
            place.thread = {"opted_out": place.address} if extra.get("opt_out") else {}
            place.waiting_since = None if answered or place.status == "closed" else at
            place.snoozed_until = today + timedelta(hours=hours) if hours else None
            if kind == "facebook":
                message = self.say(place, at + timedelta(seconds=1), "")
                self.file(message, "jacket.png", "image/png", PIXEL)
                place.preview = "Photo"

    def plain(self, number: int) -> None:
        at = now() - timedelta(days=2, minutes=number)
        customer = self.person(f"Customer {number:05d}", email=f"customer{number}@example.com")
        place = self.conversation(customer, "whatsapp", at)
        self.say(place, at, f"Question number {number}")


_CANNED = (
    (
        "refund-window",
        "Refunds take 3–5 days",
        "Refunds reach your account within 3–5 business days, {{customer.first_name|there}}.",
    ),
    (
        "return-label",
        "Prepaid return label",
        "Here is your prepaid return label, {{customer.first_name|there}}. Drop it at any post office.",
    ),
    ("return-policy", "30 days to return", "You can return unworn items within 30 days of delivery."),
    ("reorder", "Replacement order", "I have created a replacement order {{order_number}} for you."),
)
_TEMPLATES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("order_update", "Hi {{1}}, your order {{2}} is on its way. Reply here if anything is wrong.", {}),
    ("refund_done", "Hi {{1}}, your refund of {{2}} was paid out today.", {}),
    (
        "spring_offer",
        "Spring is here, {{customer_name}}: 20% off all jackets until {{last_day}}.",
        {
            "category": "MARKETING",
            "parameter_format": "NAMED",
            "components": [{"type": "HEADER", "format": "IMAGE"}, {"type": "FOOTER", "text": "Reply STOP to opt out"}],
        },
    ),
)
_EXTRA: dict[str, dict[str, Any]] = {  # what providers tell besides the words
    "Olu Adeyemi": {
        "referral": {"source_type": "ad", "headline": "20% off all jackets", "source_url": "https://fb.me/1"},
        "forwarded": True,
        "quoted": "wamid.unknown",
    },
    "Priya Natarajan": {"story": {"type": "reply"}},
    "Deirdre O’Brien": {
        "from": {"name": "Deirdre O’Brien", "address": "deirdre@example.com"},
        "to": [{"name": "Acme Support", "address": "support@acme.example"}],
        "cc": [{"name": "", "address": f"accounts-{number}@example.com"} for number in range(1, 9)],
    },
    "+353 86 555 0102": {"opt_out": "stop"},
}
_OTHERS: tuple[tuple[str, str, int, str, int, dict[str, Any]], ...] = (
    ("Aoife Walsh", "instagram", 4, "Is the linen dress coming back in size 12?", 2, {"owner": "mary"}),
    (
        "Müller & Söhne GmbH, Einkauf Süd",
        "email",
        17,
        "Re: Angebot 2025-114 – Lieferung nach Regensburg",
        1,
        {"owner": "mary", "subject": "Angebot 2025-114", "tags": ["B2B", "quote", "Germany"]},
    ),
    ("Niamh Byrne", "sms", 51, "You: Your order is ready for pickup until Saturday.", 0, {"owner": "mary"}),
    (
        "Fatima Al-Sayed",
        "whatsapp",
        75,
        "مرحبًا، هل يمكنني تغيير عنوان التوصيل؟",
        1,
        {"owner": "mary", "tags": ["delivery"]},
    ),
    ("Sofia Rossi", "facebook", 110, "Look at the seam, it came like this", 0, {"owner": "mary"}),
    (
        "Deirdre O’Brien",
        "email",
        190,
        "Invoice for October is missing the VAT number",
        0,
        {"owner": "mary", "subject": "Invoice for October", "tags": ["billing"], "status": "pending"},
    ),
    ("+353 86 555 0102", "sms", 260, "STOP", 0, {"owner": "mary", "tags": ["opt-out"]}),
    ("Liam Chen", "whatsapp", 1500, "You: Glad that worked! Closing this for now.", 0, {"owner": "mary"}),
    ("Priya Natarajan", "instagram", 33, "Do you ship to Kerala?", 1, {}),
    ("Jean-Baptiste Lefèvre", "email", 48, "Retour commande 5512", 1, {"subject": "Retour commande 5512"}),
    ("Olu Adeyemi", "whatsapp", 8, "My code does not work 😕", 1, {}),
    ("Saoirse Nolan", "facebook", 640, "Thanks!", 0, {"owner": "tom"}),
    (
        "Ken Watanabe",
        "email",
        900,
        "You: We will let you know on Monday.",
        0,
        {"owner": "mary", "status": "snoozed", "until": 30, "subject": "Wholesale"},
    ),
    ("Ana Sousa", "whatsapp", 3000, "You: You are welcome, Ana!", 0, {"owner": "mary", "status": "closed"}),
)


def numbers_of(business_id: UUID) -> list[int]:
    rows = db.session.query(Conversation.number).filter_by(business_id=business_id).order_by(Conversation.number)
    return [row.number for row in rows]
