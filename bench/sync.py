"""Customers in bulk, over HTTP, against COPY of the very same rows into the very same tables."""

from __future__ import annotations

import time
from typing import Any

from bench.figures import Figure, interleaved, ms, seconds
from bench.stage import Stage

ROUNDS = 7
TABLES = ("customers", "identities", "events", "deliveries")


def people(batch: int, count: int = 1000) -> list[dict[str, Any]]:
    return [
        {
            "external_id": f"C{batch}-{i}",
            "external_system": "salesforce",
            "name": f"Person {batch} {i}",
            "email": f"person.{batch}.{i}@example.com",
            "phone": f"+35387{1_000_000 + batch * 1000 + i}",
            "tags": ["customer"],
            "custom_fields": {"segment": "enterprise", "value": i},
        }
        for i in range(count)
    ]


def measure(stage: Stage) -> list[Figure]:
    stage.call(
        "POST",
        "/api-webhooks",
        {"name": "CRM", "url": "http://127.0.0.1:9/hook", "events": ["customer.created", "customer.updated"]},
    )
    hook = stage.call("GET", "/api-webhooks")["webhooks"][0]["id"]
    stage.call("PATCH", f"/api-webhooks?id={hook}", {"paused": True})
    return [*_batches(stage), _import(stage)]


def _batches(stage: Stage) -> list[Figure]:
    batches = iter(range(1000))
    last: dict[str, Any] = {}

    def create() -> float:
        last["records"] = people(next(batches))
        return _sync(stage, last["records"], "created")

    def copy_created() -> float:
        return _copy(stage, "created", TABLES)

    def update() -> float:
        for record in last["records"]:
            record |= {"notes": "VIP", "custom_fields": {"segment": "smb"}}
        return _sync(stage, last["records"], "updated")

    def copy_updated() -> float:
        return _copy(stage, "updated", TABLES)

    created, floor_created, updated, floor_updated = interleaved(ROUNDS, create, copy_created, update, copy_updated)
    return [
        Figure("sync of 1,000 new customers ÷ COPY", created / floor_created, 3, note=_note(created, floor_created)),
        Figure("sync of 1,000 existing ÷ COPY", updated / floor_updated, 3, note=_note(updated, floor_updated)),
    ]


def _note(ours: float, floor: float) -> str:
    return f"{ms(ours)} against {ms(floor)}"


def _sync(stage: Stage, records: list[dict[str, Any]], action: str) -> float:
    began = time.perf_counter()
    results = stage.call("POST", "/api-customers-sync", {"customers": records})["results"]
    taken = time.perf_counter() - began
    assert results[action] == len(records), results
    return taken


def _copy(stage: Stage, action: str, tables: tuple[str, ...]) -> float:
    """Copy out what the last call wrote, and copy it back in as another business's."""
    other = stage.db.execute(
        "INSERT INTO businesses (id, name, default_region, timezone, crm_name, crm_record_url, embed_origins,"
        " created_at) SELECT uuidv7(), 'floor', 'IE', 'UTC', '', '', '{}', now() RETURNING id"
    ).fetchone()[0]  # type: ignore[index]
    hook = stage.db.execute(
        "INSERT INTO webhook_endpoints SELECT (jsonb_populate_record(w, jsonb_build_object('business_id', %s::text,"
        " 'id', uuidv7()))).* FROM webhook_endpoints w WHERE w.business_id = %s RETURNING id",
        (str(other), stage.business_id),
    ).fetchone()[0]  # type: ignore[index]
    newest = f"business_id = '{stage.business_id}' AND type = 'customer.{action}' ORDER BY sequence DESC LIMIT 1000"
    ours = f"business_id = '{stage.business_id}'"
    wanted = {
        "customers": f"SELECT * FROM customers WHERE {ours} AND id IN (SELECT customer_id FROM events WHERE {newest})",
        "identities": f"SELECT * FROM identities WHERE {ours} AND customer_id IN "
        f"(SELECT customer_id FROM events WHERE {newest})",
        "events": f"SELECT * FROM events WHERE {newest}",
        "deliveries": f"SELECT * FROM deliveries WHERE {ours} AND event_sequence IN "
        f"(SELECT sequence FROM events WHERE {newest})",
    }
    mine = [str(stage.business_id), _hook(stage)]
    theirs = [str(other), str(hook)]
    data = {table: _out(stage, wanted[table], mine, theirs) for table in tables}

    def insert() -> None:
        with stage.db.transaction(), stage.db.cursor() as cursor:
            for table, rows in data.items():
                with cursor.copy(f"COPY {table} FROM STDIN") as stream:
                    stream.write(rows)

    return seconds(insert)


def _hook(stage: Stage) -> str:
    row = stage.db.execute("SELECT id FROM webhook_endpoints WHERE business_id = %s", (stage.business_id,)).fetchone()
    return str(row[0])  # type: ignore[index]


def _out(stage: Stage, query: str, mine: list[str], theirs: list[str]) -> bytes:
    with stage.db.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as stream:
        rows = b"".join(bytes(block) for block in stream)
    for old, new in zip(mine, theirs, strict=True):
        rows = rows.replace(old.encode(), new.encode())
    return rows


def _import(stage: Stage) -> Figure:
    """Import as the guide does: five calls of 1,000, one after the other."""
    _, key = stage.business("Import")
    batches = [people(500 + batch) for batch in range(5)]

    def run() -> None:
        for batch in batches:
            stage.call("POST", "/api-customers-bulk-create", {"customers": batch}, key=key)

    return Figure("the guide's import of 5,000 customers", seconds(run), 2.5, unit="s")
