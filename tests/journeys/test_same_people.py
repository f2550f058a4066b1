"""Batches of the same people at the same time, in opposite orders: each is one person, and no caller notices."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.callers import Caller, business
from tests.processes import Live


def people(count: int) -> list[dict[str, Any]]:
    return [
        {"external_id": f"P{i}", "name": f"Person {i}", "email": f"p{i}@example.com", "phone": f"+35385{3000000 + i}"}
        for i in range(count)
    ]


# Few keys are locked one by one, many by the business: both ways, and one beside the other.
@pytest.mark.parametrize("sizes", [(8,), (200,), (8, 200)])
def test_opposite_orders_make_each_person_once(live: Live, sizes: tuple[int, ...]) -> None:
    acme = business(live)
    everybody = people(max(sizes))

    def sync(worker: int) -> list[dict[str, Any]]:
        caller, details = Caller(live, acme.key), []
        for turn in range(6):
            size = sizes[(worker + turn) % len(sizes)]
            batch = everybody[:size] if size == len(everybody) else random.sample(everybody, size)
            path = "/api-customers-sync" if turn % 2 else "/api-customers-bulk-create"
            answer = caller.post(path, {"customers": batch[:: -1 if worker % 2 else 1]})
            details += answer["details"] if "details" in answer else answer["results"]["details"]
        return details

    with ThreadPoolExecutor(8) as pool:
        details = [detail for done in pool.map(sync, range(8)) for detail in done]
    assert {detail["action"] for detail in details} == {"created", "updated"}
    created = [detail["external_id"] for detail in details if detail["action"] == "created"]
    assert sorted(created) == sorted(person["external_id"] for person in everybody)
    assert len({(detail["external_id"], detail["customer_id"]) for detail in details}) == len(everybody)
    listed = acme.get("/api-customers", limit=1000)
    assert len(listed["customers"]) == len(everybody)


def test_handles_that_cross_make_no_third_person(live: Live) -> None:
    """One caller knows a person by id and email, the other by email and phone, a third by phone alone."""
    acme = business(live)
    views = [
        [{"external_id": f"X{i}", "name": f"N{i}", "email": f"x{i}@example.com"} for i in range(12)],
        [{"name": f"N{i}", "email": f"x{i}@example.com", "phone": f"+35386{3000000 + i}"} for i in range(12)],
    ]

    def sync(worker: int) -> None:
        batch = views[worker % 2][:: -1 if worker % 4 > 1 else 1]
        for _ in range(4):
            answer = Caller(live, acme.key).post("/api-customers-sync", {"customers": batch})
            assert answer["results"]["failed"] == 0, answer

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, range(8)))
    listed = acme.get("/api-customers", limit=1000)["customers"]
    assert sorted(one["email"] for one in listed) == sorted(f"x{i}@example.com" for i in range(12))
    assert all(one["external_id"] and one["phone"] for one in listed)
