"""The stage of the guide's samples: Node, the live product, and a business with a WhatsApp number."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.callers import Caller, business

HERE = Path(__file__).parent
GUIDE = HERE.parent.parent / "docs" / "integration-guide.md"


class Stage:
    """Runs scripts of scripts/ as the integrator of one business."""

    def __init__(self, caller: Caller, account: dict[str, Any]) -> None:
        self.caller = caller
        self.given = {
            "base_url": caller.live.base_url,
            "sandbox_url": caller.live.sandbox_url,
            "api_key": caller.key,
            "phone_number_id": account["config"]["phone_number_id"],
        }

    def start(self, script: str, **given: Any) -> subprocess.Popen[str]:
        """Start a script beside the test; `result` waits for what it returns."""
        return subprocess.Popen(
            ["node", str(HERE / "stage.js"), script, json.dumps(self.given | given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NODE_OPTIONS": "--no-deprecation"},
        )

    def result(self, running: subprocess.Popen[str]) -> Any:
        with running:
            try:
                out, errors = running.communicate(timeout=90)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
        assert running.returncode == 0, errors
        return json.loads(out)

    def run(self, script: str, **given: Any) -> Any:
        return self.result(self.start(script, **given))


@pytest.fixture
def caller(live: Any) -> Caller:
    return business(live)


@pytest.fixture
def stage(caller: Caller) -> Stage:
    """A business that the guide's first customer has just written to."""
    account = caller.connect()
    customer = {"external_id": "CRM-12345", "name": "John Doe", "email": "john@example.com", "phone": "+353871234567"}
    caller.post("/api-customers-sync", {"customers": [customer]})
    caller.say("Good morning", "--name", "John Doe")
    return Stage(caller, account)
