"""Conversations, messages and events as a CRM reads them: the guide's view, filters, cursors, and what may change."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from channels.base import Media
from models import Business, db, now
from services import conversations, messages
from tests import factories
from tests.factories import Api
from tests.people import Somebody

JOE = "353871111111"


@pytest.fixture
def joe(acme: Business) -> Any:
    """Three messages of Joe's and a note among the team; the account that he writes to."""
    account = factories.whatsapp(acme)
    first = factories.received(acme, account, "One", number=JOE)
    for text in ("Two", "Three"):
        factories.received(acme, account, text, number=JOE)
    return first


def note(business: Business, message: Any, bob: Somebody) -> None:
    messages.note(business, conversations.get(business, message.conversation_id), "He sounds cross", bob.user)
    db.session.commit()


def test_the_crms_view_has_the_customer_and_all_that_was_said_oldest_first(api: Api, acme: Business, joe: Any) -> None:
    api.patch(f"/api-customers?id={joe.customer_id}", {"external_id": "CRM-1", "external_system": "salesforce"})
    answer = api.get("/api-conversations-by-customer", external_id="CRM-1", include_messages="true").json
    assert answer["customer"]["external_ids"] == {"salesforce": "CRM-1"}
    (shown,) = answer["conversations"]
    assert shown["whatsapp_account_id"] == shown["channel_account_id"]
    assert (shown["channel"], shown["status"], shown["unread_count"], shown["assignee"]) == (
        "whatsapp",
        "open",
        3,
        None,
    )
    assert [message["content"] for message in shown["messages"]] == ["One", "Two", "Three"]
    assert (shown["messages_has_more"], shown["messages_cursor"]) == (False, None)
    assert shown["last_message_at"]


def test_the_customer_may_be_named_in_every_way(api: Api, joe: Any) -> None:
    api.patch(f"/api-customers?id={joe.customer_id}", {"external_id": "CRM-2", "email": "joe2@example.com"})
    for query in (
        {"customer_id": str(joe.customer_id)},
        {"customer_id": "CRM-2"},
        {"external_id": "CRM-2"},
        {"email": "JOE2@example.com"},
        {"phone": "087 111 1111"},
    ):
        answer = api.get("/api-conversations-by-customer", **query)
        assert answer.json["customer"]["id"] == str(joe.customer_id), query
    assert api.get("/api-conversations-by-customer").status_code == 422
    for query in ({"customer_id": ""}, {"external_id": ""}, {"external_id": "crm-2"}, {"external_id": "undefined"}):
        assert api.get("/api-conversations-by-customer", **query).json["error"]["code"] == "customer_not_found"


def test_more_than_a_hundred_messages_go_on_behind_the_cursor(api: Api, acme: Business) -> None:
    account = factories.whatsapp(acme)
    texts = [f"{number:03}" for number in range(130)]
    for text in texts:
        message = factories.received(acme, account, text, number="353872222222")
    answer = api.get("/api-conversations-by-customer", phone="+353872222222", include_messages="true").json
    (shown,) = answer["conversations"]
    assert [item["content"] for item in shown["messages"]] == texts[30:]
    assert shown["messages_has_more"] is True
    older = api.get("/api-messages", conversation_id=message.conversation_id, cursor=shown["messages_cursor"]).json
    assert [item["content"] for item in older["messages"]] == texts[:30]
    assert (older["has_more"], older["next_cursor"]) == (False, None)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_conversation_is_read_page_by_page_in_both_orders(order: str, api: Api, acme: Business) -> None:
    account = factories.whatsapp(acme)
    for number in range(7):
        message = factories.received(acme, account, str(number), number="353873333333")
    seen, cursor = [], None
    while True:
        query = {"conversation_id": message.conversation_id, "limit": 3, "order": order}
        page = api.get("/api-messages", **query | ({"cursor": cursor} if cursor else {})).json
        texts = [item["content"] for item in page["messages"]]
        seen = texts + seen if order == "newest" else seen + texts
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == [str(number) for number in range(7)]
    newer = api.get(
        "/api-messages", conversation_id=message.conversation_id, order="oldest", cursor=page["newer_cursor"]
    ).json
    assert [item["content"] for item in newer["messages"]] == (
        [] if order == "oldest" else ["1", "2", "3", "4", "5", "6"]
    )


def test_notes_leave_only_when_asked_for(api: Api, acme: Business, joe: Any, bob: Somebody) -> None:
    note(acme, joe, bob)
    for path, query, place in (
        ("/api-messages", {"conversation_id": joe.conversation_id}, lambda page: page["messages"]),
        ("/api-messages-since", {"since": "2020-01-01T00:00:00Z"}, lambda page: page["messages"]),
        (
            "/api-conversations-by-customer",
            {"customer_id": joe.customer_id, "include_messages": "true"},
            lambda page: page["conversations"][0]["messages"],
        ),
    ):
        without = place(api.get(path, **query).json)
        assert not any("cross" in item["content"] for item in without), path
        asked = place(api.get(path, **query, include_notes="true").json)
        (private,) = [item for item in asked if "cross" in item["content"]]
        assert (private["private"], private["status"]) == (True, "note")
    assert "cross" not in api.get("/api-events", limit=1000).text


def test_the_poller_of_the_guide_sees_every_message_once(api: Api, acme: Business, joe: Any) -> None:
    since, seen = "2020-01-01T00:00:00.000Z", []
    for _ in range(10):
        page = api.get("/api-messages-since", since=since, limit=2).json
        seen += [item["content"] for item in page["messages"]]
        assert page["next_since"] == (page["messages"][-1]["created_at"] if page["messages"] else since[:-1] + "000Z")
        since = page["messages"][-1]["created_at"] if page["messages"] else since
        if not page["has_more"]:
            break
    assert seen == ["One", "Two", "Three"]
    assert api.get("/api-messages-since", since=since).json["messages"] == []
    factories.received(acme, factories.whatsapp(acme), "Four", number=JOE)
    assert [item["content"] for item in api.get("/api-messages-since", since=since).json["messages"]] == ["Four"]


def test_files_come_along_when_asked_for(api: Api, acme: Business) -> None:
    account = factories.whatsapp(acme)
    media = (Media(mime="application/pdf", filename="receipt.pdf", provider_id="m1"),)
    message = factories.received(acme, account, "", number="353874444444", media=media, kind="file")
    query = {"since": "2020-01-01T00:00:00Z", "include_attachments": "true"}
    (shown,) = [
        item for item in api.get("/api-messages-since", **query).json["messages"] if item["id"] == str(message.id)
    ]
    (file,) = shown["attachments"]
    assert (file["filename"], file["type"], file["state"]) == ("receipt.pdf", "application/pdf", "pending")
    assert "attachments" not in api.get("/api-messages-since", since="2020-01-01T00:00:00Z").json["messages"][0]
    assert api.get("/api-messages", id=message.id).json["message"]["attachments"] == [file]


def test_filters_find_conversations_and_pages_hold_them_all_once(
    api: Api, acme: Business, joe: Any, bob: Somebody
) -> None:
    account = factories.whatsapp(acme)
    others = [factories.received(acme, account, f"Hi {n}", number=f"35387555000{n}") for n in range(4)]
    target = f"/api-conversations?id={others[0].conversation_id}"
    assert api.patch(target, {"assignee_id": str(bob.user.id), "tags": ["vip"], "status": "pending"}).status_code == 200

    def found(**query: Any) -> set[str]:
        return {item["id"] for item in api.get("/api-conversations", **query).json["conversations"]}

    one = {str(others[0].conversation_id)}
    assert found(assignee_id=bob.user.id) == found(tag="vip") == found(status="pending") == one
    assert found(channel_account_id=account.id) == {str(item.conversation_id) for item in others}
    assert found(customer_id=joe.customer_id) == {str(joe.conversation_id)}
    assert found(q="Three") == {str(joe.conversation_id)}
    assert found(channel="email") == set()
    seen, cursor = [], None
    while True:
        page = api.get("/api-conversations", limit=2, **({"cursor": cursor} if cursor else {})).json
        seen += [item["id"] for item in page["conversations"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert len(seen) == len(set(seen)) == 5


def test_a_change_is_told_once_and_unchanged_things_are_not(api: Api, joe: Any, bob: Somebody) -> None:
    path = f"/api-conversations?id={joe.conversation_id}"
    answer = api.patch(path, {"status": "closed", "assignee_id": str(bob.user.id)}).json["conversation"]
    assert (answer["status"], answer["assignee"]["email"]) == ("closed", bob.email)
    assert api.patch(path, {"status": "closed", "assignee_id": str(bob.user.id)}).status_code == 200
    assert api.patch(path, {}).status_code == 200
    kinds = [item["event"] for item in api.get("/api-events", limit=1000).json["events"]]
    assert kinds.count("conversation.assigned") == kinds.count("conversation.status_changed") == 1
    assert api.patch(path, {"assignee_id": None}).json["conversation"]["assignee"] is None


def test_a_snooze_needs_a_time_ahead(api: Api, joe: Any) -> None:
    path = f"/api-conversations?id={joe.conversation_id}"
    ahead = (now() + timedelta(hours=1)).isoformat()
    assert api.patch(path, {"status": "snoozed"}).json["error"]["field"] == "snoozed_until"
    assert api.patch(path, {"snoozed_until": "2001-01-01T00:00:00Z"}).status_code == 422
    assert api.patch(path, {"status": "open", "snoozed_until": ahead}).status_code == 422
    assert api.patch(path, {"status": "snoozed", "snoozed_until": ahead}).json["conversation"]["status"] == "snoozed"


def test_the_event_log_rebuilds_a_copy_from_zero(api: Api, acme: Business, joe: Any) -> None:
    seen, after = [], 0
    while True:
        page = api.get("/api-events", after=after, limit=2).json
        seen += page["events"]
        after = page["next_after"]
        if not page["has_more"]:
            break
    sequences = [item["sequence"] for item in seen]
    assert sequences == sorted(set(sequences))
    texts = [item["data"]["message"]["content"] for item in seen if item["event"] == "message.received"]
    assert texts == ["One", "Two", "Three"]
    times = [datetime.fromisoformat(item["timestamp"]) for item in seen]
    assert times == sorted(times)
    only = api.get("/api-events", type="message.received,customer.created").json["events"]
    assert {item["event"] for item in only} == {"message.received", "customer.created"}
    assert api.get("/api-events", type="message.nonsense").json["error"]["field"] == "type"


def test_a_message_is_queued_for_whom_the_crm_means(api: Api, acme: Business, joe: Any) -> None:
    api.patch(f"/api-customers?id={joe.customer_id}", {"external_id": "CRM-12345", "external_system": "salesforce"})
    body = {"customer_id": "CRM-12345", "channel": "whatsapp", "content": "Hi!", "attachments": []}
    answer = api.post("/api-send-message", body)
    assert answer.status_code == 202
    told = answer.json
    assert (told["success"], told["status"], told["conversation_id"]) == (True, "queued", str(joe.conversation_id))
    assert told["message"]["sender"] == {"type": "api", "id": told["message"]["sender"]["id"], "name": "Alice's key"}
    assert told["message"]["attachments"] == []
    quoted = api.post("/api-send-message", body | {"content": "Again", "reply_to": str(joe.id)})
    assert quoted.json["message"]["reply_to"] == str(joe.id)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"channel": "instagram"}, 422, "channel_not_connected"),
        ({"channel": "pigeon"}, 422, "unknown_channel"),
        ({"content": ""}, 422, "empty_message"),
        ({"content": None}, 422, "empty_message"),
        ({"content": "x" * 5000}, 422, "content_too_long"),
        ({"customer_id": "CRM-404"}, 404, "customer_not_found"),
        ({"customer_id": None}, 422, "customer_required"),
        ({"template": {"name": "x"}}, 422, "required_field"),
        ({"attachments": "x"}, 422, "invalid_field"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(change: Any, status: int, code: str, api: Api, joe: Any) -> None:
    body = {"customer_id": str(joe.customer_id), "channel": "whatsapp", "content": "Hi"} | change
    answer = api.post("/api-send-message", body)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code), answer.text


def test_a_closed_window_says_so_and_names_templates(api: Api, app: Flask, acme: Business) -> None:
    factories.whatsapp(acme)
    cold = factories.customer(acme, phone="+353876666666")
    body = {"customer_id": str(cold.id), "channel": "whatsapp", "content": "Hi"}
    error = api.post("/api-send-message", body).json["error"]
    assert (error["code"], error["details"]["templates"]) == ("window_closed", True)
    template = {"name": "order_ready", "language": "en_IE", "parameters": {"body": ["Joe"]}}
    assert api.post("/api-send-message", body | {"content": None, "template": template}).status_code == 202
