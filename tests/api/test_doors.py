"""T1 and T7: every operation against nobody, a stranger and a key with too little scope; no foreign thing is found."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from blueprints.api.routing import OPERATIONS, Operation
from lib.ids import uuid7
from models import Business, Customer, Event, db
from services.keys import SCOPES
from tests import factories
from tests.api.calls import CALLS, World, world
from tests.factories import Api
from tests.people import Somebody

every_operation = pytest.mark.parametrize(
    "operation", OPERATIONS, ids=[f"{item.method} {item.path}" for item in OPERATIONS]
)


@pytest.fixture
def things(acme: Business) -> World:
    return world(acme)


def make(api: Api, operation: Operation, things: World) -> Any:
    call = CALLS[operation.method, operation.path](things)
    return call, call.make(api, operation.method, operation.path)


def test_the_table_of_calls_has_every_route_of_the_api_and_no_other(app: Flask) -> None:
    routes = {
        (method, rule.rule.removeprefix(factories.BASE))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(CALLS)


@every_operation
def test_the_owner_gets_the_answer(operation: Operation, api: Api, things: World) -> None:
    call, response = make(api, operation, things)
    assert response.status_code == call.status == operation.status, response.text


@every_operation
def test_nobody_gets_401(operation: Operation, app: Flask, things: World) -> None:
    for key in (None, "", "alc_live_nonsense", "x" * 5000, "\u00e9\u0142"):
        _, response = make(Api(app, key), operation, things)
        assert (response.status_code, response.json["error"]["code"]) == (401, "invalid_api_key")


@every_operation
def test_too_little_scope_gets_403_naming_the_scope(
    operation: Operation, app: Flask, acme: Business, things: World
) -> None:
    enough = {operation.scope, operation.scope.removesuffix(":read"), "admin"}
    _, response = make(Api(app, factories.api_key(acme, *(SCOPES.keys() - enough))), operation, things)
    assert response.status_code == 403
    assert response.json["error"]["details"]["scope"] == operation.scope
    assert operation.scope in response.json["error"]["message"]


@every_operation
def test_the_scope_that_it_names_is_enough(operation: Operation, app: Flask, acme: Business, things: World) -> None:
    call, response = make(Api(app, factories.api_key(acme, operation.scope)), operation, things)
    assert response.status_code == call.status, response.text


@every_operation
def test_a_stranger_is_answered_just_as_for_random_ids(operation: Operation, stranger: Api, things: World) -> None:
    """Whatever Globex's key names of Acme's is not there, to the letter."""
    call, foreign = make(stranger, operation, things)
    random = {item.name: uuid7() for item in fields(World) if item.type == "UUID"}
    _, nowhere = make(stranger, operation, World(things.business, external_id=f"CRM-{uuid7().hex}", **random))
    assert foreign.status_code == nowhere.status_code
    if call.names:
        assert foreign.status_code == 404, foreign.text
        assert foreign.json["error"] == nowhere.json["error"]
    for value in (things.customer, things.conversation, things.message, things.webhook, things.external_id):
        assert str(value) not in foreign.text.replace(str(call.query), "") or not call.names


def test_a_strangers_lists_hold_nothing_of_ours(stranger: Api, things: World) -> None:
    for path, name in (
        ("/api-customers", "customers"),
        ("/api-conversations", "conversations"),
        ("/api-webhooks", "webhooks"),
        ("/api-channels", "channel_accounts"),
        ("/api-canned-replies", "canned_replies"),
    ):
        assert stranger.get(path).json[name] == [], path
    assert stranger.get("/api-messages-since", since="2020-01-01T00:00:00Z").json["messages"] == []
    assert stranger.get("/api-events").json["events"] == []
    assert [user["name"] for user in stranger.get("/api-users").json["users"]] == ["Charlie"]
    looked = stranger.post("/api-customers-batch-lookup", {"external_ids": [things.external_id]}).json
    assert looked == {
        "customers": [],
        "not_found": {"ids": [], "external_ids": [things.external_id], "emails": [], "phones": []},
    }


def test_a_stranger_cannot_use_our_things_in_a_call_of_their_own(
    stranger: Api, globex: Business, things: World, api: Api
) -> None:
    theirs = world(globex)
    upload = CALLS["POST", "/api-upload-attachment"](things).make(api, "POST", "/api-upload-attachment")
    send = {"customer_id": str(theirs.customer), "channel": "whatsapp", "content": "Hi"}
    for extra, status in (
        ({"conversation_id": str(things.conversation)}, 404),
        ({"channel_account_id": str(things.channel)}, 422),
        ({"reply_to": str(things.message)}, 404),
        ({"attachments": [upload.json["attachment"]["file_url"]]}, 422),
        ({"attachments": [upload.json["attachment"]["id"]]}, 422),
    ):
        response = stranger.post("/api-send-message", send | extra)
        assert response.status_code == status, (extra, response.text)
    assert (
        stranger.patch(f"/api-conversations?id={theirs.conversation}", {"assignee_id": str(things.user)}).status_code
        == 404
    )
    merge = {"keep_id": str(theirs.customer), "merge_id": str(things.customer)}
    assert stranger.post("/api-customers-merge", merge).status_code == 404
    assert stranger.post("/api-sso-revoke-token", {"customer_id": str(things.customer)}).status_code == 404


def test_an_agent_of_another_business_cannot_lend_a_token_their_name(
    api: Api, things: World, charlie: Somebody, bob: Somebody
) -> None:
    asked = {"customer_id": str(things.customer), "agent_email": charlie.email}
    assert api.post("/api-sso-generate-token", asked).status_code == 422
    assert api.post("/api-sso-generate-token", asked | {"agent_email": bob.email}).status_code == 200


@pytest.mark.parametrize(
    ("path", "good", "extra"),
    [
        ("/api-customers", {"name": "Joe", "email": "t7@example.com"}, "business_id"),
        ("/api-customers", {"name": "Joe", "email": "t7@example.com"}, "search"),
        ("/api-users", {"name": "Joe", "email": "t7@example.com"}, "business_id"),
        ("/api-users", {"name": "Joe", "email": "t7@example.com"}, "password_hash"),
        ("/api-users", {"name": "Joe", "email": "t7@example.com"}, "session_epoch"),
        ("/api-keys", {"name": "K", "scopes": ["send"]}, "business_id"),
        ("/api-keys", {"name": "K", "scopes": ["send"]}, "secret_hash"),
        ("/api-webhooks", {"name": "W", "url": "http://localhost/", "events": ["*"]}, "secret"),
        ("/api-webhooks", {"name": "W", "url": "http://localhost/", "events": ["*"]}, "state"),
        ("/api-webhooks", {"name": "W", "url": "http://localhost/", "events": ["*"]}, "is_crm"),
        ("/api-canned-replies", {"shortcut": "t7", "body": "B"}, "created_at"),
        ("/api-send-message", {"customer_id": "x", "channel": "email", "content": "x"}, "status"),
        ("/api-send-message", {"customer_id": "x", "channel": "email", "content": "x"}, "sender"),
        ("/api-sso-generate-token", {"customer_id": "x"}, "business_id"),
    ],
)
def test_no_field_but_the_documented_ones_can_be_assigned(api: Api, path: str, good: Any, extra: str) -> None:
    response = api.post(path, good | {extra: str(uuid7())})
    assert response.status_code == 422, response.text
    assert (response.json["error"]["code"], response.json["error"]["field"]) == ("unknown_field", extra)


def test_a_record_cannot_name_its_business_or_its_dates(api: Api, acme: Business, globex: Business) -> None:
    record = {"name": "Joe", "email": f"{uuid7().hex}@example.com"}
    answer = api.post("/api-customers-sync", {"customers": [record | {"business_id": str(globex.id)}]}).json
    assert answer["results"]["details"][0]["error"]["field"] == "business_id"
    made = api.post("/api-customers", record | {"id": str(uuid7()), "created_at": "2001-01-01T00:00:00Z"})
    row = db.session.scalars(select(Customer).where(Customer.email == record["email"])).one()
    assert (row.business_id, str(row.id)) == (acme.id, made.json["customer_id"])
    assert row.created_at.year > 2001


def test_refused_calls_write_nothing(stranger: Api, things: World, acme: Business) -> None:
    def count() -> int:
        db.session.rollback()
        return db.session.scalar(select(func.count()).where(Event.business_id == acme.id)) or 0

    before = count()
    for operation in OPERATIONS:
        if operation.method != "GET":
            make(stranger, operation, things)
    assert count() == before
