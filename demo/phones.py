"""The line to the provider sandbox: our accounts are declared there, and its customers write when told to.

cli.py calls this. It speaks the sandbox's control API (docs/sandbox.md), the same for every provider.
"""

from __future__ import annotations

import base64
import mimetypes
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from lib import fetch
from models import ChannelAccount
from services import channel_accounts

PATIENCE = 30.0  # seconds
_WORTH_WAITING = ("unreachable", "handshake_failed")


class SandboxError(Exception):
    """The sandbox refused, or is not there."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def connect(url: str, account: ChannelAccount) -> bool:
    """See to it that the sandbox has this account and calls us back; say whether that was news to it.

    The handshake calls our web process, which may still be starting: there is time for that.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if _knows(url, account):
                return False
            _call(url, f"{account.kind}/accounts", _declaration(account))
            return True
        except SandboxError as exc:
            if exc.code not in _WORTH_WAITING or time.monotonic() > deadline:
                raise
        time.sleep(0.25)


def introduce(url: str, account: ChannelAccount, people: Iterable[tuple[str, str]]) -> None:
    """Tell the sandbox of customers (address, name) who wrote within the window, and whose phones are looked at."""
    for address, name in people:
        body = {"account": account.account_key, "from": address, "name": name, "window": "open", "auto_read": True}
        _call(url, f"{account.kind}/people", body)


def say(url: str, account: ChannelAccount, *, sender: str, name: str, text: str, file: Path | None) -> dict[str, Any]:
    """Let a customer write: a real, signed call of the provider's to our own address; raise if we refuse it."""
    body: dict[str, Any] = {"account": account.account_key, "from": sender}
    body |= {key: value for key, value in (("name", name), ("text", text)) if value}
    if file:
        mime = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        data = base64.b64encode(file.read_bytes()).decode()
        body["file"] = {"filename": file.name, "mime": mime, "data": data}
    answer: dict[str, Any] = _call(url, f"{account.kind}/say", body)
    attempts = (answer.get("delivery") or {}).get("attempts") or []
    if attempts and not 200 <= (attempts[-1]["status"] or 0) < 300:
        said = attempts[-1]["status"] or attempts[-1]["error"]
        raise SandboxError(
            "refused", f"{channel_accounts.callback_url(account)} did not take it: {said}. The sandbox will try again."
        )
    return answer


def _declaration(account: ChannelAccount) -> dict[str, Any]:
    """Say what the provider knows of the account. The callback is the account's own, whoever shares its app."""
    return {
        **channel_accounts.to_channel(account).config,
        "display_phone_number": account.address,
        "verified_name": account.name,
        "override_callback_url": channel_accounts.callback_url(account),
    }


def _knows(url: str, account: ChannelAccount) -> bool:
    ours = {account.account_key, channel_accounts.callback_url(account)}
    return any(ours <= set(map(str, one.values())) for one in _call(url, f"{account.kind}/accounts")["accounts"])


def _call(url: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    parts = urlsplit(url)
    policy = fetch.Policy(hosts=(f"{parts.hostname}:{parts.port or 80}",))
    try:
        answer = fetch.request(
            "POST" if body else "GET",
            f"{url}/control/{path}",
            headers={"Content-Type": "application/json"},
            body=orjson.dumps(body) if body else None,
            timeout=30,
            max_bytes=64 * 1024 * 1024,
            policy=policy,
        )
    except fetch.FetchError as exc:
        raise SandboxError("unreachable", f"The sandbox at {url} cannot be reached: {exc.message}") from None
    said = orjson.loads(answer.body)
    if answer.status >= 400:
        raise SandboxError(said["error"]["code"], said["error"]["message"])
    return said
