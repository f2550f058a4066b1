"""How a customer can be reached: which accounts, at which address, whether the channel's window is open, what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

import channels
from channels.base import Limits
from errors import Invalid
from models import Attachment, Business, ChannelAccount, Conversation, MessageTemplate, db, now
from services import channel_accounts, identities, opt_outs

PRODUCT_TEXT_LIMIT = 100_000  # characters; where the channel has none of its own


@dataclass(frozen=True, slots=True)
class Way:
    """One account by which a customer can be written to. `why_not` says what stands against it, if anything does.

    `window_open` is for people; a program may have less time (`open_to_programs`). `opted_out`: nothing may be sent.
    """

    account: ChannelAccount
    label: str
    address: str | None
    limits: Limits
    window_closes_at: datetime | None = None  # None where the channel has no window
    window_open: bool = True
    open_to_programs: bool = True
    opted_out: bool = False
    why_not: str | None = None


def ways(business: Business, customer: Any) -> list[Way]:
    """List every connected account with how things stand for this customer; the one last written on comes first."""
    accounts = channel_accounts.page(business)
    last, opened = _last_conversations(business.id, customer.id)
    found = [_way(business, customer, account, last.get(account.id), opened.get(account.id)) for account in accounts]
    stopped = opt_outs.of(business.id, customer.id)
    found = [_stopped(way) if (way.account.id, way.address) in stopped else way for way in found]
    used = {account_id: place for place, account_id in enumerate(last)}
    return sorted(found, key=lambda way: (way.address is None, used.get(way.account.id, len(used))))


def window_closes_at(conversation: Conversation) -> datetime | None:
    """Say until when the channel takes free text in this conversation; None where it has no window."""
    hours = channels.get(conversation.channel).window_hours(conversation.account.config)
    return conversation.last_inbound_at + timedelta(hours=hours) if hours and conversation.last_inbound_at else None


def choose(business: Business, customer: Any, channel: str, account_id: UUID | None = None) -> Way:
    """Pick the account to write on; raise `Invalid` with what an admin or a caller can do where there is none."""
    candidates = [
        way for way in ways(business, customer) if way.account.kind == channel and account_id in (None, way.account.id)
    ]
    if not candidates:
        if channel not in channels.KINDS:
            known = ", ".join(channels.KINDS)
            raise Invalid(f"channel is one of {known}.", code="unknown_channel", field="channel")
        raise Invalid(
            f"No {channel} account is connected. An admin connects one in Settings → Channels.",
            code="channel_not_connected",
            field="channel_account_id" if account_id else "channel",
        )
    way = candidates[0]
    if way.address is None:
        raise Invalid(f"The customer has no address on {way.label}.", code="no_address", field="channel")
    return way


def check(way: Way, *, content: str, attachments: Sequence[Attachment], template: bool, by_person: bool = True) -> None:
    """Refuse at once what the channel would refuse later."""
    if way.opted_out:
        raise Invalid(f"{way.why_not} Until then, use another channel.", code="opted_out", field="channel")
    if not template:
        _check_window(way, by_person)
    size = len(content.encode()) if way.limits.text_unit == "bytes" else len(content)
    limit = way.limits.text or PRODUCT_TEXT_LIMIT
    if size > limit:
        raise Invalid(
            f"The text has {size} {way.limits.text_unit}; {way.label} takes {limit}.",
            code="content_too_long",
            field="content",
            details={"limit": limit, "unit": way.limits.text_unit},
        )
    if len(attachments) > way.limits.attachments:
        raise Invalid(f"{way.label} takes {way.limits.attachments} files.", code="too_many_files", field="attachments")
    for place, attachment in enumerate(attachments):
        _check_file(way, attachment, f"attachments[{place}]")
    total = sum(attachment.size for attachment in attachments)
    if way.limits.total and total > way.limits.total:
        raise Invalid(
            f"The files have {total} bytes together; {way.label} takes {way.limits.total} in one message.",
            code="files_too_large",
            field="attachments",
            details={"limit": way.limits.total},
        )


def _check_window(way: Way, by_person: bool) -> None:
    if way.window_open and (by_person or way.open_to_programs):
        return
    hours = channels.get(way.account.kind).limits.window_hours if way.window_open else way.limits.window_hours
    hint = "Send an approved template, or use another channel." if way.limits.templates else "Use another channel."
    if way.window_open:
        hint = f"For {way.limits.window_hours} hours only people may, in the inbox or the embed."
    raise Invalid(
        f"{way.label} takes free text {hours} hours after the customer's last message. {hint}",
        code="window_closed",
        field="content",
        details={"window_closes_at": None, "templates": way.limits.templates},
    )


def check_template(way: Way, name: str, language: str) -> None:
    """Refuse a template that the provider did not approve, as far as we know its templates."""
    query = select(MessageTemplate).where(
        MessageTemplate.business_id == way.account.business_id, MessageTemplate.account_id == way.account.id
    )
    known = {(item.name, item.language): item.status for item in db.session.scalars(query)}
    if not way.limits.templates:
        raise Invalid(f"{way.label} has no templates.", code="templates_unsupported", field="template")
    if known and known.get((name, language)) != "APPROVED":
        raise Invalid(
            f"No approved template '{name}' in {language} on this account.",
            code="unknown_template",
            field="template.name",
            details={"templates": sorted({key[0] for key, status in known.items() if status == "APPROVED"})},
        )


def _check_file(way: Way, attachment: Attachment, field: str) -> None:
    allowed = way.limits.max_bytes(attachment.mime)
    if not allowed:
        raise Invalid(f"{way.label} does not take files of type {attachment.mime}.", code="file_type", field=field)
    if attachment.size > allowed:
        raise Invalid(
            f"{attachment.filename} has {attachment.size} bytes; {way.label} takes {allowed}.",
            code="file_too_large",
            field=field,
        )


def _last_conversations(business_id: UUID, customer_id: UUID) -> tuple[dict[UUID, Conversation], dict[UUID, datetime]]:
    """Give the customer's latest conversation on each account, the latest first, and when they last wrote there."""
    query = (
        select(Conversation)
        .where(Conversation.business_id == business_id, Conversation.customer_id == customer_id)
        .order_by(Conversation.last_message_at.desc())
        .limit(100)
    )
    last: dict[UUID, Conversation] = {}
    opened: dict[UUID, datetime] = {}
    for conversation in db.session.scalars(query):
        account_id, at = conversation.account_id, conversation.last_inbound_at
        last.setdefault(account_id, conversation)
        if at:
            opened[account_id] = max(at, opened.get(account_id, at))
    return last, opened


def _way(
    business: Business, customer: Any, account: ChannelAccount, last: Conversation | None, opened: datetime | None
) -> Way:
    channel = channels.get(account.kind)
    limits = replace(channel.limits, window_hours=channel.window_hours(account.config))
    address = last.address if last else _address(business, customer, account)
    closes = opened + timedelta(hours=limits.window_hours) if limits.window_hours and opened else None
    why_not = None
    if address is None:
        why_not = f"No address on {channel.label}"
    elif account.state in ("paused", "attention"):
        why_not = account.state_reason
    is_open, for_all = (_is_open(opened, hours) for hours in (limits.window_hours, channel.limits.window_hours))
    return Way(account, channel.label, address, limits, closes, is_open, for_all, why_not=why_not)


def _is_open(opened: datetime | None, hours: int) -> bool:
    return not hours or (opened is not None and now() - opened < timedelta(hours=hours))


def _stopped(way: Way) -> Way:
    sentence = f"This customer asked for no more messages by {way.label} (STOP). They can send START to get them again."
    return replace(way, opted_out=True, why_not=sentence)


def _address(business: Business, customer: Any, account: ChannelAccount) -> str | None:
    shown: dict[str, str | None] = {
        "email": customer.email,
        "sms": customer.phone,
        "whatsapp": customer.whatsapp_number or customer.phone,
    }
    if account.kind in ("email", "sms") or shown.get(account.kind):
        return shown[account.kind]
    for key, _ in identities.of_customers(business.id, [customer.id]):
        if key.kind == account.kind and key.scope in ("", account.account_key):
            return key.value
    return None
