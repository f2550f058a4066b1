"""What an event costs that nobody subscribes to: the same change with it and without it."""

from __future__ import annotations

import itertools
import statistics
from unittest.mock import patch

from app import create_app
from bench.figures import Figure, ms, seconds
from bench.stage import API, Stage
from services import events

CALLS = 300


def measure(stage: Stage) -> list[Figure]:
    made = stage.call("POST", "/api-customers", {"name": "Joe", "email": "joe@example.com"})
    path = f"/api-customers?id={made['customer_id']}"
    cost = _cost(stage, path)
    request = statistics.median(
        seconds(lambda number=number: stage.call("PATCH", path, {"notes": f"HTTP {number}"})) for number in range(CALLS)
    )
    note = f"{ms(cost)} of {ms(request)}"
    return [Figure("an event without subscriber ÷ its request", cost / request, 0.1, note=note)]


def _cost(stage: Stage, path: str) -> float:
    """Make the same change in this process with the event and without it: what the event costs, in seconds."""
    app = create_app(stage.live.settings)
    client = app.test_client()
    numbers = itertools.count()

    def change() -> object:
        words = {"notes": f"Call {next(numbers)}"}
        return client.patch(API + path, json=words, headers={"x-api-key": stage.key})

    whole, rest = [], []
    for _ in range(CALLS):
        whole.append(seconds(change))
        app.extensions["asked"].flush()  # what is told aside is no part of the change after it
        with patch.object(events, "append", lambda *_, **__: None):
            rest.append(seconds(change))
    return statistics.median(whole[20:]) - statistics.median(rest[20:])
