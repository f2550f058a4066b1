"""The usage log: every call of a known key, none of its secrets, and no write on the request's own path."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event, select, text, update

from errors import Invalid, NotFound
from lib.ids import uuid7
from models import ApiCall, ApiKey, Business, db, now
from services import usage
from tests import factories
from tests.factories import Api
from tests.people import Somebody


def lines(business: Business, **filters: Any) -> list[Any]:
    usage.flush()
    return list(usage.page(business, **filters)[0])


def test_every_call_is_a_line_with_its_request_id(api: Api, acme: Business) -> None:
    good = api.get("/api-customers", limit=5, headers={"User-Agent": "Nightly/1.0"})
    bad = api.post("/api-customers", {"name": "Joe"})
    second, first = lines(acme)
    assert (str(first.id), first.method, first.path) == (
        good.headers["X-Request-Id"],
        "GET",
        "/functions/v1/api-customers",
    )
    assert (first.status, first.error_code, first.query, first.user_agent) == (200, None, "limit=5", "Nightly/1.0")
    assert (str(second.id), second.status, second.error_code) == (bad.json["request_id"], 422, "contact_required")
    assert 0 < first.duration_ms < 10_000
    assert abs(first.at - now()) < timedelta(minutes=1)
    assert usage.get(acme, first.id).path == first.path


def test_calls_that_went_nowhere_are_lines_too(api: Api, app: Flask, acme: Business) -> None:
    """A mistyped address, a wrong method, too little scope, a revoked key: what somebody looks for in a log."""
    api.get("/api-custmers")
    api.call("PUT", "/api-customers")
    Api(app, factories.api_key(acme, "send")).get("/api-customers")
    revoked = factories.api_key(acme, "send")
    db.session.execute(update(ApiKey).where(ApiKey.preview.like(f"{revoked[:13]}%")).values(revoked_at=now()))
    db.session.commit()
    Api(app, revoked).get("/api-customers")
    assert [(line.status, line.error_code) for line in reversed(lines(acme))] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (403, "missing_scope"),
        (401, "revoked_api_key"),
    ]


def test_unknown_keys_and_preflights_leave_no_line(app: Flask, acme: Business) -> None:
    before = len(lines(acme))
    Api(app, "alc_live_nonsense").get("/api-customers")
    Api(app, None).call("OPTIONS", "/api-customers")
    assert len(lines(acme)) == before


def test_no_personal_data_and_no_key_stands_in_a_line(api: Api, acme: Business) -> None:
    """P1: what is erased elsewhere must not live on here."""
    api.get("/api-customers", email="secret@example.com")
    api.get("/api-customers", phone="+353871234567")
    api.get("/api-customers", external_id="CRM-SECRET")
    api.get("/api-customers", q="secret name")
    api.get("/api-conversations-by-customer", customer_id="CRM-SECRET", include_messages="true")
    usage.flush()
    rows = db.session.execute(text("SELECT api_calls::text FROM api_calls WHERE business_id = :id"), {"id": acme.id})
    dump = " ".join(rows.scalars())
    assert not any(word in dump for word in ("secret", "SECRET", "353871234567", (api.key or "")[30:50]))
    assert "include_messages=true" in dump


def test_the_requests_own_path_writes_nothing(api: Api, acme: Business, app: Flask) -> None:
    api.get("/api-customers")
    usage.flush()
    statements: list[str] = []

    def listen(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    engine = app.extensions["read_engine"]
    event.listen(engine, "before_cursor_execute", listen)
    try:
        api.get("/api-customers", external_id="x")
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    assert not any(word in statement for statement in statements for word in ("INSERT", "UPDATE", "COPY"))
    assert len(statements) <= 3


def test_lines_are_written_by_themselves_within_a_moment(api: Api, acme: Business) -> None:
    answer = api.get("/api-customers")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        db.session.rollback()
        if db.session.scalar(select(ApiCall.status).where(ApiCall.id == UUID(answer.headers["X-Request-Id"]))):
            return
        time.sleep(0.1)
    raise AssertionError("the line was not written")


def test_filters_and_pages(api: Api, app: Flask, acme: Business) -> None:
    for number in range(5):
        api.get("/api-customers", limit=number + 1)
    api.get("/api-nothing")
    other = Api(app, factories.api_key(acme, "admin"))
    other.get("/api-webhooks")
    assert [line.status for line in lines(acme, status="4xx")] == [404]
    assert [line.status for line in lines(acme, status="404")] == [404]
    assert [line.status for line in lines(acme, status="error")] == [404]
    assert len(lines(acme, path="customers")) == 5
    assert len(lines(acme, method="POST")) == 0
    (by_other,) = lines(acme, path="webhooks")
    assert [line.id for line in lines(acme, api_key_id=by_other.api_key_id)] == [by_other.id]
    assert lines(acme, until=by_other.at - timedelta(days=1)) == []
    seen, cursor = [], None
    while True:
        rows, cursor = usage.page(acme, limit=3, cursor=cursor)
        seen += [row.id for row in rows]
        if cursor is None:
            break
    assert len(seen) == 7
    assert seen == sorted(set(seen), reverse=True)
    with pytest.raises(Invalid):
        usage.page(acme, cursor="nonsense")


def test_a_business_sees_its_own_calls_alone(api: Api, stranger: Api, acme: Business, globex: Business) -> None:
    api.get("/api-customers")
    stranger.get("/api-webhooks")
    (line,) = lines(acme)
    assert line.path.endswith("/api-customers")
    with pytest.raises(NotFound):
        usage.get(globex, line.id)


def test_the_summary_adds_up(api: Api, acme: Business) -> None:
    for _ in range(3):
        api.get("/api-customers")
    api.get("/api-nothing")
    usage.flush()
    told = usage.summary(acme, now() - timedelta(hours=24), buckets=24)
    assert (told["calls"], told["failed"], len(told["slices"])) == (4, 1, 24)
    assert told["slices"][-1] == {"calls": 4, "failed": 1}
    assert 0 < told["mean_ms"] <= told["slowest_ms"]
    empty = usage.summary(acme, now() - timedelta(hours=1), api_key_id=uuid7())
    assert (empty["calls"], empty["mean_ms"]) == (0, 0.0)


def call(business: Business) -> usage.Call:
    return usage.Call(business.id, uuid7(), None, now(), "GET", "/x", "", 200, 1.0, None, "127.0.0.1", "")


def test_a_database_that_is_away_costs_no_lines_until_the_buffer_is_full(
    acme: Business, in_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage.flush()
    monkeypatch.setattr(usage, "MOST_WAITING", 10)
    monkeypatch.setattr(usage, "_waiting", type(usage._waiting)(maxlen=10))
    with monkeypatch.context() as patch:

        def away(*_: Any) -> None:
            raise psycopg.OperationalError("the server is gone")

        patch.setattr(usage, "_write", away)
        for _ in range(25):
            usage.note(call(acme))
            usage.flush()
        assert len(usage._waiting) == 10
    assert usage.flush() == 10
    assert len(lines(acme)) == 10


def test_a_line_of_a_business_that_is_gone_does_not_hold_up_the_others(
    acme: Business, alice: Somebody, in_app: Flask
) -> None:
    usage.flush()
    gone = Business(id=uuid7(), name="Gone")
    for business in (acme, gone, acme):
        usage.note(call(business))
    usage.flush()
    assert len(lines(acme)) == 2
