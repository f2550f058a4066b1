"""How a write runs: again when it lost a race, and not again when its `Idempotency-Key` was answered before.

Called by the routing of the API for every operation; a read is only run again when its connection was dead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import psycopg
from flask import Response, g, request
from sqlalchemy.exc import DBAPIError

from blueprints import problems
from blueprints.api import parsing
from errors import AppError
from models import db
from services import idempotency

TRIES = 3
_RACES = {"40001", "40P01", "23505"}  # serialisation, deadlock, and somebody else made the same row just before
_NOT_KEPT = {401, 403, 429}


def run(act: Callable[[], Response]) -> Response:
    """Run a write and give its answer, or the one that its key was given before."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return _racing(act)
    claim = idempotency.Claim(g.business.id, g.caller.id, key, _fingerprint())
    g.claim = claim
    try:
        return _racing(lambda: _again(claim) or act())
    except AppError as exc:
        db.session.rollback()
        if not claim.held or exc.status >= 500 or exc.status in _NOT_KEPT:
            raise
        response = problems.answer(exc)
        idempotency.keep(claim, response.status_code, response.get_data())
        db.session.commit()
        return response


def read(act: Callable[[], Response]) -> Response:
    """Run a read, again if its connection had died in the pool, as all do when the database is restarted."""
    try:
        return act()
    except DBAPIError as exc:
        if not exc.connection_invalidated:
            raise
    db.session.remove()
    return act()


def _racing(act: Callable[[], Response]) -> Response:
    for attempt in range(1, TRIES + 1):
        try:
            return act()
        except (DBAPIError, psycopg.Error) as exc:
            if attempt == TRIES or not _may_run_again(exc):
                raise
            db.session.remove()  # nothing of the lost try may linger
    raise AssertionError("unreachable")


def _may_run_again(exc: DBAPIError | psycopg.Error) -> bool:
    """Say whether nothing was written: a race was lost, or the line broke at a statement (a commit has none)."""
    if isinstance(exc, psycopg.Error):  # of a statement that events.settle sends past SQLAlchemy
        return exc.sqlstate in _RACES or (isinstance(exc, psycopg.OperationalError) and exc.sqlstate is None)
    lost = exc.connection_invalidated and exc.statement is not None
    return lost or getattr(exc.orig, "sqlstate", None) in _RACES


def _again(claim: idempotency.Claim) -> Response | None:
    record = idempotency.begin(claim)
    if record is None:
        return None
    response = Response(record.body, record.status, content_type="application/json")
    db.session.rollback()
    response.headers["Idempotent-Replay"] = "true"
    return response


def _fingerprint() -> bytes:
    """Hash what was asked: a form by its parts, since every client draws a new boundary for the same ones."""
    digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode())
    if request.mimetype == "multipart/form-data":
        for name, file in sorted(request.files.items(multi=True), key=lambda item: item[0]):
            digest.update(f"{name}\n{file.filename}\n{file.content_type}\n".encode("utf-8", "replace"))
            digest.update(hashlib.file_digest(file.stream, "sha256").digest())  # type: ignore[arg-type]
            file.stream.seek(0)
    else:
        digest.update(parsing.raw())
    return digest.digest()
