"""The outbound drain: takes the messages that are due from the database, and sends each account's apart from others'.

One RQ job runs it for as long as the worker lives. A bell wakes it at once; without the bell, a look at the database
every second finds the same. Each message goes in a thread of its own, and a slow provider holds only its own threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

import channels
import jobs
from models import db
from services import pacing

log = structlog.get_logger()

BELL = "messages"
LOOK_EVERY = 1.0  # seconds between looks at the database
PAUSE = 0.05  # seconds between looks while there is much to do: a few large ones cost less than one for each message
EACH = 8  # messages of one account that a look brings
MOST, MOST_OF_KIND = 120, 40  # threads; where one provider is down, the others still have theirs
SLOW = 2.0  # seconds; an account that takes longer sends one at a time until it is fast again


@dataclass(frozen=True, slots=True)
class Call:
    """One message under way."""

    account: UUID
    kind: str
    began: float
    thread: Thread


@dataclass(slots=True)
class Dispatch:
    """What is under way in this process. `stopping` is asked often; what is in flight is finished first."""

    app: Flask
    deliver: Callable[[str, str], None]
    stopping: Callable[[], bool]
    under_way: dict[UUID, Call] = field(default_factory=dict)
    slow: set[UUID] = field(default_factory=set)

    def run(self) -> None:
        """Send what is due until told to stop."""
        while not self.stopping():
            busy = bool(self.under_way)
            if not self._round():
                jobs.heard(BELL, LOOK_EVERY)
            elif busy:
                sleep(PAUSE)
        for call in list(self.under_way.values()):
            call.thread.join()

    def _round(self) -> int:
        """Start what the free threads can take; give how many."""
        calls = list(self.under_way.values())
        accounts, kinds = Counter(call.account for call in calls), Counter(call.kind for call in calls)
        started = 0
        for row in self._due(calls, accounts, kinds):
            share = self._share(row.account_id, row.channel)
            if accounts[row.account_id] < share and kinds[row.channel] < MOST_OF_KIND:
                accounts[row.account_id] += 1
                kinds[row.channel] += 1
                self._start(row)
                started += 1
        return started

    def _due(self, calls: list[Call], accounts: Counter[UUID], kinds: Counter[str]) -> Sequence[Any]:
        """List what is due of those that may have more threads."""
        late = monotonic() - SLOW
        self.slow |= {call.account for call in calls if call.began < late}
        full = {call.account for call in calls if accounts[call.account] >= self._share(call.account, call.kind)}
        down = [kind for kind, count in kinds.items() if count >= MOST_OF_KIND]
        try:
            return pacing.due(list(self.under_way), full, down, each=EACH, most=max(0, MOST - len(calls)))
        except SQLAlchemyError as exc:
            db.session.rollback()
            log.warning("messages_not_read", error=str(exc)[:200])
            return []
        finally:
            db.session.commit()

    def _share(self, account_id: UUID, kind: str) -> int:
        return 1 if account_id in self.slow else channels.get(kind).limits.at_once

    def _start(self, row: Any) -> None:
        thread = Thread(target=self._deliver, args=(row,), name=f"message {row.id}", daemon=True)
        self.under_way[row.id] = Call(row.account_id, row.channel, monotonic(), thread)
        thread.start()

    def _deliver(self, row: Any) -> None:
        with self.app.app_context():
            try:
                self.deliver(str(row.business_id), str(row.id))
            except Exception:  # ours, or the database's; the message is due again, or its lease runs out
                log.exception("message_not_delivered", message_id=str(row.id))
                sleep(LOOK_EVERY)
            call = self.under_way.pop(row.id)
            (self.slow.add if monotonic() - call.began > SLOW else self.slow.discard)(row.account_id)
            jobs.ring_at_once(BELL)
