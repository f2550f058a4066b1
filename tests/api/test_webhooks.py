"""Webhooks through the API: which addresses and headers one may be saved with, judged as the outbound door does."""

from __future__ import annotations

import pytest

from lib.headers import TRANSPORT
from tests.factories import Api

WISH = {"name": "CRM", "url": "https://crm.example.com/hook", "events": ["*"]}
REFUSED = {
    "private": ("http://10.0.0.1/", "10.0.0.1 is a private address"),
    "metadata": ("http://169.254.169.254/latest/", "WEBHOOK_ALLOWED_NETWORKS"),
    "mapped": ("https://[::ffff:10.0.0.1]/", "WEBHOOK_ALLOWED_NETWORKS"),
    "hexadecimal": ("http://0x7f000001/", "in its usual form"),
    "short": ("http://127.1/", "in its usual form"),
    "port": ("https://crm.example.com:99999/", "The port must be a number"),
    "plain": ("http://crm.example.com/hook", "Use https:// for a public host"),
    "plain_address": ("http://93.184.216.34/hook", "Use https:// for a public host"),
    "user": ("https://user:pass@crm.example.com/", "must not hold a user name"),
    "scheme": ("ftp://crm.example.com/", "must start with http:// or https://"),
    "space": ("https://crm.example.com/a b", "has spaces"),
    "bracket": ("https://[", "must name a host"),
}


@pytest.mark.parametrize("url", [url for url, _ in REFUSED.values()], ids=list(REFUSED))
def test_w1_an_address_that_we_would_not_call_is_refused_when_it_is_saved(api: Api, url: str) -> None:
    why = next(why for refused, why in REFUSED.values() if refused == url)
    made = api.post("/api-webhooks", WISH).json["webhook"]
    for answer in (
        api.post("/api-webhooks", WISH | {"url": url}),
        api.patch(f"/api-webhooks?id={made['id']}", {"name": "Changed", "url": url}),
    ):
        assert answer.status_code == 422
        error = answer.json["error"]
        assert (error["code"], error["field"]) == ("address_refused", "url")
        assert why in error["message"]
    assert [(row["name"], row["url"]) for row in api.get("/api-webhooks").json["webhooks"]] == [("CRM", WISH["url"])]


@pytest.mark.parametrize(
    "url", ["https://crm.example.com/hook", "http://127.0.0.1:3000/hook", "http://localhost/", "http://crm.local/"]
)
def test_an_address_that_we_may_call_is_saved(api: Api, url: str) -> None:
    assert api.post("/api-webhooks", WISH | {"url": url}).json["webhook"]["url"] == url


@pytest.mark.parametrize("name", [*sorted(TRANSPORT), "Content-Type", "User-Agent", "X-Webhook-Id", "webhook-id"])
def test_a_header_that_makes_up_the_request_cannot_be_a_custom_one(api: Api, name: str) -> None:
    answer = api.post("/api-webhooks", WISH | {"custom_headers": {name.title(): "x"}})
    assert answer.status_code == 422
    assert "is ours to set" in answer.json["error"]["message"]
    assert api.get("/api-webhooks").json["webhooks"] == []
