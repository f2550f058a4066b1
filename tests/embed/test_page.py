"""The page and its routes: what an embed shows, what it can do, and all that it cannot (E4, E6, E9, T1)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from lib.ids import uuid7
from models import Conversation, Message, db, now
from services import conversations, embeds, keys, messages
from tests.embed.conftest import Crm, Visitor
from tests.people import Somebody


def policy_of(page: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in page.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


# --- the first answer ---


def test_the_first_answer_holds_the_conversation_for_a_plain_client_too(crm: Crm, joe: Any) -> None:
    crm.says(joe, "Any news on the refund?")
    page = crm.open(crm.token(joe))
    assert page.status_code == 200
    assert "Any news on the refund?" in page.text
    assert joe.name in page.text
    assert joe.external_id in page.text


def test_the_page_is_kept_nowhere_and_told_to_nobody(crm: Crm, joe: Any) -> None:
    page = crm.open(crm.token(joe))
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Frame-Options" not in page.headers
    assert "Set-Cookie" not in page.headers


def test_an_agents_own_cookie_in_the_same_browser_is_neither_used_nor_renewed(
    crm: Crm, joe: Any, bob: Somebody, app: Flask
) -> None:
    browser = app.test_client()
    with browser.session_transaction() as session:
        session["_user_id"], session["_fresh"], session.permanent = bob.user.get_id(), True, True
    page = browser.get("/embed/inbox", query_string={"token": crm.token(joe)})
    visitor = Visitor(crm, page)
    assert "Set-Cookie" not in page.headers
    assert browser.get("/embed/messages").status_code == 401
    answer = browser.get("/embed/messages", headers={"X-Embed-Session": visitor.secret})
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_only_scripts_with_this_answers_nonce_run(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    nonces = set()
    for _ in range(2):
        page = crm.open(token)
        [nonce] = re.findall(r"^'nonce-([\w-]{24})'$", policy_of(page)["script-src"])
        scripts = re.findall(r"<script (?![^>]*application/json)([^>]*)>", page.text)
        assert scripts
        assert all(f'nonce="{nonce}"' in script for script in scripts)
        assert policy_of(page)["default-src"] == "'none'"
        nonces.add(nonce)
    assert len(nonces) == 2


def test_the_token_is_nowhere_in_the_page(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    page = crm.open(token)
    assert token not in page.text
    assert token.split(".")[2] not in page.text + str(page.headers)


def test_e6_the_token_and_the_secret_are_in_no_log(crm: Crm, joe: Any, logged: Callable[[], str]) -> None:
    token = crm.token(joe)
    visitor = Visitor(crm, crm.open(token))
    visitor.get("/embed/messages")
    visitor.post("/embed/messages", {"content": "x", "account": str(uuid7())})
    crm.open(token[:-2])
    said = logged()
    assert token not in said
    assert visitor.secret not in said


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], None),
        (["https://crm.example.com"], "https://crm.example.com"),
        (
            ["https://*.lightning.force.com", "http://localhost:9000"],
            "https://*.lightning.force.com http://localhost:9000",
        ),
        (["https://CRM.example.com/"], "https://crm.example.com"),
        (["https://x; script-src *"], "'none'"),
        (["*"], "'none'"),
    ],
)
def test_e9_frame_ancestors_are_the_businesss_list(crm: Crm, joe: Any, listed: list[str], expected: str | None) -> None:
    crm.business.embed_origins = listed
    db.session.commit()
    assert policy_of(crm.open(crm.token(joe))).get("frame-ancestors") == expected


def test_e9_an_iframe_on_a_page_that_is_not_listed_gets_nothing(crm: Crm, joe: Any) -> None:
    crm.says(joe, "for listed pages")
    crm.business.embed_origins = ["https://crm.example.com"]
    db.session.commit()
    token = crm.token(joe, single_use=True)
    foreign = crm.open(token, Referer="https://evil.example.org/", **{"Sec-Fetch-Dest": "iframe"})
    assert foreign.status_code == 403
    assert "embed_origin_refused" in foreign.text
    assert "for listed pages" not in foreign.text
    own = crm.open(token, Referer="https://crm.example.com/", **{"Sec-Fetch-Dest": "iframe"})  # and nothing was spent
    assert own.status_code == 200


@pytest.mark.parametrize(
    ("token", "code"),
    [("", "embed_token_invalid"), ("x.y.z", "embed_token_invalid"), ("é" * 9, "embed_token_invalid")],
    ids=ascii,
)
def test_a_false_link_shows_a_sentence_a_code_and_no_data(crm: Crm, joe: Any, token: str, code: str) -> None:
    page = crm.open(token)
    assert page.status_code == 401
    assert page.mimetype == "text/html"
    assert code in page.text
    assert joe.name not in page.text
    assert "<script" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors" not in page.headers["Content-Security-Policy"]  # it must show where the embed would


def test_an_expired_link_says_what_to_do(crm: Crm, joe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = crm.open(crm.expired(joe, monkeypatch))
    assert (page.status_code, "embed_token_expired" in page.text) == (401, True)
    assert "in your CRM again" in page.text


def test_trouble_of_ours_shows_where_the_embed_would(crm: Crm, joe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("SELECT 1", {}, psycopg.OperationalError("the database is away"))

    token = crm.token(joe)
    monkeypatch.setattr(embeds, "open", fail)
    page = crm.open(token, Accept="text/html")
    assert page.status_code == 503
    assert "frame-ancestors" not in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert token not in page.text


def test_looking_whether_a_link_is_alive_spends_nothing(crm: Crm, joe: Any) -> None:
    token = crm.token(joe, single_use=True)
    assert crm.client.head("/embed/inbox", query_string={"token": token}).status_code == 200
    assert crm.open(token).status_code == 200
    assert crm.open(token).status_code == 401
    assert crm.client.head("/embed/inbox", query_string={"token": token}).status_code == 401


def test_the_host_may_set_the_look(crm: Crm, joe: Any) -> None:
    query = {"token": crm.token(joe), "theme": "dark", "accent": "ffcc00", "locale": "ar-EG", "density": "compact"}
    page = crm.client.get("/embed/inbox", query_string=query).text
    assert 'data-theme="dark"' in page
    assert 'dir="rtl"' in page
    assert 'data-density="compact"' in page
    assert "--accent-d: #ffcc00" in page
    assert "--accent-l: #ffcc00" not in page  # yellow on white cannot be read: it was darkened


@pytest.mark.parametrize(
    "nonsense", ['"><script>alert(1)</script>', "red;}", "\x00", "../../etc", "ffcc00;", "٣" * 6], ids=ascii
)
def test_nonsense_in_the_look_is_as_good_as_nothing(crm: Crm, joe: Any, nonsense: str) -> None:
    names = ("theme", "accent", "locale", "density", "channels", "compose")
    page = crm.client.get("/embed/inbox", query_string={"token": crm.token(joe)} | dict.fromkeys(names, nonsense))
    assert page.status_code == 200
    assert nonsense not in page.text
    assert "<style" not in page.text


def test_the_timeline_is_merged_and_pages_back(crm: Crm, joe: Any) -> None:
    for number in range(60):
        crm.says(joe, f"message {number:02}")
    visitor = crm.visit(joe)
    assert re.findall(r"message \d\d", visitor.page.text.partition('id="timeline"')[2])[0] == "message 10"
    [earlier] = re.findall(r'data-earlier="([^"]+)"', visitor.page.text)
    older = visitor.get(earlier.replace("&amp;", "&"))
    assert re.findall(r"message \d\d", older.text) == [f"message {number:02}" for number in range(10)]
    assert "data-earlier" not in older.text


def test_no_note_reaches_an_embed(crm: Crm, joe: Any, bob: Somebody) -> None:
    message = crm.says(joe, "hello")
    conversation = conversations.get(crm.business, message.conversation_id)
    messages.note(crm.business, conversation, "between us: he is a bore", bob.user)
    db.session.commit()
    visitor = crm.visit(joe)
    assert "between us" not in visitor.page.text + visitor.get("/embed/messages").text
    assert "between us" not in visitor.get("/embed/around").text


def test_no_callers_markup_survives(crm: Crm) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'></script><script>alert(2)</script>"
    ann = crm.customer(hostile)
    crm.says(ann, hostile)
    page = crm.visit(ann).page.text
    assert "<img src=x" not in page
    assert "<script>alert" not in page


# --- answering ---


def reply(visitor: Visitor, text: str = "On its way", **more: Any) -> Any:
    return visitor.post("/embed/messages", {"account": str(visitor.crm.account.id), "content": text} | more)


def test_a_reply_is_queued_and_comes_back_as_the_fragment_that_the_page_shows(crm: Crm, joe: Any) -> None:
    crm.says(joe, "hello")
    answer = reply(crm.visit(joe))
    assert answer.status_code == 200
    message = db.session.query(Message).filter_by(business_id=crm.business.id, direction="outbound").one()
    assert (message.content, message.status, message.sender_kind) == ("On its way", "queued", "api")
    assert message.extra == {"typed": True}, "a person wrote it, whoever that is"
    assert f'id="m-{message.id}"' in answer.text
    assert 'data-into="#timeline"' in answer.text


def test_a_reply_carries_the_name_of_the_tokens_agent(crm: Crm, joe: Any, bob: Somebody) -> None:
    crm.says(joe, "hello")
    reply(crm.visit(joe, agent=bob.user))
    message = db.session.query(Message).filter_by(business_id=crm.business.id, direction="outbound").one()
    assert (message.sender_kind, message.sender_id, message.sender_name) == ("user", bob.user.id, "Bob")


def test_a_reply_posted_twice_is_one_message(crm: Crm, joe: Any) -> None:
    crm.says(joe, "hello")
    visitor, again = crm.visit(joe), {"client_id": str(uuid7())}
    first, second = reply(visitor, **again), reply(visitor, **again)
    assert re.findall(r'id="(m-[\w-]+)"', first.text) == re.findall(r'id="(m-[\w-]+)"', second.text)
    assert db.session.query(Message).filter_by(business_id=crm.business.id, direction="outbound").count() == 1


def test_what_the_channel_forbids_is_refused_at_once(crm: Crm, joe: Any) -> None:
    crm.says(joe, "long ago", at=now() - timedelta(hours=25))
    visitor = crm.visit(joe)
    answer = visitor.crm.client.post(
        "/embed/messages",
        data={"account": str(crm.account.id), "content": "hi"},
        headers={"X-Embed-Session": visitor.secret, "Accept": "application/json"},
    )
    assert answer.status_code == 422
    assert answer.json["error"]["code"] == "window_closed"


def test_a_file_goes_with_a_reply(crm: Crm, joe: Any) -> None:
    crm.says(joe, "hello")
    visitor = crm.visit(joe)
    kept = visitor.post("/embed/uploads", {"file": (io.BytesIO(b"%PDF-1.4 x"), "label.pdf", "application/pdf")})
    assert kept.status_code == 201
    assert reply(visitor, "", attachment=kept.json["id"]).status_code == 200
    assert "label.pdf" in visitor.get("/embed/messages").text


READ_ONLY = [
    ("post", "/embed/messages"),
    ("post", "/embed/uploads"),
    ("post", "/embed/messages/019a4e7c-2f4b-7c1d-9d3e-5a1b2c3d4e5f/retry"),
    ("get", "/embed/canned"),
    ("get", "/embed/templates"),
]


@pytest.mark.parametrize(("method", "path"), READ_ONLY, ids=str)
def test_a_link_for_reading_can_do_nothing_else(crm: Crm, joe: Any, method: str, path: str) -> None:
    crm.says(joe, "hello")
    visitor = crm.visit(joe, "inbox:read")
    assert "data-composer" not in visitor.page.text
    assert "View only" in visitor.page.text
    answer = getattr(visitor, method)(path)
    assert answer.status_code == 403
    assert visitor.lives


# --- E4, T1: everything that is not this customer's ---


def test_e4_an_embed_answers_nothing_of_another_customer(crm: Crm, joe: Any) -> None:
    ann = crm.customer("Ann")
    hers = crm.says(ann, "the secret of Ann")
    crm.says(joe, "hello")
    his = crm.visit(joe)
    seen = his.page.text + his.get("/embed/messages").text + his.get("/embed/around").text
    assert "Ann" not in seen
    assert his.post(f"/embed/messages/{hers.id}/retry").status_code == 404
    answered = reply(his, reply_to=str(hers.id))
    assert (answered.status_code, "secret of Ann" in answered.text) == (404, False)


def test_e4_a_known_client_id_fetches_no_message_of_another_customer(crm: Crm, joe: Any) -> None:
    ann = crm.customer("Ann")
    crm.says(ann, "hello")
    crm.says(joe, "hello")
    shared = {"client_id": str(uuid7())}
    reply(crm.visit(ann), "to Ann alone", **shared)
    answer = reply(crm.visit(joe), "mine", **shared)
    assert (answer.status_code, "to Ann alone" in answer.text) == (404, False)


def test_e4_a_file_of_another_customer_cannot_be_sent_to_this_one(crm: Crm, joe: Any) -> None:
    ann = crm.customer("Ann")
    crm.says(ann, "hello")
    crm.says(joe, "hello")
    hers, his = crm.visit(ann), crm.visit(joe)
    kept = hers.post("/embed/uploads", {"file": (io.BytesIO(b"for Ann"), "ann.txt", "text/plain")}).json["id"]
    for reference in (kept, str(uuid7()), "nonsense", f"http://localhost:8000/api/download-media?id={kept}"):
        assert reply(his, attachment=reference).status_code == 404
    assert reply(hers, attachment=kept).status_code == 200
    assert reply(his, attachment=kept).status_code == 404


def test_e4_another_businesss_account_is_as_unknown_as_a_random_one(crm: Crm, other: Crm, joe: Any) -> None:
    crm.says(joe, "hello")
    visitor = crm.visit(joe)
    foreign = visitor.post("/embed/messages", {"account": str(other.account.id), "content": "x"})
    random = visitor.post("/embed/messages", {"account": str(uuid7()), "content": "x"})
    assert (foreign.status_code, random.status_code) == (404, 404)
    cleaned = [re.sub(r"[0-9a-f-]{36}", "", answer.text) for answer in (foreign, random)]
    assert cleaned[0] == cleaned[1]


def test_e4_a_secret_opens_neither_the_inbox_nor_the_settings_nor_the_api(crm: Crm, joe: Any, app: Flask) -> None:
    visitor = crm.visit(joe)
    token = crm.token(joe)
    sent = {"X-Embed-Session": visitor.secret, "X-Api-Key": token, "Authorization": f"Bearer {visitor.secret}"}
    behind = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments]
    doors = [
        rule.rule for rule in behind if rule.rule.startswith(("/inbox", "/settings", "/functions", "/me/", "/live"))
    ]
    assert len(doors) > 8
    for path in doors:
        answer = visitor.crm.client.get(path, headers=sent)
        assert answer.status_code in (301, 302, 303, 401, 403, 404), path
        assert answer.status_code != 302 or "/login" in answer.headers["Location"], path


def routes(app: Flask) -> list[tuple[str, str]]:
    """Give every route that asks for a session, with ids of things that exist nowhere."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] == "embed":
            path = re.sub(r"<uuid:\w+>", str(uuid7()), rule.rule)
            found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return found


def test_t1_no_route_of_a_session_answers_anybody_else(crm: Crm, joe: Any, alice: Somebody, app: Flask) -> None:
    ended = crm.visit(joe)
    ended.post("/embed/close")
    token = crm.token(joe)
    strangers: dict[str, dict[str, str]] = {
        "nobody": {},
        "an api key": {"X-Api-Key": alice.key},
        "an api key in our header": {"X-Embed-Session": alice.key},
        "the token in our header": {"X-Embed-Session": token},
        "a session that is over": {"X-Embed-Session": ended.secret},
    }
    signed_in = app.test_client()
    with signed_in.session_transaction() as session:
        session["_user_id"], session["_fresh"] = alice.user.get_id(), True
    assert len(routes(app)) >= 10
    for method, path in routes(app):
        for who, headers in strangers.items():
            assert crm.client.open(path, method=method, headers=headers).status_code == 401, (who, method, path)
        assert signed_in.open(path, method=method).status_code == 401, ("a signed-in agent", method, path)


def test_a_sandboxed_page_may_ask_first_and_then_read_its_answer(crm: Crm, joe: Any) -> None:
    visitor = crm.visit(joe)
    asked = crm.client.options(
        "/embed/messages",
        headers={
            "Origin": "null",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-embed-session",
        },
    )
    assert asked.status_code == 200
    for answer in (asked, visitor.get("/embed/messages"), crm.client.get("/embed/messages")):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Headers"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_view_dies_with_its_key_on_the_next_request(crm: Crm, joe: Any) -> None:
    visitor = crm.visit(joe)
    assert visitor.lives
    keys.revoke(crm.business, crm.key)
    db.session.commit()
    answer = visitor.get("/embed/messages")
    assert (answer.status_code, joe.name in answer.text) == (401, False)


def test_a_new_token_goes_on_where_the_old_one_ended(crm: Crm, joe: Any) -> None:
    visitor = crm.visit(joe)
    visitor.post("/embed/close")
    assert not visitor.lives
    fresh = visitor.post("/embed/refresh", json={"token": crm.token(joe)})
    assert fresh.status_code == 200
    assert fresh.json["customer_id"] == str(joe.id)
    assert 3590 < fresh.json["expires_in"] <= 3600
    visitor.secret = fresh.json["secret"]
    assert visitor.lives


@pytest.mark.parametrize("body", ["", "[]", '"x"', '{"token": 1}', "{", '{"token": "x.y.z"}'])
def test_a_refresh_with_nonsense_changes_nothing(crm: Crm, joe: Any, body: str) -> None:
    visitor = crm.visit(joe)
    answer = visitor.post("/embed/refresh", body, content_type="application/json")
    assert answer.status_code in (401, 422)
    assert visitor.lives


@pytest.mark.parametrize("before", ["", "yesterday", "2025-01-01T00:00:00", "9" * 400, "\x00"], ids=ascii)
def test_a_misshapen_cursor_is_the_callers_mistake(crm: Crm, joe: Any, before: str) -> None:
    assert crm.visit(joe).get("/embed/messages", query_string={"before": before}).status_code == 422


def test_another_conversation_of_the_same_customer_is_shown_with_its_divider(crm: Crm, joe: Any) -> None:
    first = crm.says(joe, "first matter")
    conversation = conversations.get(crm.business, first.conversation_id)
    conversations.set_status(crm.business, conversation, "closed", by="Bob")
    conversation.closed_at = now() - timedelta(days=5)
    db.session.commit()
    crm.says(joe, "second matter")
    text = crm.visit(joe).page.text
    numbers = [row.number for row in db.session.query(Conversation).filter_by(customer_id=joe.id).order_by("number")]
    assert len(numbers) == 2
    places = [text.index(f'id="conversation-{numbers[0]}"'), text.index("first matter", text.index('id="timeline"'))]
    places += [text.index(f'id="conversation-{numbers[1]}"'), text.rindex("second matter")]
    assert places == sorted(places)


def test_the_terms_tell_the_page_what_it_needs_and_no_more(crm: Crm, joe: Any) -> None:
    page = crm.visit(joe).page.text
    [terms] = re.findall(r'id="terms">([^<]+)<', page)
    assert set(json.loads(terms)) == {"customer_id", "scope", "expires_at", "expires_in", "after", "origins"}


def test_a_message_that_comes_late_stands_where_it_was_written_and_below_its_conversations_divider(
    crm: Crm, joe: Any
) -> None:
    crm.says(joe, "Second", at=now() - timedelta(seconds=1))
    crm.says(joe, "First", at=now() - timedelta(days=1))
    shown = crm.open(crm.token(joe)).text
    assert shown.index('id="conversation-') < shown.index(">First<") < shown.index(">Second<")
