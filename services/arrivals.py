"""A message that came in: whose it is, which conversation it joins, what of it is still to be fetched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

import jobs
from channels.base import IdentityChange, Inbound, Media, Person
from lib import sniff
from lib.ids import uuid7
from models import Attachment, Business, ChannelAccount, Conversation, Customer, Message, ProviderId, db, now
from services import (
    changes,
    channel_accounts,
    conversations,
    echoes,
    events,
    identities,
    messages,
    opt_outs,
    parts,
    payloads,
    receipts,
    same_people,
    threads,
)
from services.customer_fields import Record
from services.customer_sync import Batch, Outcome
from services.identities import Holder, Key
from services.messages import Sender


def receive(
    business: Business, account: ChannelAccount, item: Inbound, callback_id: UUID | None = None
) -> Message | None:
    """Store a message, and whom and what it needs; None if it was stored before, or was ours.

    `callback_id` is what brought it, where its files may still lie.
    """
    if item.echo and echoes.confirm(account, item):
        return None
    if changes.taken_back(account, item.provider_id):
        item = replace(item, text="", media=(), extra={}, raw={})
    message_id = uuid7()
    if not _is_first(account, item.provider_id, message_id):
        return None
    place = threads.find(business, account, item.thread) if item.thread else None
    customer = place.customer if place else _customer(business, account, item.person)
    conversation = (
        place.conversation
        if place
        else conversations.open_for(
            business, customer, account, item.person.address, subject=item.subject, fresh=item.thread is not None
        )
    )
    if place is None or place.is_customer:
        conversation.address = item.person.address
    opt_outs.note(conversation, item.extra.get("opt_out", ""))
    message = messages.new(
        conversation,
        _sender(item, customer, place),
        id=message_id,
        direction="outbound" if item.echo else "inbound",
        kind=item.kind,
        content=item.text,
        status="sent" if item.echo else "received",
        extra=_extra(item, place),
        reply_to_id=_quoted(account, item.reply_to),
        provider_at=item.at,
        sent_at=item.at if item.echo else None,
    )
    files = [_attachment(message, media, position, callback_id) for position, media in enumerate(item.media)]
    db.session.add_all(files)
    if item.thread:
        threads.note(place, conversation, item.thread)
        parts.remember(message, [item.thread.id] if item.thread.id else [])
    _tell(business, conversation, message, customer, files, item)
    channel_accounts.touch(account, inbound=None if item.echo else item.at, outbound=item.at if item.echo else None)
    receipts.apply_parked(message, item.provider_id)
    if customer.name == item.person.address and item.thread is None:
        jobs.run_later("learn_name", business.id, conversation.id)
    return message


def _tell(
    business: Business,
    conversation: Conversation,
    message: Message,
    customer: Any,
    files: list[Attachment],
    item: Inbound,
) -> None:
    inbound = message.direction == "inbound"
    shown = messages.preview(message, files)
    at = (message.provider_at or now()) if item.opens_window else None
    waits = not item.automatic
    reopens = conversations.saw_message(conversation, text_shown=shown, inbound=inbound, at=at, waits=waits)
    if reopens:
        conversations.set_status(business, conversation, "open", by=customer.name)
    if any(file.state == "pending" for file in files):
        # The webhook waits for the files, since its receiver downloads them at once; screens do not wait.
        message.announced = False
        events.append(business.id, "message.changed", message=message)
        for file in files:
            jobs.run_later("fetch_attachment", business.id, file.id)
        return

    def data() -> dict[str, Any]:
        return payloads.message_event(message, customer, conversation, files)

    events.append(business.id, "message.received" if inbound else "message.sent", data, message=message)


def rename(business: Business, account: ChannelAccount, change: IdentityChange) -> None:
    """Follow a person to a new address; one that somebody else holds already is left to an agent to merge."""
    old, new = (_address_keys(account, person)[0] for person in (change.old, change.new))
    identities.lock(business.id, [old, new])
    holders = identities.holders(business.id, [old, new])
    if old not in holders:
        return
    conversation = conversations.latest(business, holders[old].customer_id, account.id)
    if new not in holders:
        identities.claim(business.id, {new: holders[old].customer_id})
        if conversation and conversation.address == change.old.address:
            conversation.address = change.new.address
    if conversation and change.text:
        _tell_once(conversation, change)


def _tell_once(conversation: Conversation, change: IdentityChange) -> None:
    """Say in the thread that an address changed: the provider may say it again, and for each address of a person."""
    known = select(Message.id).where(
        Message.business_id == conversation.business_id,
        Message.conversation_id == conversation.id,
        Message.kind == "system",
        Message.content == change.text,
        Message.provider_at == change.at,
    )
    if db.session.scalar(known.limit(1)) is None:
        sender = Sender("customer", conversation.customer_id, conversation.customer.name)
        parts = {"direction": "inbound", "kind": "system", "status": "received", "provider_at": change.at}
        message = messages.new(conversation, sender, content=change.text, **parts)
        events.append(conversation.business_id, "message.changed", message=message)


def _is_first(account: ChannelAccount, provider_id: str, message_id: UUID) -> bool:
    row = {
        "business_id": account.business_id,
        "account_id": account.id,
        "value": provider_id,
        "message_id": message_id,
    }
    statement = insert(ProviderId).values(row).on_conflict_do_nothing().returning(ProviderId.message_id)
    return db.session.scalar(statement) is not None


def _customer(business: Business, account: ChannelAccount, person: Person) -> Any:
    """Find who wrote by any of the person's handles, learn the new ones, or make a customer."""
    keys = _address_keys(account, person)
    identities.lock(business.id, keys)
    holders = identities.holders(business.id, keys)
    owners = list(dict.fromkeys(holders[key].customer_id for key in keys if key in holders))
    known = owners[0] if owners else None
    if account.kind == "whatsapp" and person.scoped_id and owners:
        known = _known_to_whatsapp(business, account, person, owners, holders)
    if known is None:
        return _newcomer(business, person, keys, holders)
    identities.claim(business.id, {key: known for key in keys if key not in holders})
    return db.session.get_one(Customer, (business.id, known))


def _known_to_whatsapp(
    business: Business, account: ChannelAccount, person: Person, owners: list[UUID], holders: dict[Key, Holder]
) -> UUID | None:
    """Say which of those who hold a person's scoped id or number this is; None for somebody new.

    A number passes on to others, a scoped id never does: who is known by another one is not the one who writes now.
    """
    if Key("whatsapp", str(person.scoped_id)) in holders:
        known, *others = owners
        for other in others:
            known = same_people.settle(business, known, other, person, holders)
        return known
    scoped = identities.scoped_ids(business.id, owners)
    for former in scoped:
        conversations.readdress(business, former, account, person.address, scoped[former])
    return next((owner for owner in owners if owner not in scoped), None)


def _newcomer(business: Business, person: Person, keys: list[Key], holders: dict[Key, Holder]) -> Any:
    """Make a customer; what another one holds is shown as a plain field, and marked as shared there."""
    said = {
        "name": (person.name or person.username or person.phone or person.email or person.address)[:200],
        "phone": person.phone,
        "email": person.email,
        "whatsapp_number": person.phone if any(key.kind == "whatsapp" for key in keys) else None,
    }
    work = Batch(business, [])
    work.holders = holders
    free = [key for key in keys if key not in holders]
    newcomer = work.create(
        Record({name: value for name, value in said.items() if value}), Outcome(0, "created"), contact_required=False
    )
    work.claimed |= dict.fromkeys(free, newcomer.id)
    work.write()
    return newcomer


def _address_keys(account: ChannelAccount, person: Person) -> list[Key]:
    """List the handles by which this person may be known, the surest first."""
    keys = []
    if account.kind in ("facebook", "instagram"):
        keys.append(Key(account.kind, person.scoped_id or person.address, account.account_key))
    elif account.kind == "whatsapp":
        if person.scoped_id:
            keys.append(Key("whatsapp", person.scoped_id))
        if person.phone:
            keys += [identities.whatsapp_key(person.phone), identities.phone_key(person.phone)]
        keys = keys or [Key("whatsapp", person.address)]
    if person.email:
        keys.append(identities.email_key(person.email))
    if account.kind == "sms":
        keys.append(identities.phone_key(person.phone) if person.phone else Key("sms", person.address))
    return keys


def _quoted(account: ChannelAccount, provider_id: str | None) -> UUID | None:
    if not provider_id:
        return None
    known = db.session.get(ProviderId, (account.business_id, account.id, provider_id))
    return known.message_id if known else None


def _sender(item: Inbound, customer: Any, place: threads.Place | None) -> Sender:
    if item.echo:
        return Sender("app", None, item.extra.get("sent_from", "Sent from the app"))
    if place is None or place.is_customer:
        return Sender("customer", customer.id, customer.name)
    return Sender("customer", None, (item.person.name or item.person.address)[:200])


def _extra(item: Inbound, place: threads.Place | None) -> dict[str, Any]:
    extra = dict(item.extra)
    if place and not place.takes_part:
        extra["new_participant"] = True
    if item.kind == "unsupported":
        extra["raw"] = dict(item.raw)
    if item.reply_to:
        extra["quoted"] = item.reply_to
    return extra


def _attachment(message: Message, media: Media, position: int, callback_id: UUID | None) -> Attachment:
    source = {"provider_id": media.provider_id, "url": media.url, "sha256": media.sha256, "voice": media.voice}
    source |= {"content_id": media.content_id, "callback": str(callback_id) if callback_id else None}
    return Attachment(
        business_id=message.business_id,
        id=uuid7(),
        message_id=message.id,
        position=position,
        filename=sniff.safe_filename(media.filename or _name_for(media.mime)),
        mime=media.mime.partition(";")[0].strip().lower() or "application/octet-stream",
        size=media.size or 0,
        state="pending",
        source=source | {"mime": media.mime, "filename": media.filename},
        next_attempt_at=now(),
    )


def _name_for(mime: str) -> str:
    kind, _, subtype = mime.partition(";")[0].partition("/")
    ending = {"jpeg": "jpg", "mpeg": "mp3", "plain": "txt"}.get(subtype.strip(), subtype.strip())
    return f"{kind or 'file'}.{ending or 'bin'}"
