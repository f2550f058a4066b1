#!/usr/bin/env python3
"""Forward a business's webhooks to this machine, with no tunnel: needs Python and an API key, nothing else.

    ALACARTE_API_KEY=alc_live_… python3 listen.py --base-url https://chat.example.com/functions/v1 \\
        --forward-to http://localhost:3000/hook

Follows the event stream and posts each event as the product would: same body, same headers, signed, tried again, no
redirect followed. What a lost connection kept from us is made up for. `flask listen` is this with a key of its own.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

RETRIES = (2, 4, 8)  # seconds, as the product's own
MAX_RETRY_AFTER = 60  # seconds, likewise
MAX_PAUSE = 30  # seconds between two tries to reach the product
TROUBLE = (OSError, HTTPException)  # a connection that failed, or broke off in the middle of an answer

Event = tuple[int, str, bytes]  # its sequence, its type and the webhook's body, byte for byte


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Take a redirect as the answer that it is: neither the events nor the API key go anywhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_TO_PRODUCT = urllib.request.build_opener(_NoRedirect)
_TO_RECEIVER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Source:
    """The event log of one business; `types` has commas between, and empty means all of them."""

    base_url: str
    key: str
    types: str = ""

    def ask(self, **query: Any) -> Any:
        """Open `GET /api-events`."""
        wanted = {name: value for name, value in (query | {"type": self.types}).items() if value not in (None, "")}
        url = f"{self.base_url}/api-events?{urllib.parse.urlencode(wanted)}"
        return _TO_PRODUCT.open(urllib.request.Request(url, headers={"x-api-key": self.key}), timeout=60)

    def stream(self, after: int | None) -> Iterator[Event]:
        """Give what came after a sequence, then what happens, until the stream ends.

        An empty type only says how far the stream is; `reset` and `bye` are the stream's own.
        """
        with self.ask(stream="true", after=after) as answer:
            if answer.headers.get_content_type() != "text/event-stream":
                raise SystemExit(f"{self.base_url} is not our API; it ends in /functions/v1.")
            for frame in _frames(answer):
                if b"id" in frame or b"event" in frame:
                    yield int(frame.get(b"id", b"0")), frame.get(b"event", b"").decode(), frame.get(b"data", b"")

    def log(self, after: int) -> Iterator[Event]:
        """Give what the log holds after a sequence, to its end."""
        more = True
        while more:
            with self.ask(after=after, limit=1000) as answer:
                text = answer.read().decode()
            page = json.loads(text)
            yield from _cut(text, page["events"])
            after, more = page["next_after"], page["has_more"]


def _frames(lines: Iterable[bytes]) -> Iterator[dict[bytes, bytes]]:
    """Read a stream's frames; one that is cut off in the middle is none."""
    frame: dict[bytes, bytes] = {}
    for line in lines:
        if text := line.rstrip(b"\r\n"):
            name, _, value = text.partition(b":")
            frame[name] = value.removeprefix(b" ")
        elif line:
            yield frame
            frame = {}


def _cut(text: str, events: Iterable[Any]) -> Iterator[Event]:
    """Cut the bodies out of a page as they stand there: written anew, they would not be the bytes that are signed."""
    at = text.index("[") + 1
    for event in events:
        end = json.JSONDecoder().raw_decode(text, at)[1]
        yield event["sequence"], event["event"], b"{" + text[at:end].partition(",")[2].encode()
        at = end + 1


def follow(source: Source, opened: Callable[[], Any] = lambda: None) -> Iterator[Event]:
    """Give each event from now on, for ever and once; a connection that is lost is taken up where it broke.

    `opened` is called when the first connection stands. Raises `SystemExit` when the product refuses us for good.
    """
    after: int | None = None
    failures = 0
    while True:
        trouble, pause = "it ended", 0.0
        try:
            for sequence, kind, body in source.stream(after):
                failures = 0
                if kind == "bye":
                    raise SystemExit("The API key is no longer good.")
                if after is None:
                    opened()
                    after = sequence if not kind else sequence - 1
                if kind == "reset" and sequence >= after:
                    _note(f"missed too much of the stream; reading the log from {after} on")
                    for event in source.log(after):
                        after = event[0]
                        yield event
                    after = max(after, sequence)
                elif kind == "reset":
                    _note(f"the log is another one now and ends at {sequence}; going on from there")
                    after = sequence
                elif sequence > after:
                    after = sequence
                    if kind:
                        yield sequence, kind, body
        except HTTPError as exc:
            trouble, pause = _refusal(source, exc)
        except TROUBLE as exc:
            trouble = str(exc) or type(exc).__name__
        pause = max(pause, min(2**failures, MAX_PAUSE))
        failures += 1
        _note(f"lost the stream ({trouble}); trying again in {pause:.0f} s")
        time.sleep(pause)


def _refusal(source: Source, exc: HTTPError) -> tuple[str, float]:
    """Tell a passing refusal and how long to wait; raise `SystemExit` for one that stays."""
    with exc:
        if exc.code in (408, 429) or exc.code >= 500:
            return f"{source.base_url} answered {exc.code}", _retry_after(exc)
        said = exc.headers.get("Location") or exc.read(300).decode(errors="replace")
        raise SystemExit(f"{source.base_url} answered {exc.code}: {said}")


def _retry_after(exc: HTTPError) -> float:
    sent = exc.headers.get("Retry-After", "")
    return float(min(int(sent[:9]), MAX_RETRY_AFTER)) if sent.isascii() and sent.isdigit() else 0.0


def forward(url: str, secret: str, kind: str, body: bytes) -> str:
    """Post one event with the product's headers and retries; give the end of it in a word."""
    for attempt, wait in enumerate((*RETRIES, None), 1):
        outcome, retry_after = _post(url, _headers(secret, kind, body, attempt), body)
        if retry_after is None or wait is None:
            break
        time.sleep(max(wait, retry_after))
    return outcome


def _post(url: str, headers: dict[str, str], body: bytes) -> tuple[str, float | None]:
    """Make one attempt: its outcome, and the seconds to wait at least before another, None where none may help."""
    try:
        with _TO_RECEIVER.open(urllib.request.Request(url, data=body, headers=headers), timeout=15) as answer:
            return str(answer.status), None
    except HTTPError as exc:
        with exc:
            if exc.code < 400:
                return f"{exc.code} to {exc.headers.get('Location', 'nowhere')}; redirects are not followed", None
            return str(exc.code), _retry_after(exc) if exc.code == 429 else 0.0 if exc.code >= 500 else None
    except TROUBLE as exc:
        return str(exc) or type(exc).__name__, 0.0


def _headers(secret: str, kind: str, body: bytes, attempt: int) -> dict[str, str]:
    event_id, stamp = json.loads(body)["id"], str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    standard = hmac.new(_standard_key(secret), f"{event_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "AlaCarteChat-Webhooks/1",
        "X-Webhook-Signature": signature,
        "X-Webhook-Timestamp": stamp,
        "X-Webhook-Id": event_id,
        "X-Webhook-Event": kind,
        "X-Webhook-Attempt": str(attempt),
        "X-Webhook-Version": "2025-11-04",
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(standard).decode(),
    }


def _standard_key(secret: str) -> bytes:
    """Give the key of Standard Webhooks; a secret that is no base64 is taken as it stands, as the product does."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(source: Source, url: str, *, secret: str = "", as_json: bool = False, say: Callable[[str], Any] = _say) -> None:
    """Forward until interrupted, a line for each event; an empty secret is made up and told."""
    for address in (source.base_url, url):
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise SystemExit(f"'{address}' is no web address; one is written like http://localhost:3000/hook.")
    secret = secret or "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()

    def tell(text: str, **facts: Any) -> None:
        say(json.dumps(facts, ensure_ascii=False) if as_json else text)

    def opened() -> None:
        tell(f"Forwarding to {url}, signed with {secret}", forward_to=url, secret=secret)

    for sequence, kind, body in follow(source, opened):
        event = json.loads(body)
        erased = event.get("data") is None  # since it happened: the product would send nothing either
        outcome = "erased, not forwarded" if erased else forward(url, secret, kind, body)
        line = f"{time.strftime('%H:%M:%S')}  {kind:<28} {outcome}"
        tell(line, sequence=sequence, event=kind, id=event.get("id"), outcome=outcome)


def main() -> None:
    parser = argparse.ArgumentParser(description="Forward a business's webhooks to this machine.")
    parser.add_argument("--forward-to", required=True, help="where your receiver listens, http://localhost:3000/hook")
    parser.add_argument("--base-url", default=os.environ.get("ALACARTE_BASE_URL", "http://localhost:8000/functions/v1"))
    parser.add_argument("--api-key", default=os.environ.get("ALACARTE_API_KEY", ""), help="or ALACARTE_API_KEY")
    parser.add_argument("--secret", default="", help="sign with this; made up when left out")
    parser.add_argument("--events", default="", help="only these types, with commas between")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    given = parser.parse_args()
    if not given.api_key:
        parser.error("give --api-key or set ALACARTE_API_KEY; a key with the scope messages:read suffices")
    source = Source(given.base_url.rstrip("/"), given.api_key, given.events)
    with contextlib.suppress(KeyboardInterrupt):
        run(source, given.forward_to, secret=given.secret, as_json=given.json)


if __name__ == "__main__":
    main()
