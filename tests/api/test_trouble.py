"""R7, A10: when a part is away, 503 with Retry-After and recovery by itself; whatever breaks shows no trace of us."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from flask import Flask
from sqlalchemy import text

import app as application
import config
from lib.ids import uuid7
from models import db
from tests import servers
from tests.factories import Api
from tests.people import Somebody
from tests.servers import Services


def is_away(answer: Any) -> None:
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "unavailable"), answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


@pytest.fixture
def small(services: Services) -> Iterator[Flask]:
    """The application with one database connection."""
    made = application.create_app(config.load(**servers.settings(services) | {"DB_POOL_SIZE": 1}))
    made.config["SQLALCHEMY_ENGINE_OPTIONS"]["pool_timeout"] = 0.3
    yield made
    _close(made)


def _close(app: Flask) -> None:
    app.extensions["read_engine"].dispose()
    app.extensions["at_once"].close()
    app.extensions["redis"].close()
    with app.app_context():
        db.engine.dispose()


def test_a_pool_that_is_exhausted_is_503_and_recovers(small: Flask, alice: Somebody) -> None:
    api = Api(small, alice.key)
    held, go = Event(), Event()

    def hold() -> None:
        with small.app_context():
            db.session.execute(text("SELECT 1"))
            held.set()
            go.wait(30)

    holder = Thread(target=hold)
    holder.start()
    held.wait(10)
    body = {"name": "Joe", "email": f"{uuid7().hex}@example.com"}
    is_away(api.post("/api-customers", body))
    go.set()
    holder.join()
    assert api.post("/api-customers", body).status_code == 201


def test_a_database_that_is_away_is_503_for_every_kind_of_call(services: Services, alice: Somebody) -> None:
    away = services.database_url.replace("?host=", "?connect_timeout=2&host=/nowhere")
    app = application.create_app(config.load(**servers.settings(services) | {"DATABASE_URL": away}))
    try:
        api = Api(app, alice.key)
        is_away(api.get("/api-customers"))
        is_away(api.post("/api-customers", {"name": "Joe", "email": "joe@example.com"}))
        is_away(api.post("/api-customers", {"name": "Joe"}, headers={"Idempotency-Key": "k"}))
        is_away(Api(app, None).client.get("/api/download-media", headers={"x-api-key": alice.key}))
    finally:
        _close(app)


def test_connections_that_the_server_closed_are_replaced(
    app: Flask, small: Flask, alice: Somebody, services: Services
) -> None:
    """As after a restart of the database: nothing but time is needed."""
    api = Api(small, alice.key)
    body = {"name": "Joe", "email": f"{uuid7().hex}@example.com"}
    assert api.post("/api-customers", body).status_code == 201
    with psycopg.connect(services.psycopg(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    db.session.remove()
    _close(app)  # whose connections, which the other tests use, died with them
    assert api.post("/api-customers-batch-lookup", {"emails": [body["email"]]}).status_code == 200
    statuses = [api.get("/api-customers", email=body["email"]).status_code for _ in range(4)]
    assert set(statuses) <= {200, 503}
    assert statuses[-1] == 200
    assert api.post("/api-customers", {"name": "A", "email": f"{uuid7().hex}@example.com"}).status_code == 201


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (RuntimeError("a secret of ours"), 500, "internal_error"),
        (sqlalchemy.exc.TimeoutError("QueuePool limit"), 503, "unavailable"),
        (psycopg.OperationalError("server closed the connection"), 503, "unavailable"),
        (psycopg.errors.DiskFull("No space left on device"), 503, "unavailable"),
        (psycopg.errors.LockNotAvailable("lock timeout"), 503, "unavailable"),
        (psycopg.errors.UniqueViolation("duplicate key value"), 409, "conflict"),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL"), 422, "invalid"),
        (psycopg.errors.UndefinedTable("relation a_secret does not exist"), 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_whatever_breaks_shows_nothing_of_our_insides(
    raised: Exception, status: int, code: str, accept: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        if isinstance(raised, psycopg.Error):
            raise sqlalchemy.exc.DBAPIError.instance("SELECT a_secret", {}, raised, psycopg.Error) from raised
        raise raised

    monkeypatch.setattr("services.customers.page", breaks)
    answer = api.get("/api-customers", headers={"Accept": accept})
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert not any(
        word in answer.text for word in ("secret", "Traceback", "SELECT", "QueuePool", "psycopg", "relation")
    )
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.OperationalError("", {}, psycopg.errors.DeadlockDetected("deadlock")),
        psycopg.errors.DeadlockDetected("of a statement that goes past SQLAlchemy"),
    ],
    ids=["orm", "raw"],
)
def test_a_deadlock_is_run_again_and_then_503(api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    tried = []

    def deadlock(*_: Any, **__: Any) -> None:
        tried.append(1)
        raise error

    monkeypatch.setattr("services.customers.create", deadlock)
    is_away(api.post("/api-customers", {"name": "Joe"}))
    assert len(tried) == 3


def test_pages_for_people_say_it_in_words_too(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Api(app, None).client
    answer = client.get("/nothing-here", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert client.get("/nothing-here", headers={"Accept": "application/json"}).json["error"]["code"] == "not_found"
