"""The mail part of the worker: a thread for each mailbox that is read over IMAP, and a door for mail that is forwarded.

A thread waits at its server, keeps each mail in a short transaction, and comes back after a pause that doubles. No
transaction is open while anybody waits. What mails mean is found out by `worker.apply_callbacks`, as of any callback.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

import channels
from channels.base import ChannelError
from lib.ids import uuid7
from models import db
from services import mailboxes
from services.mailboxes import Watched

log = structlog.get_logger()

LOOK_EVERY = 2.0  # seconds between looks at which mailboxes there are
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds before a lost mailbox is tried again
MOST_RECIPIENTS = 20


class Mailroom:
    """What goes on in this process, until `stopping` says that it ends."""

    def __init__(self, app: Flask, stopping: Callable[[], bool]) -> None:
        self.app, self.stopping = app, stopping
        self.watcher = uuid7()
        self.threads: dict[UUID, Watch] = {}

    def run(self) -> None:
        """Look after the mailboxes, and take what is forwarded."""
        settings = self.app.extensions["settings"]
        if settings.mail_listen:
            door = Door(self.app, settings.mail_listen, settings.mail_max_bytes)
            threading.Thread(target=lambda: asyncio.run(door.serve(self.stopping)), daemon=True).start()
        while not self.stopping():
            with suppress(SQLAlchemyError):  # the database is away; what is open stays open
                self._look()
            time.sleep(LOOK_EVERY)
        for watch in self.threads.values():
            watch.stop()
        for watch in self.threads.values():
            watch.join(5)
        with suppress(SQLAlchemyError):
            _step(self.app, lambda: mailboxes.let_go(self.watcher))

    def _look(self) -> None:
        """Start a thread for each mailbox that is ours, anew where its settings changed; end the others."""
        ours = {one.account_id: one for one in _step(self.app, lambda: mailboxes.watch(self.watcher))}
        for account_id, watch in list(self.threads.items()):
            wanted = ours.get(account_id)
            if wanted is None or wanted.account.config != watch.watched.account.config or not watch.is_alive():
                watch.stop()
                del self.threads[account_id]
        for account_id, watched in ours.items():
            if account_id not in self.threads:
                self.threads[account_id] = Watch(self.app, watched)
                self.threads[account_id].start()


class Watch(threading.Thread):
    """One mailbox."""

    def __init__(self, app: Flask, watched: Watched) -> None:
        super().__init__(name=f"mailbox {watched.account_id}", daemon=True)
        self.app, self.watched = app, watched
        self.key = (watched.business_id, watched.account_id)
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                self._connect()
            except ChannelError as exc:
                log.info("mailbox_lost", account_id=str(self.key[1]), error=exc.message)
                with suppress(SQLAlchemyError):
                    self._step(lambda exc=exc: mailboxes.failed(*self.key, exc))  # type: ignore[misc]
            except SQLAlchemyError as exc:
                log.warning("mailbox_not_kept", account_id=str(self.key[1]), error=str(exc)[:200])
            except Exception:
                log.exception("mailbox_failed", account_id=str(self.key[1]))
            if time.monotonic() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE  # it went well for a while
            self._stopped.wait(pause * random.uniform(0.75, 1.25))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _connect(self) -> None:
        account = self.watched.account
        with channels.get(account.kind).box(account, self._known) as box:
            self._step(lambda: mailboxes.works(*self.key))
            while not self._stopped.is_set():
                at = self._step(lambda: mailboxes.position(*self.key))
                for found, after in box.news(at):
                    before, at = at, after
                    kept = self._step(
                        lambda before=before, found=found, after=after: mailboxes.keep(*self.key, before, found, after)  # type: ignore[misc]
                    )
                    if not kept or self._stopped.wait(0 if kept else 1):
                        break
                else:
                    box.wait(self._stopped.is_set)

    def _known(self, ids: Sequence[str]) -> set[str]:
        return self._step(lambda: mailboxes.known(*self.key, ids))  # type: ignore[no-any-return]

    def _step(self, step: Callable[[], Any]) -> Any:
        return _step(self.app, step)


def _step(app: Flask, step: Callable[[], Any]) -> Any:
    """Do one thing in a transaction of its own."""
    with app.app_context():
        try:
            done = step()
            db.session.commit()
        except BaseException:
            db.session.rollback()
            raise
    return done


# --- what is forwarded ---


class Door:
    """An SMTP (or LMTP) server for the addresses of connected mailboxes, and for nobody else's."""

    def __init__(self, app: Flask, listen: str, most: int) -> None:
        scheme, _, place = listen.rpartition("://")
        host, _, port = place.rpartition(":")
        self.app, self.most, self.protocol = app, most, LMTP if scheme == "lmtp" else SMTP
        self.host, self.port = host.strip("[]"), int(port)

    async def serve(self, stopping: Callable[[], bool]) -> None:
        """Listen until told to stop; a place that is taken is tried again."""
        loop = asyncio.get_running_loop()
        while not stopping():
            try:
                listener = await loop.create_server(self._protocol, self.host, self.port)
            except OSError as exc:
                log.warning("mail_listen_failed", place=f"{self.host}:{self.port}", error=str(exc))
                await asyncio.sleep(5)
                continue
            async with listener:
                while not stopping():
                    await asyncio.sleep(0.5)

    def _protocol(self) -> SMTP:
        return self.protocol(
            self,
            data_size_limit=self.most,
            enable_SMTPUTF8=True,
            hostname=self.host,
            ident="A La Carte Chat",
            timeout=120,
        )

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Sequence[str]
    ) -> str:
        most = 1 if self.protocol is LMTP else MOST_RECIPIENTS  # there each would need an answer of its own
        if len(envelope.rcpt_tos) >= most:
            return "452 4.5.3 Too many recipients"
        try:
            found = await self._in_thread(lambda: len(mailboxes.addressed(address)))
        except SQLAlchemyError:
            return "451 4.3.0 Try again later"
        if found != 1:
            return f"550 5.1.{1 if not found else 4} No mailbox here has that address"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = envelope.original_content or b""
        try:
            await self._in_thread(lambda: self._keep(envelope.rcpt_tos, mail))
        except SQLAlchemyError:
            return "451 4.3.0 Try again later"
        return "250 2.0.0 Ok, it is kept"

    def _keep(self, recipients: Sequence[str], mail: bytes) -> None:
        """Keep one copy for each mailbox, however many of its addresses were named."""
        meant: Mapping[UUID, tuple[UUID, str]] = {
            account.id: (account.business_id, one) for one in recipients for account in mailboxes.addressed(one)
        }
        for account_id, (business_id, recipient) in meant.items():
            mailboxes.forwarded(account_id, business_id, recipient, mail)

    async def _in_thread(self, step: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: _step(self.app, step))
