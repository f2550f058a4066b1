"""Reads with 1,000,000 messages stored against the same reads with 10,000."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.figures import Figure, ms, seconds
from bench.stage import Stage

FEW, MANY = 10_000, 1_000_000
CALLS = 40
READS: dict[str, Callable[[Stage, str, int], str]] = {
    "messages-since (100 messages)": lambda stage, key, n: (
        f"/api-messages-since?since={stage.since(n * 7919 % 9000)}&include_attachments=true&limit=100"  # type: ignore[attr-defined]
    ),
    "customer by external_id": lambda stage, key, n: f"/api-customers?external_id=X{n * 37 % 1000}",
    "conversations by customer, with messages": lambda stage, key, n: (
        f"/api-conversations-by-customer?external_id=X{n * 37 % 1000}&include_messages=true&include_attachments=true"
    ),
}


def measure(stage: Stage) -> list[Figure]:
    businesses = {size: stage.business(f"Grown{size}") for size in (FEW, MANY)}
    figures = []
    small = _fill_and_time(stage, *businesses[FEW], FEW)
    large = _fill_and_time(stage, *businesses[MANY], MANY)
    for name in READS:
        note = f"{ms(large[name])} against {ms(small[name])}"
        figures.append(Figure(f"{name}: 1,000,000 ÷ 10,000", large[name] / small[name], 1.5, note=note))
    return figures


def _fill_and_time(stage: Stage, business_id: str, key: str, size: int) -> dict[str, float]:
    fill(stage, business_id, size)
    stage.since = lambda place: f"2026-01-01T00:{place // 60 % 60:02}:{place % 60:02}Z"  # type: ignore[attr-defined]
    found = {}
    for name, path in READS.items():
        for n in range(5):
            stage.call("GET", path(stage, key, n), key=key)
        found[name] = statistics.median(
            seconds(lambda n=n, path=path: stage.call("GET", path(stage, key, n), key=key)) for n in range(CALLS)
        )
    return found


def fill(stage: Stage, business_id: str, size: int) -> None:
    """Write `size` messages among 1,000 customers with a conversation each, a second apart."""
    rows = {"business": business_id, "size": size, "people": 1000}
    with stage.db.transaction():
        for statement in _FILL:
            stage.db.execute(statement, rows)
    stage.db.execute("ANALYZE")


_FILL = (
    """INSERT INTO channel_accounts (business_id, id, kind, name, account_key, address, config, secrets, state,
           created_at, updated_at)
       VALUES (%(business)s::uuid, uuidv7(), 'whatsapp', 'Bench', %(business)s::text, '+35310000000', '{}', '',
           'paused', now(), now())""",
    """INSERT INTO customers (business_id, id, name, external_ids, external_id, external_system, tags,
           custom_fields, search, created_at, updated_at)
       SELECT %(business)s, uuidv7(), 'Person ' || n, jsonb_build_object('default', 'X' || n), 'X' || n, 'default',
           '{}', '{}', 'person ' || n, now(), now() FROM generate_series(0, %(people)s - 1) AS n""",
    """INSERT INTO identities (business_id, kind, value, scope, customer_id, shared, created_at)
       SELECT business_id, 'external_id', external_id, 'default', id, false, now() FROM customers
       WHERE business_id = %(business)s""",
    """INSERT INTO conversations (business_id, id, number, customer_id, account_id, channel, address, status, tags,
           unread_count, preview, thread, last_message_at, created_at, updated_at)
       SELECT c.business_id, uuidv7(), row_number() OVER (), c.id, a.id, 'whatsapp', '+353', 'open', '{}', 0, '', '{}',
           now(), now(), now() FROM customers c JOIN channel_accounts a USING (business_id)
       WHERE c.business_id = %(business)s""",
    """INSERT INTO messages (business_id, id, conversation_id, customer_id, account_id, channel, direction, kind,
           private, status, announced, content, extra, sender_kind, sender_name, attempts, created_at, updated_at)
       SELECT c.business_id, uuidv7(), c.id, c.customer_id, c.account_id, 'whatsapp', 'inbound', 'text', false,
           'received', true, 'Message number ' || n, '{}', 'customer', 'Person', 0,
           timestamptz '2026-01-01Z' + n * interval '1 second', now()
       FROM generate_series(0, %(size)s - 1) AS n
       JOIN conversations c ON c.business_id = %(business)s AND c.number = n %% %(people)s + 1""",
)
