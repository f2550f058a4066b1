"""Tokens for embeds as the API gives and takes them back; what they open is tried in tests/embed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models import Business, db
from services import embeds
from tests import factories
from tests.factories import Api


@pytest.fixture
def joe(acme: Business) -> Any:
    return factories.customer(acme, external_id="CRM-12345")


def issue(api: Api, **body: Any) -> Any:
    return api.post("/api-sso-generate-token", {"customer_id": "CRM-12345"} | body)


def test_the_guides_sample_gets_a_token_an_address_and_an_hour(api: Api, joe: Any) -> None:
    found = api.get("/api-customers", external_id="CRM-12345").json
    told = issue(api, customer_id=found["id"], scope="inbox", expires_in=3600).json
    assert told["success"] is True
    assert told["embed_url"] == f"http://localhost:8000/embed/inbox?token={told['token']}"
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert embeds.read(told["token"]).customer_id == joe.id


def test_a_revoked_token_opens_nothing_and_its_sibling_goes_on(api: Api, joe: Any) -> None:
    first, second = issue(api).json["token"], issue(api).json["token"]
    assert api.post("/api-sso-revoke-token", {"token": first}).status_code == 200
    with pytest.raises(embeds.Unauthenticated):
        embeds.open(first)
    db.session.rollback()
    assert embeds.open(second)[0].customer.id == joe.id


def test_all_tokens_of_a_customer_are_revoked_together(api: Api, joe: Any) -> None:
    tokens = [issue(api).json["token"] for _ in range(2)]
    assert api.post("/api-sso-revoke-token", {"customer_id": "CRM-12345"}).status_code == 200
    for token in tokens:
        with pytest.raises(embeds.Unauthenticated):
            embeds.open(token)
        db.session.rollback()


def test_another_business_cannot_revoke_or_even_recognise_a_token(api: Api, stranger: Api, joe: Any) -> None:
    token = issue(api).json["token"]
    foreign, nonsense = (stranger.post("/api-sso-revoke-token", {"token": item}) for item in (token, "x.y.z"))
    assert (foreign.status_code, foreign.json["error"]) == (422, nonsense.json["error"])
    assert embeds.open(token)[0].customer.id == joe.id


@pytest.mark.parametrize("body", [{}, {"token": "x", "customer_id": "y"}, {"token": None}])
def test_a_revocation_names_one_thing(body: Any, api: Api) -> None:
    assert api.post("/api-sso-revoke-token", body).status_code == 422


@pytest.mark.parametrize("scope", ["admin", "inbox:write", "", None, ["inbox"]])
def test_there_are_two_scopes(scope: Any, api: Api, joe: Any) -> None:
    assert issue(api, scope=scope).json["error"]["field"] == "scope"
    assert embeds.read(issue(api, scope="inbox:read").json["token"]).scope == "inbox:read"
