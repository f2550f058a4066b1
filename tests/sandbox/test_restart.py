"""With `SANDBOX_DATA` nothing is lost in a restart: accounts, chats, files, the clock, and callbacks that wait."""

import signal


def test_a_killed_sandbox_takes_up_where_it_was(declare, new_box):
    box = new_box()
    number = declare(at=box)
    number.say("before", name="Aoife")
    picture = number.upload(b"\xff\xd8\xff")[1]["id"]
    number.receiver.answers = [503]
    number.say("not accepted yet")
    box.control("clock", {"advance": 60})
    number.receiver.answers = []
    box.stop(signal.SIGKILL)
    box.start()
    assert round(box.control("clock")["offset"]) == 60
    assert number.graph("GET", picture)[0] == 200
    assert [one["text"] for one in number.chat()] == ["before", "not accepted yet"]
    number.receiver.wait(3)
    assert number.receiver.messages()[-1]["text"]["body"] == "not accepted yet"
    number.text("after")
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "delivered"]


def test_a_message_that_was_under_way_goes_on(declare, new_box):
    box = new_box()
    number = declare(at=box)
    number.say()
    box.stop()
    box.start(SANDBOX_PACE="0.5")
    id_ = number.text()
    box.stop(signal.SIGKILL)
    box.start()
    assert [one["status"] for one in number.receiver.statuses(2)] == ["sent", "delivered"]
    assert number.chat()[-1]["id"] == id_


def test_reset_forgets_what_happened_or_everything(declare, new_box):
    box = new_box()
    number = declare(at=box)
    number.say()
    number.fault("rate_limit")
    box.control("reset", {"keep_accounts": True})
    assert box.control("faults")["faults"] == []
    assert number.chat() == []
    assert number.graph("GET", number.id)[0] == 200
    box.control("reset", {})
    assert number.graph("GET", number.id)[0] == 401


def test_memory_stays_small(new_box):
    assert new_box().control("health")["pss_kib"] < 45_000
