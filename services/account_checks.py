"""How a connection fares while an admin looks: the check that was asked for, and whether the provider called us.

The settings and the callbacks' edge write here, the worker's `check_account` answers. It is shown for some days and
lives in Valkey alone; what lasts (state, last error) stands in the account's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from flask import current_app
from redis.exceptions import RedisError

import jobs
from channels.base import ChannelError
from models import ChannelAccount, db, now
from services import channel_accounts, probes

KEPT = timedelta(days=7)
PATIENCE = timedelta(seconds=45)  # a provider has 20 seconds for an answer, and the worker may be busy


def ask(account: ChannelAccount) -> None:
    """Let the worker ask the provider whether the credentials work."""
    note(account.id, "check", state="asked")
    jobs.run_later("check_account", account.business_id, account.id)


def record(business_id: UUID, account_id: UUID, outcome: Mapping[str, Any] | ChannelError) -> None:
    """Keep what the provider said. A refusal holds the account; an answer ends a hold that it explains."""
    account = db.session.get_one(ChannelAccount, (business_id, account_id))
    if isinstance(outcome, ChannelError):
        if outcome.action == "account":
            channel_accounts.hold(account, outcome.message)
        note(account_id, "check", state="refused", error=outcome.message, code=outcome.code, action=outcome.action)
        return
    probes.after_check(account, by_admin=True)
    details = {name: str(value) for name, value in (outcome.get("details") or {}).items() if value}
    note(account_id, "check", state="ok", name=outcome["name"], address=outcome["address"], details=details)


def note(account_id: UUID, about: str, **found: Any) -> None:
    """Remember one thing, in place of what was known of it: `check`, `handshake` or `signature`."""
    with suppress(RedisError):
        said = orjson.dumps({"at": now(), **found})
        current_app.extensions["redis"].set(f"account:{account_id}:{about}", said, ex=KEPT)


def look(account_id: UUID, about: str) -> dict[str, Any] | None:
    """Tell what is known, with its time; None while nothing is."""
    with suppress(RedisError):
        if said := current_app.extensions["redis"].get(f"account:{account_id}:{about}"):
            found = orjson.loads(said)
            return dict(found) | {"at": datetime.fromisoformat(found["at"])}
    return None


def is_overdue(check: Mapping[str, Any]) -> bool:
    """Say whether nobody has taken up a check."""
    return bool(check["state"] == "asked" and now() - check["at"] > PATIENCE)
