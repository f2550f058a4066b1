"""What providers tell us: kept raw at once, applied later by the worker, item by item, each exactly once.

The callbacks' edge calls `handshake` and `accept`; the worker calls `items` and `apply`. Nothing here calls out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text

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
from lib.ids import uuid7
from models import Business, ChannelAccount, db, now, write_at_once
from models import Callback as StoredCallback
from services import account_checks, arrivals, changes, channel_accounts, payloads, receipts

log = structlog.get_logger()

BELL = "callbacks"
BATCH = 10
MAX_ATTEMPTS = 8
LEASE_SECONDS = 30  # short, since applying an item twice changes nothing and a dead worker's is waited for
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
    for account in _answering(kind, account_id):
        reply = channels.get(kind).handshake(callback, channel_accounts.to_channel(account).config)
        if reply.status == 200:
            account_checks.note(account.id, "handshake", state="ok")
            return reply
    account_checks.note(account_id, "handshake", state="refused")
    return reply


def accept(kind: str, account_id: UUID, callback: Callback) -> Reply:
    """Check the signature over the raw bytes and keep the callback at once; raise `Forbidden` for a wrong one."""
    account = _signer(kind, account_id, callback)
    headers = {name: callback.headers[name] for name in KEPT_HEADERS & callback.headers.keys()}
    write_at_once(_KEEP, _row(account, callback, headers) | {"headers": payloads.to_json(headers)})
    jobs.ring_at_once(BELL)
    return channels.get(kind).reply(callback)


def keep(account: ChannelAccount, callback: Callback, *, headers: Mapping[str, str]) -> None:
    """Store what came for an account, raw, with the present transaction, and ask for it to be applied."""
    db.session.add(StoredCallback(**_row(account, callback, headers)))
    jobs.ring(BELL)


# A provider waits for its answer and many may call at once: one statement, its own transaction, past the ORM. It may be
# said twice, where the first answer of the database was lost.
_KEEP = """
    INSERT INTO callbacks (business_id, id, account_id, url, headers, body, received_at, next_attempt_at, attempts)
    VALUES (%(business_id)s, %(id)s, %(account_id)s, %(url)s, CAST(%(headers)s AS jsonb), %(body)s, now(), now(), 0)
    ON CONFLICT DO NOTHING"""


def _row(account: Any, callback: Callback, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "business_id": account.business_id,
        "id": uuid7(),
        "account_id": account.id,
        "url": callback.url,
        "headers": headers,
        "body": callback.body,
    }


_CLAIM = text("""
    UPDATE callbacks SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => :lease)
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM callbacks WHERE processed_at IS NULL AND next_attempt_at <= now()
        ORDER BY next_attempt_at, id LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING business_id, id, account_id, url, headers, body, attempts""")


def claim() -> list[Any]:
    """Take the callbacks that are due, under a lease and in the order in which they came; no two workers get the same.

    They are plain rows: each item is applied in a transaction of its own, and a body is not read anew for each.
    """
    rows = db.session.execute(_CLAIM, {"lease": LEASE_SECONDS, "most": BATCH}).all()
    return sorted(rows, key=lambda row: row.id)


def items(stored: Any) -> list[Item]:
    account = db.session.get_one(ChannelAccount, (stored.business_id, stored.account_id))
    return channels.get(account.kind).parse(_callback(stored))


def _callback(stored: Any) -> Callback:
    return Callback("POST", stored.url, stored.headers, {}, stored.body)


_FINISH = text("""
    UPDATE callbacks SET error = :error, processed_at = CASE WHEN CAST(:again_in AS float8) IS NULL THEN now() END,
        next_attempt_at = coalesce(now() + make_interval(secs => :again_in), next_attempt_at)
    WHERE business_id = :business_id AND id = :id""")


def finish(stored: Any, errors: list[str]) -> None:
    """Note that a callback is done with, or when to try its failed items again; those applied change nothing then."""
    again = errors and stored.attempts < MAX_ATTEMPTS
    params = {"error": "; ".join(errors)[:2000] or None, "again_in": 5 * 3**stored.attempts if again else None}
    db.session.execute(_FINISH, params | {"business_id": stored.business_id, "id": stored.id})


def apply(stored: Any, item: Item) -> None:
    """Apply one item to the account it names, if that account shares the secret that signed the callback."""
    called = db.session.get_one(ChannelAccount, (stored.business_id, stored.account_id))
    account = _meant(stored, called, item.account)
    if account is None:
        _note_stranger(stored, called, item.account)
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
        case AccountNotice(level="stale"):
            _greet_named(business, account, item.account)


def _note_stranger(stored: Any, called: ChannelAccount, key: str) -> None:
    """Say what was sent for an account that is none of ours; the provider is answered well, or it would cut us off."""
    log.warning("callback_for_unknown_account", callback_id=str(stored.id), account_id=str(called.id), named=key[:80])
    called.last_error_at = now()
    called.last_error = (
        f"{channels.get(called.kind).label} sent something for {key[:80]}, which is not connected here with the same "
        "secret. Connect it too, or stop it at the provider from sending here."
    )


def _greet_named(business: Business, account: ChannelAccount, key: str) -> None:
    """Have what we last read of an account read anew; several may go by the name that the provider gave."""
    for one in channel_accounts.page(business, kind=account.kind):
        if one.id == account.id or key in channels.get(one.kind).names(one.config):
            jobs.run_later("greet_account", business.id, one.id)


def _answering(kind: str, account_id: UUID) -> list[Any]:
    accounts = channel_accounts.for_callback(kind, account_id)
    if not accounts:
        raise NotFound("No channel account has this callback address.", code="channel_account_not_found")
    return accounts


def _signer(kind: str, account_id: UUID, callback: Callback) -> Any:
    """Find the account whose secret signed a callback: the one called, or one that answers in its place."""
    channel = channels.get(kind)
    for account in _answering(kind, account_id):
        try:
            channel.verify(callback, channel_accounts.to_channel(account).config)
            return account
        except BadSignature as exc:
            problem = str(exc)
    account_checks.note(account_id, "signature", state="refused", error=problem)
    raise Forbidden(f"The signature is not right: {problem}", code="bad_signature")


def _meant(stored: Any, called: ChannelAccount, key: str) -> ChannelAccount | None:
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
