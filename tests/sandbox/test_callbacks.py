"""Callbacks are retried until somebody answers 2xx, keep their order, and go wrong only when told to."""

import time


def test_a_callback_is_retried_until_it_is_accepted(number):
    number.receiver.answers = [500, 404]
    said = number.say("again and again")
    assert said["delivery"]["attempts"][0]["status"] == 500
    first, second, third = number.receiver.wait(3)
    assert first.body == second.body == third.body
    assert first.headers["x-hub-signature-256"] == third.headers["x-hub-signature-256"]
    assert second.at - first.at < 0.9 < third.at - second.at


def test_a_callback_waits_for_a_receiver_that_is_down_and_the_clock_can_hurry_it(declare, box):
    number = declare()
    number.receiver.answers = [503] * 4
    number.say()
    number.receiver.wait(1)
    box.control("clock", {"advance": 3600})
    number.receiver.wait(3)
    box.control("clock", {"advance": 3600})
    box.control("clock", {"offset": 0})
    (row,) = box.control(f"deliveries?account={number.id}")["deliveries"]
    assert row["state"] == "pending"
    assert [one["status"] for one in row["attempts"]][:3] == [503, 503, 503]


def test_a_provider_gives_up_after_seven_days(declare, box):
    number = declare()
    number.receiver.answers = [500] * 50
    number.say()
    try:
        box.control("clock", {"advance": 7 * 86400})
        number.receiver.wait(2)
        time.sleep(0.1)
        assert box.control(f"deliveries?account={number.id}")["deliveries"][0]["state"] == "given_up"
    finally:
        box.control("clock", {"offset": 0})


def test_messages_of_one_person_arrive_in_order(number):
    for n in range(12):
        number.say(str(n), wait=False)
    number.receiver.wait(12)
    assert [one["text"]["body"] for one in number.receiver.messages()] == [str(n) for n in range(12)]


def test_a_redirect_is_not_followed(number):
    number.receiver.answers = [302]
    assert number.say()["delivery"]["attempts"][0]["status"] == 302
    assert number.receiver.wait(2)


def test_a_duplicate_comes_twice_with_the_same_bytes(number):
    number.fault("duplicate_callbacks")
    number.say()
    first, second = number.receiver.wait(2)
    assert first.body == second.body


def test_callbacks_come_in_reverse_when_told_to(number):
    number.say()
    number.fault("reversed_callbacks", times=2, seconds=0.3)
    number.text()
    assert [one["status"] for one in number.receiver.statuses(2)] == ["delivered", "sent"]


def test_a_delayed_callback_is_overtaken(number):
    number.fault("delayed", seconds=0.3)
    number.say("slow", wait=False)
    number.say("quick")
    number.receiver.wait(2)
    assert [one["text"]["body"] for one in number.receiver.messages()] == ["quick", "slow"]


def test_a_lost_callback_never_comes(number):
    number.fault("lost_callbacks")
    assert number.say()["delivery"]["state"] == "lost"
    number.say("found")
    assert len(number.receiver.got) == 1


def test_read_may_come_without_delivered(number):
    number.say(auto_read=True)
    number.fault("skip_delivered")
    number.text()
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "read"]


def test_a_message_may_never_be_heard_of_again(number):
    number.say()
    number.fault("no_statuses")
    number.text()
    time.sleep(0.15)
    assert len(number.receiver.got) == 1
    assert number.chat()[-1]["status"] == "delivered"


def test_a_message_may_fail_later_with_any_code(number):
    number.say()
    number.fault("wrong_number_error")
    number.text()
    assert number.receiver.statuses(1)[0]["errors"][0]["code"] == 131026
    number.fault("failed_status", code=131049, details="healthy ecosystem")
    number.text()
    assert number.receiver.statuses(2)[1]["errors"][0]["error_data"]["details"] == "healthy ecosystem"
