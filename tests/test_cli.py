"""Operators' commands, as an operator runs them: against running processes, read as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from lib.ids import uuid7
from models import ChannelAccount, Conversation, Customer, Message, Notice, db
from services import team
from tests.callers import Caller, business, fetch, operate, until
from tests.processes import Live


class TestBusinessCreate:
    def test_the_printed_key_opens_the_api(self, live: Live) -> None:
        made = live.flask("business", "create", "Bolt & Sons", "--admin-email", "ann@bolt.example")
        assert made["email"] == "ann@bolt.example"
        assert len(made["password"]) >= 10
        assert Caller(live, made["api_key"]).get("/api-customers")["customers"] == []

    def test_the_given_password_is_the_admins(self, live: Live) -> None:
        words = ("--admin-email", "sam@signs.example", "--admin-password", "correct horse battery")
        made = operate(live, "business", "create", "Signs", *words)
        with live.app.app_context():
            user = team.authenticate("sam@signs.example", "correct horse battery")
            assert user is not None
            assert user.is_admin
            assert str(user.business_id) == made["business_id"]

    def test_an_address_that_signs_in_elsewhere_is_refused_in_one_line(self, app: Flask) -> None:
        words = ["business", "create", "Twice", "--admin-email", f"{uuid7().hex}@example.com"]
        assert app.test_cli_runner().invoke(args=words).exit_code == 0
        again = app.test_cli_runner().invoke(args=words)
        assert (again.exit_code, again.output) == (1, "Error: Somebody already signs in with this email address.\n")

    def test_without_json_it_reads_as_a_list(self, app: Flask) -> None:
        words = ["business", "create", "Plain", "--admin-email", f"{uuid7().hex}@example.com"]
        done = app.test_cli_runner().invoke(args=words)
        names = [line.rsplit("  ", 1)[0].strip() for line in done.output.splitlines()]
        assert names == ["business id", "email", "password", "api key"]


class TestApiKeyCreate:
    def test_a_key_has_the_scopes_that_were_asked_for(self, live: Live) -> None:
        acme = business(live)
        key = operate(live, "api-key", "create", "--business", acme.business_id, "--scope", "customers:read")
        assert key["scopes"] == ["customers:read"]
        narrow = Caller(live, key["api_key"])
        assert narrow.get("/api-customers")["customers"] == []
        narrow.call("POST", "/api-customers", {"name": "No", "email": "no@example.com"}, status=403)

    def test_an_unknown_business_is_named(self, app: Flask) -> None:
        done = app.test_cli_runner().invoke(args=["api-key", "create", "--business", "nobody"])
        assert (done.exit_code, done.output) == (1, "Error: There is no business 'nobody'.\n")


@pytest.fixture(scope="module")
def demo(live: Live) -> Caller:
    made = live.flask("demo")
    return Caller(live, made["api_key"], made["business_id"])


class TestDemo:
    @pytest.fixture(autouse=True)
    def in_live_app(self, live: Live) -> Iterator[None]:
        with live.app.app_context():
            yield

    def test_conversations_are_in_every_state(self, demo: Caller) -> None:
        rows = db.session.query(Conversation).filter_by(business_id=UUID(demo.business_id)).all()
        assert sorted(row.number for row in rows) == list(range(1, 34))
        assert {row.status for row in rows} == {"open", "pending", "snoozed", "closed"}
        assert any(row.assignee_id is None for row in rows)
        assert any(row.unread_count for row in rows)

    def test_history_lies_in_the_past_and_in_order(self, demo: Caller) -> None:
        rows = db.session.query(Message).filter_by(business_id=UUID(demo.business_id)).all()
        stamps = {row.created_at for row in rows}
        assert len(stamps) == len(rows) > 150
        assert {row.status for row in rows} >= {"received", "read", "delivered", "failed", "note"}
        assert not any(row.next_attempt_at for row in rows)

    def test_the_guides_customer_can_be_answered_and_reads_it(self, demo: Caller) -> None:
        newest = demo.messages()[-1]
        said = {"customer_id": "CRM-12345", "channel": "whatsapp", "content": "Your order is ready for pickup."}
        sent = demo.post("/api-send-message", said)
        assert sent["message"]["created_at"] > newest["created_at"]

        def last() -> dict[str, Any]:
            messages: list[dict[str, Any]] = demo.get("/api-messages", conversation_id=sent["conversation_id"])[
                "messages"
            ]
            return next(message for message in messages if message["id"] == sent["message_id"])

        until(lambda: last()["status"] == "read")

    def test_two_customers_share_an_address(self, demo: Caller) -> None:
        same = {"business_id": UUID(demo.business_id), "email": "joe.bloggs@example.com"}
        assert db.session.query(Customer).filter_by(**same).count() == 2

    def test_its_files_open(self, demo: Caller) -> None:
        messages = demo.messages(include_attachments="true")
        files = [file for message in messages for file in message["attachments"]]
        assert {file["type"] for file in files} == {"image/png", "application/pdf"}
        for file in files:
            data = fetch(file["download_url"]).data
            assert len(data) == file["size"]
            assert data.startswith(b"\x89PNG" if file["type"] == "image/png" else b"%PDF-1.4")

    def test_its_number_takes_texts_and_answers_them(self, live: Live, demo: Caller) -> None:
        words = ("--business", demo.business_id, "--from", "+353871239999", "--text", "Van is here")
        assert operate(live, "sandbox", "say", "sms", *words)["delivery"]["state"] == "delivered"
        (text,) = until(lambda: [one for one in demo.messages() if one["content"] == "Van is here"])
        said = {"phone": "+353871239999", "channel": "sms", "content": "On our way down"}
        assert demo.post("/api-send-message", said)["conversation_id"] == text["conversation_id"]
        until(lambda: [one["status"] for one in demo.messages() if one["content"] == said["content"]] == ["delivered"])

    def test_a_second_one_stands_beside_the_first(self, live: Live, demo: Caller) -> None:
        second = operate(live, "demo")
        assert second["business_id"] != demo.business_id
        assert Caller(live, second["api_key"]).get("/api-customers", external_id="CRM-12345")["name"] == "John Doe"


class TestSandboxSay:
    @pytest.fixture
    def shop(self, live: Live) -> Caller:
        """A business with a WhatsApp number that no provider ever heard of, connected by the API."""
        made = business(live)
        made.connect()
        return made

    def test_a_made_up_number_can_be_chatted_with_at_once(self, shop: Caller) -> None:
        answer = shop.say("Is anybody there?", "--name", "Nora", sender="+353871110001")
        assert answer["delivery"]["state"] == "delivered"
        (message,) = until(shop.messages)
        assert (message["content"], message["direction"]) == ("Is anybody there?", "inbound")
        nora = shop.get("/api-customers", phone="+353871110001")
        assert nora["name"] == "Nora"
        shop.post("/api-send-message", {"customer_id": nora["id"], "channel": "whatsapp", "content": "We are!"})
        until(lambda: shop.messages()[-1]["status"] in ("delivered", "read"), 15)

    def test_what_the_provider_refused_before_is_taken_back(self, live: Live, shop: Caller) -> None:
        with live.app.app_context():

            def account() -> ChannelAccount:
                db.session.rollback()
                return db.session.query(ChannelAccount).filter_by(business_id=UUID(shop.business_id)).one()

            until(lambda: account().state == "attention")
            shop.say("Hello")
            until(lambda: account().state == "connected")
            assert db.session.query(Notice).filter_by(subject_id=account().id, dismissed_at=None).count() == 0

    def test_a_file_goes_along(self, shop: Caller, tmp_path: Path) -> None:
        file = tmp_path / "bill.pdf"
        file.write_bytes(b"%PDF-1.4\n%%EOF\n")
        shop.say("The bill", "--file", str(file))

        def attached() -> Any:
            files = [file for one in shop.messages(include_attachments="true") for file in one["attachments"]]
            return [file for file in files if "state" not in file]

        (attachment,) = until(attached)
        assert attachment["filename"] == "bill.pdf"
        assert fetch(attachment["download_url"]).data == file.read_bytes()

    def test_two_businesses_with_one_made_up_number_can_both_be_written_to(self, live: Live) -> None:
        one, other = business(live), business(live)
        for shop in (one, other):
            shop.connect(phone_number_id="123456", app_secret="same", access_token="same")
        for shop in (one, other, one):
            shop.say(f"To {shop.business_id}")
        until(lambda: len(one.messages()) == 2)
        assert [message["content"] for message in other.messages()] == [f"To {other.business_id}"]

    def test_nobody_to_write_to_is_said_in_one_line(self, live: Live) -> None:
        words = ["sandbox", "say", "whatsapp", "--to", "424242", "--from", "+353871110004", "--text", "Hi"]
        done = live.app.test_cli_runner().invoke(args=words)
        assert (done.exit_code, done.output) == (1, "Error: No such whatsapp account is connected.\n")
