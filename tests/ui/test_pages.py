"""What the inbox's pages answer: whole or in part, to whom, and with how many questions to the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import pytest
from flask import Flask
from sqlalchemy import event, func, select

from lib.ids import uuid7
from models import Conversation, Customer, Draft, Message, db
from tests.factories import received, whatsapp
from tests.people import Somebody
from tests.ui import scene
from tests.ui.browser import Browser

FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def made(in_app: Flask) -> scene.Scene:
    return scene.build()


@pytest.fixture
def mary(browser: Browser, made: scene.Scene) -> Browser:
    browser.sign_in(made.mary.email)
    return browser


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """Count the statements that reach the database."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engines = (db.engine, app.extensions["read_engine"])
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", ["/inbox/mine", "/inbox/all", "/inbox/mine/c/{joe}", "/inbox/everything?q=refund"])
def test_every_address_gives_a_page_and_to_a_screen_its_part(mary: Browser, made: scene.Scene, path: str) -> None:
    path = path.format(joe=made.joe.number)
    page, part = mary.get(path).text, mary.get(path, **FRAGMENT).text
    assert page.startswith("<!doctype html>")
    assert "<html" not in part
    restored = mary.get(path, **FRAGMENT | {"HX-History-Restore-Request": "true"}).text
    assert restored.startswith("<!doctype html>")
    if "/c/" in path:
        assert 'id="thread"' in part
        assert "<title>Joe Bloggs" in part


def test_a_conversation_of_another_business_is_as_unknown_as_one_that_never_was(
    app: Flask, made: scene.Scene, charlie: Somebody
) -> None:
    stranger = Browser(app)
    stranger.sign_in(charlie.email)
    token = stranger.token("/me")
    message = db.session.scalars(select(Message).where(Message.conversation_id == made.joe.id)).first()
    assert message
    customer = made.joe.customer_id
    number = made.joe.number
    reads = [
        f"/inbox/all/c/{number}",
        f"/inbox/c/{number}/assign",
        f"/inbox/c/{number}/messages?before=2030-01-01T00:00:00Z",
        f"/inbox/c/{number}/canned",
        f"/inbox/channel-{made.joe.account_id}",
        f"/inbox/messages/{message.id}/original",
        f"/inbox/customers/{customer}/edit?field=name",
        f"/inbox/customers/{customer}/merge/{customer}",
        f"/settings/team/{made.tom.id}/menu",
    ]
    for path in reads:
        assert stranger.get(path).status_code == 404, path
    writes = [
        f"/inbox/c/{number}/send",
        f"/inbox/c/{number}/note",
        f"/inbox/c/{number}/draft",
        f"/inbox/c/{number}/status",
        f"/inbox/c/{number}/assign",
        f"/inbox/c/{number}/tags",
        f"/inbox/c/{number}/read",
        f"/inbox/c/{number}/unread",
        f"/inbox/messages/{message.id}/retry",
        f"/inbox/customers/{customer}",
        f"/settings/team/{made.tom.id}/state",
        f"/settings/team/{made.tom.id}/password",
    ]
    for path in writes:
        answer = stranger.client.post(path, data={"csrf_token": token, "content": "x", "mode": "note", "body": "x"})
        assert answer.status_code == 404, path


def test_a_search_finds_nothing_of_another_business(app: Flask, made: scene.Scene, charlie: Somebody) -> None:
    stranger = Browser(app)
    stranger.sign_in(charlie.email)
    for path in ("/search?q=joe", "/search?q=refund", "/inbox/everything?q=joe", f"/search?q=%23{made.joe.number}"):
        assert "Bloggs" not in stranger.get(path).text


def test_an_assignment_to_a_colleague_of_another_business_is_refused(
    mary: Browser, made: scene.Scene, charlie: Somebody
) -> None:
    answer = mary.post(f"/inbox/c/{made.joe.number}/assign", user_id=str(charlie.user.id))
    assert answer.status_code == 404


def test_a_note_stays_a_note_whatever_is_sent_with_it(mary: Browser, made: scene.Scene) -> None:
    fields = {"content": "only us", "mode": "reply", "account": str(made.joe.account_id), "private": "false"}
    answer = mary.post(f"/inbox/c/{made.joe.number}/note", **fields)
    assert "team only" in answer.text
    note = db.session.scalars(select(Message).where(Message.content == "only us")).one()
    assert (note.private, note.status, note.next_attempt_at) == (True, "note", None)


def test_an_answer_comes_back_as_the_very_fragment_of_the_stream(mary: Browser, made: scene.Scene) -> None:
    client_id = str(uuid7())
    fields = {"content": "Here you are", "client_id": client_id, "account": str(made.joe.account_id)}
    first = mary.post(f"/inbox/c/{made.joe.number}/send", **fields)
    again = mary.post(f"/inbox/c/{made.joe.number}/send", **fields)
    assert f'data-client="{client_id}"' in first.text
    assert re.findall(r'id="(m-[^"]+)"', first.text) == re.findall(r'id="(m-[^"]+)"', again.text)
    assert f'data-into="#messages-{made.joe.number}"' in first.text
    count = select(func.count()).where(Message.content == "Here you are", Message.business_id == made.business.id)
    assert db.session.scalar(count) == 1


def test_what_a_channel_forbids_comes_back_as_a_sentence(mary: Browser, made: scene.Scene) -> None:
    conversation = db.session.get_one(Conversation, (made.business.id, made.joe.id))
    conversation.last_inbound_at = conversation.created_at.replace(year=2020)
    db.session.commit()
    fields = {"content": "Too late", "account": str(made.joe.account_id)}
    answer = mary.post(f"/inbox/c/{made.joe.number}/send", **fields)
    assert answer.status_code == 422
    assert "24 hours" in answer.text


def test_drafts_are_kept_for_each_conversation_mode_and_person(app: Flask, mary: Browser, made: scene.Scene) -> None:
    other = made.numbers["Aoife Walsh"]
    mary.post(f"/inbox/c/{made.joe.number}/draft", mode="reply", body="to Joe")
    mary.post(f"/inbox/c/{made.joe.number}/draft", mode="note", body="about Joe")
    joe, aoife = mary.get(f"/inbox/mine/c/{made.joe.number}").text, mary.get(f"/inbox/mine/c/{other}").text
    assert "to Joe</textarea>" in joe
    assert "about Joe</textarea>" in joe
    assert ">to Joe</textarea>" not in aoife
    tom = Browser(app)
    tom.sign_in(made.tom.email)
    assert ">to Joe</textarea>" not in tom.get(f"/inbox/all/c/{made.joe.number}").text
    mary.post(f"/inbox/c/{made.joe.number}/send", content="to Joe", account=str(made.joe.account_id))
    assert db.session.scalars(select(Draft.mode).where(Draft.conversation_id == made.joe.id)).all() == ["note"]


def test_a_change_answers_with_the_new_state_and_a_way_back(mary: Browser, made: scene.Scene) -> None:
    answer = mary.post(f"/inbox/c/{made.joe.number}/status", status="closed")
    assert 'data-status="closed"' in answer.text
    assert f'"url": "/inbox/c/{made.joe.number}/status", "values": {{"status": "open"}}' in answer.headers["HX-Trigger"]
    back = mary.post(f"/inbox/c/{made.joe.number}/status", status="open")
    assert 'data-status="open"' in back.text


def test_a_file_goes_up_before_the_message_that_it_belongs_to(mary: Browser, made: scene.Scene) -> None:
    data = {"file": (BytesIO(scene.PIXEL), "seam.png"), "csrf_token": mary.token("/me")}
    kept = mary.client.post("/inbox/uploads", data=data).json
    assert kept["type"] == "image/png"
    fields = {"content": "", "account": str(made.joe.account_id), "attachment": kept["id"]}
    answer = mary.post(f"/inbox/c/{made.joe.number}/send", **fields)
    assert '<img src="/api/download-media?' in answer.text


def test_a_field_of_the_customer_is_changed_in_place_and_keeps_its_kind(mary: Browser, made: scene.Scene) -> None:
    path = f"/inbox/customers/{made.joe.customer_id}"
    assert "Cork" in mary.post(path, field="address", value="1 Patrick St, Cork").text
    mary.post(path, field="custom.contract_value", value="75000")
    refused = mary.post(path, field="custom.contract_value", value="a lot")
    assert refused.status_code == 422
    assert "Keep to its form" in refused.text
    wrong = mary.post(path, field="email", value="not an address")
    assert wrong.status_code == 422
    assert 'aria-invalid="true"' in wrong.text
    db.session.expire_all()
    customer = db.session.get_one(Customer, (made.business.id, made.joe.customer_id))
    assert customer.custom_fields["contract_value"] == 75000
    assert mary.post(path, field="business_id", value="x").status_code == 422


def test_the_palette_finds_customers_conversations_and_messages(mary: Browser, made: scene.Scene) -> None:
    assert "Joe Bloggs" in mary.get("/search?q=joe").text
    assert "Joe Bloggs" in mary.get("/search?q=CRM-12345").text
    assert f"#{made.joe.number}" in mary.get(f"/search?q=%23{made.joe.number}").text
    assert "scanned" in mary.get("/search?q=warehouse").text
    assert "Nothing found" in mary.get("/search?q=zzzzzz").text
    assert "Lately" in mary.get("/search").text


def test_the_list_asks_as_little_for_fifty_rows_as_for_fourteen(app: Flask, mary: Browser, made: scene.Scene) -> None:
    mary.get("/inbox/all")
    with counted(app) as few:
        mary.get("/inbox/all")
    account = whatsapp(made.business)
    for number in range(45):
        received(made.business, account, number=f"35387123{number:04d}")
    with counted(app) as many:
        assert mary.get("/inbox/all").text.count('id="row-') == 50
    assert len(many) == len(few) <= 9, "\n".join(many)


def test_a_thread_asks_as_little_for_many_messages_as_for_few(app: Flask, mary: Browser, made: scene.Scene) -> None:
    place = made.numbers["Aoife Walsh"]
    path = f"/inbox/mine/c/{place}"
    mary.get(path)
    with counted(app) as few:
        mary.get(path, **FRAGMENT)
    token = mary.token("/me")
    for number in range(30):
        content = {"content": f"note {number}", "csrf_token": token}
        mary.client.post(f"/inbox/c/{place}/note", data=content)
    with counted(app) as many:
        assert mary.get(path, **FRAGMENT).text.count("team only") == 30
    assert len(many) == len(few) <= 18, "\n".join(many)


def test_pages_of_a_list_follow_each_other_without_a_gap(app: Flask, mary: Browser, made: scene.Scene) -> None:
    account = whatsapp(made.business)
    for number in range(60):
        received(made.business, account, number=f"35387124{number:04d}")
    first = mary.get("/inbox/all").text
    after = re.search(r'hx-get="(/inbox/all/rows[^"]+)"', first)
    assert after
    second = mary.get(after[1].replace("&amp;", "&"), **FRAGMENT).text
    numbers = [int(number) for number in re.findall(r'id="c-(\d+)"', first + second)]
    open_ones = select(Conversation.number).where(
        Conversation.business_id == made.business.id, Conversation.status.in_(("open", "pending"))
    )
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == set(db.session.scalars(open_ones))


def test_earlier_messages_come_a_page_at_a_time(mary: Browser, made: scene.Scene) -> None:
    token = mary.token("/me")
    for number in range(60):
        mary.client.post(
            f"/inbox/c/{made.joe.number}/note", data={"content": f"note {number:02d}", "csrf_token": token}
        )
    thread = mary.get(f"/inbox/mine/c/{made.joe.number}", **FRAGMENT).text
    assert "note 59" in thread
    assert "note 05" not in thread
    earlier = re.search(r'hx-get="(/inbox/c/\d+/messages[^"]+)"', thread)
    assert earlier
    page = mary.get(earlier[1].replace("&amp;", "&"), **FRAGMENT).text
    assert "note 05" in page
    assert "note 59" not in page
    seen = re.findall(r'id="(m-[^"]+)"', thread + page)
    assert len(seen) == len(set(seen))
