"""Who does what was asked for: one short function per job, the sweeps, and the RQ loops.

`python worker.py` loads everything once and forks: an RQ worker for each group of queues, and the sweeps. Every job is
safe to repeat, and nothing is lost when any of these processes is killed: the database says what is due.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import structlog
from flask import Flask, current_app
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from setproctitle import setproctitle

import channels
import jobs
from app import create_app
from channels.base import ChannelError
from dispatch import Dispatch
from drain import LOOK_EVERY, Drain
from lib import fetch, sniff, storage
from mailroom import Mailroom
from models import db
from services import (
    account_checks,
    inbound,
    incoming_files,
    outbound,
    profiles,
    receipts,
    sweeps,
    templates,
    tokens,
    traces,
)
from services.incoming_files import Stored
from sweeper import sweep

log = structlog.get_logger()

# One process each: a slow provider holds neither what comes in nor the webhooks.
GROUPS = {"inbound": ["callbacks"], "outbound": ["messages"], "files": ["media", "slow"], "webhooks": ["webhooks"]}
_stop = False
T = TypeVar("T")


def _commit() -> None:
    """End a step; the next one reads what others have changed meanwhile."""
    db.session.commit()
    db.session.expire_all()


def _asked(step: Callable[[], T]) -> T | ChannelError:
    """Ask a provider, with no transaction open; a refusal is an outcome as any other."""
    try:
        return step()
    except ChannelError as exc:
        return exc


# --- jobs ---


def apply_callbacks() -> None:
    """Apply what providers sent, the oldest first, until this worker is told to stop."""
    while not _stop:
        if not apply_due():
            jobs.heard(inbound.BELL, LOOK_EVERY)


def apply_due() -> int:
    """Apply a batch of the callbacks that are due; give how many there were."""
    claimed = inbound.claim()
    _commit()
    for stored in claimed:
        errors: list[str] = []
        for item in _noting(errors, inbound.items, stored) or ():
            _noting(errors, inbound.apply, stored, item)
        _noting([], inbound.finish, stored, errors)
    return len(claimed)


def _noting(errors: list[str], step: Callable[..., T], stored: Any, *args: Any) -> T | None:
    """Take a step of applying a callback, in a transaction of its own: one that fails keeps none of the others back."""
    try:
        done = step(stored, *args)
        _commit()
        return done
    except Exception as exc:
        db.session.rollback()
        log.exception("callback_step_failed", callback_id=str(stored.id))
        errors.append(f"{type(exc).__name__}: {exc}")
        return None


def deliver_messages() -> None:
    """Send the messages that are due, each account's apart from the others', until this worker is told to stop."""
    Dispatch(current_app._get_current_object(), deliver_message, lambda: _stop).run()  # type: ignore[attr-defined]


def deliver_message(business_id: str, message_id: str) -> None:
    """Send one message: take it, ask the provider with no transaction open, write down the answer."""
    key = (UUID(business_id), UUID(message_id))
    task = outbound.prepare(*key)
    _commit()
    if task is None:
        return
    outbound.record(*key, _asked(lambda: channels.get(task.kind).send(task.account, task.message)))
    _commit()


def trace_message(business_id: str, message_id: str) -> None:
    """Look at the provider for a message whose answer was lost."""
    key = (UUID(business_id), UUID(message_id))
    task = traces.prepare(*key)
    _commit()
    if task is None:
        return
    traces.record(*key, _asked(lambda: channels.get(task.kind).trace(task.account, task.to, task.text, task.since)))
    _commit()


def fetch_attachment(business_id: str, attachment_id: str) -> None:
    """Fetch a file that a customer sent, store it, and announce its message."""
    key = (UUID(business_id), UUID(attachment_id))
    task = incoming_files.prepare(*key)
    _commit()
    if task is None:
        return

    def fetch_and_store() -> Stored:
        most = current_app.extensions["settings"].upload_max_bytes
        data, declared, filename = channels.get(task.kind).fetch_media(task.account, task.media, max_bytes=most)
        mime = sniff.mime_of(data, filename) or declared
        stored_as = storage.new_key(business_id)
        current_app.extensions["storage"].put(stored_as, data, mime)
        return Stored(stored_as, len(data), mime, filename)

    incoming_files.record(*key, _asked(fetch_and_store))
    _commit()


def greet_account(business_id: str, account_id: str) -> None:
    """Learn whether an account's credentials work, renewed first where they end, and ask for events and templates."""
    _renew_token(UUID(business_id), UUID(account_id))
    account = templates.prepare(UUID(business_id), UUID(account_id))
    _commit()
    if account is None:
        return

    def greet() -> list[dict[str, Any]]:
        channel = channels.get(account.kind)
        channel.check(account)
        channel.subscribe(account)
        return channel.templates(account)

    templates.record(UUID(business_id), UUID(account_id), _asked(greet))
    _commit()


def check_account(business_id: str, account_id: str) -> None:
    """Ask a provider what it knows of an account, and for its events: an admin waits for what it says."""
    key = (UUID(business_id), UUID(account_id))
    account = templates.prepare(*key)
    _commit()
    if account is None:
        return

    def check() -> dict[str, Any]:
        channel = channels.get(account.kind)
        found = channel.check(account)
        channel.subscribe(account)
        return found

    account_checks.record(*key, _asked(check))
    _commit()


def learn_name(business_id: str, conversation_id: str) -> None:
    """Ask a provider for the name of somebody who came as a bare id; their next message asks again."""
    key = (UUID(business_id), UUID(conversation_id))
    task = profiles.prepare(*key)
    _commit()
    if task is not None:
        with suppress(ChannelError):
            profiles.record(*key, channels.get(task.account.kind).profile(task.account, task.address))
            _commit()


def _renew_token(business_id: UUID, account_id: UUID) -> None:
    account = tokens.prepare(business_id, account_id)
    _commit()
    if account is None:
        return
    outcome = _asked(lambda: channels.get(account.kind).refresh(account))
    if outcome is not None:
        tokens.record(business_id, account_id, outcome)
        _commit()


def show_read(business_id: str, conversation_id: str) -> None:
    """Let the customer see that their messages were read; where that fails, nothing depends on it."""
    task = receipts.to_show(UUID(business_id), UUID(conversation_id))
    _commit()
    if task is not None:
        account, address, provider_id = task
        with suppress(ChannelError):
            channels.get(account.kind).mark_read(account, address, provider_id)


def erase_files(business_id: str) -> None:
    """Remove the bytes of erased files, and then the last trace of them."""
    files = sweeps.erased_files(UUID(business_id))
    current_app.extensions["storage"].delete([key for _, key in files if key])
    sweeps.forget_files(UUID(business_id), [file_id for file_id, _ in files])
    _commit()


def drain_webhooks() -> None:
    """Send webhooks until this worker is told to stop."""
    settings = current_app.extensions["settings"]
    asyncio.run(Drain(current_app._get_current_object(), lambda: _stop, settings.webhook_concurrency).run())  # type: ignore[attr-defined]


# --- processes ---


class Worker(SimpleWorker):
    """Runs jobs in this process, which holds the warm application; told to stop, it lets a drain know."""

    def request_stop(self, signum: int, frame: object) -> None:
        _ask_to_stop(signum, frame)
        super().request_stop(signum, frame)


def work(app: Flask, group: str) -> None:
    with app.app_context():
        redis = app.extensions["redis"]
        worker = Worker(GROUPS[group], connection=redis, serializer=JSONSerializer)
        worker.log_result_lifespan = False
        worker.work(logging_level="WARNING", burst=False)
        jobs.flush()


def main() -> None:
    app = create_app()
    with app.app_context():
        app.extensions["read_engine"].dispose()
        app.extensions["at_once"].close()
        db.engine.dispose()
    signal.signal(signal.SIGTERM, _ask_to_stop)
    signal.signal(signal.SIGINT, _ask_to_stop)
    fetch.tls_context()  # 40 ms, once for all children
    gc.collect()
    gc.freeze()  # what is loaded stays shared: the collector does not touch it in the children
    parts = {"sweeps": lambda: sweep(app, lambda: _stop), "mail": lambda: Mailroom(app, lambda: _stop).run()} | {
        group: lambda group=group: work(app, group) for group in GROUPS
    }
    running = {_fork(name, part): name for name, part in parts.items()}
    setproctitle("alacarte: worker")
    told = False
    while running:
        with suppress(InterruptedError, ChildProcessError):
            pid, _ = os.waitpid(-1, os.WNOHANG)
            name = running.pop(pid, None)
            if name and not _stop:
                log.warning("worker_restarted", part=name)
                running[_fork(name, parts[name])] = name
        if _stop and not told:
            told = True  # once: a second SIGTERM makes RQ drop its job on the spot
            for pid in running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)


def _fork(name: str, part: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    setproctitle(f"alacarte: {name}")
    _end_with(os.getppid())
    try:
        part()
    except Exception:
        log.exception("worker_part_failed", part=name)
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)


def _end_with(parent: int) -> None:
    """See to it that a part does not outlive its parent, however that one ends (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


def _ask_to_stop(signum: int, frame: object) -> None:
    global _stop
    _stop = True


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules[__name__]  # jobs name this module: there is one of it, with one `_stop`
    main()
