"""Mailboxes that we look into ourselves: which ones, how far each is read, and what was found there.

The worker's mail part (mailroom.py) calls these, each in a short transaction of its own, and speaks to the servers in
between. A mail and the position behind it are kept in one transaction, so each is taken once, whoever dies when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

import channels
from channels.base import Account, Callback, ChannelError
from lib import addresses
from lib.ids import is_uuid
from models import ChannelAccount, Mailbox, Notice, ProviderId, db, now
from services import channel_accounts, inbound, notices

LEASE = timedelta(seconds=20)  # after which another process takes a mailbox over
EARLIER = timedelta(minutes=5)  # mail that came so long before the account was connected is taken too
NOTICE = "channel"


@dataclass(frozen=True, slots=True)
class Watched:
    """A mailbox that is ours to look into for now."""

    business_id: UUID
    account_id: UUID
    account: Account


def watch(watcher: UUID) -> list[Watched]:
    """Take what nobody looks into, renew what is ours, and list it all."""
    query = select(ChannelAccount).where(
        ChannelAccount.kind.in_([kind for kind in channels.KINDS if channels.get(kind).polled]),
        ChannelAccount.disconnected_at.is_(None),
        ChannelAccount.state != "paused",
    )
    accounts = [one for one in db.session.scalars(query) if channels.get(one.kind).polls(one.config)]
    ours = {mailbox.account_id for mailbox in _leased(accounts, watcher)}
    return [
        Watched(account.business_id, account.id, channel_accounts.to_channel(account))
        for account in accounts
        if account.id in ours
    ]


def let_go(watcher: UUID) -> None:
    """Leave what is ours to whoever comes next."""
    ours = update(Mailbox).where(Mailbox.watcher == watcher)
    db.session.execute(ours.values(watcher=None, watched_until=None))


def position(business_id: UUID, account_id: UUID) -> dict[str, Any]:
    return dict(db.session.get_one(Mailbox, (business_id, account_id), populate_existing=True).position)


def keep(
    business_id: UUID, account_id: UUID, before: Mapping[str, Any], found: Callback | None, after: Mapping[str, Any]
) -> bool:
    """Keep a mail with the position behind it; False if somebody else has been here, so that nothing is kept twice."""
    key = (business_id, account_id)
    mailbox = db.session.get_one(Mailbox, key, with_for_update=True, populate_existing=True)
    account = db.session.get_one(ChannelAccount, key, populate_existing=True)
    if mailbox.position != dict(before) or account.disconnected_at:
        return False
    mailbox.position = dict(after)
    if found is not None:
        inbound.keep(account, found, headers=found.headers)
    return True


def known(business_id: UUID, account_id: UUID, ids: Sequence[str]) -> set[str]:
    """Say which mails we have, by their Message-ID."""
    query = select(ProviderId.value).where(
        ProviderId.business_id == business_id, ProviderId.account_id == account_id, ProviderId.value.in_(list(ids))
    )
    return set(db.session.scalars(query))


def failed(business_id: UUID, account_id: UUID, error: ChannelError) -> None:
    """Note that a mailbox cannot be read; where that will not mend itself, the admins are told once."""
    key = (business_id, account_id)
    mailbox, account = db.session.get_one(Mailbox, key), db.session.get_one(ChannelAccount, key)
    account.last_error, account.last_error_at = error.message, now()
    if error.action == "account" and mailbox.error is None:
        text = f"{account.name} ({account.address}) cannot be read: {error.message}"
        db.session.add(Notice(business_id=business_id, kind=NOTICE, subject_id=account_id, text=text))
        mailbox.error = error.message


def works(business_id: UUID, account_id: UUID) -> None:
    """Take back what the admins were told."""
    mailbox = db.session.get_one(Mailbox, (business_id, account_id))
    if mailbox.error is not None:
        mailbox.error = None
        notices.clear(business_id, NOTICE, account_id)


def addressed(recipient: str) -> list[ChannelAccount]:
    """Find whose mailbox an address is, with a tag or without; or the one whose id is the name before the @-sign."""
    local, _, domain = recipient.rpartition("@")
    query = select(ChannelAccount).where(ChannelAccount.kind == "email", ChannelAccount.disconnected_at.is_(None))
    if is_uuid(local):
        return list(db.session.scalars(query.where(ChannelAccount.id == UUID(local))))
    names = {found for one in (recipient, f"{local.partition('+')[0]}@{domain}") if (found := _normalised(one))}
    return list(db.session.scalars(query.where(ChannelAccount.account_key.in_(names))))


def forwarded(account_id: UUID, business_id: UUID, recipient: str, mail: bytes) -> None:
    """Keep a mail that was forwarded to us."""
    account = db.session.get_one(ChannelAccount, (business_id, account_id))
    found = channels.get(account.kind).forwarded(account.config, recipient, mail)
    inbound.keep(account, found, headers=found.headers)


def _leased(accounts: Sequence[ChannelAccount], watcher: UUID) -> list[Mailbox]:
    """Give the mailboxes of these accounts that are ours, after taking those that nobody holds."""
    if not accounts:
        return []
    query = select(Mailbox).where(Mailbox.account_id.in_([account.id for account in accounts]))
    mailboxes = {
        one.account_id: one for one in db.session.scalars(query, execution_options={"populate_existing": True})
    }
    for account in accounts:
        if account.id not in mailboxes:
            _begin(account)
    soon = now() + LEASE / 2
    wanted = [
        account.id
        for account in accounts
        if (one := mailboxes.get(account.id)) is None or (_is_for(one, watcher) and (one.watched_until or soon) <= soon)
    ]
    locked = select(Mailbox).where(Mailbox.account_id.in_(wanted)).with_for_update(skip_locked=True)
    for mailbox in db.session.scalars(locked, execution_options={"populate_existing": True}) if wanted else ():
        mailboxes[mailbox.account_id] = mailbox
        if _is_for(mailbox, watcher):
            mailbox.watcher, mailbox.watched_until = watcher, now() + LEASE
    return [one for one in mailboxes.values() if one.watcher == watcher]


def _is_for(mailbox: Mailbox, watcher: UUID) -> bool:
    """Say whether a mailbox is this watcher's, or free to become it."""
    return mailbox.watcher == watcher or mailbox.watched_until is None or mailbox.watched_until < now()


def _begin(account: ChannelAccount) -> None:
    """Start with what comes from now on: nobody wants the mail of ten years as conversations."""
    row = {
        "business_id": account.business_id,
        "account_id": account.id,
        "position": {"since": (account.created_at - EARLIER).isoformat()},
    }
    db.session.execute(insert(Mailbox).values(row).on_conflict_do_nothing())


def _normalised(address: str) -> str | None:
    try:
        return addresses.email(address)
    except ValueError:
        return None
