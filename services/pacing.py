"""When a message may go: after those before it in its conversation, and no faster than its provider takes them.

`dispatch` asks what is due, outbound asks for each message's pause. A message that has to wait loses no attempt by it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import text

import channels
from channels.base import Rate
from lib import rate_limit
from models import ChannelAccount, Conversation, Message, db, now

SOON = timedelta(minutes=2)  # longer than a held account's message waits between looks
REST = 0.1  # seconds; an account that has spent its rate is not asked for less, or each of its messages would be
_resting: dict[UUID, float] = {}  # account → until when, by the clock of this process

# The first of each conversation alone: whatever is before it has come to an end, or will not be tried for minutes; a
# mail server that asks for a quarter of an hour shall not silence the agent for as long.
_DUE = text("""
    SELECT * FROM (
        SELECT head.*, row_number() OVER (PARTITION BY account_id ORDER BY created_at) AS place FROM (
            SELECT DISTINCT ON (business_id, conversation_id)
                business_id, id, account_id, channel, created_at, next_attempt_at
            FROM messages WHERE next_attempt_at IS NOT NULL
                AND (status = 'sending' OR (status = 'queued' AND next_attempt_at < :soon))
            ORDER BY business_id, conversation_id, created_at) AS head
        WHERE next_attempt_at <= :now AND id <> ALL(:under_way)
            AND account_id <> ALL(:accounts) AND channel <> ALL(:kinds)) AS due
    WHERE place <= :each ORDER BY place, created_at LIMIT :most""")


def due(
    under_way: Collection[UUID] = (),
    accounts: Collection[UUID] = (),
    kinds: Collection[str] = (),
    *,
    each: int,
    most: int,
) -> Sequence[Any]:
    """List messages that may go now, at most `each` of an account and every account's first one first.

    Left out are those under way, and all of these accounts and kinds of channel.
    """
    resting = [account for account in list(_resting) if _rests(account)]
    left_out = {"under_way": list(under_way), "accounts": [*accounts, *resting], "kinds": list(kinds)}
    return db.session.execute(_DUE, left_out | {"now": now(), "soon": now() + SOON, "each": each, "most": most}).all()


def pause(message: Message, account: ChannelAccount) -> timedelta | None:
    """Take what sending this message uses up of its account's and its person's rates; give how long to wait if spent.

    While Valkey is away, each process counts for itself.
    """
    limits = channels.get(account.kind).limits
    kinds = [attachment.mime.partition("/")[0] for attachment in message.attachments]
    calls, media = max(1, len(kinds)), kinds.count("audio") + kinds.count("video")
    conversation = db.session.get_one(Conversation, (message.business_id, message.conversation_id))
    wait = _draw(limits.rate, account.id, "all", calls)
    if wait:
        _resting[account.id] = monotonic() + max(wait, REST)
    wait = wait or _draw(limits.media_rate, account.id, "media", media)
    wait = wait or _draw(limits.person_rate, account.id, f"to:{conversation.address}", calls)
    return timedelta(seconds=wait) if wait else None


def _rests(account_id: UUID) -> bool:
    if _resting.get(account_id, 0.0) > monotonic():
        return True
    _resting.pop(account_id, None)
    return False


def _draw(rate: Rate | None, account_id: UUID, what: str, count: int) -> float:
    if rate is None or not count:
        return 0.0
    name = f"pace:{account_id}:{what}"
    return rate_limit.draw(current_app.extensions["redis"], name, rate.messages, rate.seconds, count)
