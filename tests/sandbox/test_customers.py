"""Customers write every documented type of message, and the envelope is the documented one."""

import base64

import pytest

SAMPLES = {
    "location": {"latitude": 53.3498, "longitude": -6.2603, "name": "GPO", "address": "O'Connell St, Dublin"},
    "contacts": [{"name": {"formatted_name": "Seán Ó Briain"}, "phones": [{"phone": "+353 86 111 2222"}]}],
    "interactive": {
        "type": "list_reply",
        "list_reply": {"id": "slot_2", "title": "Tue 10:00", "description": "30 min"},
    },
    "button": {"payload": "CONFIRM", "text": "Confirm"},
    "order": {"catalog_id": "1", "text": "this", "product_items": [{"product_retailer_id": "p", "quantity": 1}]},
    "reaction": {"message_id": "wamid.OUT1", "emoji": "❤️"},
    "edit": {"original_message_id": "wamid.A9", "message": {"type": "text", "text": {"body": "that other one"}}},
    "revoke": {"original_message_id": "wamid.A9"},
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_message_of_this_type_comes_as_documented(number, kind):
    number.say(None, **{kind: SAMPLES[kind]})
    (item,) = number.receiver.messages()
    assert item["type"] == kind
    assert item[kind] == SAMPLES[kind]
    assert item.keys() == {"from", "from_user_id", "id", "timestamp", "type", kind}


def test_the_envelope_is_the_documented_one(number):
    number.say("Dia dhuit", name="Aoife", username="aoife.b", timestamp=1_764_000_000)
    got = number.receiver.got[0]
    assert got.headers["content-type"] == "application/json"
    assert got.json["object"] == "whatsapp_business_account"
    (entry,) = got.json["entry"]
    assert entry["id"] == number.waba
    (change,) = entry["changes"]
    assert change["field"] == "messages"
    value = change["value"]
    assert value["messaging_product"] == "whatsapp"
    assert value["metadata"]["phone_number_id"] == number.id
    assert value["metadata"]["display_phone_number"].isdigit()
    (contact,) = value["contacts"]
    assert contact["profile"] == {"name": "Aoife", "username": "aoife.b"}
    assert contact["wa_id"] == value["messages"][0]["from"] == "353871234567"
    assert contact["user_id"] == value["messages"][0]["from_user_id"]
    assert value["messages"][0]["timestamp"] == "1764000000"


def test_a_bsuid_is_the_same_every_time_and_differs_between_apps(declare):
    one, other = declare(), declare()
    first, again = (one.say()["item"]["from_user_id"] for _ in range(2))
    assert first == again != other.say()["item"]["from_user_id"]


def test_an_account_of_the_old_kind_has_no_bsuids(declare):
    number = declare(bsuids=False)
    item = number.say()["item"]
    assert "from_user_id" not in item
    assert "user_id" not in number.receiver.got[0].value["contacts"][0]


def test_someone_may_hide_the_number(number):
    number.say("hello", user_id="IE.7700000000000001", hide_phone=True)
    value = number.receiver.got[0].value
    assert "wa_id" not in value["contacts"][0]
    assert "from" not in value["messages"][0]
    assert value["messages"][0]["from_user_id"] == "IE.7700000000000001"


def test_a_file_comes_as_media_with_its_hash(number, box):
    data = b"%PDF-1.7 hello"
    file = {"filename": "Réceipt #1.pdf", "data": base64.b64encode(data).decode()}
    said = number.say("receipt", file=file)
    document = said["item"]["document"]
    assert (document["filename"], document["mime_type"], document["caption"]) == (
        "Réceipt #1.pdf", "application/pdf", "receipt",
    )  # fmt: skip
    bearer = {"Authorization": f"Bearer {number.token}", "User-Agent": "test"}
    assert box.call("GET", number.graph("GET", document["id"])[1]["url"], headers=bearer)[1] == data
    assert box.call("GET", document["url"], headers=bearer)[0] in (200, 404)  # base URL of the callback: SANDBOX_URL


def test_a_file_may_come_as_multipart(number, box):
    fields = {
        "account": number.id,
        "from": "+353871234567",
        "voice": "true",
        "file": ("note.ogg", b"OggS", "audio/ogg"),
    }
    status, said = box.call("POST", "/control/whatsapp/say", fields=fields)
    assert status == 200
    assert said["item"]["audio"]["voice"] is True
    assert said["item"]["audio"]["mime_type"] == "audio/ogg; codecs=opus"


def test_an_unsupported_message_says_so(number):
    number.say(None, type="unsupported")
    (item,) = number.receiver.messages()
    assert item["errors"][0]["code"] == 131051
    assert item["unsupported"] == {"type": "poll_creation"}


def test_a_raw_item_passes_through(number):
    number.say(None, raw={"type": "hologram", "hologram": {"x": 1}, "id": "wamid.RAW"})
    (item,) = number.receiver.messages()
    assert (item["id"], item["type"], item["hologram"], item["from"]) == (
        "wamid.RAW", "hologram", {"x": 1}, "353871234567",
    )  # fmt: skip


def test_a_reply_quotes(number):
    number.say("that one", context="wamid.OUT1")
    quoted = number.receiver.messages()[0]["context"]
    assert quoted["id"] == "wamid.OUT1"
    assert quoted["from"] == number.receiver.got[0].value["metadata"]["display_phone_number"]


def test_the_owner_may_type_on_the_phone(number):
    number.say("Typed on the shop phone", echo=True)
    change = number.receiver.got[0].json["entry"][0]["changes"][0]
    assert change["field"] == "smb_message_echoes"
    (echo,) = change["value"]["message_echoes"]
    assert echo["to"] == "353871234567"
    assert echo["text"]["body"] == "Typed on the shop phone"
    assert "messages" not in change["value"]


def test_edits_and_revokes_change_what_the_customer_sees(number):
    first = number.say("helo")["item"]["id"]
    number.say(None, edit={"original_message_id": first, "message": {"type": "text", "text": {"body": "hello"}}})
    assert number.chat()[0]["text"] == "hello"
    number.say(None, revoke={"original_message_id": first})
    assert number.chat()[0]["deleted"] is True


def test_a_batch_is_one_callback_with_many_entries(declare, receiver, box):
    one, two = declare(app_id="batched"), declare(app_id="batched")
    items = [
        {"account": one.id, "from": "+353871234567", "text": "one", "id": "wamid.B1"},
        {"account": one.id, "from": "+353871234567", "text": "one", "id": "wamid.B1"},
        {"account": two.id, "from": "+447911123456", "text": "two"},
    ]
    answer = box.control("batch", {"provider": "whatsapp", "items": items})
    assert answer["delivery"]["state"] == "delivered"
    (got,) = receiver.wait(1)
    assert got.signed_with("app-secret-123")
    assert [entry["id"] for entry in got.json["entry"]] == [one.waba, one.waba, two.waba]


def test_a_raw_body_goes_out_byte_for_byte_and_signed(number, box):
    box.control("whatsapp/raw", {"account": number.id, "text": '{"object": "whatsapp_business_account"'})
    assert number.receiver.got[0].body == b'{"object": "whatsapp_business_account"'
    assert number.receiver.got[0].signed_with("app-secret-123")


def test_bad_requests_are_named(number, box):
    for body, word in (
        ({"from": "+353871234567"}, "text"),
        ({"text": "x"}, "from"),
        ({"from": "abc", "text": "x"}, "from"),
        ({"from": "+353871234567", "type": "location"}, "location"),
        ({"from": "+353871234567", "file": {"data": "***"}}, "file.data"),
        ({"from": "+353871234567", "text": "x", "account": "1"}, "account"),
    ):
        status, answer = box.call("POST", "/control/whatsapp/say", {"account": number.id, **body})
        assert status in (404, 422), body
        assert answer["error"]["message"].startswith(word), answer
