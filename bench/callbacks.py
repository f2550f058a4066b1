"""Callbacks accepted a second by one web process, against a bare route that verifies and inserts one row."""

from __future__ import annotations

import hashlib
import hmac
import json

from bench.figures import Figure, interleaved
from bench.load import bare, rate
from bench.stage import Stage

SECRET = "bench-app-secret"
ROUNDS = 3


def measure(stage: Stage) -> list[Figure]:
    config = {
        "phone_number_id": "5550001",
        "business_account_id": "9001",
        "phone_number": "+35316000000",
        "access_token": "token",
        "app_secret": SECRET,
        "verify_token": "verify",
    }
    made = stage.call("POST", "/api-channels", {"channel": "whatsapp", "name": "Bench", "config": config})
    stage.db.execute("CREATE TABLE bench_callbacks (id bigserial PRIMARY KEY, body bytea NOT NULL)")
    script = stage.live.services.folder / "callback.lua"
    script.write_text(_script())
    path = made["channel_account"]["callback_url"].removeprefix(stage.live.base_url)
    stage.live.stop("worker")  # what it does with them is measured elsewhere
    with bare(stage, BENCH_SECRET=SECRET) as floor:
        ours, least = interleaved(
            ROUNDS,
            lambda: rate(stage.live.base_url + path, script=script),
            lambda: rate(f"{floor}/callback", script=script),
        )
    note = f"{ours:.0f} a second against {least:.0f}"
    return [Figure("callbacks accepted ÷ bare route", ours / least, 0.4, more=True, note=note)]


def _script() -> str:
    message = {"from": "353871234567", "id": "wamid.BENCH", "timestamp": "1764000000", "type": "text"}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "35316000000", "phone_number_id": "5550001"},
        "contacts": [{"profile": {"name": "Aoife"}, "wa_id": "353871234567"}],
        "messages": [message | {"text": {"body": "Dia dhuit"}}],
    }
    envelope = {"object": "whatsapp_business_account", "entry": [{"id": "9001", "changes": [{"value": value}]}]}
    body = json.dumps(envelope)
    signature = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    return (
        f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\n"
        f"wrk.headers['Content-Type'] = 'application/json'\nwrk.headers['X-Hub-Signature-256'] = 'sha256={signature}'\n"
    )
