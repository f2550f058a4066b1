"""Access tokens that end: renewed while they work, and the admins warned where that fails.

The worker calls `prepare`, asks the channel with no transaction open, and calls `record`.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select

from channels.base import Account, ChannelError, Token
from models import ChannelAccount, Notice, db, now
from services import channel_accounts

FRESH = timedelta(days=58)  # one that lasts so long is not two days old, and may be too young to be renewed
WARNS = timedelta(days=7)


def prepare(business_id: UUID, account_id: UUID) -> Account | None:
    """Give the account whose token may be renewed; how long a token lasts is known only once it was."""
    account = db.session.get(ChannelAccount, (business_id, account_id))
    if account is None or account.disconnected_at or account.state == "paused":
        return None
    if account.token_expires_at and account.token_expires_at > now() + FRESH:
        return None
    return channel_accounts.to_channel(account)


def record(business_id: UUID, account_id: UUID, outcome: Token | ChannelError) -> None:
    """Keep a new token. A refusal matters only when the old one is about to end: a young one is refused too."""
    account = db.session.get_one(ChannelAccount, (business_id, account_id))
    if isinstance(outcome, Token):
        channel_accounts.keep_token(account, outcome)
    elif account.token_expires_at and account.token_expires_at < now() + WARNS:
        _warn(account, outcome.message)


def _warn(account: ChannelAccount, why: str) -> None:
    """Tell the admins once until they have dismissed it."""
    about = (Notice.business_id == account.business_id, Notice.kind == "channel", Notice.subject_id == account.id)
    if db.session.scalar(select(Notice.id).where(*about, Notice.dismissed_at.is_(None)).limit(1)):
        return
    ends = f"{account.token_expires_at:%-d %B}"
    text = f"The access token of {account.name} ({account.address}) ends on {ends} and could not be renewed: {why}"
    db.session.add(Notice(business_id=account.business_id, kind="channel", subject_id=account.id, text=text))
