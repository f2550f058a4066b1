"""Trouble at the API, on order: errors, pages of HTML, cut connections, and answers that come too late."""

import time

import pytest
import urllib3

OK = {"type": "text", "text": {"body": "x"}}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("rate_limit", 429, 130429),
        ("pair_rate_limit", 400, 131056),
        ("server_error", 500, 131000),
        ("unavailable", 503, 131016),
        ("expired_token", 401, 190),
    ],
)
def test_an_error_strikes_as_often_as_told(number, kind, status, code):
    number.fault(kind, times=2)
    for _ in range(2):
        got, answer = number.send(**OK)
        assert (got, answer["error"]["code"]) == (status, code)
    assert number.send(**OK)[0] == 200


def test_an_expired_token_is_told_from_an_unknown_one(number):
    number.fault("expired_token")
    assert number.graph("GET", number.id)[1]["error"]["error_subcode"] == 463


def test_any_error_can_be_ordered(number):
    number.fault("error", code=131031, details="locked", on="*")
    answer = number.graph("GET", f"{number.waba}/message_templates")[1]
    assert (answer["error"]["code"], answer["error"]["error_data"]["details"]) == (131031, "locked")


def test_a_proxy_may_answer_with_html(number):
    number.fault("server_error_html")
    status, page = number.send(**OK)
    assert status == 500
    assert page.startswith(b"<!DOCTYPE html>")


def test_a_connection_cut_before_leaves_nothing_behind(number):
    number.fault("drop_before_accept")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        number.send(**OK)
    assert number.chat(all="1") == []


def test_a_connection_cut_after_leaves_the_message_sent(number):
    number.say()
    number.fault("drop_after_accept")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        number.send(biz_opaque_callback_data="mine", **OK)
    assert [one["biz_opaque_callback_data"] for one in number.receiver.statuses(2)] == ["mine", "mine"]
    row = number.box.control(f"log?direction=in&account={number.id}")["exchanges"][0]
    assert (row["status"], row["note"]) == (None, "drop_after_accept")


def test_an_answer_may_never_come(number):
    number.say()
    number.fault("timeout_after_accept", seconds=0.5)
    start = time.monotonic()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        number.send(**OK)
    assert time.monotonic() - start >= 0.5
    number.receiver.statuses(2)


def test_an_answer_may_be_slow(number):
    number.say()
    number.fault("slow", seconds=0.3)
    start = time.monotonic()
    status, answer = number.send(**OK)
    assert time.monotonic() - start >= 0.3
    assert status == 200
    assert answer["messages"][0]["id"]


def test_statuses_may_come_before_the_answer(number):
    number.say()
    number.fault("early_status")
    id_ = number.send(**OK)[1]["messages"][0]["id"]
    assert [one["id"] for got in number.receiver.got for one in got.value.get("statuses", [])] == [id_, id_]


def test_a_download_can_fail(number, box):
    id_ = number.upload(b"\xff\xd8\xff")[1]["id"]
    url = number.graph("GET", id_)[1]["url"]
    number.fault("error", on="download", status=404)
    headers = {"Authorization": f"Bearer {number.token}", "User-Agent": "test"}
    assert [box.call("GET", url, headers=headers)[0] for _ in range(2)] == [404, 200]


def test_a_fault_names_its_endpoint(number):
    id_ = number.upload(b"\xff\xd8\xff")[1]["id"]
    number.fault("rate_limit", on="media")
    assert number.send(**OK)[0] == 200
    assert [number.graph("GET", id_)[0] for _ in range(2)] == [429, 200]


def test_faults_of_one_number_do_not_strike_another(declare):
    number, other = declare(), declare()
    number.fault("rate_limit")
    assert other.send(**OK)[0] == 200
    assert number.send(**OK)[0] == 429


def test_faults_can_be_seen_and_cleared(number, box):
    number.fault("rate_limit", times=3)
    assert any(one["account"] == number.id and one["remaining"] == 3 for one in box.control("faults")["faults"])
