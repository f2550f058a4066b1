"""Idempotency keys and lost races: a repeated POST has one effect and one answer, however many come at once (R9)."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update

from lib.ids import uuid7
from models import ApiKey, Business, CannedReply, Customer, Event, IdempotencyRecord, Message, db, now
from tests import factories
from tests.factories import Api
from tests.people import Somebody


def person() -> dict[str, Any]:
    return {"name": "Joe", "email": f"{uuid7().hex}@example.com"}


def key(text: str = "") -> dict[str, str]:
    return {"Idempotency-Key": text or uuid7().hex}


def test_a_repeated_post_gets_its_first_answer_and_has_no_second_effect(api: Api, acme: Business) -> None:
    body, once = person(), key()
    first = api.post("/api-customers", body, headers=once)
    assert (first.status_code, "Idempotent-Replay" in first.headers) == (201, False)
    for _ in range(3):
        again = api.post("/api-customers", body, headers=once)
        assert (again.status_code, again.headers["Idempotent-Replay"]) == (201, "true")
        assert again.data == first.data
    assert db.session.scalar(select(func.count()).where(Event.business_id == acme.id)) == 1


def test_without_a_key_the_second_call_is_refused_as_usual(api: Api) -> None:
    body = person()
    assert api.post("/api-customers", body).status_code == 201
    assert api.post("/api-customers", body).status_code == 409


def test_the_same_key_with_another_body_or_address_is_422(api: Api) -> None:
    once = key()
    assert api.post("/api-customers", person(), headers=once).status_code == 201
    for path, body in (
        ("/api-customers", person()),
        ("/api-canned-replies", {"shortcut": "x", "body": "y"}),
        ("/api-customers-sync?dry_run=true", {"customers": [person()]}),
    ):
        response = api.post(path, body, headers=once)
        assert (response.status_code, response.json["error"]["code"]) == (422, "idempotency_key_reused")


def test_another_key_or_another_business_has_its_own_idempotency_keys(
    api: Api, stranger: Api, app: Flask, acme: Business
) -> None:
    once = key()
    other = Api(app, factories.api_key(acme, "customers"))
    answers = [caller.post("/api-customers", person(), headers=once) for caller in (api, stranger, other)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json["customer_id"] for answer in answers}) == 3


def test_a_refusal_is_kept_and_replayed_too(api: Api) -> None:
    once, bad = key(), {"name": "Joe", "email": "nonsense"}
    first = api.post("/api-customers", bad, headers=once)
    again = api.post("/api-customers", bad, headers=once)
    assert (first.status_code, again.status_code, again.headers["Idempotent-Replay"]) == (422, 422, "true")
    assert again.data == first.data


def test_a_refusal_for_want_of_scope_is_not_kept(app: Flask, acme: Business) -> None:
    text = factories.api_key(acme, "customers:read")
    caller, once, body = Api(app, text), key(), person()
    assert caller.post("/api-customers", body, headers=once).status_code == 403
    query = update(ApiKey).where(ApiKey.business_id == acme.id, ApiKey.preview.like(f"{text[:13]}%"))
    db.session.execute(query.values(scopes=["customers"]))
    db.session.commit()
    other = Api(app, factories.api_key(acme, "customers"))
    assert other.post("/api-customers", body, headers=once).status_code == 201
    assert db.session.scalar(select(func.count()).where(IdempotencyRecord.business_id == acme.id)) == 1


@pytest.mark.parametrize("text", ["", "x" * 256, "é", "a\tb"])
def test_a_key_that_is_none_is_refused(text: str, api: Api) -> None:
    response = api.post("/api-customers", person(), headers={"Idempotency-Key": text.encode().decode("latin-1")})
    assert (response.status_code, response.json["error"]["field"]) == (422, "Idempotency-Key")


def test_an_answer_is_forgotten_after_a_day(api: Api, acme: Business) -> None:
    once, body = key(), person()
    assert api.post("/api-customers", body, headers=once).status_code == 201
    age = update(IdempotencyRecord).where(IdempotencyRecord.business_id == acme.id)
    db.session.execute(age.values(created_at=now() - timedelta(hours=25)))
    db.session.commit()
    assert api.post("/api-customers", body, headers=once).status_code == 409


def test_a_repeated_upload_is_known_by_its_parts_not_by_its_boundary(api: Api) -> None:
    once = key()

    def upload(data: bytes) -> Any:
        form = {"file": (BytesIO(data), "note.txt")}
        return api.call("POST", "/api-upload-attachment", data=form, headers=once, content_type="multipart/form-data")

    first, again, other = upload(b"one"), upload(b"one"), upload(b"two")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.json["attachment"]["id"] == first.json["attachment"]["id"]


def test_fifty_parallel_calls_with_one_key_have_one_effect(app: Flask, alice: Somebody, acme: Business) -> None:
    """R9."""
    account = factories.whatsapp(acme)
    customer = factories.received(acme, account).customer_id
    db.session.commit()
    once, body = key(), {"customer_id": str(customer), "channel": "whatsapp", "content": "Once"}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: Api(app, alice.key).post("/api-send-message", body, headers=once), range(50)))
    seen = Counter(answer.status_code for answer in answers)
    assert set(seen) <= {202, 409}
    assert all(
        answer.json["error"]["code"] == "idempotency_in_progress" for answer in answers if answer.status_code == 409
    )
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 409)
    assert len({answer.json["message_id"] for answer in answers if answer.status_code == 202}) == 1
    query = select(func.count()).where(Message.business_id == acme.id, Message.direction == "outbound")
    assert db.session.scalar(query) == 1


def test_a_call_that_fails_on_our_side_keeps_nothing_and_may_be_repeated(
    api: Api, acme: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, body = key(), person()
    with monkeypatch.context() as patch:
        patch.setattr("services.events.settle", lambda: 1 / 0)
        assert api.post("/api-customers", body, headers=once).status_code == 500
    assert db.session.scalar(select(func.count()).where(IdempotencyRecord.business_id == acme.id)) == 0
    assert api.post("/api-customers", body, headers=once).status_code == 201


def test_two_callers_who_make_the_same_thing_at_once_get_one_201_and_one_409(app: Flask, alice: Somebody) -> None:
    """A unique key that was lost to somebody else is met again by the verb, which then says so in words."""
    for _ in range(5):
        body = {"shortcut": uuid7().hex[:20], "body": "Hi"}
        with ThreadPoolExecutor(4) as pool:
            calls = pool.map(lambda _, body=body: Api(app, alice.key).post("/api-canned-replies", body), range(4))
            assert sorted(answer.status_code for answer in calls) == [201, 409, 409, 409]
    db.session.execute(delete(CannedReply).where(CannedReply.business_id == alice.business.id))


def test_the_same_person_created_by_many_at_once_exists_once(app: Flask, alice: Somebody, acme: Business) -> None:
    body = person()
    with ThreadPoolExecutor(8) as pool:
        calls = list(pool.map(lambda _: Api(app, alice.key).post("/api-customers", body), range(16)))
    assert Counter(answer.status_code for answer in calls) == {201: 1, 409: 15}
    query = select(func.count()).where(Customer.business_id == acme.id, Customer.email == body["email"])
    assert db.session.scalar(query) == 1
