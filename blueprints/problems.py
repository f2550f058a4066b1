"""How a request fails: one sentence and a code, as JSON for systems and as a page for people; never a stack trace.

`app.py` registers it. What is raised below the edge arrives here as an `AppError`, or as trouble with the database.
"""

from __future__ import annotations

from typing import Any

import orjson
import psycopg
import sqlalchemy.exc
import structlog
from flask import Flask, Response, g, render_template, request
from jinja2 import TemplateNotFound
from markupsafe import escape
from redis import RedisError
from werkzeug.exceptions import HTTPException

from errors import AppError, Conflict, Invalid, Unavailable

log = structlog.get_logger()

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_CODES = {
    400: "malformed_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    429: "rate_limited",
}
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The request is larger than this address takes.",
}
# The server is going away, has no room, or gave up waiting: trying again helps. (SQLSTATE classes and codes)
_PASSING = ("08", "53", "57", "58", "40", "55P03")


def register(app: Flask) -> None:
    """Answer for everything that is raised."""
    app.register_error_handler(AppError, answer)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(sqlalchemy.exc.SQLAlchemyError, _database)
    app.register_error_handler(psycopg.Error, _database)
    app.register_error_handler(RedisError, _database)
    app.register_error_handler(Exception, _unexpected)


def answer(error: AppError) -> Response:
    """Write an error down for whoever asked."""
    g.problem = error.code
    if wants_json():
        shown = {"success": False, "error": error.as_json(), "request_id": g.get("request_id")}
        body, kind = orjson.dumps(shown, default=str), "application/json"
    else:
        body, kind = _page(error).encode(), "text/html; charset=utf-8"
    return Response(body, error.status, error.headers, content_type=kind)


def wants_json() -> bool:
    """Tell a system from a person: by the address, and where both may come, by what they accept."""
    accept = request.headers.get("Accept", "")
    if request.path.startswith(("/functions", "/callbacks")):
        return True
    return "text/html" not in accept and (request.path.startswith("/api/") or "application/json" in accept)


def _page(error: AppError) -> str:
    try:
        return render_template([f"errors/{error.status}.html", "errors/error.html"], problem=error)
    except TemplateNotFound:
        return f"<!doctype html><html lang=en><title>{error.status}</title><h1>{error.status}</h1><p>{escape(error)}"


def _http(exc: HTTPException) -> Any:
    status = exc.code or 500
    if exc.response is not None or status < 400:  # a redirect
        return exc
    code = _CODES.get(status, "malformed_request" if status < 500 else "internal_error")
    error = AppError(_SENTENCES.get(status) or _plain(exc), code=code)
    error.status = status
    error.headers = {name: value for name, value in exc.get_headers() if name in ("Allow", "Retry-After")}
    return answer(error)


def _plain(exc: HTTPException) -> str:
    return exc.description or exc.name


def _database(exc: Exception) -> Response:
    """Ask to try again when the database is away or full; anything else is a fault of ours."""
    state = getattr(getattr(exc, "orig", exc), "sqlstate", None)
    away = isinstance(exc, (sqlalchemy.exc.TimeoutError, RedisError)) or getattr(exc, "connection_invalidated", False)
    lost = isinstance(getattr(exc, "orig", exc), (psycopg.OperationalError, psycopg.InterfaceError))
    if away or (lost and not state) or (state and state.startswith(_PASSING)):
        log.warning("unavailable", error=type(exc).__name__, sqlstate=state, request_id=g.get("request_id"))
        return answer(
            Unavailable("We cannot reach our database right now. Nothing was changed.", headers={"Retry-After": "2"})
        )
    if state and state.startswith("23"):
        return answer(Conflict("This clashes with something that is there already, or is just being changed."))
    if isinstance(getattr(exc, "orig", exc), psycopg.DataError):
        log.exception("refused_by_database", request_id=g.get("request_id"))
        return answer(Invalid("A value in the request cannot be stored."))
    return _unexpected(exc)


def _unexpected(exc: Exception) -> Response:
    log.error("failed", exc_info=exc, request_id=g.get("request_id"), path=request.path, method=request.method)
    return answer(AppError("Something went wrong on our side. The request id helps support to find out what."))
