"""A CRM that embeds: Acme with a WhatsApp number, customers who write, and the tokens their iframes open with."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from channels.base import Inbound, Person
from models import Business, ChannelAccount, Message, User, db, now
from services import arrivals, channel_accounts, customers, embeds, keys
from tests.channels.kinds import PROVIDERS

_numbers = count(871000000)


class Crm:
    """One business that embeds its conversations."""

    def __init__(self, business: Business, client: FlaskClient, account: ChannelAccount | None = None) -> None:
        self.business, self.client = business, client
        config = PROVIDERS["whatsapp"].config | {"phone_number_id": str(next(_numbers))}
        self.account = account or channel_accounts.connect(business, "whatsapp", "Front desk", config)
        self.key, _ = keys.create(business, "CRM", ["embed"])
        db.session.commit()

    def customer(self, name: str = "Joe Bloggs") -> Any:
        record = {"name": name, "phone": f"+353{next(_numbers)}", "external_id": f"CRM-{next(_numbers)}"}
        person, _ = customers.create(self.business, record)
        db.session.commit()
        return customers.get(self.business, id=person.id)

    def says(self, customer: Any, text: str, at: datetime | None = None, **more: Any) -> Message:
        """Let a customer write to us."""
        item = Inbound(
            provider_id=f"wamid.{next(_numbers)}",
            account=self.account.account_key,
            person=Person(address=customer.phone.removeprefix("+"), name=customer.name, phone=customer.phone),
            at=at or now(),
            text=text,
            **more,
        )
        message = arrivals.receive(self.business, self.account, item)
        assert message is not None
        db.session.commit()
        return message

    def token(self, customer: Any, scope: str = "inbox", agent: User | None = None, **more: Any) -> str:
        token, _ = embeds.issue(
            self.business,
            customer,
            **{"scope": scope, "expires_in": 3600, "api_key": self.key, "agent": agent} | more,
        )
        return token

    def expired(self, customer: Any, monkeypatch: pytest.MonkeyPatch) -> str:
        """Give a token that ended a moment ago."""
        with monkeypatch.context() as patch:
            patch.setattr(embeds.embed_tokens, "time_of", lambda _: now() - timedelta(seconds=61))
            return self.token(customer, expires_in=60)

    def open(self, token: str, **headers: str) -> TestResponse:
        return self.client.get("/embed/inbox", query_string={"token": token}, headers=headers)

    def visit(self, customer: Any, scope: str = "inbox", **more: Any) -> Visitor:
        """Open an embed as a browser does."""
        return Visitor(self, self.open(self.token(customer, scope, **more)))


class Visitor:
    """An open iframe: the page it got, and the secret it holds."""

    def __init__(self, crm: Crm, page: TestResponse) -> None:
        assert page.status_code == 200, page.text
        self.crm, self.page = crm, page
        self.secret = secret_of(page.text)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.crm.client.get(path, headers={"X-Embed-Session": self.secret}, **more)

    def post(self, path: str, data: Any = None, **more: Any) -> TestResponse:
        return self.crm.client.post(path, data=data, headers={"X-Embed-Session": self.secret}, **more)

    @property
    def lives(self) -> bool:
        return self.get("/embed/messages").status_code == 200


def secret_of(html: str) -> str:
    found = re.search(r'id="secret">"([\w-]{43})"<', html)
    assert found
    return found[1]


@pytest.fixture
def crm(acme: Business, client: FlaskClient) -> Crm:
    return Crm(acme, client)


@pytest.fixture
def other(globex: Business, client: FlaskClient) -> Crm:
    """Another business that embeds."""
    return Crm(globex, client)


@pytest.fixture
def joe(crm: Crm) -> Any:
    return crm.customer("Joe Bloggs")


@pytest.fixture
def logged(app: Flask, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Give everything that was logged and printed so far."""
    return lambda: caplog.text + "".join(capfd.readouterr())
