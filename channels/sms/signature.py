"""Twilio's signature over a callback, and how its form is read. Called by the channel and by `inbound`.

How it is made: https://www.twilio.com/docs/usage/security#validating-requests
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from channels.base import BadSignature, Callback

_PORTS = {"https": 443, "http": 80}


def verify(callback: Callback, config: Mapping[str, Any]) -> None:
    """Check `X-Twilio-Signature` over the public URL and the form, or the URL alone where that holds the body's hash.

    Signed with the auth token by SHA-1, or with the webhooks' shared key by SHA-256 if a header says so.
    """
    given = callback.headers.get("x-twilio-signature", "").encode()
    if not given:
        raise BadSignature("The X-Twilio-Signature header is missing.")
    secret, algorithm = _key(callback.headers.get("x-twilio-webhooks-signature-settings", ""), config)
    pairs = _signed_pairs(callback)
    wanted = [sign(secret, url, pairs, algorithm).encode() for url in _spellings(callback.url)]
    if not any(hmac.compare_digest(given, each) for each in wanted):
        raise BadSignature("The signature does not fit the address, the form and the auth token.")
    if dict(pairs).get("AccountSid", config["account_sid"]) != config["account_sid"]:
        raise BadSignature("The callback is about another Twilio account.")


def sign(secret: str, url: str, pairs: Iterable[tuple[str, str]], algorithm: str = "sha1") -> str:
    """Make a signature: of the URL, and each name with its value, in order and without repeats."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), algorithm)).decode()


def form(body: bytes) -> list[tuple[str, str]]:
    """Read a form; blank values stay, since they are signed too."""
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


def _key(settings: str, config: Mapping[str, Any]) -> tuple[str, str]:
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    shared = named.get("algorithm", "").upper() == "HMAC_SHA256"
    secret = str(config.get("webhook_shared_key" if shared else "auth_token") or "")
    if not secret:
        what = "shared key for webhooks" if shared else "auth token"
        raise BadSignature(f"Twilio signed this with the account's {what}, which is not entered here.")
    return secret, "sha256" if shared else "sha1"


def _signed_pairs(callback: Callback) -> list[tuple[str, str]]:
    expected = dict(parse_qsl(urlsplit(callback.url).query)).get("bodySHA256")
    if expected is None:
        return form(callback.body)
    found = hashlib.sha256(callback.body).hexdigest()
    if not hmac.compare_digest(found.encode(), expected.lower().encode()):
        raise BadSignature("The body is not the one whose hash is in the address.")
    return []


def _spellings(url: str) -> Iterator[str]:
    """Give the URL as it is, and with its scheme's default port left out or written."""
    yield url
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    port = f":{_PORTS.get(scheme, 443)}"
    bare = host.removesuffix(port)
    yield f"{scheme}://{bare if bare != host else host + port}{slash}{path}"
