"""Whether the parts answer. Called by the operating edge."""

from __future__ import annotations

from flask import current_app
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models import reading


def parts() -> dict[str, str]:
    """Say of the database and the queue whether they answer."""
    found = {"database": "ok", "queue": "ok"}
    try:
        with reading() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as exc:
        found["database"] = type(exc).__name__
    try:
        current_app.extensions["redis"].ping()
    except RedisError as exc:
        found["queue"] = type(exc).__name__
    return found
