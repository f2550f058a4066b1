"""WhatsApp both ways, through HTTP, the queue, the worker and the provider sandbox."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from demo import files
from models import Business, Message, Notice, db
from services import messages, outbound
from tests.callers import fetch, until
from tests.journeys.conftest import JOHN, Shop

PICTURE, PAPER = files.picture("hill.png"), files.paper("Acme", "receipt.pdf")


def upload(shop: Shop, name: str, data: bytes) -> str:
    boundary = "----acme"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = part + data + f"\r\n--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    answer = fetch(
        f"{shop.live.base_url}/functions/v1/api-upload-attachment", "POST", body, key=shop.api.key, kind=kind
    )
    assert answer.status == 201, answer.data
    return str(answer.json()["attachment"]["file_url"])


def reach(shop: Shop, message_id: str, status: str) -> dict[str, Any]:
    until(lambda: shop.message(message_id)["status"] == status, 15)
    return shop.message(message_id)


def test_what_a_customer_writes_is_told_to_the_crm(shop: Shop) -> None:
    (got,) = shop.told("message.received")
    data = got.event["data"]
    assert (data["content"], data["channel"]) == ("Is this the shop?", "whatsapp")
    assert (data["customer"]["name"], data["customer"]["phone"]) == ("John Doe", JOHN)
    kinds = {one.event["event"] for one in shop.crm.got}
    assert kinds == {"customer.created", "conversation.created", "message.received"}
    shown = shop.api.get("/api-conversations-by-customer", phone=JOHN, include_messages="true")
    assert [one["unread_count"] for one in shown["conversations"]] == [1]


def test_an_answer_reaches_the_phone_and_its_ticks_come_back(shop: Shop) -> None:
    message_id = shop.send("It is. How can we help?")
    reach(shop, message_id, "delivered")
    assert [one["text"] for one in shop.screen()] == ["Is this the shop?", "It is. How can we help?"]
    shop.phone("read", person=JOHN.removeprefix("+"))
    reach(shop, message_id, "read")
    until(lambda: len(shop.told("message.status_changed")) == 2)
    assert [got.event["data"]["message_id"] for got in shop.told("message.sent")] == [message_id]
    assert [got.event["data"]["status"] for got in shop.told("message.status_changed")] == ["delivered", "read"]


@pytest.mark.parametrize(
    ("name", "mime", "data"), [("hill.png", "image/png", PICTURE), ("receipt.pdf", "application/pdf", PAPER)]
)
def test_a_file_that_a_customer_sends_can_be_downloaded_when_the_crm_hears_of_it(
    shop: Shop, name: str, mime: str, data: bytes
) -> None:
    shop.say_file(name, mime, data, text="Look")
    got = until(lambda: shop.told("message.received")[1:])[0]
    (attachment,) = got.event["data"]["attachments"]
    assert (attachment["type"], attachment["size"]) == (mime, len(data))
    assert fetch(attachment["download_url"]).data == data
    assert got.event["data"]["content"] == "Look"


def test_files_that_we_send_arrive_whole_and_with_their_text(shop: Shop) -> None:
    sent = [upload(shop, "hill.png", PICTURE), upload(shop, "receipt.pdf", PAPER)]
    message_id = shop.send("Two files", attachments=sent)
    reach(shop, message_id, "delivered")
    picture, paper = until(lambda: shop.screen()[1:] if len(shop.screen()) == 3 else None)
    assert (picture["text"], picture["media"]["sha256"]) == ("Two files", hashlib.sha256(PICTURE).hexdigest())
    assert (paper["media"]["filename"], paper["media"]["sha256"]) == ("receipt.pdf", hashlib.sha256(PAPER).hexdigest())


def test_statuses_may_come_in_any_order_and_more_than_once(shop: Shop) -> None:
    shop.fault("reversed_callbacks", times=3, seconds=1)
    shop.phone("people", **{"from": JOHN, "auto_read": True})
    message_id = shop.send("In reverse")
    message = reach(shop, message_id, "read")
    for status in ("sent", "delivered", "sent"):
        shop.phone("status", id=shop.screen()[-1]["id"], status=status)
    shop.say("And now?")
    until(lambda: len(shop.told("message.received")) == 2)
    again = shop.message(message_id)  # a late `sent` may have told what it costs, and nothing else
    assert again | {"updated_at": ""} == message | {"updated_at": ""}
    told = [got.event["data"]["status"] for got in shop.told("message.status_changed")]
    assert told[-1] == "read"
    assert told in (["read"], ["delivered", "read"])


def test_a_status_that_comes_before_its_answer_waits_for_it(shop: Shop) -> None:
    shop.fault("early_status")
    reach(shop, shop.send("Early"), "delivered")


def test_what_a_provider_repeats_is_applied_once(shop: Shop) -> None:
    shop.fault("duplicate_callbacks", times=2)
    first = shop.say("Twice?")["item"]
    shop.say("Once more", id=first["id"])  # another callback altogether, with the same message id
    shop.say("The last")
    until(lambda: len(shop.told("message.received")) == 3)
    assert [one["content"] for one in shop.api.messages()] == ["Is this the shop?", "Twice?", "The last"]


def test_a_forged_callback_changes_nothing(shop: Shop) -> None:
    shop.fault("bad_signature")
    assert shop.say("Not me")["delivery"]["attempts"][0]["status"] in (401, 403)
    assert [one["content"] for one in shop.api.messages()] == ["Is this the shop?"]


def test_a_closed_window_takes_a_template_and_nothing_else(shop: Shop) -> None:
    stranger = {"name": "Una", "phone": "+353851112222", "whatsapp_number": "+353851112222"}
    shop.api.post("/api-customers", stranger)
    wish = {"phone": stranger["phone"], "channel": "whatsapp", "content": "Hello?"}
    refused = shop.api.call("POST", "/api-send-message", wish, status=422)
    assert refused["error"]["code"] == "window_closed"
    parameters = {"body": ["Una", "A-1042"]}
    template = {"name": "order_update", "language": "en_US", "parameters": parameters}
    reach(shop, shop.send(to=stranger["phone"], template=template), "delivered")
    (shown,) = shop.screen(stranger["phone"])
    assert shown["text"] == "Hi Una, your order A-1042 has shipped and arrives in 2–3 days."
    shop.say("Thanks!", sender=stranger["phone"])
    until(lambda: len(shop.told("message.received")) == 2)
    reach(shop, shop.send("You are welcome", to=stranger["phone"]), "delivered")


def test_a_window_that_the_provider_knows_to_be_closed_fails_with_its_words(shop: Shop) -> None:
    shop.phone("people", **{"from": JOHN, "window": "closed"})
    failed = reach(shop, shop.send("Too late"), "failed")
    assert failed["error"]["code"] == "131047"
    assert "template" in failed["error"]["message"]
    until(lambda: shop.told("message.status_changed"))
    assert shop.told("message.status_changed")[0].event["data"]["message"]["error"]["code"] == "131047"


def test_a_provider_that_is_busy_is_asked_again(shop: Shop) -> None:
    shop.fault("unavailable")
    message_id = shop.send("Try again")
    reach(shop, message_id, "delivered")
    assert [one["text"] for one in shop.screen()[1:]] == ["Try again"]


def test_an_answer_that_never_came_is_not_sent_twice(shop: Shop) -> None:
    shop.fault("drop_after_accept")
    message_id = shop.send("Once")
    reach(shop, message_id, "delivered")  # the statuses say that it went
    assert [one["text"] for one in shop.screen()[1:]] == ["Once"]


def test_a_failed_message_that_is_tried_again_goes_once_though_the_provider_is_busy(shop: Shop) -> None:
    shop.fault("failed_status", code=131000)
    message_id = shop.send("Again, please")
    reach(shop, message_id, "failed")
    shop.fault("rate_limit")
    with shop.live.app.app_context():
        message = db.session.scalars(select(Message).where(Message.id == UUID(message_id))).one()
        messages.retry(db.session.get_one(Business, message.business_id), message)
        db.session.commit()
    reach(shop, message_id, "delivered")
    assert [one["text"] for one in shop.screen()[1:]] == ["Again, please"]  # what failed never got there


def test_an_expired_token_fails_nothing_and_all_goes_in_order_once_it_is_replaced(shop: Shop) -> None:
    account = f"/api-channels?id={shop.account['id']}"
    shop.fault("expired_token")
    waiting = [shop.send("one")]
    until(lambda: shop.api.call("GET", account)["channel_account"]["state"] == "attention")
    waiting += [shop.send("two"), shop.send("three")]
    mine = (Message.business_id == UUID(shop.api.business_id), Message.direction == "outbound")
    with shop.live.app.app_context():
        held = select(func.count()).where(*mine, Message.status == "queued")
        until(lambda: db.session.scalar(held) == 3 or db.session.rollback())
        standing = (Notice.business_id == UUID(shop.api.business_id), Notice.dismissed_at.is_(None))
        (notice,) = db.session.scalars(select(Notice.text).where(*standing)).all()
        assert "token has expired" in notice
        shop.api.patch(account, {"config": {"access_token": f"EAAG{shop.number[2:]}"}})
        minute = update(Message).where(*mine).values(next_attempt_at=Message.next_attempt_at - outbound.HELD)
        db.session.execute(minute)
        db.session.commit()
    for message_id in waiting:
        reach(shop, message_id, "delivered")
    assert [one["text"] for one in shop.screen()[1:]] == ["one", "two", "three"]
