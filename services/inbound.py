"""What providers tell us: kept raw at once, applied later by the worker, item by item, each exactly once.

The callbacks' edge calls `handshake` and `accept`; the worker calls `items` and `apply`. Nothing here calls out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

import channels
import jobs
from channels.base import (
    AccountNotice,
    BadSignature,
    Callback,
    Change,
    IdentityChange,
    Inbound,
    Item,
    Receipt,
    Reply,
)
from errors import Forbidden, NotFound
from models import Business, ChannelAccount, db, now
from models import Callback as StoredCallback
from services import account_checks, arrivals, changes, channel_accounts, receipts

MAX_ATTEMPTS = 8
LEASE = timedelta(seconds=30)  # short, since applying an item twice changes nothing and a dead worker's is waited for
# Enough to verify again and to explain; nothing that a proxy added about itself.
KEPT_HEADERS = {
    "content-type",
    "user-agent",
    "x-hub-signature-256",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "i-twilio-idempotency-token",
}


def handshake(kind: str, account_id: UUID, callback: Callback) -> Reply:
    """Answer a provider that verifies our address."""
    account = _account(kind, account_id)
    reply = channels.get(kind).handshake(callback, channel_accounts.to_channel(account).config)
    account_checks.note(account.id, "handshake", state="ok" if reply.status == 200 else "refused")
    return reply


def accept(kind: str, account_id: UUID, callback: Callback) -> Reply:
    """Check the signature over the raw bytes and keep the callback; raise `Forbidden` for a wrong one."""
    account = _account(kind, account_id)
    channel = channels.get(kind)
    try:
        channel.verify(callback, channel_accounts.to_channel(account).config)
    except BadSignature as exc:
        account_checks.note(account.id, "signature", state="refused", error=str(exc))
        raise Forbidden(f"The signature is not right: {exc}", code="bad_signature") from None
    keep(account, callback, headers={name: callback.headers[name] for name in KEPT_HEADERS & callback.headers.keys()})
    return channel.reply(callback)


def keep(account: ChannelAccount, callback: Callback, *, headers: Mapping[str, str]) -> None:
    """Store what came for an account, raw, and ask for it to be applied."""
    stored = StoredCallback(
        business_id=account.business_id, account_id=account.id, url=callback.url, headers=headers, body=callback.body
    )
    db.session.add(stored)
    db.session.flush()
    jobs.run_later("process_callback", account.business_id, stored.id)


def claim(business_id: UUID, callback_id: UUID) -> StoredCallback | None:
    """Take a callback under a lease; None if somebody has applied it or is at it."""
    query = select(StoredCallback).where(StoredCallback.business_id == business_id, StoredCallback.id == callback_id)
    stored: StoredCallback | None = db.session.scalar(query.with_for_update(skip_locked=True))
    if stored is None or stored.processed_at or stored.next_attempt_at > now():
        return None
    stored.attempts, stored.next_attempt_at = stored.attempts + 1, now() + LEASE
    return stored


def items(stored: StoredCallback) -> list[Item]:
    account = db.session.get_one(ChannelAccount, (stored.business_id, stored.account_id))
    return channels.get(account.kind).parse(_callback(stored))


def _callback(stored: StoredCallback) -> Callback:
    return Callback("POST", stored.url, stored.headers, {}, stored.body)


def finish(stored: StoredCallback, errors: list[str]) -> None:
    """Note that a callback is done with, or when to try its failed items again; those applied change nothing then."""
    stored.error = "; ".join(errors)[:2000] or None
    if not errors or stored.attempts >= MAX_ATTEMPTS:
        stored.processed_at = now()
    else:
        stored.next_attempt_at = now() + timedelta(seconds=5 * 3**stored.attempts)


def apply(stored: StoredCallback, item: Item) -> None:
    """Apply one item to the account it names, if that account shares the secret that signed the callback."""
    called = db.session.get_one(ChannelAccount, (stored.business_id, stored.account_id))
    account = _meant(stored, called, item.account)
    if account is None:
        return
    business = db.session.get_one(Business, account.business_id)
    match item:
        case Inbound():
            arrivals.receive(business, account, item, stored.id)
        case Receipt():
            receipts.apply(account, item)
        case Change():
            changes.apply(account, item)
        case IdentityChange():
            arrivals.rename(business, account, item)
        case AccountNotice(level="trouble"):
            account.last_error, account.last_error_at = item.text, now()


def _account(kind: str, account_id: UUID) -> ChannelAccount:
    account = channel_accounts.for_callback(kind, account_id)
    if account is None:
        raise NotFound("No channel account has this callback address.", code="channel_account_not_found")
    return account


def _meant(stored: StoredCallback, called: ChannelAccount, key: str) -> ChannelAccount | None:
    """Find the account that an item names: the one called, or a sibling whose secret signed the callback too."""
    channel = channels.get(called.kind)
    if not key or key in channel.names(called.config):
        return called
    business = db.session.get_one(Business, called.business_id)
    callback = _callback(stored)
    for sibling in channel_accounts.page(business, kind=called.kind):
        if key in channel.names(sibling.config):
            try:
                channel.verify(callback, channel_accounts.to_channel(sibling).config)
            except BadSignature:
                continue
            return sibling
    return None
