"""Callbacks accepted a second by one web process, against a bare route that verifies and inserts one row."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from bench.figures import Figure, interleaved
from bench.load import bare, rate
from bench.stage import Stage

SECRET = "bench-app-secret"
ROUNDS = 3
BACKLOG = 1000


def measure(stage: Stage) -> list[Figure]:
    account = connect(stage)
    stage.db.execute("CREATE TABLE bench_callbacks (id bigserial PRIMARY KEY, body bytea NOT NULL)")
    script = stage.live.services.folder / "callback.lua"
    script.write_text(_script())
    path = account["callback_url"].removeprefix(stage.live.base_url)
    stage.live.stop("worker")  # what it does with them is measured below
    with bare(stage, BENCH_SECRET=SECRET) as floor:
        ours, least = interleaved(
            ROUNDS,
            lambda: rate(stage.live.base_url + path, script=script),
            lambda: rate(f"{floor}/callback", script=script),
        )
    note = f"{ours:.0f} a second against {least:.0f}"
    return [
        Figure("callbacks accepted ÷ bare route", ours / least, 0.4, more=True, note=note),
        _applied(stage, account),
    ]


def _applied(stage: Stage, account: dict[str, Any]) -> Figure:
    """Let the worker get through a backlog of different messages of 50 people; no bar, but it must not be a few."""
    stage.db.execute("UPDATE callbacks SET processed_at = now() WHERE processed_at IS NULL")
    stage.live.app.extensions["queues"]["callbacks"].empty()
    for number in range(BACKLOG):
        body, headers = signed("Dia dhuit", f"wamid.{number}", sender=f"3538712345{number % 50:02}")
        assert stage.http.request("POST", account["callback_url"], body=body, headers=headers).status == 200
    stage.live.start("worker")
    began = time.perf_counter()
    waiting = "SELECT count(*) FROM callbacks WHERE processed_at IS NULL"
    while (row := stage.db.execute(waiting).fetchone()) and row[0]:
        assert time.perf_counter() - began < 300, row
        time.sleep(0.05)
    speed = BACKLOG / (time.perf_counter() - began)
    return Figure("callbacks applied by the worker", speed, 50, unit="/s", more=True, note="a bar of our own")


def connect(stage: Stage) -> dict[str, Any]:
    """Connect a WhatsApp account whose secret is known here."""
    config = {
        "phone_number_id": "5550001",
        "business_account_id": "9001",
        "phone_number": "+35316000000",
        "access_token": "token",
        "app_secret": SECRET,
        "verify_token": "verify",
    }
    made = stage.call("POST", "/api-channels", {"channel": "whatsapp", "name": "Bench", "config": config})
    account: dict[str, Any] = made["channel_account"]
    return account


def signed(text: str, message_id: str, sender: str = "353871234567") -> tuple[str, dict[str, str]]:
    """Give the body of a callback with one message, and its headers."""
    message = {"from": sender, "id": message_id, "timestamp": str(int(time.time())), "type": "text"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "35316000000", "phone_number_id": "5550001"},
        "contacts": [{"profile": {"name": "Aoife"}, "wa_id": sender}],
        "messages": [message | {"text": {"body": text}}],
    }
    changes = [{"value": value, "field": "messages"}]
    body = json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "9001", "changes": changes}]})
    signature = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    return body, {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}


def _script() -> str:
    body, headers = signed("Dia dhuit", "wamid.BENCH")
    lines = [f"wrk.headers['{name}'] = '{value}'" for name, value in headers.items()]
    return "\n".join([f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]", *lines])
