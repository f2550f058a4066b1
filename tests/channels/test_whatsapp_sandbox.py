"""The WhatsApp channel against the provider sandbox, a process of its own: real calls out, signed callbacks in."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3

import channels
from channels import endpoints
from channels.base import Account, Callback, Change, ChannelError, File, Inbound, Item, Outgoing, Receipt, Template
from tests.channels import kinds

ROOT = Path(__file__).parents[2]
CUSTOMER = "353871234567"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
CHANNEL = channels.get("whatsapp")
CONFIG = CHANNEL.normalise(kinds.PROVIDERS["whatsapp"].config)


@dataclass
class Stage:
    """The sandbox, and our callback address, which does what the product does: verify, parse, keep."""

    sandbox: str
    items: list[Item] = field(default_factory=list)
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=20, retries=False))

    def control(self, path: str, **body: Any) -> Any:
        answer = self.http.request("POST", f"{self.sandbox}/control/{path}", json=body)
        assert answer.status == 200, answer.data
        return answer.json()

    def say(self, **body: Any) -> Any:
        return self.control("whatsapp/say", account="5550001", **{"from": f"+{CUSTOMER}", **body})

    def chat(self) -> list[Any]:
        url = f"{self.sandbox}/control/whatsapp/messages?account=5550001&person={CUSTOMER}"
        return list(self.http.request("GET", url).json()["messages"])

    def wait(self, kind: type[Any], fits: Callable[[Any], bool] = lambda _: True) -> Any:
        """Wait for an item."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for item in list(self.items):
                if isinstance(item, kind) and fits(item):
                    return item
            time.sleep(0.01)
        raise AssertionError(f"no such {kind.__name__} in {self.items}")


def _receiver(stage: Stage) -> type[BaseHTTPRequestHandler]:
    class Receiver(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def _callback(self) -> Callback:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Callback(self.command, self.path, headers, dict(parse_qsl(urlsplit(self.path).query)), body)

        def do_GET(self) -> None:
            reply = CHANNEL.handshake(self._callback(), CONFIG)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.end_headers()
            self.wfile.write(reply.body.encode())

        def do_POST(self) -> None:
            callback = self._callback()
            CHANNEL.verify(callback, CONFIG)
            stage.items += CHANNEL.parse(callback)
            self.send_response(CHANNEL.reply(callback).status)
            self.end_headers()

    return Receiver


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    environ = {**os.environ, "SANDBOX_PORT": "0", "SANDBOX_PACE": "0.02", "SANDBOX_DATA": ""}
    command = [sys.executable, "-m", "sandbox"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    line = process.stderr.readline()
    assert "http://" in line, line + process.stderr.read()
    stage = Stage("http://" + line.rsplit("http://", 1)[1].strip())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _receiver(stage))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    stage.control(
        "whatsapp/accounts",
        display_phone_number=CONFIG["phone_number"],
        callback_url=f"http://127.0.0.1:{server.server_port}/callbacks/whatsapp/1",
        require_app_secret=True,
        verified_name="Acme",
        **{name: value for name, value in CONFIG.items() if name != "phone_number"},
    )
    yield stage
    server.shutdown()
    server.server_close()
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    process.stderr.close()
    stage.http.clear()


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Begin with a customer who has just written, and an empty chat."""
    running.control("reset", keep_accounts=True)
    running.items.clear()
    before = endpoints.current()
    endpoints.configure(endpoints.Endpoints(meta_graph_url=running.sandbox))
    running.say(text="Hello")
    running.wait(Inbound)
    yield running
    endpoints.configure(before)


def account() -> Account:
    return Account("account-1", "business-1", "whatsapp", "", CONFIG)


def send(**parts: Any) -> tuple[str, ...]:
    return CHANNEL.send(account(), Outgoing("msg-8f2", CUSTOMER, **parts)).provider_ids


def picture(content: bytes = PNG) -> File:
    return File("file-1", "lamp.png", "image/png", len(content), lambda: content)


def test_a_customers_text_arrives_with_who_they_are(stage: Stage) -> None:
    stage.say(text="Dia dhuit 😀", name="Aoife")
    item = stage.wait(Inbound, lambda item: item.text == "Dia dhuit 😀")
    assert (item.account, item.person.address, item.person.phone) == ("5550001", CUSTOMER, f"+{CUSTOMER}")
    assert item.person.scoped_id


def test_an_answer_reaches_the_phone_and_its_receipts_name_it(stage: Stage) -> None:
    greeting = stage.wait(Inbound)
    (provider_id,) = send(text="Yes", reply_to=greeting.provider_id)
    receipt = stage.wait(Receipt, lambda item: item.status == "delivered")
    assert (receipt.provider_id, receipt.message_id, receipt.person) == (provider_id, "msg-8f2", CUSTOMER)
    shown = next(one for one in stage.chat() if one["id"] == provider_id)
    assert (shown["text"], shown["quoted"]) == ("Yes", greeting.provider_id)


def test_an_answer_to_a_scoped_id_reaches_the_same_phone(stage: Stage) -> None:
    greeting = stage.wait(Inbound)
    sent = CHANNEL.send(account(), Outgoing("msg-9", greeting.person.scoped_id, text="By id"))
    stage.wait(Receipt, lambda item: item.provider_id == sent.provider_ids[0] and item.status == "delivered")


def test_a_file_goes_out_whole(stage: Stage) -> None:
    (provider_id,) = send(text="look", files=[picture()])
    stage.wait(Receipt, lambda item: item.status == "delivered")
    shown = next(one for one in stage.chat() if one["id"] == provider_id)
    assert (shown["text"], shown["media"]["mime"], shown["media"]["size"]) == ("look", "image/png", len(PNG))
    assert shown["media"]["sha256"] == hashlib.sha256(PNG).hexdigest()


def test_a_file_comes_in_whole(stage: Stage) -> None:
    file = ("lamp.png", PNG, "image/png")
    fields: dict[str, Any] = {"account": "5550001", "from": f"+{CUSTOMER}", "text": "lamp", "file": file}
    stage.http.request("POST", f"{stage.sandbox}/control/whatsapp/say", fields=fields)
    item = stage.wait(Inbound, lambda item: item.kind == "image")
    assert item.text == "lamp"
    content, mime, _ = CHANNEL.fetch_media(account(), item.media[0], max_bytes=1000)
    assert (content, mime) == (PNG, "image/png")
    with pytest.raises(ChannelError) as caught:
        CHANNEL.fetch_media(account(), item.media[0], max_bytes=10)
    assert caught.value.code == "too_large"


def test_a_reaction_comes_and_goes(stage: Stage) -> None:
    (provider_id,) = send(text="Yes")
    stage.say(type="reaction", reaction={"message_id": provider_id, "emoji": "👍"})
    given = stage.wait(Change, lambda item: item.emoji == "👍")
    stage.say(type="reaction", reaction={"message_id": provider_id, "emoji": ""})
    taken_back = stage.wait(Change, lambda item: item.emoji is None)
    assert {(each.kind, each.target) for each in (given, taken_back)} == {("reaction", provider_id)}


def test_templates_are_listed_and_sent_by_position_and_by_name(stage: Stage) -> None:
    listed = {(one["name"], one["language"]): one for one in CHANNEL.templates(account())}
    assert listed["order_update", "en_US"]["status"] == "APPROVED"
    named = {"header": {"day": "Monday"}, "body": {"customer_name": "Aoife", "day": "Monday", "time": "10:00"}}
    send(template=Template("order_update", "en_US", {"body": ["Aoife", "A-17"]}))
    send(template=Template("appointment_reminder", "en", named))
    offer = {"body": ["Aoife"], "button:0": ["spring"]}
    send(template=Template("spring_offer", "en", offer), files=[picture()])
    stage.wait(Receipt, lambda item: item.status == "delivered")


@pytest.mark.parametrize(
    ("template", "code"),
    [
        (Template("order_update", "en_US", {"body": ["Aoife"]}), "132000"),
        (Template("no_such", "en", {}), "132001"),
        (Template("flash_sale", "en", {"body": ["x"]}), "132015"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_for_good(stage: Stage, template: Template, code: str) -> None:
    with pytest.raises(ChannelError) as caught:
        send(template=template)
    assert (caught.value.code, caught.value.action) == (code, "permanent")


def test_after_24_hours_a_free_text_fails_by_receipt(stage: Stage) -> None:
    stage.control("clock", advance=25 * 3600)
    (provider_id,) = send(text="Still there?")
    receipt = stage.wait(Receipt, lambda item: item.status == "failed")
    assert (receipt.provider_id, receipt.error_code, receipt.action) == (provider_id, "131047", "window")


def test_a_lost_answer_is_found_again_by_our_own_id(stage: Stage) -> None:
    stage.control("faults", provider="whatsapp", kind="drop_after_accept")
    with pytest.raises(ChannelError) as caught:
        send(text="Did it go?")
    assert caught.value.unknown
    receipt = stage.wait(Receipt, lambda item: item.status == "delivered")
    assert (receipt.message_id, bool(receipt.provider_id)) == ("msg-8f2", True)
    assert [one["text"] for one in stage.chat()].count("Did it go?") == 1


@pytest.mark.parametrize(
    ("kind", "action", "unknown"),
    [
        ("rate_limit", "retry", False),
        ("pair_rate_limit", "retry", False),
        ("server_error", "retry", False),
        ("server_error_html", "retry", True),
        ("drop_before_accept", "retry", True),
        ("expired_token", "account", False),
    ],
)
def test_trouble_is_told_apart(stage: Stage, kind: str, action: str, unknown: bool) -> None:
    stage.control("faults", provider="whatsapp", kind=kind)
    with pytest.raises(ChannelError) as caught:
        send(text="x")
    assert (caught.value.action, caught.value.unknown) == (action, unknown)


def test_half_a_message_is_completed_without_repeating_the_other_half(stage: Stage) -> None:
    files = [picture(), File("f2", "b.pdf", "application/pdf", 8, lambda: b"%PDF-1.4")]
    ids = send(text="two", files=files)
    again = send(text="two", files=files, sent_ids=ids[:1], attempt=2)
    assert again[0] == ids[0]
    stage.wait(Receipt, lambda item: item.provider_id == again[1] and item.status == "delivered")
    ours = [one["type"] for one in stage.chat() if one["direction"] == "from_business"]
    assert ours == ["image", "document", "document"]


def test_the_connection_can_be_tested_and_subscribed(stage: Stage) -> None:
    assert CHANNEL.check(account())["name"] == "Acme"
    CHANNEL.subscribe(account())
    wrong = Account("a", "b", "whatsapp", "", CONFIG | {"app_secret": "another"})
    with pytest.raises(ChannelError, match="app secret") as caught:
        CHANNEL.check(wrong)
    assert caught.value.action == "account"


def test_reading_turns_the_customers_ticks_blue(stage: Stage) -> None:
    greeting = stage.wait(Inbound)
    CHANNEL.mark_read(account(), CUSTOMER, greeting.provider_id)
    assert next(one for one in stage.chat() if one["id"] == greeting.provider_id)["status"] == "read"


def test_a_batch_of_everything_loses_nothing(stage: Stage) -> None:
    items = [
        {"account": "5550001", "from": f"+{CUSTOMER}", "text": "one"},
        {"account": "5550001", "from": "+447911123456", "text": "two", "name": "Bob"},
        {"account": "5550001", "from": f"+{CUSTOMER}", "raw": {"type": "hologram", "hologram": {"depth": 3}}},
        {"account": "5550001", "from": f"+{CUSTOMER}", "echo": True, "text": "from the shop"},
    ]
    stage.control("batch", items=items)
    assert stage.wait(Inbound, lambda item: item.text == "two").person.address == "447911123456"
    assert stage.wait(Inbound, lambda item: item.kind == "unsupported")
    assert stage.wait(Inbound, lambda item: item.echo).text == "from the shop"
