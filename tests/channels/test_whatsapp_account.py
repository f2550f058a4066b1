"""What WhatsApp is asked besides messages: the account's own test, its events, its templates, and read marks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

import channels
from channels.base import ChannelError
from tests.channels import kinds

CHANNEL, ACCOUNT = channels.get("whatsapp"), kinds.account("whatsapp")


def test_reading_marks_the_message_read(provider: HTTPServer) -> None:
    provider.expect_request("/v26.0/5550001/messages", method="POST").respond_with_json({"success": True})
    CHANNEL.mark_read(ACCOUNT, "353871234567", "wamid.IN")
    asked = provider.log[0][0].get_json()
    assert asked == {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.IN"}


def test_checking_tells_what_meta_knows_of_the_number(provider: HTTPServer) -> None:
    found = {"display_phone_number": "+353 1 600 0000", "verified_name": "Acme", "quality_rating": "GREEN"}
    provider.expect_request("/v26.0/5550001", method="GET").respond_with_json(found)
    checked = CHANNEL.check(ACCOUNT)
    assert checked == {"name": "Acme", "address": "+353 1 600 0000", "details": {"quality": "GREEN"}}
    assert provider.log[0][0].args["fields"] == "display_phone_number,verified_name,quality_rating"


def test_checking_a_number_that_meta_does_not_know_is_trouble_with_the_account(provider: HTTPServer) -> None:
    error = {"code": 100, "error_subcode": 33, "message": "Unsupported get request."}
    provider.expect_request("/v26.0/5550001").respond_with_json({"error": error}, 400)
    with pytest.raises(ChannelError, match="phone number") as caught:
        CHANNEL.check(ACCOUNT)
    assert caught.value.action == "account"


def test_subscribing_asks_for_the_business_accounts_events(provider: HTTPServer) -> None:
    provider.expect_request("/v26.0/9001/subscribed_apps", method="POST").respond_with_json({"success": True})
    CHANNEL.subscribe(ACCOUNT)
    assert len(provider.log) == 1


def test_templates_are_read_page_by_page(provider: HTTPServer) -> None:
    pages: dict[str | None, dict[str, Any]] = {
        None: {"data": [{"name": "a", "status": "APPROVED"}], "paging": {"cursors": {"after": "c1"}, "next": "…"}},
        "c1": {"data": [{"name": "b", "status": "PENDING"}], "paging": {"cursors": {"after": "c2"}}},
        "c2": {"data": [], "paging": {}},
    }
    provider.expect_request("/v26.0/9001/message_templates", method="GET").respond_with_handler(
        lambda request: Response(json.dumps(pages[request.args.get("after")]), content_type="application/json")
    )
    found = CHANNEL.templates(ACCOUNT)
    assert [(one["name"], one["status"]) for one in found] == [("a", "APPROVED"), ("b", "PENDING")]
    assert "parameter_format" in provider.log[0][0].args["fields"]


def test_a_list_of_templates_that_never_ends_is_left(provider: HTTPServer) -> None:
    page = {"data": [{"name": "a"}], "paging": {"cursors": {"after": "same"}}}
    provider.expect_request("/v26.0/9001/message_templates").respond_with_json(page)
    assert len(CHANNEL.templates(ACCOUNT)) == 2
