"""A file of 10 MB in and out: how much more memory each process holds while it goes through."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.figures import Figure
from bench.stage import Stage

SIZE = 10 * 1024 * 1024 - 4096
CUSTOMER = "+353871234567"


def measure(stage: Stage) -> list[Figure]:
    config = {
        "phone_number_id": "5550001",
        "business_account_id": "9001",
        "phone_number": "+35316000000",
        "access_token": "token",
        "app_secret": "secret",
        "verify_token": "verify",
    }
    stage.call("POST", "/api-channels", {"channel": "whatsapp", "name": "Bench", "config": config})
    stage.live.flask("sandbox", "say", "whatsapp", "--text", "Hello", "--from", CUSTOMER)  # declares the number there
    number = config["phone_number_id"]
    _say(stage, number, b"%PDF-1.4\nwarm")  # what is loaded once is no part of what a file costs
    _send(stage, b"%PDF-1.4\nwarm")
    file = b"%PDF-1.4\n" + b"x" * (SIZE - 9)
    return [
        _held("a 10 MB file that comes in", stage, lambda: _say(stage, number, file)),
        _held("a 10 MB file that goes out", stage, lambda: _send(stage, file)),
    ]


def _held(what: str, stage: Stage, step: Callable[[], None]) -> Figure:
    """Run a step; give the most that any one process of ours held beyond what it held before."""
    before = {process.pid: (process.name(), _reset(process.pid)) for process in _ours(stage)}
    step()
    grown = {pid: _peak(pid) - held for pid, (_, held) in before.items() if Path(f"/proc/{pid}").exists()}
    pid = max(grown, key=lambda one: grown[one])
    return Figure(f"{what}: extra memory", grown[pid] / 1024, 32, unit="MB", note=f"most in “{before[pid][0]}”")


def _ours(stage: Stage) -> list[psutil.Process]:
    roots = [psutil.Process(stage.live.processes[name].pid) for name in ("web", "worker")]
    return [one for root in roots for one in (root, *root.children(recursive=True))]


def _reset(pid: int) -> int:
    """Let the kernel forget the process's peak; give what it holds now, in KiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status(pid, "VmRSS")


def _peak(pid: int) -> int:
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _say(stage: Stage, number: str, data: bytes) -> None:
    before = _files(stage)
    file = {"filename": "big.pdf", "mime": "application/pdf", "data": base64.b64encode(data).decode()}
    body = json.dumps({"account": number, "from": CUSTOMER, "text": "", "file": file})
    answer = stage.http.request(
        "POST",
        f"{stage.live.sandbox_url}/control/whatsapp/say",
        body=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.data
    _until(lambda: _files(stage) > before)


def _files(stage: Stage) -> int:
    row: Any = stage.db.execute("SELECT count(*) FROM attachments WHERE state = 'ready'").fetchone()
    return int(row[0])


def _send(stage: Stage, data: bytes) -> None:
    answer = stage.http.request(
        "POST",
        f"{stage.live.base_url}/functions/v1/api-upload-attachment",
        fields={"file": ("big.pdf", data, "application/pdf")},
        headers={"x-api-key": stage.key},
    )
    assert answer.status == 201, answer.data
    wish = {
        "phone": CUSTOMER,
        "channel": "whatsapp",
        "content": "Your file",
        "attachments": [json.loads(answer.data)["attachment"]["file_url"]],
    }
    message_id = stage.call("POST", "/api-send-message", wish)["message_id"]
    _until(
        lambda: stage.call("GET", f"/api-messages?id={message_id}")["message"]["status"] not in ("queued", "sending")
    )
    assert stage.call("GET", f"/api-messages?id={message_id}")["message"]["status"] != "failed"


def _until(look: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.05)
