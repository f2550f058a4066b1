"""The demo business: believable people and conversations, made of `story.toml` as if they had happened over weeks.

cli.py calls `fill` and commits. Rows are written directly, with past times and without events, so no webhook and no
open screen hears of history.
"""

from __future__ import annotations

import random
import re
import secrets
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import current_app

import channels
from demo import files
from lib.ids import uuid7
from models import Business, BusinessClock, ChannelAccount, Conversation, Customer, Message, User, db, now
from services import attachments, businesses, canned_replies, channel_accounts, customer_fields, identities, keys, team

STORY = Path(__file__).with_name("story.toml")
CRM = "salesforce"
# `<` customer, `>` agent, `#` note, `!` failed; then who (never the customer), then a file, then the text.
_LINE = re.compile(r"([<>#!]) (?:(?<=[>#!] )(\w+): )?(?:\[([^\]]+)\] ?)?(.*)")
_PAUSE = re.compile(r"~ (\d+)h")
_TOO_LATE = "The customer has not written for 24 hours, so WhatsApp takes only an approved template."


@dataclass(frozen=True, slots=True)
class Line:
    """Something that was said, and when."""

    at: datetime
    mark: str
    who: str
    file: str
    text: str


@dataclass(slots=True)
class Made:
    """The business that was made, and how to get in."""

    business: Business
    email: str
    password: str
    api_key: str = ""
    users: dict[str, User] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    accounts: dict[str, ChannelAccount] = field(default_factory=dict)
    conversations: list[Conversation] = field(default_factory=list)


def fill() -> Made:
    """Make a demo business; each one has an admin, an API key and channel accounts of its own."""
    story = tomllib.loads(STORY.read_text())
    chance = random.Random(7)  # the same story every time
    made = _found(story)
    here = current_app.extensions["settings"]
    ports = {"{smtp_port}": str(here.sandbox_smtp_port), "{imap_port}": str(here.sandbox_imap_port)}
    for kind, said in story["accounts"].items():
        if kind in channels.KINDS and (kind != "email" or here.sandbox_imap_port):
            config = {name: ports.get(value) or _made_up(value) for name, value in said["config"].items()}
            made.accounts[kind] = channel_accounts.connect(made.business, kind, said["name"], config)
    for reply in story["canned_replies"]:
        canned_replies.create(made.business, **reply)
    _add_customers(made, story["customers"], chance)
    _add_conversations(made, story["conversations"], chance)
    return made


def in_touch(made: Made, account: ChannelAccount) -> list[tuple[str, str]]:
    """List the customers (address, name) who wrote on an account within a day: they can be answered freely."""
    names = {customer.id: customer.name for customer in made.customers.values()}
    return [
        (conversation.address, names[conversation.customer_id])
        for conversation in made.conversations
        if conversation.account_id == account.id and (conversation.last_inbound_at or now()) > now() - timedelta(days=1)
    ]


def _found(story: Mapping[str, Any]) -> Made:
    """Make the business and its people; the next one after a first gets a number."""
    name, domain, count = story["name"], story["domain"], 1
    admin = next(key for key, user in story["users"].items() if user["role"] == "admin")
    while team.find_by_email(f"{admin}@{domain}.example"):
        count += 1
        name, domain = f"{story['name']} {count}", f"{story['domain']}-{count}"
    business = businesses.create(name, timezone=story["timezone"])
    business.crm_name, business.crm_record_url = story["crm_name"], story["crm_record_url"]
    business.created_at -= timedelta(days=400)
    made = Made(business, f"{admin}@{domain}.example", secrets.token_urlsafe(9))
    made.users[admin], _ = team.create(business, email=made.email, password=made.password, **story["users"][admin])
    for key, said in story["users"].items():
        if key != admin:  # the same password, which is not worth hashing again
            password_hash = made.users[admin].password_hash
            user = User(business_id=business.id, email=f"{key}@{domain}.example", password_hash=password_hash, **said)
            made.users[key] = user
            db.session.add(user)
    db.session.flush()
    _, made.api_key = keys.create(business, "Demo", ["admin"], by=made.users[admin])
    return made


def _add_customers(made: Made, customers: Mapping[str, Mapping[str, Any]], chance: random.Random) -> None:
    business, shared = made.business, list[identities.Key]()
    owners: dict[identities.Key, UUID] = {}
    for name, said in customers.items():
        record = customer_fields.read(said, business.default_region)
        since = now() - timedelta(days=chance.uniform(40, 380))
        system = CRM if record.external_id else None
        customer = Customer(
            business_id=business.id,
            id=uuid7(),
            external_id=record.external_id,
            external_system=system,
            external_ids={system: record.external_id} if system else {},
            whatsapp_number=record.fields.get("phone"),
            created_at=since,
            updated_at=since,
            **record.fields,
        )
        customer.search = customer_fields.searchable(customer)
        made.customers[name] = customer
        db.session.add(customer)
        for key in _keys(customer):
            if owners.setdefault(key, customer.id) != customer.id:
                shared.append(key)
    db.session.flush()
    identities.claim(business.id, owners)
    identities.mark_shared(business.id, shared)


def _keys(customer: Customer) -> Iterator[identities.Key]:
    if customer.external_id:
        yield identities.external_key(CRM, customer.external_id)
    if customer.email:
        yield identities.email_key(customer.email)
    if customer.phone:
        yield identities.phone_key(customer.phone)
        yield identities.whatsapp_key(customer.phone)


def _add_conversations(made: Made, conversations: list[dict[str, Any]], chance: random.Random) -> None:
    told = [(said, _lines(said, chance)) for said in conversations]
    told.sort(key=lambda one: one[1][0].at)
    for said, lines in told:
        conversation = _conversation(made, said, lines, len(made.conversations) + 1)
        db.session.add(conversation)
        made.conversations.append(conversation)
        for line in lines:
            _say(made, conversation, line, lines[-1].at)
    db.session.flush()
    clock = db.session.get_one(BusinessClock, made.business.id)
    clock.last_conversation = len(made.conversations)
    clock.last_at = max(clock.last_at, *(lines[-1].at for _, lines in told))


def _lines(said: Mapping[str, Any], chance: random.Random) -> list[Line]:
    """Read what was said, and reckon back from the last line when that was."""
    texts = said["says"].strip().splitlines()
    count = said.get("repeat", 1)
    texts = [text.replace("{n}", str(number)) for number in range(1, count + 1) for text in texts]
    at = now() - timedelta(hours=said["age"], microseconds=chance.randrange(10**6))
    lines: list[Line] = []
    for text in reversed(texts):
        if pause := _PAUSE.fullmatch(text):
            at -= timedelta(hours=int(pause[1]))
        elif found := _LINE.fullmatch(text):
            mark, who, file, content = found.groups(default="")
            lines.append(Line(at, mark, who, file, content.replace("⏎", "\n")))
            at -= timedelta(minutes=chance.uniform(0.4, 8))
        else:
            raise ValueError(f"{STORY.name}: this is no line of a conversation: {text}")
    return lines[::-1]


def _conversation(made: Made, said: Mapping[str, Any], lines: list[Line], number: int) -> Conversation:
    customer = made.customers[said["with"]]
    account = made.accounts.get(said.get("channel", "whatsapp")) or made.accounts["whatsapp"]
    spoken = [line for line in lines if line.mark != "#"]
    inbound = [line.at for line in lines if line.mark == "<"]
    answered = max((line.at for line in lines if line.mark == ">"), default=None)
    status, last = said.get("status", "open"), spoken[-1]
    assignee = made.users.get(said.get("assignee", ""))
    snoozed = now() + timedelta(hours=said["snoozed"]) if status == "snoozed" else None
    return Conversation(
        business_id=made.business.id,
        id=uuid7(),
        number=number,
        customer_id=customer.id,
        account_id=account.id,
        channel=account.kind,
        address=_address(account, customer),
        status=status,
        subject=said.get("subject") if account.kind == "email" else None,
        assignee_id=assignee.id if assignee else None,
        tags=said.get("tags", []),
        unread_count=said.get("unread", 0),
        preview=" ".join((last.text or "Photo").split())[:200],
        last_direction="inbound" if last.mark == "<" else "outbound",
        last_message_at=last.at,
        last_inbound_at=inbound[-1],
        waiting_since=next((at for at in inbound if not answered or at > answered), None)
        if status != "closed"
        else None,
        snoozed_until=snoozed,
        closed_at=lines[-1].at + timedelta(minutes=3) if status == "closed" else None,
        created_at=lines[0].at,
        updated_at=lines[-1].at,
    )


def _address(account: ChannelAccount, customer: Customer) -> str:
    """Give what to answer to, in the form in which the provider would have sent it."""
    if account.kind == "email":
        return customer.email or ""
    if account.kind in ("whatsapp", "sms"):
        return (customer.phone or "").removeprefix("+" if account.kind == "whatsapp" else "")
    scoped_id = str(customer.id.int % 10**16)
    identities.claim(account.business_id, {identities.Key(account.kind, scoped_id, account.account_key): customer.id})
    return scoped_id


def _say(made: Made, conversation: Conversation, line: Line, last_at: datetime) -> None:
    """Add one message with its file, in the state that it would have come to by now."""
    inbound, failed = line.mark == "<", line.mark == "!"
    sender: Any = (
        made.users[line.who]
        if line.who
        else next(customer for customer in made.customers.values() if customer.id == conversation.customer_id)
    )
    read = line.at < last_at and conversation.channel != "sms"  # nobody hears whether a text was read
    status = {"<": "received", "#": "note", "!": "failed"}.get(line.mark, "read" if read else "delivered")
    arrived = line.at + timedelta(seconds=2) if status in ("read", "delivered") else None
    message = Message(
        business_id=made.business.id,
        id=uuid7(),
        conversation_id=conversation.id,
        customer_id=conversation.customer_id,
        account_id=conversation.account_id,
        channel=conversation.channel,
        direction="inbound" if inbound else "outbound",
        private=line.mark == "#",
        status=status,
        content=line.text,
        kind="image" if inbound and line.file.endswith(".png") else "text",
        sender_kind="customer" if inbound else "user",
        sender_id=sender.id,
        sender_name=sender.name,
        error_code="131047" if failed else None,
        error=_TOO_LATE if failed else None,
        provider_at=line.at if inbound else None,
        sent_at=line.at if arrived else None,
        delivered_at=arrived,
        read_at=arrived + timedelta(seconds=40) if arrived and status == "read" else None,
        created_at=line.at,
        updated_at=line.at,
    )
    db.session.add(message)
    if line.file:
        data = files.picture(line.file) if line.file.endswith(".png") else files.paper(made.business.name, line.file)
        attachment = attachments.upload(made.business, line.file, data)
        attachment.message_id, attachment.created_at = message.id, line.at


def _made_up(pattern: str) -> str:
    """Put a random digit for each `#` and a random letter or digit for each `*`."""
    letters = string.ascii_lowercase + string.digits
    kinds = {"#": string.digits, "*": letters}
    return "".join(secrets.choice(kinds[char]) if char in kinds else char for char in pattern)
