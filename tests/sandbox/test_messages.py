"""What the messages endpoint refuses at once, and what it accepts."""

import pytest

OK = {"type": "text", "text": {"body": "x"}}
BUTTON = {"type": "reply", "reply": {"id": "y", "title": "Yes"}}


def buttons(*of, **more):
    action = {"buttons": list(of)}
    return {
        "type": "interactive",
        "interactive": {"type": "button", "body": {"text": "Pick"}, "action": action, **more},
    }


def menu(*sections):
    action = {"button": "Menu", "sections": list(sections)}
    return {"type": "interactive", "interactive": {"type": "list", "body": {"text": "Pick"}, "action": action}}


def section(rows, start=0, **more):
    return {"rows": [{"id": str(start + n), "title": f"T{n}"} for n in range(rows)], **more}


REFUSED = {
    "no product": ({"messaging_product": None, **OK}, 100, "messaging_product"),
    "unknown top-level field": ({**OK, "colour": "red"}, 100, 'Unexpected key "colour" on param "$"'),
    "content of another type": ({**OK, "image": {"id": "1"}}, 100, 'Unexpected key "image"'),
    "unknown key inside": ({"type": "text", "text": {"body": "x", "bold": True}}, 100, 'Unexpected key "bold"'),
    "unknown type": ({"type": "poll", "poll": {}}, 100, "Param type must be one of"),
    "no recipient": ({"to": None, **OK}, 100, "The parameter to is required"),
    "recipient that is no number": ({"to": "Aoife", **OK}, 100, "not a phone number"),
    "recipient as a JSON number": ({"to": 353871234567, **OK}, 100, "must be a string"),
    "malformed BSUID": ({"to": None, "recipient": "aoife", **OK}, 100, "business-scoped"),
    "group": ({**OK, "recipient_type": "group"}, 100, "recipient_type"),
    "empty text": ({"type": "text", "text": {"body": " "}}, 100, "empty"),
    "no text": ({"type": "text", "text": {}}, 100, "text['body'] is required"),
    "text as a string": ({"type": "text", "text": "Hi"}, 100, "JSON object"),
    "long text": ({"type": "text", "text": {"body": "é" * 4097}}, 100, "at most 4096 characters"),
    "preview that is no boolean": ({"type": "text", "text": {"body": "x", "preview_url": "no"}}, 100, "boolean"),
    "long caption": ({"type": "image", "image": {"link": "https://x.ie/a.jpg", "caption": "x" * 1025}}, 100, "1024"),
    "long callback data": ({**OK, "biz_opaque_callback_data": "x" * 513}, 100, "512"),
    "id and link": ({"type": "image", "image": {"id": "1", "link": "https://x.ie/a.jpg"}}, 131009, "only one"),
    "neither id nor link": ({"type": "image", "image": {}}, 131008, "one of them is required"),
    "unknown media": ({"type": "image", "image": {"id": "123"}}, 100, "not a valid whatsapp business account media"),
    "caption on audio": ({"type": "audio", "audio": {"id": "1", "caption": "x"}}, 100, 'Unexpected key "caption"'),
    "caption on sticker": ({"type": "sticker", "sticker": {"id": "1", "caption": "x"}}, 100, "caption"),
    "latitude out of range": ({"type": "location", "location": {"latitude": 91, "longitude": 0}}, 131009, "latitude"),
    "no contacts": ({"type": "contacts", "contacts": []}, 131009, "1 to 257"),
    "contact without a name part": (
        {"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}}]}, 131009, "first_name",
    ),
    "reaction with words": ({"type": "reaction", "reaction": {"message_id": "w", "emoji": "ok"}}, 131009, "emoji"),
    "context with more than an id": ({**OK, "context": {"message_id": "w", "from": "1"}}, 100, "context"),
    "no buttons": (buttons(), 131009, "1 to 3"),
    "four buttons": (buttons(*[BUTTON] * 4), 131009, "1 to 3"),
    "equal buttons": (buttons(BUTTON, BUTTON), 131009, "different"),
    "long button": (buttons({"type": "reply", "reply": {"id": "a", "title": "x" * 21}}), 100, "20 characters"),
    "long footer": (buttons(BUTTON, footer={"text": "x" * 61}), 100, "60"),
    "eleven rows": (menu(section(6, title="A"), section(5, 6, title="B")), 131009, "10"),
    "sections without titles": (menu(section(1), section(1, 1)), 100, "title"),
    "long row": (menu({"rows": [{"id": "1", "title": "x" * 25}]}), 100, "24"),
    "unknown interactive": ({"type": "interactive", "interactive": {"type": "dance"}}, 100, "interactive['type']"),
    "mark as read of nothing": ({"to": None, "status": "read", "message_id": "wamid.none"}, 131009, "wamid.none"),
    "another status": ({"to": None, "status": "delivered", "message_id": "w"}, 100, "status"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_message_is_refused(number, case):
    message, code, words = REFUSED[case]
    status, answer = number.send(**{"to": "+353871234567", **message})
    error = answer["error"]
    assert error["code"] == code, error
    assert 400 <= status < 500
    assert words in error["error_data"]["details"]
    assert error["error_data"]["messaging_product"] == "whatsapp"
    assert number.chat(all="1") == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_json_is_refused(number, content_type):
    headers = {"Content-Type": content_type}
    path = f"{number.id}/messages"
    assert number.graph("POST", path, headers=headers, **{"body": None})[1]["error"]["code"] == 100


def test_the_limits_themselves_pass(number):
    number.say()
    number.text("é" * 4096, biz_opaque_callback_data="x" * 512)
    assert number.send(**buttons(BUTTON, footer={"text": "x" * 60}))[0] == 200
    assert number.send(**menu(section(5, title="A"), section(5, 5, title="B")))[0] == 200
    assert number.send(type="location", location={"latitude": "53.3", "longitude": -6.2, "name": "GPO"})[0] == 200
    contact = {"name": {"formatted_name": "Seán Ó B", "first_name": "Seán"}, "phones": [{"phone": "+353861112222"}]}
    assert number.send(type="contacts", contacts=[contact])[0] == 200
    number.receiver.statuses(6)


def test_an_accepted_message_has_an_id_and_the_wa_id(number):
    status, answer = number.send("+353 87 123 4567", **OK)
    assert status == 200
    assert answer["messaging_product"] == "whatsapp"
    assert answer["contacts"] == [{"input": "+353 87 123 4567", "wa_id": "353871234567"}]
    assert answer["messages"][0]["id"].startswith("wamid.")


def test_the_wa_id_may_differ_from_the_number_sent_to(number):
    number.say(sender="5215512345678")
    assert number.send("+525512345678", **OK)[1]["contacts"][0]["wa_id"] == "5215512345678"
    number.say(sender="551187654321")
    assert number.send("+5511987654321", **OK)[1]["contacts"][0]["wa_id"] == "551187654321"


def test_without_plus_a_foreign_number_goes_to_a_stranger(number):
    number.say(sender="+447911123456")
    assert number.send("447911123456", **OK)[1]["contacts"][0]["wa_id"] == "353447911123456"
    assert number.send("353871234567", **OK)[1]["contacts"][0]["wa_id"] == "353871234567"


def test_nobody_writes_to_himself(declare):
    number = declare(display_phone_number="+353 1 600 0001")
    assert number.send("+35316000001", **OK)[1]["error"]["code"] == 131021


def test_a_bsuid_reaches_someone_without_a_number(number):
    said = number.say(sender="", username="aoife.b", name="Aoife")
    user_id = said["item"]["from_user_id"]
    assert "from" not in said["item"]
    status, answer = number.send(None, recipient=user_id, **OK)
    assert status == 200
    assert answer["contacts"] == [{"input": user_id, "user_id": user_id}]
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "delivered"]
    assert all("recipient_id" not in one for one in number.receiver.statuses(2))
    assert all(one["recipient_user_id"] == user_id for one in number.receiver.statuses(2))


def test_the_number_wins_over_the_bsuid(number):
    answer = number.send("+353871234567", recipient="IE.13491208655302741918", **OK)[1]
    assert answer["contacts"][0]["wa_id"] == "353871234567"


def test_reading_marks_this_and_earlier_messages(number):
    first, second, third = (number.say(text)["item"]["id"] for text in ("1", "2", "3"))
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": second}
    assert number.graph("POST", f"{number.id}/messages", body) == (200, {"success": True})
    assert {one["id"]: one["status"] for one in number.chat()} == {first: "read", second: "read", third: "delivered"}


def test_a_number_has_its_throughput(declare):
    number = declare(messages_per_second=2)
    answers = [number.send(**OK) for _ in range(5)]
    assert [status for status, _ in answers[:2]] == [200, 200]
    assert {(status, answer["error"]["code"]) for status, answer in answers[2:] if status != 200} == {(429, 130429)}


def test_each_pair_has_a_rate_of_its_own(number):
    answers = [number.send(**OK) for _ in range(47)]
    assert [status for status, _ in answers[:45]] == [200] * 45
    assert answers[46][1]["error"]["code"] == 131056
    assert number.send("+353860000001", **OK)[0] == 200
