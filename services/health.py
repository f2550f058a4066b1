"""Whether the parts answer, and the few figures an operator watches. Called by the operating edge."""

from __future__ import annotations

from typing import Any

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


_FIGURES = text("""
    SELECT (SELECT count(*) FROM callbacks WHERE processed_at IS NULL) AS callbacks_waiting,
           (SELECT count(*) FROM messages WHERE next_attempt_at IS NOT NULL) AS messages_queued,
           (SELECT count(*) FROM attachments WHERE next_attempt_at IS NOT NULL) AS files_waiting,
           (SELECT count(*) FROM webhook_endpoints WHERE state IN ('paused', 'disabled')) AS endpoints_stopped,
           (SELECT count(*) FROM channel_accounts WHERE state = 'attention') AS accounts_in_trouble,
           coalesce((SELECT extract(epoch FROM now() - min(oldest.at)) FROM webhook_endpoints e CROSS JOIN LATERAL (
               SELECT min(next_attempt_at) AS at FROM deliveries d
               WHERE d.endpoint_id = e.id AND d.state = 'pending') AS oldest
               WHERE e.state = 'active'), 0) AS webhook_lag_seconds""")


def figures() -> dict[str, Any]:
    """Count what waits; each figure comes from a partial index of what is due."""
    with reading() as connection:
        return dict(connection.execute(_FIGURES).mappings().one())
