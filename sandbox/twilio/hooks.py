"""Twilio's callbacks: forms, signed over the address and the sorted parameters.

How: https://www.twilio.com/docs/usage/security#validating-requests. Called by `statuses` and `customers`.
"""

from __future__ import annotations

import base64
import hmac
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sandbox.faults import Fault
from sandbox.store import Row
from sandbox.world import World

_AGENT = {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*", "X-Home-Region": "us1"}


def signature(secret: str, url: str, pairs: Iterable[tuple[str, str]], algorithm: str = "sha1") -> str:
    """Give the value of `X-Twilio-Signature`: of the address, then each name with each of its values, in order."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), algorithm)).decode()


def post(world: World, account: Row, url: str, form: dict[str, str] | bytes, *, person: str, label: str) -> int | None:
    """Queue a callback to an address; None if there is none. The fragment stays ours: it is neither sent nor signed."""
    if not url:
        return None
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    fault = world.faults.take("callback", account["provider"], account=account["id"], person=person)
    return world.sender.post(
        provider=account["provider"],
        account=account["id"],
        person=person,
        label=label,
        url=url,
        headers=_headers(account["data"], url.partition("#")[0], body, fault),
        body=body,
        fault=fault,
    )


def _headers(data: dict[str, Any], url: str, body: bytes, fault: Fault | None) -> dict[str, str]:
    """Sign with the auth token, or with the shared key where there is one, unless a fault wants it otherwise."""
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **_AGENT}
    headers["I-Twilio-Idempotency-Token"] = str(uuid.uuid4())
    kind = fault.kind if fault else ""
    if kind == "missing_signature":
        return headers
    secret, algorithm = data["auth_token"], "sha1"
    if data["webhook_shared_key"]:
        secret, algorithm = data["webhook_shared_key"], "sha256"
        headers["X-Twilio-Webhooks-Signature-Settings"] = "key=sandbox,algorithm=HMAC_SHA256"
    if kind == "bad_signature":
        secret = "not-" + secret
    if kind == "reserialised_signature":  # an address as a proxy in between sees it
        url = url.replace("http://", "https://", 1) if url.startswith("http://") else url.replace("https", "http", 1)
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {**headers, "X-Twilio-Signature": signature(secret, url, pairs, algorithm)}
