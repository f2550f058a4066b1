"""Holds that no check of the credentials explains: one waiting message at a time shows whether they are over.

A provider may take the credentials and yet no message: a sender that it does not know, a bill that is not paid. Were
such a hold lifted whenever a check goes well, each message would be refused anew and its admins told anew. So one tries
while the others wait, after a time that doubles, and only when one went are the others let go. What is known of the
hold stands in the account's `config` under `hold`: `by` ("sending" or "receipt"), `next` (when one may try), `wait`
(seconds until the one after it), `probe` (the id of the message that tries).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

import jobs
from models import ChannelAccount, Message, db, now
from services import channel_accounts
from services.channel_accounts import HOLD

LONGEST = timedelta(hours=1)
PROOF = timedelta(minutes=2)  # within which a provider says that it refuses what it had taken


def is_probe(account: ChannelAccount, message: Message) -> bool:
    """Say whether a message may go although its account is held."""
    return account.state == "attention" and account.config.get(HOLD, {}).get("probe") == str(message.id)


def went_out(account: ChannelAccount) -> None:
    """End a hold, since the provider took a message; unless it took those before too and refused them afterwards."""
    if account.config.get(HOLD, {}).get("by") != "receipt":
        channel_accounts.release(account)


def after_check(account: ChannelAccount, *, by_admin: bool = False) -> None:
    """End a hold that the credentials explained, now that they work; else let a message try if its time has come.

    An admin who asks need not wait for that time.
    """
    if account.state != "attention":
        return
    doubt = account.config.get(HOLD)
    probe = _probe(account, doubt) if doubt else None
    if not doubt or (probe and _has_gone(probe)):
        channel_accounts.release(account)
    elif probe and probe.status in ("queued", "sending", "sent"):
        return  # it is under way
    elif by_admin or now() >= datetime.fromisoformat(doubt["next"]):
        _let_one_try(account, doubt)


def _probe(account: ChannelAccount, doubt: Mapping[str, Any]) -> Message | None:
    probe = doubt.get("probe")
    return db.session.get(Message, (account.business_id, UUID(probe))) if probe else None


def _has_gone(message: Message) -> bool:
    """Say whether the provider has taken a message and kept to it."""
    settled = message.sent_at is not None and message.sent_at < now() - PROOF
    return message.status in ("delivered", "read") or (message.status == "sent" and settled)


def _let_one_try(account: ChannelAccount, doubt: Mapping[str, Any]) -> None:
    """Choose the one that has not tried for longest, so that one which is refused for itself does not stand for all.

    It is the first that waits in its conversation: no other may go.
    """
    before = aliased(Message)
    others = (before.business_id == Message.business_id, before.conversation_id == Message.conversation_id)
    ahead = (before.status.in_(("queued", "sending")), before.next_attempt_at.is_not(None))
    first = ~exists().where(*others, *ahead, before.created_at < Message.created_at)
    waits = (Message.status == "queued", Message.next_attempt_at.is_not(None), first)
    query = select(Message).where(Message.business_id == account.business_id, Message.account_id == account.id, *waits)
    oldest = query.order_by(Message.updated_at, Message.created_at).limit(1).with_for_update(skip_locked=True)
    message = db.session.scalar(oldest)
    if message is None:
        return  # whichever comes next is the one
    message.next_attempt_at = now()
    jobs.ring("messages")
    wait = min(timedelta(seconds=2 * doubt["wait"]), LONGEST)
    known = {"probe": str(message.id), "next": (now() + wait).isoformat(), "wait": wait.total_seconds()}
    channel_accounts.keep_doubt(account, {**doubt, **known})
