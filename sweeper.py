"""The worker's sweeps: what is due is found without any wake-up, and old rows go. See `services.sweeps.STEPS`."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from flask import Flask, current_app
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

import jobs
from models import db
from services import sweeps

log = structlog.get_logger()


def sweep(app: Flask, stopping: Callable[[], bool]) -> None:
    """Ask again for whatever a lost wake-up has left, until told to stop."""
    rounds = 0
    while not stopping():
        with app.app_context():
            for every, step in sweeps.STEPS:
                if rounds % every == 0:
                    _attempt(step)
            _attempt(_keep_draining)
        rounds += 1
        time.sleep(1)


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
        db.session.commit()
        db.session.expire_all()
    except (SQLAlchemyError, RedisError) as exc:
        db.session.rollback()
        log.warning("sweep_failed", step=step.__name__, error=str(exc)[:200])


def _keep_draining() -> None:
    """Have one drain of each kind in its queue at all times: whichever worker comes free or comes back takes it."""
    for name in jobs.DRAINS:
        queue = current_app.extensions["queues"][jobs.QUEUES[name]]
        if not len(queue):
            queue.enqueue_call(f"worker.{name}", timeout=-1, result_ttl=0, failure_ttl=60)
