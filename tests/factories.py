"""Things to test with: callers of the API, customers, connected accounts and messages, made by the real verbs."""

from __future__ import annotations

from contextvars import Context
from datetime import datetime
from typing import Any

import orjson
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from channels.base import Inbound, Person
from lib.ids import uuid7
from models import Business, ChannelAccount, Message, db, now
from services import arrivals, channel_accounts, customers, keys

BASE = "/functions/v1"


class FreshClient(FlaskClient):
    """A client whose requests share no context with the test, as those of a server do not."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        return Context().run(super().open, *args, **options)  # type: ignore[no-any-return]


class Api:
    """An integrator: a key and the paths of the guide."""

    def __init__(self, app: Flask, key: str | None) -> None:
        self.client = FreshClient(app, app.response_class)
        self.key = key

    def call(
        self, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        sent = {"x-api-key": self.key} if self.key else {}
        if json is not None:
            options["data"] = json if isinstance(json, bytes) else orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        return self.client.open(BASE + path, method=method, headers=sent | (headers or {}), **options)

    def get(self, path: str, /, headers: dict[str, str] | None = None, **query: Any) -> Any:
        return self.call("GET", path, headers=headers, query_string=query)

    def post(self, path: str, json: Any = None, **options: Any) -> Any:
        return self.call("POST", path, json, **options)

    def patch(self, path: str, json: Any = None, **options: Any) -> Any:
        return self.call("PATCH", path, json, **options)

    def delete(self, path: str, **query: Any) -> Any:
        return self.call("DELETE", path, query_string=query)


def api_key(business: Business, *scopes: str, expires_at: datetime | None = None) -> str:
    _, text = keys.create(business, "a key of the tests", scopes or ["admin"], expires_at)
    db.session.commit()
    return text


def customer(business: Business, **fields: Any) -> Any:
    """Make a customer; an email of their own unless told otherwise."""
    person, _ = customers.create(business, {"name": "Joe Bloggs", "email": f"{uuid7().hex}@example.com"} | fields)
    db.session.commit()
    return person


def whatsapp(business: Business, **config: str) -> ChannelAccount:
    """Connect a WhatsApp number."""
    number = uuid7().int % 10**9
    given = {
        "phone_number_id": f"1{number:09d}",
        "business_account_id": f"2{number:09d}",
        "phone_number": "+35316000000",
        "access_token": "EAAGtoken",
        "app_secret": "0123456789abcdef0123456789abcdef",
        "verify_token": "verify-me-please",
    }
    account = channel_accounts.connect(business, "whatsapp", "Front desk", given | config)
    db.session.commit()
    return account


def received(
    business: Business, account: ChannelAccount, text: str = "Hello", *, number: str = "353871234567", **item: Any
) -> Message:
    """Let a customer write on a WhatsApp number."""
    given = {
        "provider_id": f"wamid.{uuid7().hex}",
        "account": account.account_key,
        "person": Person(address=number, name="Joe Bloggs", phone=f"+{number}"),
        "at": now(),
        "text": text,
    }
    message = arrivals.receive(business, account, Inbound(**(given | item)))
    db.session.commit()
    assert message is not None
    return message
