"""Customers by the thousand: look many up, import them, keep them in step with a CRM."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, g
from pydantic import BaseModel, ConfigDict, Field

from blueprints import answers
from blueprints.api.customers import CustomerFields, Warned
from blueprints.api.parsing import Body, Query, unportable
from blueprints.api.routing import Batch, Routes
from blueprints.api.shapes import Customer, Error, Shown
from errors import Invalid
from lib import js_json
from services import customers, payloads
from services.customers import Outcome

routes = Routes("Customers")

MOST = 1000


class LookupBody(Body):
    """At most 1000 together."""

    ids: list[str] = Field(default_factory=list, max_length=MOST)
    external_ids: list[str | int] = Field(default_factory=list, max_length=MOST, examples=[["CRM-12345", "CRM-12346"]])
    emails: list[str] = Field(default_factory=list, max_length=MOST)
    phones: list[str | int] = Field(default_factory=list, max_length=MOST)


class NotFoundLists(Shown):
    ids: list[str]
    external_ids: list[str]
    emails: list[str]
    phones: list[str]


class LookupAnswer(Shown):
    customers: list[Customer] = Field(description="In the order asked, each once.")
    not_found: NotFoundLists = Field(description="What finds nobody, or more than one person.")


class CustomersBody(BaseModel):
    """1 to 1000 records, applied in order; a record that fails leaves its neighbours alone."""

    model_config = ConfigDict(extra="forbid")
    customers: list[CustomerFields] = Field(min_length=1, max_length=MOST)


class SyncQuery(Query):
    dry_run: bool = Field(False, description="Change nothing, and show what would change in `changes`.")


class Detail(Shown):
    """What became of one record."""

    index: int = Field(examples=[0])
    external_id: str | int | None = Field(examples=["CRM-12345"])
    customer_id: str | None = Field(
        description="Store it beside the CRM's id. Of a dry run that would create, it means nothing.",
        examples=["019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f"],
    )
    action: Literal["created", "updated", "failed"] = Field(examples=["updated"])
    matched_by: Literal["external_id", "email", "phone"] | None = Field(
        description="Which handle found the customer; null for a new one.", examples=["email"]
    )
    warnings: list[Warned] = Field(default_factory=list)
    changes: dict[str, list[Any]] = Field(default_factory=dict, description="Dry runs: field → [old, new].")
    error: Error | None = None


class SyncResults(Shown):
    total: int = Field(examples=[1])
    created: int = Field(examples=[0])
    updated: int = Field(examples=[1])
    failed: int = Field(examples=[0])
    details: list[Detail]


class SyncAnswer(Shown):
    success: Literal[True]
    results: SyncResults


class BulkError(Shown):
    index: int
    external_id: str | int | None
    field: str | None
    code: str
    message: str


class BulkAnswer(Shown):
    success: Literal[True]
    total: int = Field(examples=[1])
    created: int = Field(examples=[0])
    updated: int = Field(examples=[1])
    failed: int = Field(examples=[0])
    errors: list[BulkError] = Field(description="Always a list.", examples=[[]])
    details: list[Detail]


@routes.post("/api-customers-batch-lookup", scope="customers:read", answer=LookupAnswer)
def lookup(body: LookupBody) -> Response:
    """Look many customers up at once"""
    asked = {name: [str(item) for item in items] for name, items in body}
    if not 0 < sum(map(len, asked.values())) <= MOST:
        raise Invalid(f"Ask for 1 to {MOST} customers at once.", code="batch_size")
    found, missing = customers.batch(g.business, **asked)
    return answers.commit(lambda: {"customers": [payloads.customer(row) for row in found], "not_found": missing})


@routes.post("/api-customers-bulk-create", scope="customers", answer=BulkAnswer)
def bulk_create(body: Batch[CustomersBody]) -> Response:
    """Create or update up to 1000 customers

    Matches like `api-customers-sync`: by `external_id`, then `email`, then `phone`.
    """
    outcomes = customers.sync(g.business, _records(body))
    details = [_detail(outcome, body["customers"][outcome.index]) for outcome in outcomes]
    errors = [_bulk_error(detail) for detail in details if detail["action"] == "failed"]
    return answers.commit(lambda: {"success": True, **_counts(outcomes), "errors": errors, "details": details})


@routes.post("/api-customers-sync", scope="customers", answer=SyncAnswer)
def sync(query: SyncQuery, body: Batch[CustomersBody]) -> Response:
    """Keep customers in step with a CRM

    Creates or updates each record: found by `external_id`, else by `email`, else by `phone`. A customer who has another
    external id in the same system is another person: then a new one is made, and `warnings` says which address they
    share. Two customers with one address are never guessed between: the record fails with `ambiguous`.
    """
    outcomes = customers.sync(g.business, _records(body), dry_run=query.dry_run)
    details = [_detail(outcome, body["customers"][outcome.index], changes=query.dry_run) for outcome in outcomes]
    return answers.commit(lambda: {"success": True, "results": {**_counts(outcomes), "details": details}})


def _records(body: dict[str, Any]) -> list[Any]:
    """Check the envelope; a record that could not be kept as it is becomes its own error, and stays in its place."""
    records = body.get("customers")
    unknown = next((name for name in body if name != "customers"), None)
    if unknown is not None:
        raise Invalid("This request holds customers and nothing else.", code="unknown_field", field=unknown[:100])
    if not isinstance(records, list):
        raise Invalid("customers must be a list.", code="invalid_field", field="customers")
    if not 0 < len(records) <= MOST:
        raise Invalid(f"Send 1 to {MOST} customers at once.", code="batch_size", field="customers")
    try:
        js_json.check(records)
    except js_json.NotPortable:
        return [_checked(record) for record in records]
    return records


def _checked(record: Any) -> Any:
    try:
        js_json.check(record)
    except js_json.NotPortable as exc:
        return unportable(exc)
    return record


def _detail(outcome: Outcome, record: Any, *, changes: bool = False) -> dict[str, Any]:
    said = record.get("external_id") if isinstance(record, dict) else None
    detail: dict[str, Any] = {
        "index": outcome.index,
        "external_id": said if type(said) in (str, int) else outcome.external_id,
        "customer_id": str(outcome.customer_id) if outcome.customer_id else None,
        "action": outcome.action,
        "matched_by": outcome.matched_by,
    }
    if outcome.warnings:
        detail["warnings"] = outcome.warnings
    if changes:
        detail["changes"] = outcome.changes
    if outcome.error:
        detail |= {"customer_id": None, "error": outcome.error.as_json()}
    return detail


def _bulk_error(detail: dict[str, Any]) -> dict[str, Any]:
    error = detail["error"]
    return {
        "index": detail["index"],
        "external_id": detail["external_id"],
        "field": error.get("field"),
        "code": error["code"],
        "message": error["message"],
    }


def _counts(outcomes: list[Outcome]) -> dict[str, int]:
    actions = [outcome.action for outcome in outcomes]
    return {"total": len(actions), **{name: actions.count(name) for name in ("created", "updated", "failed")}}
