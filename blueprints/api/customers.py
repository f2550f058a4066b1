"""Customers: find one or list them, create, change, erase, merge, export. The batches are in customers_batch."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Response, g
from pydantic import BaseModel, ConfigDict, Field

from blueprints import answers
from blueprints.api.parsing import Body, Cursor, Id, Query, Time
from blueprints.api.routing import Document, Routes
from blueprints.api.shapes import Customer, Deleted, Done, Page, Shown
from services import customer_lifecycle, customers, payloads

routes = Routes("Customers")

ExternalId = Annotated[
    str | int | None, Field(max_length=255, description="The CRM's id; case-sensitive.", examples=["CRM-12345"])
]


class CustomerFields(BaseModel):
    """What may be said of a customer. A field left out is untouched, `null` clears it, an unknown one is refused.

    `id`, `created_at`, `updated_at` and `external_ids` are ours: they may come back as we gave them and change nothing.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        None, max_length=200, description="Required to create, or a first or last name.", examples=["John Doe"]
    )
    first_name: str | None = Field(None, max_length=100)
    last_name: str | None = Field(None, max_length=100)
    email: str | None = Field(
        None, max_length=320, description="This or a phone is required to create.", examples=["john@example.com"]
    )
    phone: str | int | None = Field(
        None,
        max_length=64,
        description="Read with the business's default region, kept in E.164.",
        examples=["+353871234567"],
    )
    whatsapp_number: str | int | None = Field(None, max_length=64)
    external_id: ExternalId = None
    external_system: str | None = Field(
        None, max_length=64, description="Which CRM: `salesforce`, `hubspot`, …", examples=["salesforce"]
    )
    address: str | None = Field(None, max_length=1000)
    notes: str | None = Field(None, max_length=10_000)
    tags: list[str] | None = Field(None, max_length=50, description="Replaces all tags.", examples=[["vip"]])
    custom_fields: dict[str, Any] | None = Field(
        None,
        description="Merged one level deep; a key with `null` is removed. At most 32 KB.",
        examples=[{"crm_segment": "enterprise", "contract_value": 50000}],
    )


class CustomersQuery(Query):
    """One customer by `id`, `external_id`, `email` or `phone`; with none of them, a list."""

    id: Id | None = None
    external_id: str | None = Field(None, max_length=255, examples=["CRM-12345"])
    external_system: str | None = Field(None, max_length=64)
    email: str | None = Field(None, max_length=320)
    phone: str | None = Field(None, max_length=64)
    tag: str | None = Field(None, max_length=64)
    q: str | None = Field(None, max_length=200, description="Part of a name, address, number or external id.")
    updated_since: Time | None = Field(None, description="Changed after this; then the oldest change comes first.")
    cursor: Cursor | None = None
    limit: int = Field(50, ge=1, le=1000)


class CustomerPage(Page):
    customers: list[Customer]


class CustomerQuery(Query):
    id: Id = Field(description="Our id of the customer.")


class Warned(Shown):
    code: str = Field(examples=["shared_email"])
    customer_id: str


class CustomerAnswer(Done):
    customer: Customer
    customer_id: str
    warnings: list[Warned] = Field(
        default_factory=list, description="`shared_email` or `shared_phone`: somebody else has it too."
    )


class MergeBody(Body):
    keep_id: Id
    merge_id: Id = Field(description="Its identities, conversations and messages move; its id goes on finding them.")


class Export(Shown):
    """All that is held on a person."""

    model_config = ConfigDict(extra="allow")
    customer: Customer


@routes.get("/api-customers", scope="customers:read", answer=(Customer, CustomerPage), errors=(404, 409))
def show(query: CustomersQuery) -> Response:
    """Find a customer, or list them

    By `id`, `external_id` (with `external_system` if several systems use the same ids), `email` or `phone` this is the
    customer itself. With none of these it is a page of customers, the newest first.
    """
    if query.id or query.external_id is not None or query.email is not None or query.phone is not None:
        row = customers.get(
            g.business,
            id=query.id,
            external_id=query.external_id,
            external_system=query.external_system,
            email=query.email,
            phone=query.phone,
        )
        return answers.show(payloads.customer(row))
    rows, cursor = customers.page(
        g.business, tag=query.tag, q=query.q, updated_since=query.updated_since, cursor=query.cursor, limit=query.limit
    )
    return answers.show(
        {"customers": [payloads.customer(row) for row in rows], "has_more": cursor is not None, "next_cursor": cursor}
    )


@routes.post("/api-customers", scope="customers", answer=CustomerAnswer, status=201, errors=(409,))
def create(body: Document[CustomerFields]) -> Response:
    """Create a customer

    409 `customer_exists` names the one who has this external id, email or phone already; `api-customers-sync` would
    update them instead.
    """
    person, outcome = customers.create(g.business, body)
    return answers.commit(lambda: _answer(person, outcome), 201)


@routes.patch("/api-customers", scope="customers", answer=CustomerAnswer, errors=(404, 409))
def change(query: CustomerQuery, body: Document[CustomerFields]) -> Response:
    """Change a customer

    Send only what changes.
    """
    customer = customers.get(g.business, id=query.id)
    person, outcome = customers.update(g.business, customer.id, body)
    return answers.commit(lambda: _answer(person, outcome))


@routes.delete("/api-customers", scope="customers", answer=Deleted, errors=(404,))
def erase(query: CustomerQuery) -> Response:
    """Erase a customer

    Deletes the person's data, messages and files for good. The event `customer.deleted` carries ids and nothing else.
    """
    customer = customers.get(g.business, id=query.id)
    customer_lifecycle.erase(g.business, customer.id)
    return answers.commit(lambda: {"success": True, "id": str(customer.id)})


@routes.post("/api-customers-merge", scope="customers", answer=CustomerAnswer, errors=(404, 409))
def merge(body: MergeBody) -> Response:
    """Merge two customers

    Everything of `merge_id` moves to `keep_id`; fields that the kept customer lacks are filled from the other.
    """
    kept = customer_lifecycle.merge(g.business, body.keep_id, body.merge_id)
    return answers.commit(lambda: _answer(kept))


@routes.get("/api-customers-export", scope="customers:read", answer=Export, errors=(404,))
def export(query: CustomerQuery) -> Response:
    """Export all that is held on a customer

    What a person may ask for by law: the customer with identities, conversations, messages and links to the files.
    """
    customer = customers.get(g.business, id=query.id)
    response = answers.show(customer_lifecycle.export(g.business, customer))
    response.headers["Content-Disposition"] = f'attachment; filename="customer-{customer.id}.json"'
    return response


def _answer(person: Any, outcome: Any = None) -> dict[str, Any]:
    return {
        "success": True,
        "customer": payloads.customer(person),
        "customer_id": str(person.id),
        "warnings": outcome.warnings if outcome else [],
    }
