"""An integrator over real HTTP, for tests of running processes; factories.Api is the same within the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
import urllib3

from tests.factories import BASE
from tests.processes import Live

T = TypeVar("T")
_http = urllib3.PoolManager(timeout=30, retries=False, maxsize=16)


class Caller:
    """A business with its API key; a call that is refused fails the test unless its status is expected."""

    def __init__(self, live: Live, key: str, business_id: str = "", email: str = "", password: str = "") -> None:
        self.live, self.key, self.business_id = live, key, business_id
        self.email, self.password = email, password

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", f"{path}?{urlencode(query)}")

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body)

    def call(self, method: str, path: str, body: Any = None, *, status: int = 0) -> Any:
        answer = fetch(f"{self.live.base_url}{BASE}{path}", method, body, key=self.key)
        assert (answer.status == status) if status else answer.status < 300, f"{answer.status} {answer.data!r}"
        return orjson.loads(answer.data)

    def connect(self, **config: str) -> dict[str, Any]:
        """Connect a WhatsApp number with made-up ids, each business its own."""
        number = str(int(self.business_id[-12:], 16))[:12]
        given = {
            "phone_number_id": f"10{number}",
            "business_account_id": f"20{number}",
            "phone_number": "+35315550001",
            "access_token": f"EAAG{number}",
            "app_secret": f"secret-{number}",
            "verify_token": f"verify-{number}",
        }
        wish = {"channel": "whatsapp", "name": "Front desk", "config": given | config}
        account: dict[str, Any] = self.post("/api-channels", wish)["channel_account"]
        return account

    def say(self, text: str, *words: str, sender: str = "+353871234567") -> Any:
        """Let a customer write, by the operator's command."""
        said = ("--business", self.business_id, "--from", sender, "--text", text)
        return operate(self.live, "sandbox", "say", "whatsapp", *said, *words)

    def messages(self, since: str = "2020-01-01T00:00:00Z", **query: Any) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.get("/api-messages-since", since=since, limit=1000, **query)["messages"]
        return listed


def fetch(
    url: str, method: str = "GET", body: Any = None, *, key: str = "", kind: str = "application/json"
) -> urllib3.BaseHTTPResponse:
    """Ask any address of this machine; a body that is not bytes goes as JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None
    headers = {"Content-Type": kind} | ({"x-api-key": key} if key else {})
    return _http.request(method, url, body=data, headers=headers)


def business(live: Live, name: str = "Acme") -> Caller:
    """Make a business the way an operator does."""
    count = time.time_ns()
    made = operate(live, "business", "create", f"{name} {count}", "--admin-email", f"admin-{count}@example.com")
    return Caller(live, made["api_key"], made["business_id"], made["email"], made["password"])


def operate(live: Live, *words: str) -> Any:
    """Run an operator's command here, which takes a tenth of the time of `live.flask`, and read its answer."""
    done = live.app.test_cli_runner().invoke(args=[*words, "--json"])
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout)


def until(look: Callable[[], T], seconds: float = 10) -> T:
    """Look again until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.03)
    return seen
