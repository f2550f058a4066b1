"""Templates: the name, the language, the approval, the number, the names and the kind of the parameters must fit."""

import pytest

IMAGE = {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x.ie/a.jpg"}}]}


def texts(kind, *values, **names):
    parameters = [{"type": "text", "text": value} for value in values]
    parameters += [{"type": "text", "parameter_name": name, "text": value} for name, value in names.items()]
    return {"type": kind, "parameters": parameters}


def template(name, language, *components):
    return {"type": "template", "template": {"name": name, "language": {"code": language}, "components": components}}


ORDER = ("order_update", "en_US")
REMINDER = ("appointment_reminder", "en")
DAY = texts("header", day="Tuesday")
NAMED = texts("body", customer_name="Aoife", day="Tuesday", time="10:00")
SHOP = {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "abc"}]}
REFUSED = {
    "unknown name": (template("nonsense", "en"), 132001, "template name (nonsense) does not exist in en"),
    "unknown language": (template("order_update", "fr"), 132001, "does not exist in fr"),
    "not approved yet": (template("price_change", "en", texts("body", "1 May")), 132001, "price_change"),
    "paused": (template("flash_sale", "en", texts("body", "Aoife")), 132015, "paused"),
    "no language": ({"type": "template", "template": {"name": "hello_world"}}, 100, "language"),
    "too few": (template(*ORDER, texts("body", "A")), 132000, "(1) does not match the expected number of params (2)"),
    "too many": (template(*ORDER, texts("body", "A", "B", "C")), 132000, "(3)"),
    "none": (template(*ORDER), 132000, "(0)"),
    "a header that it has not": (template(*ORDER, texts("body", "A", "B"), texts("header", "X")), 132000, "header"),
    "names in a positional one": (template(*ORDER, texts("body", a="A", b="B")), 132012, "must not have"),
    "no names in a NAMED one": (
        template(*REMINDER, DAY, texts("body", "A", "B", "C")), 132012, "needs a parameter_name",
    ),
    "wrong names": (
        template(*REMINDER, DAY, texts("body", customer="A", day="B", time="C")), 132012, "customer",
    ),
    "image missing": (template("spring_offer", "en", texts("body", "A"), SHOP), 132012, "expected IMAGE"),
    "text for an image": (
        template("spring_offer", "en", texts("header", "A"), texts("body", "A"), SHOP), 132012, "received TEXT",
    ),
    "link without its parameter": (template("spring_offer", "en", IMAGE, texts("body", "A")), 131008, "index 0"),
    "empty value": (template(*ORDER, texts("body", "A", "")), 131008, "missing text value"),
    "line break in a value": (template(*ORDER, texts("body", "A", "a\nb")), 132018, "new-line"),
    "too long when filled in": (template(*ORDER, texts("body", "A", "x" * 1024)), 132005, "1024"),
    "unknown key": (
        {"type": "template", "template": {"name": "hello_world", "vars": []}}, 100, "vars",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_template_is_refused(number, case):
    message, code, words = REFUSED[case]
    status, answer = number.send(**message)
    assert answer["error"]["code"] == code, answer
    assert status in (400, 404)
    assert words in answer["error"]["error_data"]["details"]


def test_a_template_arrives_outside_the_window_and_can_be_answered(number):
    payload = {
        "type": "button",
        "sub_type": "quick_reply",
        "index": "0",
        "parameters": [{"type": "payload", "payload": "OK"}],
    }
    status, answer = number.send(**template(*ORDER, texts("body", "Seán", "A-17"), payload))
    assert status == 200
    assert answer["messages"][0]["message_status"] == "accepted"
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "delivered"]
    assert number.receiver.statuses(1)[0]["pricing"]["category"] == "utility"
    (shown,) = number.chat()
    assert shown["text"] == "Hi Seán, your order A-17 has shipped and arrives in 2–3 days."
    assert shown["buttons"][0] == {"kind": "quick_reply", "id": "OK", "title": "Thanks"}


def test_a_named_template_is_filled_by_name(number):
    status, _ = number.send(**template(*REMINDER, DAY, NAMED))
    assert status == 200
    number.receiver.statuses(2)
    (shown,) = number.chat()
    assert shown["header"] == "See you Tuesday"
    assert shown["text"] == "Hello Aoife, this is a reminder of your appointment on Tuesday at 10:00."


def test_an_authentication_template_needs_a_number(number):
    message = template("login_code", "en", texts("body", "123456"), SHOP)
    assert number.send(None, recipient="IE.7700000000000001", **message)[1]["error"]["code"] == 131062
    assert number.send(**message)[0] == 200


def test_who_stopped_marketing_gets_131050_later(number, box):
    box.control("whatsapp/people", {"account": number.id, "from": "+353871234567", "marketing_opt_out": True})
    picture = number.upload(b"\xff\xd8\xff\xe0 jpeg")[1]["id"]
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": picture}}]}
    assert number.send(**template("spring_offer", "en", header, texts("body", "A"), SHOP))[0] == 200
    assert number.receiver.statuses(1)[0]["errors"][0]["code"] == 131050


def test_templates_can_be_added_by_the_control_api(number, box):
    new = {"name": "refund", "language": "ga", "components": [{"type": "BODY", "text": "Aisíoc {{1}}"}]}
    box.control("whatsapp/templates", {"account": number.id, "templates": [new]})
    assert number.send(**template("refund", "ga", texts("body", "€5")))[0] == 200
    assert number.graph("GET", f"{number.waba}/message_templates?name=refund")[1]["data"][0]["status"] == "APPROVED"
