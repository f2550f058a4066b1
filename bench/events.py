"""What an event costs that nobody subscribes to: the same request with the event and without it, in one process."""

from __future__ import annotations

import statistics
import time
from unittest.mock import patch

from app import create_app
from bench.figures import Figure, ms
from bench.stage import API, Stage
from services import events

CALLS = 300


def measure(stage: Stage) -> list[Figure]:
    app = create_app(stage.live.settings)
    client = app.test_client()
    headers = {"x-api-key": stage.key}
    made = client.post(f"{API}/api-customers", json={"name": "Joe"}, headers=headers).get_json()
    path = f"{API}/api-customers?id={made['customer']['id']}"

    def change(number: int) -> float:
        began = time.perf_counter()
        answer = client.patch(path, json={"notes": f"Call {number}"}, headers=headers)
        assert answer.status_code == 200, answer.text
        return time.perf_counter() - began

    with_event, without = [], []
    for number in range(CALLS):
        with_event.append(change(2 * number))
        with patch.object(events, "append", lambda *_, **__: None):
            without.append(change(2 * number + 1))
    whole, rest = statistics.median(with_event[20:]), statistics.median(without[20:])
    note = f"{ms(whole)} with it, {ms(rest)} without"
    return [Figure("an event without subscriber ÷ its request", (whole - rest) / whole, 0.1, note=note)]
