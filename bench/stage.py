"""Where it is measured: the embedded servers with durable commits, the product's own processes, one business."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import urllib3

import embedded
from tests import servers
from tests.processes import Live

API = "/functions/v1"


class Stage:
    """Running processes, a key, and a connection to look behind them."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.made = live.flask("business", "create", "Bench", "--admin-email", "bench@example.com")
        self.business_id = self.made["business_id"]
        self.key = self.made["api_key"]
        self.http = urllib3.PoolManager(maxsize=16)
        self.db = psycopg.connect(live.services.psycopg(), autocommit=True)

    def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"x-api-key": key or self.key, "content-type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        answer = self.http.request(method, self.live.base_url + API + path, body=data, headers=headers)
        assert answer.status < 300, (answer.status, answer.data[:500])
        return json.loads(answer.data)

    def business(self, name: str) -> tuple[str, str]:
        """Make one more business; give its id and its key."""
        made = self.live.flask("business", "create", name, "--admin-email", f"{name}@example.com".lower())
        return made["business_id"], made["api_key"]


@contextmanager
def stage(**settings: object) -> Iterator[Stage]:
    """Start everything in a folder of its own, and end it."""
    with tempfile.TemporaryDirectory(prefix="alacarte-bench-") as name:
        folder = Path(name)
        os.environ["TEST_CONTROLLER"] = str(os.getpid())
        os.environ[servers.FOLDER] = name
        running = embedded.start(folder / "data", durable=True)
        services = servers.Services(running.database_url, running.redis_url, folder / "live")
        services.folder.mkdir()
        try:
            servers.migrate(running.database_url, running.redis_url, services.folder)
            live = Live(services, API_RATE_LIMIT=10_000_000, **settings)
            live.start()
            try:
                built = Stage(live)
                yield built
                built.db.close()
            finally:
                live.stop()
        finally:
            running.stop()
