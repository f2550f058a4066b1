"""A Meta app: one secret, and one callback URL per webhook object, shared by all numbers, pages and accounts of it.

Callbacks are dumped and signed here as Meta does: non-ASCII as `\\uXXXX`, `/` as `\\/`, HMAC-SHA256 over those bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any
from urllib.parse import urlencode, urlsplit

from sandbox.callbacks import call
from sandbox.errors import Refused
from sandbox.faults import Fault
from sandbox.world import World

_AGENT = {"User-Agent": "facebookexternalua", "Accept": "*/*"}


def dump(envelope: object) -> bytes:
    """Write JSON byte for byte as Meta's callbacks have it."""
    return json.dumps(envelope, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def signature(secret: str, body: bytes) -> str:
    """Give the value of `X-Hub-Signature-256`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def declare(
    world: World,
    *,
    app_id: str,
    secret: str,
    object_: str,
    url: str,
    verify_token: str,
    shake_hands: bool,
    needs_url: bool,
) -> str:
    """Make or change an app and its callback for one object, after the handshake; give the app's id.

    Without an id, the app is the one that has this secret. Without a URL, the app keeps the one it has.
    """
    app_id = app_id or "app-" + hashlib.sha256(secret.encode()).hexdigest()[:12]
    app: dict[str, Any] = world.store.thing("meta_app", app_id) or {"id": app_id, "callbacks": {}}
    if url:
        if shake_hands:
            handshake(world, url, verify_token)
        app["callbacks"][object_] = {"url": url, "verify_token": verify_token}
    elif needs_url and object_ not in app["callbacks"]:
        raise Refused("callback_url: this app has none yet")
    app["secret"] = secret
    world.store.keep("meta_app", app_id, app)
    return app_id


def handshake(world: World, url: str, verify_token: str) -> None:
    """Verify a callback URL as Meta does before the first event; refuse with what went wrong."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused(f"callback_url: “{url}” is no http(s) address")
    challenge = str(secrets.randbelow(9 * 10**9) + 10**9)
    query = urlencode({"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token})
    full = f"{url}{'&' if parts.query else '?'}{query}"
    answer = call("GET", full, _AGENT)
    world.log.record(
        "out",
        "meta",
        "",
        "GET",
        full,
        request="",
        status=answer.status,
        answer=answer.body or answer.error,
        ms=answer.ms,
        note="handshake",
    )
    said = answer.body[:200].decode("utf-8", "replace")
    if answer.error:
        problem = f"could not be reached: {answer.error}"
    elif answer.status == 403:
        problem = "answered 403; is the verify token the same on both sides?"
    elif answer.status != 200:
        problem = f"answered {answer.status} instead of 200: {said}"
    elif answer.body != challenge.encode():
        problem = f"did not echo the challenge {challenge}, but answered: {said!r}"
    else:
        return
    raise Refused(f"The callback URL could not be validated: {url} {problem}", code="handshake_failed")


def post(
    world: World,
    app_id: str,
    object_: str,
    entries: list[dict[str, Any]] | None,
    *,
    provider: str,
    account: str,
    person: str,
    label: str,
    body: bytes | None = None,
    override: str = "",
) -> int:
    """Queue a signed callback with these entries (or this whole body) to an app's address; give its id."""
    app = world.store.thing("meta_app", app_id)
    if body is None:
        body = dump({"object": object_, "entry": entries})
    fault = world.faults.take("callback", provider, account=account, person=person)
    return world.sender.post(
        provider=provider,
        account=account,
        person=person,
        label=label,
        url=override or app["callbacks"][object_]["url"],
        headers=_headers(app["secret"], body, fault),
        body=body,
        fault=fault,
    )


def _headers(secret: str, body: bytes, fault: Fault | None) -> dict[str, str]:
    """Sign the bytes that go out, unless a fault wants it otherwise."""
    headers = {"Content-Type": "application/json", **_AGENT}
    kind = fault.kind if fault else ""
    if kind == "missing_signature":
        return headers
    if kind == "bad_signature":
        secret = "not-" + secret
    signed = body
    if kind == "reserialised_signature":
        signed = json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()
    legacy = hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()
    return {**headers, "X-Hub-Signature": f"sha1={legacy}", "X-Hub-Signature-256": signature(secret, signed)}
