"""The customer beside a conversation: edit a field in place, review a possible duplicate, merge."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from flask import Blueprint, Response, g, render_template, request

from blueprints import fragments, screens
from errors import AppError, Invalid
from models import db
from services import customer_lifecycle, customers

routes = Blueprint("people", __name__)

# What can be edited in place: the kind of control, and how it is called.
FIELDS = {
    "name": ("text", "Name"),
    "phone": ("tel", "Phone"),
    "whatsapp_number": ("tel", "WhatsApp number"),
    "email": ("email", "Email"),
    "address": ("area", "Address"),
    "notes": ("area", "Notes"),
    "tags": ("text", "Tags, separated by commas"),
}


@routes.get("/inbox/customers/<uuid:customer_id>/edit")
def editor(customer_id: UUID) -> str:
    """Give the small form that edits one field."""
    return _editor(customers.get(g.business, id=customer_id), request.args.get("field", ""))


@routes.post("/inbox/customers/<uuid:customer_id>")
def change(customer_id: UUID) -> tuple[str, int] | str:
    """Change one field; what is wrong comes back in the form."""
    customer = customers.get(g.business, id=customer_id)
    field = request.form.get("field", "")
    try:
        record = _record(customer, field, request.form.get("value", "").strip())
        customers.update(g.business, customer.id, record)
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        return _editor(customers.get(g.business, id=customer_id), field, problem), 422
    return fragments.render_customer(g.business, customers.get(g.business, id=customer_id))


@routes.get("/inbox/customers/<uuid:customer_id>/merge/<uuid:other_id>")
def review_merge(customer_id: UUID, other_id: UUID) -> str:
    """Show two customers side by side."""
    both = [customers.get(g.business, id=one) for one in (customer_id, other_id)]
    return render_template("inbox/_merge.html", both=both)


@routes.post("/inbox/customers/<uuid:customer_id>/merge/<uuid:other_id>")
def merge(customer_id: UUID, other_id: UUID) -> Response:
    """Keep the first; the other's messages and identities move to it."""
    customer_lifecycle.merge(g.business, customer_id, other_id)
    db.session.commit()
    return screens.toast(Response("", 204, {"HX-Refresh": "true"}), "Merged")


def _editor(customer: Any, field: str, problem: AppError | None = None) -> str:
    own = field.removeprefix("custom.") if field.startswith("custom.") else ""
    if field not in FIELDS and not own and field != "custom":
        raise Invalid("This field cannot be edited here.", field="field")
    control, name = FIELDS.get(field, ("text", own or "New field"))
    value = customer.custom_fields.get(own) if own else getattr(customer, field, "")
    shown = ", ".join(value) if field == "tags" else value if isinstance(value, str) else _text(value)
    return render_template(
        "inbox/_edit.html", customer=customer, field=field, name=name, control=control, value=shown, problem=problem
    )


def _record(customer: Any, field: str, value: str) -> dict[str, Any]:
    if field == "tags":
        return {"tags": [tag.strip() for tag in value.split(",") if tag.strip()]}
    if field == "custom":
        return {"custom_fields": {request.form.get("key", "").strip(): value}}
    if field.startswith("custom."):
        key = field.removeprefix("custom.")
        return {"custom_fields": {key: _typed(value, customer.custom_fields.get(key))}}
    if field not in FIELDS:
        raise Invalid("This field cannot be edited here.", field="field")
    return {field: value or None}


def _typed(value: str, before: Any) -> Any:
    """Keep a number a number and a yes a yes, so that the CRM finds what it had put there."""
    if not value:
        return None
    if before is None or isinstance(before, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise Invalid("Your CRM put a number or a list here. Keep to its form.", field="value") from None


def _text(value: Any) -> str:
    return "" if value is None else orjson.dumps(value).decode()
