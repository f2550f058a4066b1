"""The message templates that a provider has approved for an account, as last read. The worker reads them anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from channels.base import Account, ChannelError
from models import Business, ChannelAccount, MessageTemplate, db, now
from services import channel_accounts, probes


def page(business: Business, account_id: UUID) -> Sequence[MessageTemplate]:
    """List the templates that may be sent."""
    query = select(MessageTemplate).where(
        MessageTemplate.business_id == business.id,
        MessageTemplate.account_id == account_id,
        MessageTemplate.status == "APPROVED",
    )
    return db.session.scalars(query.order_by(MessageTemplate.name, MessageTemplate.language)).all()


def known(business: Business, account_id: UUID) -> Sequence[MessageTemplate]:
    """List all that the provider told of, whatever it thinks of them."""
    query = select(MessageTemplate).where(
        MessageTemplate.business_id == business.id, MessageTemplate.account_id == account_id
    )
    return db.session.scalars(query.order_by(MessageTemplate.name, MessageTemplate.language)).all()


def prepare(business_id: UUID, account_id: UUID) -> Account | None:
    account = db.session.get(ChannelAccount, (business_id, account_id))
    return channel_accounts.to_channel(account) if account and account.disconnected_at is None else None


def record(business_id: UUID, account_id: UUID, outcome: list[dict[str, Any]] | ChannelError) -> None:
    """Replace what we knew; an account that the provider refuses is held and its admins told.

    It was checked before its templates were read, so that an answer ends a hold which that explains.
    """
    account = db.session.get_one(ChannelAccount, (business_id, account_id))
    if isinstance(outcome, ChannelError):
        if outcome.action == "account":
            channel_accounts.hold(account, outcome.message)
        return
    probes.after_check(account)
    mine = (MessageTemplate.business_id == business_id, MessageTemplate.account_id == account_id)
    db.session.execute(delete(MessageTemplate).where(*mine))
    for item in outcome:
        row = MessageTemplate(
            business_id=business_id,
            account_id=account_id,
            name=item["name"],
            language=item["language"],
            status=item["status"],
            details=item,
            synced_at=now(),
        )
        db.session.merge(row)
