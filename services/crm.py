"""How far a business has come with its CRM: a key, linked customers, a webhook that works, an embed that was opened.

Read by Settings → Business Settings → CRM Integration. Each figure is what the tables say now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text

from models import ApiKey, Business, Delivery, WebhookEndpoint, db, now, reading
from services import webhook_tests


@dataclass(frozen=True, slots=True)
class Progress:
    """The four steps. `seen_at` and `seen_on`: the last embed; `token_at`: the last token that was asked for."""

    key: ApiKey | None
    linked: int
    customers: int
    test: Delivery | None
    seen_at: datetime | None
    seen_on: str
    token_at: datetime | None


def progress(business: Business, endpoint: WebhookEndpoint | None) -> Progress:
    with reading() as connection:
        row: Any = connection.execute(_FIGURES, {"business_id": business.id}).one()
    good = (ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now()))
    keys = select(ApiKey).where(ApiKey.business_id == business.id, *good)
    return Progress(
        key=db.session.scalar(keys.order_by(ApiKey.last_used_at.desc().nulls_last()).limit(1)),
        linked=row.linked,
        customers=row.customers,
        test=webhook_tests.last(business, endpoint) if endpoint else None,
        seen_at=row.seen_at,
        seen_on=row.seen_on or "",
        token_at=row.token_at,
    )


_FIGURES = text("""
    SELECT (SELECT count(*) FROM customers WHERE business_id = :business_id) AS customers,
           (SELECT count(DISTINCT customer_id) FROM identities
            WHERE business_id = :business_id AND kind = 'external_id') AS linked,
           seen.seen_at, seen.origin AS seen_on,
           (SELECT max(at) FROM (
               SELECT at, path, status FROM api_calls
               WHERE business_id = :business_id ORDER BY id DESC LIMIT 20000) AS call
            WHERE path LIKE '%/api-sso-generate-token' AND status < 300) AS token_at
    FROM (SELECT 1) AS one LEFT JOIN LATERAL (
        SELECT seen_at, origin FROM embed_sessions WHERE business_id = :business_id
        ORDER BY seen_at DESC LIMIT 1) AS seen ON true""")
