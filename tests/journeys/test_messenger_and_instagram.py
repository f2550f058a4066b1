"""Messenger and Instagram both ways, through HTTP, the queue, the worker and the provider sandbox."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from demo import files
from models import ChannelAccount, db
from tests.callers import Caller, business, fetch, operate, until
from tests.processes import Live
from tests.receivers import Got, Receiver, listening

PICTURE, PAPER = files.picture("hill.png"), files.paper("Acme", "receipt.pdf")
PERSON = "24000000000000222"
EVENTS = ["message.received", "message.sent", "message.status_changed", "customer.updated"]


class Shop:
    """A business with one account, a customer who has just written, and a CRM that listens."""

    def __init__(self, live: Live, kind: str, crm: Receiver) -> None:
        self.live, self.kind, self.crm = live, kind, crm
        self.api: Caller = business(live)
        number = str(int(self.api.business_id[-12:], 16))[:12]
        given = {
            "facebook": {"page_id": f"10{number}", "page_name": "Acme", "app_secret": f"secret-{number}"},
            "instagram": {
                "account_id": f"17841{number}",
                "username": "acme",
                "instagram_app_secret": f"secret-{number}",
            },
        }[kind]
        config = given | {"access_token": f"token-{number}", "verify_token": f"verify-{number}"}
        wish = {"channel": kind, "name": "Front desk", "config": config}
        self.account = self.api.post("/api-channels", wish)["channel_account"]
        self.key = next(iter(given.values()))
        self.api.post("/api-webhooks", {"name": "CRM", "url": crm.url(), "events": EVENTS})
        words = ("--business", self.api.business_id, "--from", PERSON, "--name", "Aoife Walsh")
        operate(live, "sandbox", "say", kind, *words, "--text", "Is it open?")
        until(lambda: self.told("message.received"))

    def phone(self, verb: str, **body: Any) -> Any:
        url = f"{self.live.sandbox_url}/control/{self.kind}/{verb}"
        answer = fetch(url, "POST", {"account": self.key, "from": PERSON, "person": PERSON} | body)
        assert answer.status == 200, answer.data
        return orjson.loads(answer.data)

    def screen(self) -> list[dict[str, Any]]:
        """What the customer sees on the phone."""
        url = f"{self.live.sandbox_url}/control/{self.kind}/messages?account={self.key}&person={PERSON}"
        return list(orjson.loads(fetch(url).data)["messages"])

    def fault(self, kind: str) -> None:
        wish = {"provider": self.kind, "kind": kind, "account": self.key}
        assert fetch(f"{self.live.sandbox_url}/control/faults", "POST", wish).status == 200

    def customer(self) -> dict[str, Any]:
        (found,) = self.api.get("/api-customers")["customers"]
        return dict(found)

    def send(self, content: str = "", **more: Any) -> str:
        wish = {"customer_id": self.customer()["id"], "channel": self.kind, "content": content}
        return str(self.api.post("/api-send-message", wish | more)["message_id"])

    def reach(self, message_id: str, status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.api.get("/api-messages", id=message_id)["message"]
            return shown if shown["status"] == status else None

        return dict(until(look, 15) or {})

    def told(self, kind: str) -> list[Got]:
        return [got for got in list(self.crm.got) if got.event["event"] == kind]

    def bubbles(self) -> list[str]:
        return [str(one["content"]) for one in self.api.messages()]

    def upload(self, name: str, data: bytes) -> str:
        part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        url = f"{self.live.base_url}/functions/v1/api-upload-attachment"
        kind = "multipart/form-data; boundary=x"
        answer = fetch(url, "POST", part + data + b"\r\n--x--\r\n", key=self.api.key, kind=kind)
        assert answer.status == 201, answer.data
        return str(answer.json()["attachment"]["file_url"])


@pytest.fixture(params=["facebook", "instagram"])
def shop(live: Live, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with listening() as crm:
        yield Shop(live, request.param, crm)


def test_a_first_message_comes_in_and_its_writer_gets_a_name(shop: Shop) -> None:
    data = shop.told("message.received")[0].event["data"]
    assert (data["content"], data["channel"]) == ("Is it open?", shop.kind)
    until(lambda: shop.customer()["name"] == "Aoife Walsh")
    until(lambda: shop.told("customer.updated"))


def test_an_answer_arrives_is_read_and_is_shown_once(shop: Shop) -> None:
    message_id = shop.send("It is, until six.")
    shop.reach(message_id, "delivered" if shop.kind == "facebook" else "sent")
    until(lambda: [one["text"] for one in shop.screen()] == ["Is it open?", "It is, until six."])
    shop.phone("read")
    shop.reach(message_id, "read")
    until(lambda: shop.told("message.status_changed"))
    assert shop.told("message.status_changed")[-1].event["data"]["status"] == "read"
    assert shop.bubbles() == ["Is it open?", "It is, until six."]


def test_a_customer_who_reads_at_once_is_seen_to(shop: Shop) -> None:
    shop.phone("people", auto_read=True)
    ids = [shop.send(text) for text in ("one", "two", "three")]
    for message_id in ids:
        shop.reach(message_id, "read")


def test_files_go_out_whole_after_their_text(shop: Shop) -> None:
    sent = [shop.upload("hill.png", PICTURE), shop.upload("receipt.pdf", PAPER)]
    shop.reach(shop.send("Two files", attachments=sent), "delivered" if shop.kind == "facebook" else "sent")
    _, text, picture, paper = until(lambda: shop.screen() if len(shop.screen()) == 4 else None)
    assert text["text"] == "Two files"
    assert picture["media"]["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert paper["media"]["sha256"] == hashlib.sha256(PAPER).hexdigest()
    assert shop.bubbles() == ["Is it open?", "Two files"]


@pytest.mark.parametrize(
    ("name", "mime", "data"), [("hill.png", "image/png", PICTURE), ("receipt.pdf", "application/pdf", PAPER)]
)
def test_a_file_that_a_customer_sends_can_be_downloaded(shop: Shop, name: str, mime: str, data: bytes) -> None:
    file = {"filename": name, "mime": mime, "data": base64.b64encode(data).decode()}
    shop.phone("say", text="Look", file=file)
    got = until(lambda: shop.told("message.received")[1:])[0]
    (attachment,) = got.event["data"]["attachments"]
    assert (attachment["type"], attachment["size"], got.event["data"]["content"]) == (mime, len(data), "Look")
    assert fetch(attachment["download_url"]).data == data


def test_an_echo_before_the_answer_to_the_call_makes_no_second_bubble(shop: Shop) -> None:
    shop.phone("people", auto_read=True)
    shop.fault("early_status")
    shop.reach(shop.send("Early"), "read")
    assert shop.bubbles() == ["Is it open?", "Early"]


def test_a_lost_answer_is_made_good_by_the_echo(shop: Shop) -> None:
    shop.fault("drop_after_accept")
    shop.reach(shop.send("Did it go?"), "delivered" if shop.kind == "facebook" else "sent")
    assert [one["text"] for one in shop.screen()] == ["Is it open?", "Did it go?"]
    assert shop.bubbles() == ["Is it open?", "Did it go?"]


def test_what_the_owner_writes_elsewhere_is_shown(shop: Shop) -> None:
    shop.phone("say", echo=True, text="From the inbox")
    until(lambda: "From the inbox" in shop.bubbles())
    (message,) = [one for one in shop.api.messages() if one["content"] == "From the inbox"]
    where = {"facebook": "Facebook inbox", "instagram": "Instagram app"}[shop.kind]
    assert (message["direction"], message["sender"]["type"], message["sender"]["name"]) == ("outbound", "app", where)


def test_edits_and_deletions_follow(shop: Shop) -> None:
    mid = shop.phone("say", text="My card is 4111")["message"]["id"]
    until(lambda: "My card is 4111" in shop.bubbles())
    shop.phone("say", edit={"mid": mid, "text": "My card is lost"})
    until(lambda: "My card is lost" in shop.bubbles())
    shop.phone("say", delete={"mid": mid})
    until(lambda: shop.bubbles() == ["Is it open?", ""])


def test_a_window_that_the_provider_knows_to_be_closed_fails_with_its_words(shop: Shop) -> None:
    shop.phone("people", window="closed")
    failed = shop.reach(shop.send("Too late"), "failed")
    assert failed["error"]["code"] in ("10/2018278", "10/2534022")
    assert "24 hours" in failed["error"]["message"]


def test_an_instagram_token_is_renewed_by_itself(live: Live) -> None:
    with listening() as crm:
        shop = Shop(live, "instagram", crm)

    def renewed() -> bool:
        with live.app.app_context():
            rows = db.session.query(ChannelAccount.token_expires_at).filter_by(id=shop.account["id"])
            return rows.one()[0] is not None

    until(renewed)
    shop.reach(shop.send("Still here"), "sent")
