"""Webhook endpoints: create, change, pause, rotate. What is sent to them lives in deliveries, tests in webhook_tests.

A draft is an endpoint in the making: a form's values, kept so that a test can be sent before anything is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import delete as delete_from
from sqlalchemy import select, text, update

import jobs
from errors import Conflict, Invalid, NotFound
from lib import signing
from lib.ids import uuid7
from models import Business, Delivery, Notice, Replay, WebhookEndpoint, db, now
from services import notices, payloads
from services.webhook_fields import CHECKS, seal, unseal

OVERLAP = timedelta(hours=24)
MAX_ENDPOINTS = 50
HIDDEN = ("draft", "deleted")  # states of endpoints that nobody is shown
_PLAIN: dict[str, Any] = {
    "description": "",
    "channels": (),
    "direction": None,
    "headers": {},
    "policy": "standard",
    "ordered": False,
    "timeout": 15,
}


def page(business: Business) -> Sequence[WebhookEndpoint]:
    where = (WebhookEndpoint.business_id == business.id, WebhookEndpoint.state.not_in(HIDDEN))
    query = select(WebhookEndpoint).where(*where)
    return db.session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()


def get(business: Business, endpoint_id: UUID, *, draft: bool = False) -> WebhookEndpoint:
    """Get an endpoint; a draft is one only for whoever asks for it."""
    endpoint = db.session.get(WebhookEndpoint, (business.id, endpoint_id))
    if endpoint is None or endpoint.state == "deleted" or (endpoint.state == "draft" and not draft):
        raise NotFound("No webhook of this business has that id.", code="webhook_not_found")
    return endpoint


def of_crm(business: Business) -> WebhookEndpoint | None:
    """Find the one endpoint of Business Settings → CRM Integration."""
    return next((endpoint for endpoint in page(business) if endpoint.is_crm), None)


def create(
    business: Business, *, name: str, url: str, events: Sequence[str], by: UUID | None = None, **options: Any
) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; give it and its secret, which is shown now and revealed later on request."""
    db.session.execute(select(Business.id).where(Business.id == business.id).with_for_update(key_share=True))
    listed = page(business)
    if len(listed) >= MAX_ENDPOINTS:
        raise Conflict(f"A business has at most {MAX_ENDPOINTS} webhooks.", code="too_many_webhooks")
    if options.get("is_crm") and any(endpoint.is_crm for endpoint in listed):
        raise Conflict("The CRM Integration has its webhook already. Reload the page.", code="crm_webhook_exists")
    endpoint = _new(business, by, name=name, url=url, events=events, **options)
    return endpoint, secret(endpoint)


def draft(business: Business, by: UUID, **said: Any) -> WebhookEndpoint:
    """Keep what a form says for a day, so that a test may be sent; one for each person, and nothing else goes to it."""
    where = (WebhookEndpoint.business_id == business.id, WebhookEndpoint.state == "draft")
    query = select(WebhookEndpoint).where(*where, WebhookEndpoint.created_by == by).with_for_update()
    endpoint: WebhookEndpoint | None = db.session.scalar(query.limit(1))
    if endpoint is None:
        return _new(business, by, state="draft", **said)
    change(endpoint, **_PLAIN | said)
    db.session.flush()
    return endpoint


def adopt_tests(endpoint: WebhookEndpoint, by: UUID) -> None:
    """Bring what a person tested before saving into the log of the endpoint that they saved."""
    where = (WebhookEndpoint.business_id == endpoint.business_id, WebhookEndpoint.state == "draft")
    query = select(WebhookEndpoint.id).where(*where, WebhookEndpoint.created_by == by)
    drafts = list(db.session.scalars(query.where(WebhookEndpoint.url == endpoint.url)))
    if drafts:
        db.session.flush()
        of_drafts = (Delivery.business_id == endpoint.business_id, Delivery.endpoint_id.in_(drafts))
        db.session.execute(update(Delivery).where(*of_drafts).values(endpoint_id=endpoint.id))
        db.session.execute(delete_from(WebhookEndpoint).where(WebhookEndpoint.id.in_(drafts), *where))


def _new(business: Business, by: UUID | None, state: str = "active", **said: Any) -> WebhookEndpoint:
    endpoint = WebhookEndpoint(business_id=business.id, id=uuid7(), created_by=by, state=state)
    change(endpoint, **{"secret": signing.new_webhook_secret()} | said)
    db.session.add(endpoint)
    db.session.flush()
    return endpoint


def change(endpoint: WebhookEndpoint, **said: Any) -> None:
    """Change what is said; raise `Invalid` naming the field."""
    for name, value in said.items():
        if name not in CHECKS:
            raise Invalid(f"Unknown field '{name}'.", code="unknown_field", field=name)
        try:
            setattr(endpoint, name, CHECKS[name](value))
        except ValueError as exc:
            raise Invalid(f"{name}: {exc}", code="invalid_field", field=name) from None
    endpoint.updated_at = now()


def delete(endpoint: WebhookEndpoint) -> None:
    """Take an endpoint away at once; `sweeps.remove_deleted_webhooks` removes its deliveries, and then the row.

    The row must outlive whoever is about to write to it: a commit that saw the endpoint would wait for a removal with
    the business's order in its hands, and then fail.
    """
    of_it = (Delivery.business_id == endpoint.business_id, Delivery.endpoint_id == endpoint.id)
    asked_for = (Delivery.state == "pending", Delivery.reason == "test")  # tests go out whatever the endpoint's state
    db.session.execute(update(Delivery).where(*of_it, *asked_for).values(state="cancelled"))
    of_it = (Replay.business_id == endpoint.business_id, Replay.endpoint_id == endpoint.id)
    db.session.execute(delete_from(Replay).where(*of_it))
    endpoint.state, endpoint.state_reason, endpoint.updated_at = "deleted", None, now()
    notices.clear(endpoint.business_id, "webhook", endpoint.id)


def pause(endpoint: WebhookEndpoint, reason: str) -> None:
    """Stop sending; events go on being kept for it."""
    endpoint.state, endpoint.state_reason, endpoint.updated_at = "paused", reason, now()


# What is under way has a lease, which is short; only what waits longer than any lease is hurried.
_HURRY = text("""
    UPDATE deliveries SET next_attempt_at = now() WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM deliveries
        WHERE endpoint_id = :id AND state = 'pending' AND next_attempt_at > now() + interval '2 minutes'
        ORDER BY next_attempt_at LIMIT 10000 FOR UPDATE SKIP LOCKED))""")


def resume(endpoint: WebhookEndpoint) -> None:
    """Send again, first of all what waited: also what was to be tried again hours from now (10,000 of them at once)."""
    db.session.execute(_HURRY, {"id": endpoint.id})
    endpoint.state, endpoint.state_reason, endpoint.failing_since = "active", None, None
    endpoint.updated_at = now()
    notices.clear(endpoint.business_id, "webhook", endpoint.id)
    jobs.ring("webhooks", endpoint.id)


def disable(endpoint: WebhookEndpoint, reason: str, *, tell: bool = True) -> None:
    """Stop sending and keeping: the receiver said that it is gone, or an admin switched it off (`tell=False`)."""
    endpoint.state, endpoint.state_reason, endpoint.updated_at = "disabled", reason, now()
    if tell:
        warn(endpoint, reason)


def warn(endpoint: WebhookEndpoint, reason: str) -> None:
    """Tell the admins."""
    text = f"Webhook {endpoint.name}: {reason}"
    db.session.add(Notice(business_id=endpoint.business_id, kind="webhook", subject_id=endpoint.id, text=text))


def secret(endpoint: WebhookEndpoint) -> str:
    return unseal(endpoint.secret)


def rotate(endpoint: WebhookEndpoint, overlap: timedelta = OVERLAP) -> str:
    """Make a new secret. The old one signs the guide's header until the receiver accepts the new one, a day at most.

    Without an overlap the old one is dead at once, as befits one that leaked. A second rotation before the receiver
    knows of the first keeps the one that it does know.
    """
    fresh = signing.new_webhook_secret()
    known = endpoint.secret
    if is_rotating(endpoint) and not endpoint.new_secret_accepted:
        known = endpoint.previous_secret or known
    endpoint.previous_secret, endpoint.secret = known if overlap else None, seal(fresh)
    endpoint.rotation_ends_at, endpoint.new_secret_accepted = now() + overlap if overlap else None, not overlap
    endpoint.updated_at = now()
    return fresh


def is_rotating(endpoint: Any) -> bool:
    """Say whether an old secret still signs, too."""
    return bool(endpoint.previous_secret and endpoint.rotation_ends_at and endpoint.rotation_ends_at > now())


def signing_secrets(endpoint: Any) -> list[str]:
    """Give the secrets to sign with: the guide's header takes the first, the Standard Webhooks header all of them."""
    fresh = unseal(endpoint.secret)
    if not is_rotating(endpoint):
        return [fresh]
    old = unseal(endpoint.previous_secret)
    return [fresh, old] if endpoint.new_secret_accepted else [old, fresh]


def custom_headers(endpoint: Any) -> dict[str, str]:
    return orjson.loads(unseal(endpoint.headers)) if endpoint.headers else {}


def shows(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Give the endpoint as the API shows it, without its secret."""
    return {
        "id": str(endpoint.id),
        "name": endpoint.name,
        "description": endpoint.description,
        "url": endpoint.url,
        "events": endpoint.events,
        "channels": endpoint.channels,
        "direction": endpoint.direction,
        "custom_headers": sorted(custom_headers(endpoint)),
        "policy": endpoint.policy,
        "ordered": endpoint.ordered,
        "timeout": endpoint.timeout,
        "state": endpoint.state,
        "state_reason": endpoint.state_reason,
        "api_version": endpoint.api_version,
        "created_at": payloads.time(endpoint.created_at),
        "updated_at": payloads.time(endpoint.updated_at),
    }
