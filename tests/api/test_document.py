"""A10: the OpenAPI document lists exactly the routes, and real answers and refusals have the form that it tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema_rs import Draft202012Validator, meta

from blueprints.api.routing import OPERATIONS, Operation
from models import Business
from services import events
from services.keys import SCOPES
from tests import factories
from tests.api.calls import CALLS, world
from tests.factories import BASE, Api


@pytest.fixture(scope="module")
def told(app: Flask) -> Any:
    answer = app.test_client().get("/api-docs/openapi.json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return answer.json


def check(told: Any, schema: Any, value: Any) -> None:
    """Hold a value against a schema of the document."""
    faults = list(Draft202012Validator(schema | {"components": told["components"]}).iter_errors(value))
    assert not faults, faults[0]


def test_the_document_lists_exactly_the_routes(told: Any, app: Flask) -> None:
    listed = {(method.upper(), path) for path, item in told["paths"].items() for method in item}
    routes = {
        (method, rule.rule.removeprefix(BASE))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(BASE)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert listed == routes
    assert told["openapi"] == "3.1.0"
    assert told["servers"][0]["url"].endswith(BASE)


def test_every_operation_tells_its_scope_its_errors_and_an_example(told: Any) -> None:
    for operation in OPERATIONS:
        item = told["paths"][operation.path][operation.method.lower()]
        assert item["security"][0]["ApiKey"] == [operation.scope]
        assert {"400", "401", "403", "422", "429", "503"} <= set(item["responses"])
        assert item["summary"]
        if operation.body:
            example = item["requestBody"]["content"]["application/json"].get("example")
            assert example, operation.path
    scopes = told["components"]["securitySchemes"]["ApiKey"]["description"]
    assert all(f"`{scope}`" in scopes for scope in SCOPES)


def test_every_event_stands_among_the_webhooks(told: Any) -> None:
    assert set(told["webhooks"]) == set(events.TYPES)


def test_every_reference_leads_somewhere_and_every_schema_is_one(told: Any) -> None:
    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    for reference in set(walk(told)):
        place: Any = told
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for schema in told["components"]["schemas"].values():
        assert meta.is_valid(schema)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{item.method} {item.path}" for item in OPERATIONS])
def test_a_real_answer_has_the_form_that_the_document_tells(
    operation: Operation, told: Any, api: Api, acme: Business
) -> None:
    call = CALLS[operation.method, operation.path](world(acme))
    answer = call.make(api, operation.method, operation.path)
    item = told["paths"][operation.path][operation.method.lower()]
    schema = item["responses"][str(operation.status)]["content"]["application/json"]["schema"]
    check(told, schema, answer.json)
    if operation.body and call.json is not None:
        check(told, item["requestBody"]["content"]["application/json"]["schema"], call.json)


def test_lists_and_refusals_have_the_form_too(told: Any, api: Api, acme: Business) -> None:
    world(acme)
    for path in ("/api-customers", "/api-conversations", "/api-webhooks", "/api-channels", "/api-users", "/api-keys"):
        schema = told["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        check(told, schema, api.get(path).json)
    query = {"include_messages": "true", "include_attachments": "true", "phone": "+353871230000"}
    schema = {"$ref": "#/components/schemas/ByCustomerAnswer"}
    check(told, schema, api.get("/api-conversations-by-customer", **query).json)
    failed = api.post(
        "/api-customers-sync?dry_run=true", {"customers": [{"name": "x"}, {"name": "y", "email": "a@b.ie"}]}
    )
    check(told, {"$ref": "#/components/schemas/SyncAnswer"}, failed.json)
    for answer in (api.get("/api-nothing"), api.post("/api-customers", b"{"), api.post("/api-customers", {"name": 5})):
        check(told, {"$ref": "#/components/schemas/Problem"}, answer.json)


def test_real_events_have_the_form_that_the_document_tells(told: Any, api: Api, acme: Business) -> None:
    things = world(acme)
    api.patch(f"/api-conversations?id={things.conversation}", {"status": "closed", "assignee_id": str(things.user)})
    api.patch(f"/api-customers?id={things.customer}", {"notes": "VIP"})
    api.post("/api-customers-merge", {"keep_id": str(things.customer), "merge_id": str(things.other_customer)})
    spare = factories.customer(acme)
    api.delete("/api-customers", id=spare.id)
    logged = api.get("/api-events", limit=1000).json["events"]
    seen = {item["event"] for item in logged if item["data"]}
    assert seen >= {
        "message.received",
        "conversation.created",
        "conversation.assigned",
        "conversation.status_changed",
        "customer.created",
        "customer.updated",
        "customer.deleted",
        "customer.merged",
    }
    assert not any("Joe Bloggs" in str(item) and str(spare.id) in str(item) for item in logged)
    for item in logged:
        if item["data"]:
            schema = told["webhooks"][item["event"]]["post"]["requestBody"]["content"]["application/json"]["schema"]
            check(told, schema, {name: value for name, value in item.items() if name != "sequence"})


def test_the_page_shows_every_operation_with_its_curl_and_asks_nobody_else(app: Flask) -> None:
    answer = app.test_client().get("/api-docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    page = answer.text
    for operation in OPERATIONS:
        assert f'id="{operation.name}"' in page
        assert f"-X {operation.method} &#34;http://localhost:8000{BASE}{operation.path}" in page
    for name in events.TYPES:
        assert f'id="event-{name}"' in page
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
    assert " style=" not in page
    assert "<script>" not in page
    assert not any(word in page for word in ("//cdn", "googleapis", "unpkg", "@import"))
