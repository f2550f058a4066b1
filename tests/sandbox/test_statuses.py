"""What becomes of a message after 200: each status is a signed callback of its own."""

import time


def test_sent_and_delivered_come_one_by_one_and_echo_our_data(number):
    number.say()
    id_ = number.text(biz_opaque_callback_data="msg-8f2")
    sent, delivered = number.receiver.statuses(2)
    assert (sent["status"], delivered["status"]) == ("sent", "delivered")
    for one in (sent, delivered):
        assert one["id"] == id_
        assert one["biz_opaque_callback_data"] == "msg-8f2"
        assert one["recipient_id"] == "353871234567"
        assert one["recipient_user_id"].startswith("IE.")
        assert abs(int(one["timestamp"]) - time.time()) < 5
    assert all(got.signed_with("app-secret-123") for got in number.receiver.got)
    callbacks = [got.value for got in number.receiver.got if "statuses" in got.value]
    assert [len(value["statuses"]) for value in callbacks] == [1, 1]
    assert callbacks[0]["contacts"][0]["wa_id"] == "353871234567"


def test_an_eager_reader_reads_at_once(number, box):
    number.say(auto_read=True)
    number.text()
    assert [one["status"] for one in number.receiver.statuses(3)] == ["sent", "delivered", "read"]
    assert "pricing" not in number.receiver.statuses(3)[2]


def test_outside_the_window_a_free_message_fails_later(number, box):
    id_ = number.text()
    (failed,) = number.receiver.statuses(1)
    assert (failed["id"], failed["status"]) == (id_, "failed")
    assert failed["errors"][0]["code"] == 131047
    assert failed["errors"][0]["error_data"]["details"]
    value = number.receiver.got[0].value
    assert "contacts" not in value
    assert number.chat() == []
    assert number.chat(all="1")[0]["status"] == "failed"


def test_the_window_closes_after_24_hours_and_opens_with_a_message(declare, box):
    number = declare()
    number.say()
    box.control("clock", {"advance": 86_300})
    try:
        number.text("still open")
        assert number.receiver.statuses(1)[0]["status"] == "sent"
        box.control("clock", {"advance": 200})
        late = number.text("too late")
        assert next(one for one in number.receiver.statuses(3) if one["id"] == late)["errors"][0]["code"] == 131047
        number.say("again")
        again = number.text("open again")
        assert {one["status"] for one in number.receiver.statuses(5) if one["id"] == again} == {"sent", "delivered"}
    finally:
        box.control("clock", {"offset": 0})


def test_a_system_message_opens_no_window(number):
    number.say(None, type="system", system={"type": "user_changed_number", "wa_id": "353879999999", "body": "…"})
    assert "contacts" not in number.receiver.got[0].value
    number.text()
    assert number.receiver.statuses(1)[0]["errors"][0]["code"] == 131047


def test_who_is_not_on_whatsapp_or_blocked_us_is_131026(number, box):
    for facts in ({"on_whatsapp": False}, {"blocked": True, "on_whatsapp": True}):
        number.say(sender="+353860000002")
        box.control("whatsapp/people", {"account": number.id, "from": "+353860000002", **facts})
        id_ = number.text(to="+353860000002")
        found = next(one for one in number.receiver.statuses(1) if one["id"] == id_)
        assert found["errors"][0]["code"] == 131026
        number.receiver.got.clear()
    number.text(to="+35387")
    assert number.receiver.statuses(1)[0]["errors"][0]["code"] == 131026


def test_an_unknown_bsuid_is_131026(number):
    number.send(None, recipient="IE.13491208655302741918", type="text", text={"body": "x"})
    assert number.receiver.statuses(1)[0]["errors"][0]["code"] == 131026


def test_a_phone_that_is_off_gets_the_message_when_it_goes_on(number, box):
    number.say(online=False)
    number.text()
    time.sleep(0.15)
    assert [one["status"] for one in number.receiver.statuses(1)] == ["sent"]
    box.control("whatsapp/people", {"account": number.id, "from": "+353871234567", "online": True})
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "delivered"]


def test_statuses_can_be_set_by_hand(number, box):
    number.say()
    id_ = number.text()
    number.receiver.statuses(2)
    assert box.control("whatsapp/read", {"account": number.id, "person": "353871234567"})["ids"] == [id_]
    box.control("whatsapp/status", {"id": id_, "status": "sent"})
    assert [one["status"] for one in number.receiver.statuses(4)] == ["sent", "delivered", "read", "sent"]
    assert number.chat()[-1]["status"] == "read"
    box.control("whatsapp/fail", {"id": id_, "code": 131049})
    assert number.receiver.statuses(5)[4]["errors"][0]["code"] == 131049


def test_a_reaction_is_only_ever_sent_and_needs_its_message(number):
    target = number.say()["item"]["id"]
    assert number.send(type="reaction", reaction={"message_id": target, "emoji": "👍"})[0] == 200
    time.sleep(0.15)
    assert [one["status"] for one in number.receiver.statuses(1)] == ["sent"]
    assert number.chat()[0]["reactions"] == ["👍"]
    number.send(type="reaction", reaction={"message_id": target, "emoji": ""})
    number.receiver.statuses(2)
    assert number.chat()[0]["reactions"] == []
    number.send(type="reaction", reaction={"message_id": "wamid.unknown", "emoji": "👍"})
    assert number.receiver.statuses(3)[2]["errors"][0]["code"] == 131009
