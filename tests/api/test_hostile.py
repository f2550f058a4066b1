"""J1 to J9: any bytes in any place are a clear 4xx, write nothing half, and leave their neighbours alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from blueprints.api.routing import OPERATIONS
from lib import cursors
from lib.ids import uuid7
from models import Business, Customer, db
from tests.api.calls import CALLS, world
from tests.factories import Api

WITH_BODY = [item for item in OPERATIONS if item.body]
every_body = pytest.mark.parametrize("operation", WITH_BODY, ids=[f"{item.method} {item.path}" for item in WITH_BODY])


def is_clear(response: Any, *statuses: int) -> Any:
    """Check that an answer is a refusal in the one form; give its error."""
    assert response.status_code in (statuses or (400, 404, 409, 413, 415, 422)), response.text
    assert response.json["success"] is False
    error = response.json["error"]
    assert error["code"]
    assert error["message"]
    assert not any(word in response.text for word in ("Traceback", "psycopg", "sqlalchemy", "pydantic"))
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    return error


def customers_of(business: Business) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(Customer.business_id == business.id)) or 0


MALFORMED = {
    "nothing": (b"", 400),
    "cut off": (b'{"name": "Jo', 400),
    "trailing comma": (b'{"name": "Joe",}', 400),
    "two documents": (b"{}{}", 400),
    "not UTF-8": (b'{"name": "\xff\xfe"}', 400),
    "UTF-16": ('{"name": "Joe"}'.encode("utf-16"), 400),
    "NaN": (b'{"custom_fields": {"a": NaN}}', 400),
    "infinity": (b'{"custom_fields": {"a": -Infinity}}', 400),
    "nesting bomb": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "list bomb": (b"[" * 100_000, 400),
    "digit bomb": (b'{"custom_fields": {"a": ' + b"9" * 400 + b"}}", 400),
    "negative digit bomb": (b'{"custom_fields": {"a": -' + b"9" * 400 + b"}}", 400),
    "exponent bomb": (b'{"custom_fields": {"a": 1e400}}', 400),
    "lone surrogate": (b'{"name": "\\ud800"}', 400),
    "low surrogate": (b'{"name": "\\udc00"}', 400),
    "a list": (b"[]", 422),
    "a text": (b'"x"', 422),
    "null": (b"null", 422),
    "a number": (b"7", 422),
}


@every_body
def test_a_malformed_body_is_refused_with_its_place(operation: Any, api: Api) -> None:
    query = {"id": uuid7()} if operation.query and "id" in operation.query.model_fields else {}
    for name, (body, status) in MALFORMED.items():
        response = api.call(operation.method, operation.path, body, query_string=query)
        assert response.status_code == status, name
        error = is_clear(response, status)
        assert status != 400 or isinstance(error["details"]["position"], int), name


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


UNPORTABLE = {
    "NUL": b'"a\\u0000b"',
    "NUL in a key": b'{"a\\u0000b": 1}',
    "2^53": b"9007199254740993",
    "-2^63": b"-9223372036854775808",
    "2^64-1": b"18446744073709551615",
    "__proto__": b'{"__proto__": {"admin": true}}',
    "constructor.prototype": b'{"constructor": {"prototype": {}}}',
}


@pytest.mark.parametrize("name", UNPORTABLE)
def test_what_javascript_or_postgresql_would_change_is_refused_with_its_path(
    name: str, api: Api, acme: Business
) -> None:
    body = b'{"name": "Joe", "email": "joe@example.com", "custom_fields": {"deep": [%b]}}' % UNPORTABLE[name]
    error = is_clear(api.post("/api-customers", body), 422)
    assert error["field"].startswith("custom_fields.deep[0]")
    assert customers_of(acme) == 0


def test_nesting_is_allowed_as_deep_as_documented_and_no_deeper(api: Api) -> None:
    fine = {"name": "Joe", "email": f"{uuid7().hex}@example.com", "custom_fields": deep(30)}
    assert api.post("/api-customers", fine).status_code == 201
    is_clear(api.post("/api-customers", fine | {"custom_fields": deep(40)}), 422)


def test_a_repeated_key_keeps_its_last_value_everywhere(api: Api) -> None:
    email = f"{uuid7().hex}@example.com"
    body = b'{"name": "First", "name": "Last", "email": "%b"}' % email.encode()
    assert api.post("/api-customers", body).json["customer"]["name"] == "Last"
    assert api.get("/api-customers", email=email).json["name"] == "Last"


def test_numbers_and_texts_that_javascript_keeps_come_back_as_they_were(api: Api) -> None:
    fields = {"10": 1, "2": 2.5, "a": 50000.0, "b": 1e21, "c": "\u2028🦊", "d": -0.0, "e": 2**53 - 1, "f": "é"}
    made = api.post(
        "/api-customers", {"name": "Zoë 🦊", "email": f"{uuid7().hex}@example.com", "custom_fields": fields}
    ).json["customer"]
    assert (made["custom_fields"], made["name"]) == (fields, "Zoë 🦊")
    assert api.get("/api-customers", id=made["id"]).json["custom_fields"] == fields


WRONG = [None, True, 5, 1.5, "x", "", [], {}, [1], [None], {"a": 1}, ["x"], "x" * 100_000, -1, 10**15]


@every_body
def test_a_wrong_type_in_any_field_is_refused_or_taken_but_never_breaks(
    operation: Any, api: Api, acme: Business
) -> None:
    things = world(acme)
    call = CALLS[operation.method, operation.path](things)
    for name in operation.body.model_fields:
        for value in WRONG:
            response = api.call(operation.method, operation.path, call.json | {name: value}, query_string=call.query)
            assert response.status_code < 500, (name, value, response.text)
            if response.status_code >= 400:
                is_clear(response)


def test_one_bad_record_never_fails_its_neighbours(api: Api) -> None:
    good = [{"name": f"G{n}", "email": f"{uuid7().hex}@example.com", "external_id": f"G{n}"} for n in range(3)]
    bad: list[Any] = [
        5,
        None,
        [],
        "x",
        {},
        {"name": "No contact"},
        {"email": "nameless@example.com"},
        {"name": "B", "email": "nonsense", "external_id": "B1"},
        {"name": "B", "phone": "12"},
        {"name": "B", "email": "b@example.com", "nickname": "?"},
        {"name": "B\0", "email": "b@example.com", "external_id": "B2"},
        {"name": "B", "email": "b@example.com", "custom_fields": {"n": 2**60}},
        {"name": "B", "email": "b@example.com", "custom_fields": {"__proto__": 1}},
        {"name": "B", "email": "b@example.com", "tags": "vip"},
        {"name": ["B"], "email": "b@example.com"},
        {"name": "B" * 300, "email": "b@example.com"},
    ]
    answer = api.post("/api-customers-bulk-create", {"customers": [good[0], *bad, *good[1:]]}).json
    assert (answer["total"], answer["created"], answer["failed"]) == (len(bad) + 3, 3, len(bad))
    assert [error["index"] for error in answer["errors"]] == list(range(1, len(bad) + 1))
    assert all(error["code"] and error["message"] for error in answer["errors"])
    by_index = {error["index"]: error for error in answer["errors"]}
    assert (by_index[8]["external_id"], by_index[8]["field"]) == ("B1", "email")
    assert (by_index[11]["external_id"], by_index[11]["field"]) == ("B2", "name")
    details = api.post("/api-customers-sync", {"customers": [*bad, good[0]]}).json["results"]["details"]
    assert [detail["action"] for detail in details] == ["failed"] * len(bad) + ["updated"]
    assert details[7]["error"]["field"] == "email"


@pytest.mark.parametrize("path", ["/api-customers-sync", "/api-customers-bulk-create"])
def test_a_batch_has_1_to_1000_records(path: str, api: Api) -> None:
    for customers in ([], [{}] * 1001, {}, "x", None, 5):
        assert is_clear(api.post(path, {"customers": customers}), 422)["field"] == "customers"
    is_clear(api.post(path, {}), 422)
    is_clear(api.post(path, {"customers": [{}], "business_id": "x"}), 422)


# --- queries ---


READS = [item for item in OPERATIONS if item.query]


@pytest.mark.parametrize("operation", READS, ids=[f"{item.method} {item.path}" for item in READS])
def test_any_text_in_any_parameter_is_refused_or_found_nothing(operation: Any, api: Api, acme: Business) -> None:
    things = world(acme)
    call = CALLS[operation.method, operation.path](things)
    for name in operation.query.model_fields:
        for value in ("\0", "a\0b", "%", "'", "x" * 3000, "-1", "1e9", "9" * 400, "ü", "\ud83d", "null", "", "[]"):
            query = call.query | {name: value.encode("utf-8", "surrogatepass")}
            response = api.call(operation.method, operation.path, call.json, query_string=query)
            assert response.status_code < 500, (name, value, response.text)
            if "\0" in value:
                is_clear(response, 422)


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/api-customers", 1000), ("/api-messages-since", 1000), ("/api-events", 1000), ("/api-conversations", 1000)],
)
def test_limits_have_bounds(path: str, limit: int, api: Api) -> None:
    more = {"since": "2025-01-01T00:00:00Z"} if "since" in path else {}
    assert api.get(path, limit=limit, **more).status_code == 200
    assert api.get(path, limit=1, **more).status_code == 200
    for value in ("0", "-1", str(limit + 1), "1e3", "ten", "", "9" * 100):
        assert is_clear(api.get(path, limit=value, **more), 422)["field"] == "limit"


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "====",
        "WzFd",
        "bnVsbA",
        cursors.write("a", "b"),
        cursors.write(1, 2),
        cursors.write("\0", "x"),
        "é",
    ],
)
@pytest.mark.parametrize("path", ["/api-customers", "/api-conversations", "/api-users"])
def test_a_cursor_that_is_none_of_ours_is_refused(path: str, cursor: str, api: Api) -> None:
    assert is_clear(api.get(path, cursor=cursor), 422)["field"] == "cursor"


def test_a_parameter_given_twice_or_unknown_is_refused(api: Api) -> None:
    is_clear(api.call("GET", "/api-customers?email=a@example.com&email=b@example.com"), 422)
    assert is_clear(api.get("/api-customers", extrenal_id="C1"), 422)["field"] == "extrenal_id"


@pytest.mark.parametrize(
    "since",
    [
        "yesterday",
        "2025-11-04",
        "2025-11-04T09:00:00",
        "2025-13-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-11-04T25:00:00Z",
        "2025-11-04T09:00:00+99:00",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2025-11-04T09:00:00Z\n",
        "٢٠٢٥-11-04T09:00:00Z",
        "1762246800",
        "",
    ],
)
def test_a_time_that_is_none_is_refused(since: str, api: Api) -> None:
    assert is_clear(api.get("/api-messages-since", since=since), 422)["field"] == "since"


@pytest.mark.parametrize(
    "since",
    [
        "2025-11-04T09:00:00Z",
        "2025-11-04t09:00:00z",
        "2025-11-04 09:00:00Z",
        "2025-11-04T09:00:00.1Z",
        "2025-11-04T09:00:00.123456789Z",
        "2025-11-04T10:00:00+01:00",
        "2025-11-03T21:00:00.000000-12:00",
    ],
)
def test_every_offset_and_precision_of_rfc_3339_is_read(since: str, api: Api) -> None:
    answer = api.get("/api-messages-since", since=since).json
    assert answer["next_since"].startswith("2025-11-04T09:00:00.")


def test_a_plus_that_the_url_turned_into_a_space_is_read_as_plus(api: Api) -> None:
    answer = api.call("GET", "/api-messages-since?since=2025-11-04T10:00:00+01:00").json
    assert answer["next_since"] == "2025-11-04T09:00:00.000000Z"


# --- the envelope of HTTP ---


def test_a_body_of_another_type_is_415_and_says_what_to_send(api: Api) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        response = api.call("POST", "/api-customers", data=b'{"name": "Joe"}', headers={"Content-Type": kind})
        assert "application/json" in is_clear(response, 415)["message"]


def test_json_may_be_declared_in_any_usual_way(api: Api) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.crm+json"):
        body = b'{"name": "Joe", "email": "%b@example.com"}' % uuid7().hex.encode()
        assert api.call("POST", "/api-customers", data=body, headers={"Content-Type": kind}).status_code == 201


def test_a_get_that_declares_json_and_has_no_body_works(api: Api) -> None:
    assert api.get("/api-customers", headers={"Content-Type": "application/json"}).status_code == 200


def test_unknown_addresses_and_methods_answer_in_the_same_form(api: Api) -> None:
    is_clear(api.get("/api-nothing"), 404)
    is_clear(api.get("/api-customers/x"), 404)
    response = api.call("PUT", "/api-customers")
    is_clear(response, 405)
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST", "PATCH", "DELETE"}


def test_expires_in_is_a_whole_number_within_its_bounds(api: Api, acme: Business) -> None:
    customer_id = str(world(acme).customer)
    for value in (0, -1, 59, 86_401, 1e9, "3600", True, None, 3600.5, [3600]):
        error = is_clear(api.post("/api-sso-generate-token", {"customer_id": customer_id, "expires_in": value}), 422)
        assert error["field"] == "expires_in"
    for value in (60, 86_400):
        asked = {"customer_id": customer_id, "expires_in": value}
        assert api.post("/api-sso-generate-token", asked).status_code == 200


def test_long_fields_are_refused_with_their_limit(api: Api) -> None:
    base = {"name": "Joe", "email": f"{uuid7().hex}@example.com"}
    for name, value in (
        ("name", "x" * 201),
        ("email", "x" * 400 + "@example.com"),
        ("notes", "x" * 10_001),
        ("tags", ["x"] * 51 + [str(n) for n in range(51)]),
        ("tags", ["x" * 65]),
        ("custom_fields", {"a": "x" * 40_000}),
        ("external_id", "x" * 256),
    ):
        assert is_clear(api.post("/api-customers", base | {name: value}), 422)["field"] == name
