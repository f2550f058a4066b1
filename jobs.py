"""What may be asked for later, and where: a name and ids, sent to the queue after the commit.

Services and edges call `run_later`, `ring` and `announce`; `worker.py` does the work. Nothing here is the truth: the
database says what is due, so a lost wake-up costs time and nothing else, and a queue that is down is only logged. A
thread tells the queue, so that no request ever waits for it.
"""

from __future__ import annotations

from functools import partial
from time import sleep
from typing import Any
from uuid import UUID

import structlog
from flask import Flask, current_app
from redis import ConnectionPool, Redis, RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import event
from sqlalchemy.orm import Session

from lib.aside import Aside
from models import db

log = structlog.get_logger()

# name → queue. The worker has a function of each name; tests/test_house.py compares the two.
QUEUES = {
    "apply_callbacks": "callbacks",
    "deliver_messages": "messages",
    "trace_message": "slow",
    "fetch_attachment": "media",
    "greet_account": "slow",
    "check_account": "slow",
    "show_read": "slow",
    "learn_name": "slow",
    "erase_files": "slow",
    "drain_webhooks": "webhooks",
}
TIMEOUTS = {"slow": 3600}  # seconds
# Each of these lives as long as its worker and finds by itself what is due: a bell wakes it, not a job.
DRAINS = ("apply_callbacks", "deliver_messages", "drain_webhooks")
Asked = tuple[str, str, tuple[UUID, ...]]  # job, bell or live; its name; what it is about


def init_app(app: Flask, redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=0.5, socket_timeout=2.0, health_check_interval=30)
    app.extensions["redis"] = Redis(connection_pool=pool)
    app.extensions["queues"] = {
        name: Queue(name, connection=app.extensions["redis"], serializer=JSONSerializer)
        for name in set(QUEUES.values())
    }
    app.extensions["asked"] = Aside("jobs", partial(_tell, app))


def run_later(name: str, *ids: UUID) -> None:
    """Ask for a job once this transaction has committed; asking twice is asking once."""
    _asked()[("job", name, ids)] = None


def ring(bell: str, *items: UUID) -> None:
    """Wake a drain after the commit, perhaps for one item: a burst is one wake-up."""
    _asked()[("bell", bell, items)] = None


def ring_at_once(bell: str) -> None:
    """Wake a drain for what is committed already."""
    current_app.extensions["asked"].put([("bell", bell, ())])


def flush() -> None:
    """Wait until the queue was told of all that was asked for: for processes that end, and for tests."""
    current_app.extensions["asked"].flush()


def heard(bell: str, seconds: float) -> None:
    """Wait until a bell rings, at most so long; without a queue, just so long."""
    try:
        current_app.extensions["redis"].blpop([f"bell:{bell}"], timeout=seconds)
    except RedisError:
        sleep(seconds)


def announce(business_id: UUID) -> None:
    """Tell open screens, after the commit, that this business has new events."""
    _asked()[("live", "live", (business_id,))] = None


def _asked() -> dict[Asked, None]:
    return db.session.info.setdefault("jobs", {})  # type: ignore[no-any-return]


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    if asked := session.info.pop("jobs", None):
        current_app.extensions["asked"].put(asked)


def _tell(app: Flask, asked: list[Asked]) -> None:
    """Tell the queue, beside whoever asked: nobody waits for it, be it slow or away."""
    try:
        with app.extensions["redis"].pipeline(transaction=False) as pipe:
            for kind, name, ids in asked:
                _TELL[kind](app, pipe, name, [str(item) for item in ids])
            pipe.execute()
    except RedisError as exc:
        log.warning("queue_unreachable", error=str(exc), unsent=len(asked))
    except Exception:
        log.exception("queue_not_told", unsent=len(asked))


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop("jobs", None)


def _tell_job(app: Flask, pipe: Any, name: str, ids: list[str]) -> None:
    queue = app.extensions["queues"][QUEUES[name]]
    # A result nobody reads is not kept, and a failure lives in our own tables.
    queue.enqueue_call(
        f"worker.{name}",
        args=tuple(ids),
        timeout=TIMEOUTS.get(QUEUES[name], 300),
        result_ttl=0,
        failure_ttl=3600,
        pipeline=pipe,
    )


def _tell_bell(app: Flask, pipe: Any, name: str, ids: list[str]) -> None:
    if ids:
        pipe.sadd(f"due:{name}", *ids)
    pipe.lpush(f"bell:{name}", "1")
    pipe.ltrim(f"bell:{name}", 0, 0)


def _tell_live(app: Flask, pipe: Any, name: str, ids: list[str]) -> None:
    pipe.publish(f"live:{ids[0]}", "1")


_TELL = {"job": _tell_job, "bell": _tell_bell, "live": _tell_live}
