"""The calls that a message takes, each with an id of the provider's: which went, which failed, which count no more.

`Message.extra` says it: `parts` are the ids of the answered calls, in order; `failed_ids` those that failed, with ""
for calls that never went; `earlier_ids` those of a sending that failed before a person asked for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from models import Message, ProviderId, db


def remember(message: Message, provider_ids: Sequence[str]) -> bool:
    """Keep the provider's ids of a message, one for each call that it took; say whether any of them is new."""
    rows = [
        {
            "business_id": message.business_id,
            "account_id": message.account_id,
            "value": value,
            "message_id": message.id,
        }
        for value in provider_ids
    ]
    if not rows:
        return False
    if earlier := message.extra.get("earlier_ids"):  # a mail goes under the same id each time
        message.extra = message.extra | {"earlier_ids": [one for one in earlier if one not in provider_ids]}
    statement = insert(ProviderId).values(rows).on_conflict_do_nothing().returning(ProviderId.value)
    return bool(db.session.scalars(statement).all())


def ids_of(message: Message) -> list[str]:
    """List the ids of the calls that went, in their order as far as that is known."""
    query = select(ProviderId.value).where(
        ProviderId.business_id == message.business_id, ProviderId.message_id == message.id
    )
    earlier, parts = message.extra.get("earlier_ids", []), message.extra.get("parts", [])
    found = [value for value in db.session.scalars(query) if value not in earlier]
    return sorted(found, key=lambda value: parts.index(value) if value in parts else len(parts))


def start_over(message: Message) -> None:
    """Set apart what the last sending left; what went before the first part that failed is not sent again."""
    ids = ids_of(message)
    failed = message.extra.get("failed_ids") or (ids if message.status == "failed" else [])
    kept = list(takewhile(lambda one: one not in failed, ids))
    set_apart(message, ids[len(kept) :])
    stale = ("failed_ids", "delayed")
    message.extra = {name: value for name, value in message.extra.items() if name not in stale} | {"parts": kept}
    if not kept:
        message.provider_at = message.delivered_at = message.read_at = None


def set_apart(message: Message, ids: Sequence[str | None]) -> None:
    """Let nothing count any more that is told of these."""
    if ids:
        message.extra = message.extra | {"earlier_ids": [*message.extra.get("earlier_ids", ()), *ids]}


def is_earlier(message: Message, provider_id: str | None) -> bool:
    return provider_id in message.extra.get("earlier_ids", ())


def failed(message: Message, *ids: str) -> None:
    message.extra = message.extra | {"failed_ids": list(dict.fromkeys([*message.extra.get("failed_ids", ()), *ids]))}


def arrived(message: Message, part: str | None) -> bool:
    """Note that a part arrived which may have failed before; say whether no failure is left."""
    left = [one for one in message.extra.get("failed_ids", ()) if one != part]
    if "failed_ids" in message.extra:
        message.extra = message.extra | {"failed_ids": left}
    return not left
