"""What the tests know of each kind of channel: an account that could exist, and how its provider signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from channels.base import Account, Callback

FIXTURES = Path(__file__).parent / "fixtures"
URL = "https://chat.example.ie/callbacks"


@dataclass(frozen=True)
class Provider:
    config: dict[str, str]
    encode: Callable[[Any], bytes]  # a fixture's body as the provider writes it
    sign: Callable[[bytes], dict[str, str]]  # the headers that come with it


def as_meta_writes(body: Any) -> bytes:
    """Escape as Meta does, so that whoever re-serialises before verifying is found out."""
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/").encode()


def as_meta_signs(secret: str) -> Callable[[bytes], dict[str, str]]:
    def sign(body: bytes) -> dict[str, str]:
        return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}

    return sign


def as_it_came(body: Any) -> bytes:
    """Give a mail's bytes, which a fixture of mail holds in a file of its own; what damage made of it, as JSON."""
    return body.encode("latin-1", "replace") if isinstance(body, str) else json.dumps(body).encode()


def as_twilio_writes(body: Any) -> bytes:
    """Write a form; what damage made of it, as well as a form can."""
    if not isinstance(body, dict):
        return json.dumps(body).encode()
    return urlencode({str(name): str(value) for name, value in body.items()}, errors="surrogatepass").encode()


def as_twilio_signs(secret: str, url: str) -> Callable[[bytes], dict[str, str]]:
    def sign(body: bytes) -> dict[str, str]:
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        text = url + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
        digest = hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()
        return {"x-twilio-signature": base64.b64encode(digest).decode()}

    return sign


PROVIDERS = {
    "whatsapp": Provider(
        config={
            "phone_number_id": "5550001",
            "business_account_id": "9001",
            "phone_number": "+35316000000",
            "access_token": "EAAG-token",
            "app_secret": "app-secret-123",
            "verify_token": "verify-me",
        },
        encode=as_meta_writes,
        sign=as_meta_signs("app-secret-123"),
    ),
    "facebook": Provider(
        config={
            "page_id": "111",
            "page_name": "Acme",
            "access_token": "EAAG-page-token",
            "app_secret": "app-secret-123",
            "verify_token": "verify-me",
        },
        encode=as_meta_writes,
        sign=as_meta_signs("app-secret-123"),
    ),
    "instagram": Provider(
        config={
            "account_id": "17841400000000000",
            "username": "acme.ie",
            "access_token": "IGAA-token",
            "app_secret": "app-secret-123",
            "instagram_app_secret": "ig-secret-456",
            "verify_token": "verify-me",
        },
        encode=as_meta_writes,
        sign=as_meta_signs("ig-secret-456"),
    ),
    "sms": Provider(
        config={
            "account_sid": "AC00000000000000000000000000000001",
            "auth_token": "auth-token-123",
            "from_number": "+353861111111",
        },
        encode=as_twilio_writes,
        sign=as_twilio_signs("auth-token-123", f"{URL}/sms/account-1"),
    ),
    "email": Provider(
        config={
            "address": "support@acme.ie",
            "display_name": "Acme Support",
            "password": "let me in",
            "imap_host": "imap.acme.ie",
            "smtp_host": "smtp.acme.ie",
        },
        encode=as_it_came,
        sign=lambda _: {"account": "support@acme.ie", "authserv": ""},
    ),
}


def account(kind: str, **config: str) -> Account:
    return Account("account-1", "business-1", kind, "", PROVIDERS[kind].config | config)  # type: ignore[arg-type]


def callback(kind: str, body: bytes, *, headers: dict[str, str] | None = None, **query: str) -> Callback:
    given = PROVIDERS[kind].sign(body) if headers is None else headers
    return Callback("POST", f"{URL}/{kind}/account-1", given, query, body)


def situations(kind: str) -> list[str]:
    return sorted(path.stem for path in (FIXTURES / kind).glob("*.json"))


def situation(kind: str, name: str) -> dict[str, Any]:
    path = FIXTURES / kind / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if (mail := path.with_suffix(".eml")).exists():
        found["body"] = mail.read_bytes().decode("latin-1")
    return found
