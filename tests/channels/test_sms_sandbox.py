"""The SMS channel against the provider sandbox: real calls out, signed callbacks in, by a number and by a service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

import channels
from channels import endpoints
from channels.base import Account, ChannelError, File, Inbound, Outgoing, Receipt, Sent
from tests.callers import until
from tests.channels import kinds, stage
from tests.channels.stage import Stage

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
CUSTOMER = "+353871234567"
OURS = kinds.PROVIDERS["sms"].config
WAYS: dict[str, dict[str, str]] = {
    "number": OURS,
    "service": OURS
    | {
        "account_sid": "AC00000000000000000000000000000002",
        "from_number": "+353862222222",
        "messaging_service_sid": "MG00000000000000000000000000000001",
        "api_key_sid": "SK00000000000000000000000000000001",
        "api_key_secret": "key-secret",
        "webhook_shared_key": "shared-key",
    },
}
CHANNEL = channels.get("sms")


@dataclass
class Line:
    """One account of ours, and its address for callbacks."""

    stage: Stage
    account: Account
    key: str

    def say(self, **body: Any) -> Any:
        return self.stage.control("sms/say", account=self.key, **{"from": CUSTOMER, **body})

    def people(self, **switches: Any) -> None:
        self.stage.control("sms/people", account=self.key, person=CUSTOMER, **switches)

    def fault(self, kind: str, **more: Any) -> None:
        self.stage.control("faults", provider="sms", kind=kind, account=self.key, **more)

    def chat(self) -> list[Any]:
        path = f"sms/messages?account={quote(self.key)}&person={quote(CUSTOMER)}"
        return list(self.stage.get(path)["messages"])

    def send(self, **parts: Any) -> Sent:
        return CHANNEL.send(self.account, Outgoing("msg-8f2", CUSTOMER, **parts))

    def refused(self, **parts: Any) -> ChannelError:
        with pytest.raises(ChannelError) as caught:
            self.send(**{"text": "x"} | parts)
        return caught.value

    def receipt(self, status: str) -> Receipt:
        found: Receipt = self.stage.wait(Receipt, lambda item: item.status == status)
        return found

    def file(self, content: bytes = PNG, mime: str = "image/png", name: str = "lamp.png") -> File:
        self.stage.files[f"/{name}"] = content
        return File(f"file-{name}", name, mime, len(content), lambda: content, f"{self.stage.address}/{name}")


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    with stage.running() as found:
        for way, given in WAYS.items():
            found.configs[f"/callbacks/{way}"] = ("sms", CHANNEL.normalise(given))
        yield found


@pytest.fixture(params=WAYS)
def line(running: Stage, request: pytest.FixtureRequest) -> Iterator[Line]:
    path = f"/callbacks/{request.param}"
    config, url = running.configs[path][1], running.address + path
    running.control("reset")
    running.control("sms/accounts", **config, override_callback_url=url, verified_name="Acme")
    running.items.clear()
    before = endpoints.current()
    endpoints.configure(endpoints.Endpoints(twilio_api_url=running.sandbox))
    yield Line(running, Account("a", "b", "sms", "", config, url), CHANNEL.account_key(config))
    endpoints.configure(before)


def test_a_customers_text_arrives_and_nothing_is_said_back(line: Line) -> None:
    line.say(text="Dia dhuit, Seán 😀")
    item = line.stage.wait(Inbound)
    assert (item.text, item.person.address, item.person.phone) == ("Dia dhuit, Seán 😀", CUSTOMER, CUSTOMER)
    assert item.account == ("" if line.account.config["messaging_service_sid"] else line.key)
    assert [one["direction"] for one in line.chat()] == ["from_customer"]


def test_an_answer_reaches_the_phone_and_its_statuses_carry_our_id(line: Line) -> None:
    (provider_id,) = line.send(text="Yes").provider_ids
    assert line.receipt("sent").message_id == "msg-8f2"
    assert line.receipt("delivered").provider_id == provider_id
    assert [(one["text"], one["status"]) for one in line.chat()] == [("Yes", "delivered")]


def test_pictures_come_in_and_go_out_whole(line: Line) -> None:
    data = {"filename": "a.png", "data": "iVBORw0KGgo="}
    line.say(text="look", files=[data, data | {"filename": "b.jpg"}])
    item = line.stage.wait(Inbound)
    assert (item.text, item.kind, [one.mime for one in item.media]) == ("look", "image", ["image/png", "image/jpeg"])
    found = CHANNEL.fetch_media(line.account, item.media[0], max_bytes=1000)
    assert found == (b"\x89PNG\r\n\x1a\n", "image/png", "")

    line.send(text="this one", files=[line.file(), line.file(name="b.png")])
    line.receipt("delivered")
    shown = line.chat()[-1]
    assert [part["size"] for part in (shown["media"], *shown["more"])] == [len(PNG)] * 2
    assert (shown["text"], shown["type"]) == ("this one", "image")


def test_a_file_that_cannot_be_fetched_fails_later(line: Line) -> None:
    line.send(files=[File("f", "a.png", "image/png", 3, lambda: b"", f"{line.stage.address}/nowhere.png")])
    failed = line.receipt("failed")
    assert (failed.error_code, failed.action) == ("11200", "permanent")
    assert "fetch" in (failed.error or "")


@pytest.mark.parametrize(
    ("switch", "code", "action"),
    [("filtered", "30007", "permanent"), ("unreachable", "30003", "retry")],
)
def test_what_the_carrier_does_not_deliver_comes_back_with_its_code(
    line: Line, switch: str, code: str, action: str
) -> None:
    line.people(**{switch: True})
    line.send(text="x")
    failed = line.receipt("failed")
    assert (failed.error_code, failed.action, failed.message_id) == (code, action, "msg-8f2")


def test_who_opted_out_gets_nothing_until_they_opt_in(line: Line) -> None:
    line.say(text="STOP")
    assert line.stage.wait(Inbound).extra["opt_out"] == "stop"
    error = line.refused()
    assert (error.code, error.action) == ("21610", "permanent")
    line.say(text="start")
    assert line.stage.wait(Inbound, lambda item: item.text == "start").extra["opt_out"] == "start"
    assert line.send(text="Welcome back").provider_ids


@pytest.mark.parametrize(
    ("kind", "code", "action", "unknown"),
    [
        ("rate_limit", "20429", "retry", False),
        ("pair_rate_limit", "21611", "retry", False),
        ("server_error", "20500", "retry", False),
        ("unavailable", "20503", "retry", False),
        ("server_error_html", None, "retry", True),
        ("expired_token", "20003", "account", False),
        ("drop_before_accept", "protocol", "retry", True),
        ("drop_after_accept", "protocol", "retry", True),
    ],
)
def test_trouble_is_told_apart(line: Line, kind: str, code: str | None, action: str, unknown: bool) -> None:
    line.fault(kind)
    error = line.refused()
    assert (error.action, error.unknown) == (action, unknown)
    assert unknown or error.code == code
    assert len(line.chat()) in ((0, 1) if kind == "drop_after_accept" else (0,))


def test_a_status_tells_of_a_message_whose_answer_was_lost(line: Line) -> None:
    line.fault("drop_after_accept")
    assert line.refused(text="Did it go?").unknown
    assert line.receipt("delivered").message_id == "msg-8f2"


def test_callbacks_that_come_twice_or_in_reverse_are_understood(line: Line) -> None:
    line.fault("duplicate_callbacks")
    line.say(text="Twice")
    line.stage.wait(Inbound, lambda _: len(line.stage.items) == 2)
    assert len({item.provider_id for item in line.stage.items if isinstance(item, Inbound)}) == 1
    line.fault("reversed_callbacks", times=3, seconds=0.3)
    line.send(text="x")
    line.receipt("sent")
    assert next(item.status for item in line.stage.items if isinstance(item, Receipt)) == "delivered"


def test_the_connection_can_be_tested(line: Line) -> None:
    found = CHANNEL.check(line.account)
    assert (found["name"], found["details"]["status"]) == ("Acme", "active")
    wrong = Account("a", "b", "sms", "", dict(line.account.config) | {"auth_token": "wrong"}, "")
    with pytest.raises(ChannelError) as caught:
        CHANNEL.check(wrong)
    assert (caught.value.code, caught.value.action) == ("20003", "account")


class TestTraces:
    """A lost answer is found in Twilio's list, which knows no id of ours: by the address, the text and the time."""

    def test_what_went_is_found_with_what_became_of_it(self, line: Line) -> None:
        since = datetime.now(UTC) - timedelta(seconds=5)
        self.lose(line, "Sláinte")
        line.send(text="Another")
        until(lambda: [one.status for one in self.traced(line, "Sláinte", since)] == ["delivered"])

    def test_two_with_the_same_words_are_told_apart_by_their_age(self, line: Line) -> None:
        since = datetime.now(UTC) - timedelta(seconds=5)
        first, second = (line.send(text="Same").provider_ids[0] for _ in range(2))
        assert [one.provider_id for one in self.traced(line, "Same", since)] == [first, second]

    def test_what_is_older_or_never_went_is_not_found(self, line: Line) -> None:
        line.send(text="Before")
        later = datetime.now(UTC) + timedelta(seconds=2)
        assert self.traced(line, "Before", later) == []
        assert self.traced(line, "Never", datetime.now(UTC) - timedelta(hours=1)) == []

    def traced(self, line: Line, text: str, since: datetime) -> list[Receipt]:
        return CHANNEL.trace(line.account, CUSTOMER, text, since)

    def lose(self, line: Line, text: str) -> None:
        line.fault("drop_after_accept")
        assert line.refused(text=text).unknown
