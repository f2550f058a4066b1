#!/usr/bin/env python3
"""Forward a business's webhooks to this machine, with no tunnel: needs Python and an API key, nothing else.

    ALACARTE_API_KEY=alc_live_… python3 listen.py --base-url https://chat.example.com/functions/v1 \\
        --forward-to http://localhost:3000/hook

Follows the event stream and posts each event as the product would: same body, same headers, signed. `flask listen` is
this with a key of its own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

RETRIES = (2, 4, 8)  # seconds, as the product's own


def follow(base_url: str, key: str, after: int) -> Iterator[tuple[int, str, bytes]]:
    """Give each event as (sequence, type, body), for ever; a lost connection is taken up where it broke."""
    while True:
        request = urllib.request.Request(
            f"{base_url}/api-events?stream=true&after={after}",
            headers={"x-api-key": key, "Accept": "text/event-stream"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as stream:
                for after, kind, body in _events(stream):
                    if kind == "bye":
                        raise SystemExit("The API key is no longer good.")
                    if body:
                        yield after, kind, body
        except urllib.error.HTTPError as exc:
            raise SystemExit(f"{base_url} answered {exc.code}: {exc.read().decode(errors='replace')[:300]}") from None
        except OSError as exc:
            sys.stderr.write(f"lost the stream ({exc}); trying again\n")
            time.sleep(2)


def _events(stream: Any) -> Iterator[tuple[int, str, bytes]]:
    sequence, kind, body = 0, "", b""
    for line in stream:
        name, _, value = line.rstrip(b"\n").partition(b": ")
        if name == b"id":
            sequence = int(value)
        elif name == b"event":
            kind = value.decode()
        elif name == b"data":
            body = value
        elif not name and kind:
            yield sequence, kind, body
            kind, body = "", b""


def newest(base_url: str, key: str) -> int:
    """Give the last sequence that there is, by reading the log to its end."""
    after = 0
    while True:
        url = f"{base_url}/api-events?limit=1000&after={after}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"x-api-key": key}), timeout=60) as answer:
            page = json.load(answer)
        after = page["next_after"]
        if not page["has_more"]:
            return int(after)


def forward(url: str, secret: str, kind: str, body: bytes) -> str:
    """Post one event with the product's headers and retries; give the end of it in a word."""
    outcome = ""
    for attempt in range(1, len(RETRIES) + 2):
        outcome, again = _post(url, _headers(secret, kind, body, attempt), body)
        if not again or attempt > len(RETRIES):
            break
        time.sleep(RETRIES[attempt - 1])
    return outcome


def _post(url: str, headers: dict[str, str], body: bytes) -> tuple[str, bool]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=15) as answer:
            return str(answer.status), False
    except urllib.error.HTTPError as exc:
        return str(exc.code), exc.code == 429 or exc.code >= 500
    except OSError as exc:
        return str(exc), True


def _headers(secret: str, kind: str, body: bytes, attempt: int) -> dict[str, str]:
    event_id, stamp = json.loads(body)["id"], str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    standard = hmac.new(key, f"{event_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-Webhook-Signature": signature,
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Id": event_id,
        "X-Webhook-Event": kind,
        "X-Webhook-Attempt": str(attempt),
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(standard).decode(),
    }


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(
    base_url: str, key: str, url: str, *, secret: str = "", events: str = "", say: Callable[[str], Any] = _say
) -> None:
    """Forward until interrupted; an empty secret is made up and told, no `events` means all of them."""
    secret = secret or "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    wanted = set(events.split(",")) - {""}
    say(f"Forwarding to {url}, signed with {secret}")
    for _, kind, body in follow(base_url, key, newest(base_url, key)):
        if not wanted or kind in wanted:
            say(f"{time.strftime('%H:%M:%S')}  {kind:<28} {forward(url, secret, kind, body)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Forward a business's webhooks to this machine.")
    parser.add_argument("--forward-to", required=True, help="where your receiver listens, http://localhost:3000/hook")
    parser.add_argument("--base-url", default=os.environ.get("ALACARTE_BASE_URL", "http://localhost:8000/functions/v1"))
    parser.add_argument("--api-key", default=os.environ.get("ALACARTE_API_KEY", ""), help="or ALACARTE_API_KEY")
    parser.add_argument("--secret", default="", help="sign with this; made up when left out")
    parser.add_argument("--events", default="", help="only these types, with commas between")
    given = parser.parse_args()
    if not given.api_key:
        parser.error("give --api-key or set ALACARTE_API_KEY; a key with the scope messages:read suffices")
    with contextlib.suppress(KeyboardInterrupt):
        run(given.base_url.rstrip("/"), given.api_key, given.forward_to, secret=given.secret, events=given.events)


if __name__ == "__main__":
    main()
