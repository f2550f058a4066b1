"""A6, A9 and what a browser may do: rate limits with and without Valkey, sizes, costs, CORS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

import app as application
import config
from lib import rate_limit
from lib.ids import uuid7
from models import db
from tests import factories, servers
from tests.factories import Api
from tests.people import Somebody
from tests.servers import Services


@pytest.fixture
def make_app(services: Services) -> Iterator[Any]:
    """Make the application with other settings."""
    made: list[Flask] = []

    def make(**settings: object) -> Flask:
        made.append(application.create_app(config.load(**servers.settings(services) | settings)))
        return made[-1]

    yield make
    for app in made:
        app.extensions["read_engine"].dispose()
        app.extensions["at_once"].close()
        with app.app_context():
            db.engine.dispose()
        app.extensions["redis"].close()


def test_a_key_is_told_what_is_left_and_stopped_at_its_limit(make_app: Any, alice: Somebody, charlie: Somebody) -> None:
    app = make_app(API_RATE_LIMIT=5)
    answers = [Api(app, alice.key).get("/api-customers") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0", "0"]
    assert all(answer.headers["RateLimit-Limit"] == "5" for answer in answers)
    assert 1 <= int(answers[5].headers["Retry-After"]) <= 12
    assert answers[5].json["error"]["code"] == "rate_limited"
    assert Api(app, charlie.key).get("/api-customers").status_code == 200


def test_without_valkey_calls_are_served_and_still_limited(
    make_app: Any, alice: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6."""
    monkeypatch.setattr(rate_limit, "_broken_until", 0.0)
    monkeypatch.setattr(rate_limit, "_buckets", {})
    app = make_app(API_RATE_LIMIT=20, REDIS_URL="redis://127.0.0.1:1")
    begun = time.monotonic()
    answers = [Api(app, alice.key).get("/api-customers") for _ in range(30)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
    body = {"name": "Joe", "email": f"{uuid7().hex}@example.com"}
    assert Api(app, factories.api_key(alice.business)).post("/api-customers", body).status_code == 201
    assert time.monotonic() - begun < 10
    monkeypatch.setattr(rate_limit, "_broken_until", 0.0)


def test_a_thousand_records_are_one_call_and_quickly_done(api: Api) -> None:
    """A9."""
    tag = uuid7().hex
    records = [
        {"name": f"N{n}", "email": f"{tag}{n}@example.com", "external_id": f"{tag}{n}", "custom_fields": {"n": n}}
        for n in range(1000)
    ]
    for action in ("created", "updated"):
        begun = time.process_time()
        answer = api.post("/api-customers-sync", {"customers": records}).json["results"]
        assert answer[action] == 1000
        assert time.process_time() - begun < 3
    found = api.post("/api-customers-batch-lookup", {"external_ids": [f"{tag}{n}" for n in range(1000)]}).json
    assert [row["name"] for row in found["customers"]] == [f"N{n}" for n in range(1000)]


@pytest.mark.parametrize("size", [1001, 100_000])
def test_more_than_a_thousand_records_cost_next_to_nothing(size: int, api: Api) -> None:
    begun = time.process_time()
    assert api.post("/api-customers-sync", {"customers": [{}] * size}).status_code == 422
    assert api.post("/api-customers-batch-lookup", {"emails": ["x"] * size}).status_code == 422
    assert time.process_time() - begun < 2


def test_a_body_over_the_limit_is_413_with_or_without_a_length(make_app: Any, alice: Somebody) -> None:
    api = Api(make_app(API_MAX_BODY_BYTES=10_000), alice.key)
    fits = {"name": "Joe", "email": f"{uuid7().hex}@example.com", "notes": "x" * 9000}
    assert api.post("/api-customers", fits).status_code == 201
    big = b'{"name": "' + b"x" * 20_000 + b'"}'
    assert api.post("/api-customers", big).status_code == 413
    chunked = api.post(
        "/api-customers",
        big,
        environ_overrides={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert (chunked.status_code, chunked.json["error"]["code"]) == (413, "too_large")


# --- browsers ---


def test_a_preflight_is_answered_without_a_key(app: Flask) -> None:
    asked = {
        "Origin": "https://crm.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key, content-type, idempotency-key",
    }
    for path in ("/api-customers-sync", "/api-upload-attachment", "/api-nothing"):
        answer = Api(app, None).call("OPTIONS", path, headers=asked)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert set(allowed) >= {"x-api-key", "content-type", "idempotency-key"}
        assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) >= {"GET", "POST", "PATCH", "DELETE"}


def test_every_answer_may_be_read_by_a_page_errors_too(api: Api, app: Flask) -> None:
    for answer in (
        api.get("/api-customers"),
        api.get("/api-nothing"),
        api.post("/api-customers", b"{"),
        Api(app, None).get("/api-customers"),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert {"X-Request-Id", "RateLimit-Remaining", "Retry-After"} <= set(
            answer.headers["Access-Control-Expose-Headers"].split(", ")
        )
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_an_operator_may_name_the_origins(make_app: Any, alice: Somebody) -> None:
    api = Api(make_app(API_ALLOWED_ORIGINS="https://crm.example,https://other.example"), alice.key)
    for origin, allowed in (("https://crm.example", True), ("https://evil.example", False), ("null", False)):
        answer = api.get("/api-customers", headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        assert answer.headers["Vary"] == "Origin"


def test_the_api_neither_reads_nor_sets_cookies(api: Api, app: Flask) -> None:
    answer = api.get("/api-customers", headers={"Cookie": "alc_session=forged; remember_token=1|x"})
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert "Cookie" not in answer.headers.get("Vary", "")


def test_answers_are_kept_by_no_cache(api: Api) -> None:
    assert api.get("/api-customers").headers["Cache-Control"] == "no-store"
