"""The SMS room: what Twilio's API refuses and answers, what it calls back, and what customers and carriers do."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.twilio import hooks, messages
from tests.sandbox.conftest import Box, Receiver
from tests.sandbox.lines import AOIFE, Line, until

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
FILE = {"filename": "a.png", "mime": "image/png", "data": base64.b64encode(PNG).decode()}
RESOURCE = {
    "account_sid", "api_version", "body", "date_created", "date_sent", "date_updated", "direction", "error_code",
    "error_message", "from", "messaging_service_sid", "num_media", "num_segments", "price", "price_unit", "sid",
    "status", "subresource_uris", "to", "uri",
}  # fmt: skip
_numbers = itertools.count(1)


@pytest.fixture
def open_line(box: Box, receiver: Receiver) -> Callable[..., Line]:
    """Declare a number of its own for this test."""

    def make(at: Box = box, service: bool = False, to: Receiver = receiver, **more: Any) -> Line:
        n = next(_numbers)
        line = Line(at, to, f"AC{n:032x}", f"token-{n}", f"+35386{n:07}", f"MG{n:032x}" if service else "")
        body = {"account_sid": line.sid, "auth_token": line.token, "from_number": line.number}
        body |= {"messaging_service_sid": line.service, "callback_url": to.url, "verified_name": "Acme"}
        at.control("sms/accounts", body | more)
        return line

    return make


@pytest.fixture
def line(open_line: Callable[..., Line]) -> Line:
    return open_line()


class TestLogin:
    @pytest.mark.parametrize("login", [("", ""), ("AC" + "9" * 32, "x"), None])
    def test_a_wrong_login_is_20003(self, line: Line, login: tuple[str, str] | None) -> None:
        status, answer = line.api("GET", ".json", login=login or (line.sid, "wrong"))
        assert (status, answer["code"], answer["message"]) == (401, 20003, "Authenticate")

    def test_the_account_tells_its_name_and_whether_it_is_active(self, line: Line) -> None:
        status, answer = line.api("GET", ".json")
        assert status == 200
        assert (answer["friendly_name"], answer["status"], answer["type"]) == ("Acme", "active", "Full")
        assert (answer["sid"], answer["uri"]) == (line.sid, f"{line.root}.json")

    def test_an_api_key_sends_but_does_not_read_the_account(self, open_line: Callable[..., Line]) -> None:
        key = ("SK" + "1" * 32, "key-secret")
        line = open_line(api_key_sid=key[0], api_key_secret=key[1])
        assert line.api("POST", "/Messages.json", line.form(), login=key)[0] == 201
        assert line.api("GET", "/Messages.json?PageSize=1", login=key)[0] == 200
        assert line.api("GET", ".json", login=key)[1]["code"] == 20003

    def test_another_accounts_login_is_refused(self, open_line: Callable[..., Line]) -> None:
        one, other = open_line(), open_line()
        assert one.api("GET", ".json", login=(other.sid, other.token))[1]["code"] == 20003

    def test_a_suspended_account_sends_nothing(self, open_line: Callable[..., Line]) -> None:
        line = open_line(suspended=True)
        assert line.api("GET", ".json")[1]["status"] == "suspended"
        assert line.refused()[1] == 20005

    @pytest.mark.parametrize("path", ["/Calls.json", "/Messages", "/Messages/SM1.json", "/Messages.xml", "/x/y/z"])
    def test_what_is_not_there_is_20404(self, line: Line, path: str) -> None:
        status, answer = line.api("GET", path)
        assert (status, answer["code"]) == (404, 20404)
        assert answer["message"] == f"The requested resource {line.root}{path} was not found"

    def test_a_method_that_a_resource_has_not_is_20004(self, line: Line) -> None:
        assert line.api("DELETE", "/Messages.json")[1]["code"] == 20004


class TestRefusals:
    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"To": None}, 21604),
            ({"To": ""}, 21604),
            ({"To": "0871234567"}, 21211),
            ({"To": "353871234567"}, 21211),
            ({"To": "AIB"}, 21211),
            ({"To": "50015"}, 21211),
            ({"From": None}, 21603),
            ({"From": "a name that is too long"}, 21212),
            ({"From": "+353869999999"}, 21659),
            ({"From": None, "MessagingServiceSid": "MG" + "0" * 32}, 21701),
            ({"Body": None}, 21619),
            ({"Body": ""}, 21602),
            ({"Body": " \n"}, 21602),
            ({"Body": "x" * 1601}, 21617),
            ({"MediaUrl": "not an address"}, 21620),
            ({"MediaUrl": "ftp://x.example/a.png"}, 21620),
            ({"MediaUrl": [f"https://x.example/{n}.png" for n in range(11)]}, 21623),
            ({"StatusCallback": "chat.example.ie/callback"}, 21609),
        ],
    )
    def test_a_form_that_twilio_would_not_take(self, line: Line, changed: dict[str, Any], code: int) -> None:
        assert line.refused(**changed) == (400, code)
        assert line.chat(all="1") == []

    def test_json_is_no_form(self, line: Line) -> None:
        status, answer = line.box.call("POST", line.root + "/Messages.json", line.form())
        assert (status, answer["code"]) == (401, 20003)
        assert line.api("POST", "/Messages.json", body=line.form())[1]["code"] == 21604

    def test_to_oneself_is_21266(self, line: Line) -> None:
        assert line.refused(To=line.number) == (400, 21266)

    def test_a_number_of_another_account_is_21660(self, open_line: Callable[..., Line]) -> None:
        assert open_line().refused(From=open_line().number) == (400, 21660)

    def test_a_sender_that_may_not_text_is_told(self, open_line: Callable[..., Line]) -> None:
        assert open_line(sms=False).refused() == (400, 21606)
        assert open_line(service=True, empty_pool=True).refused() == (400, 21703)
        assert open_line(mms=False).refused(MediaUrl="https://x.example/a.png") == (400, 21612)
        name = open_line(from_number="Acme")
        assert name.refused(From="Acme", To="+12025550143") == (400, 21612)
        assert name.sent(From="Acme")["from"] == "Acme"

    def test_too_many_calls_are_20429(self, open_line: Callable[..., Line]) -> None:
        line = open_line(messages_per_second=1)
        line.sent()
        assert line.refused() == (429, 20429)

    def test_a_landline_is_21614(self, line: Line) -> None:
        line.people(landline=True)
        assert line.refused() == (400, 21614)

    @pytest.mark.parametrize("word", ["STOP", "stop", " Unsubscribe ", "OPTOUT"])
    def test_after_stop_sends_are_refused_until_start(self, line: Line, word: str) -> None:
        assert line.say(word)["item"]["Body"] == word
        assert line.refused() == (400, 21610)
        assert "OptOutType" not in line.receiver.got[-1].form
        told = until(lambda: [one["text"] for one in line.chat() if one["direction"] == "from_business"])
        assert told[0].startswith("You have successfully been unsubscribed")
        line.say("Start")
        assert line.sent()["status"] == "queued"

    def test_advanced_opt_out_names_the_wish(self, open_line: Callable[..., Line]) -> None:
        line = open_line(service=True, advanced_opt_out=True)
        assert [line.say(word)["item"].get("OptOutType") for word in ("stop", "start", "help", "hi")] == [
            "STOP", "START", "HELP", None,
        ]  # fmt: skip

    def test_junk_is_refused_in_words(self, line: Line) -> None:
        chance = random.Random(3)
        junk = ["", "\0", "é" * 2000, "-1", "{}", "+", "http://", "http://[", "https://x:99999/", "\ud83d\ude00"]
        for _ in range(150):
            form = line.form(MediaUrl="http://127.0.0.1:9/a.png", MessagingServiceSid=line.service)
            form[chance.choice(list(form))] = chance.choice(junk).encode("utf-8", "replace")
            status, answer = line.api("POST", "/Messages.json", form)
            assert status in (201, 400, 429), (form, answer)
        for path in ("?PageSize=x", "?Page=-1", "?DateSent=yesterday", "?DateSent%3E=\x00"):
            assert line.api("GET", f"/Messages.json{path}")[1]["code"] == 20001
        for verb in ("say", "people", "accounts", "status", "deliver", "raw", "forget"):
            for body in ({"account": 1}, {"account": line.id, "from": []}, {"account": line.id, "id": {}, "code": "x"}):
                more = {"text": 5, "files": [1], "from_number": 1, "name": {}, "callback_url": [], "wait": False}
                assert line.box.call("POST", f"/control/sms/{verb}", {**more, **body})[0] in (200, 404, 422), verb


class TestMessages:
    def test_a_number_answers_with_the_resource(self, line: Line) -> None:
        made = line.sent(Body="Dia dhuit, Seán")
        assert set(made) == RESOURCE
        assert (made["status"], made["from"], made["to"]) == ("queued", line.number, AOIFE)
        assert (made["body"], made["direction"], made["num_media"]) == ("Dia dhuit, Seán", "outbound-api", "0")
        assert (made["error_code"], made["messaging_service_sid"], made["date_sent"]) == (None, None, None)
        assert made["date_created"].endswith("+0000")
        assert made["uri"] == f"{line.root}/Messages/{made['sid']}.json"

    def test_a_service_has_not_chosen_the_sender_yet(self, open_line: Callable[..., Line]) -> None:
        line = open_line(service=True)
        made = line.sent()
        assert (made["status"], made["from"], made["messaging_service_sid"]) == ("accepted", None, line.service)
        forms = [got.form for got in line.statuses(3)]
        assert [form["MessageStatus"] for form in forms] == ["queued", "sent", "delivered"]
        assert {(form["From"], form["MessagingServiceSid"]) for form in forms} == {(line.number, line.service)}

    @pytest.mark.parametrize(
        ("text", "count"),
        [("x" * 160, 1), ("x" * 161, 2), ("€" * 81, 2), ("á" * 70, 1), ("á" * 71, 2), ("é" * 160, 1), ("😀" * 36, 2)],
    )
    def test_segments_are_counted_as_carriers_do(self, text: str, count: int) -> None:
        assert messages.segments(text) == count

    def test_statuses_come_in_order_to_the_address_that_was_given(self, line: Line) -> None:
        made = line.sent()
        sent, delivered = line.statuses(2)
        assert [got.form["MessageStatus"] for got in (sent, delivered)] == ["sent", "delivered"]
        for got in (sent, delivered):
            assert got.path == f"{line.receiver.path}?message=m1"
            assert line.signed(got)
            assert (got.form["MessageSid"], got.form["AccountSid"]) == (made["sid"], line.sid)
            assert (got.form["To"], got.form["From"], got.form["SmsSid"]) == (AOIFE, line.number, made["sid"])
        assert "RawDlrDoneDate" in delivered.form
        assert "ErrorCode" not in delivered.form
        assert line.message(made["sid"])["status"] == "delivered"
        assert [one["text"] for one in line.chat()] == ["Dia dhuit"]

    def test_without_a_status_callback_nothing_is_told(self, line: Line) -> None:
        made = line.sent(StatusCallback=None)
        until(lambda: line.message(made["sid"])["status"] == "delivered")
        assert line.receiver.got == []

    def test_messages_are_listed_for_those_who_lost_an_answer(self, line: Line) -> None:
        line.say("One")
        sids = [line.sent(Body=text)["sid"] for text in ("Two", "Three")]
        line.sent(To="+353879999999")
        listed = line.api("GET", f"/Messages.json?To=%2B{AOIFE[1:]}&PageSize=1")[1]
        assert [one["sid"] for one in listed["messages"]] == sids[:0:-1]
        assert (listed["page_size"], listed["page"], listed["start"], listed["end"]) == (1, 0, 0, 0)
        following = line.api("GET", listed["next_page_uri"])[1]
        assert [one["sid"] for one in following["messages"]] == sids[:1]
        assert following["next_page_uri"] is None
        inbound = line.api("GET", f"/Messages.json?To=%2B{line.number[1:]}&DateSent%3E=2020-01-01")[1]["messages"]
        assert [(one["body"], one["direction"], one["status"]) for one in inbound] == [("One", "inbound", "received")]
        assert line.api("GET", "/Messages.json?DateSent%3C=2020-01-01")[1]["messages"] == []

    def test_a_message_is_redacted_and_deleted_once_it_is_done(self, line: Line) -> None:
        sid = line.sent()["sid"]
        line.statuses(2)
        assert line.api("POST", f"/Messages/{sid}.json", {"Body": ""})[1]["body"] == ""
        assert line.api("DELETE", f"/Messages/{sid}.json")[0] == 204
        assert line.message(sid)["code"] == 20404

    def test_another_account_does_not_see_it(self, open_line: Callable[..., Line]) -> None:
        sid = open_line().sent()["sid"]
        assert open_line().message(sid)["code"] == 20404


class TestCarriers:
    @pytest.mark.parametrize(("switch", "code"), [("unreachable", "30003"), ("filtered", "30007")])
    def test_what_does_not_arrive_is_undelivered_with_its_code(self, line: Line, switch: str, code: str) -> None:
        line.people(**{switch: True})
        made = line.sent()
        sent, lost = [got.form for got in line.statuses(2)]
        assert (sent["MessageStatus"], lost["MessageStatus"], lost["ErrorCode"]) == ("sent", "undelivered", code)
        assert line.message(made["sid"])["error_code"] == int(code)
        assert line.chat() == []
        assert line.chat(all="1")[0]["error"]["code"] == int(code)

    @pytest.mark.parametrize(
        ("fault", "last"),
        [
            ({"kind": "failed_status", "code": 30007}, ("undelivered", "30007")),
            ({"kind": "failed_status", "code": 30001}, ("failed", "30001")),
            ({"kind": "wrong_number_error"}, ("undelivered", "30005")),
            ({"kind": "skip_delivered"}, ("sent", "")),
        ],
    )
    def test_a_fate_on_order(self, line: Line, fault: dict[str, Any], last: tuple[str, str]) -> None:
        line.fault(**fault)
        line.sent()
        until(lambda: [got for got in line.statuses(1) if got.form["MessageStatus"] == last[0]])
        form = line.statuses(1)[-1].form
        assert (form["MessageStatus"], form.get("ErrorCode", "")) == last

    def test_a_phone_that_is_off_gets_it_later(self, line: Line) -> None:
        line.people(online=False)
        line.sent()
        assert line.statuses(1)[-1].form["MessageStatus"] == "sent"
        line.people(online=True)
        assert line.statuses(2)[-1].form["MessageStatus"] == "delivered"

    def test_statuses_by_hand_may_go_back(self, line: Line) -> None:
        sid = line.sent()["sid"]
        line.statuses(2)
        line.box.control("sms/status", {"id": sid, "status": "sent"})
        line.box.control("sms/undeliver", {"id": sid, "code": 30003})
        assert [got.form["MessageStatus"] for got in line.statuses(4)][2:] == ["sent", "undelivered"]


class TestCustomers:
    def test_a_text_is_called_back_as_a_signed_form(self, line: Line) -> None:
        done = line.say("Dia dhuit, Seán & co.")
        (got,) = line.receiver.got
        assert line.signed(got)
        assert got.headers["content-type"].startswith("application/x-www-form-urlencoded")
        assert got.headers["i-twilio-idempotency-token"]
        assert got.form == done["item"]
        wanted = {"Body": "Dia dhuit, Seán & co.", "From": AOIFE, "To": line.number, "SmsStatus": "received"}
        wanted |= {"AccountSid": line.sid, "NumMedia": "0", "NumSegments": "1", "FromCountry": "IE", "ToCity": ""}
        assert wanted.items() <= got.form.items()
        assert got.form["MessageSid"] == got.form["SmsSid"] == got.form["SmsMessageSid"]
        assert line.chat()[0]["status"] == "delivered"
        assert done["delivery"]["state"] == "delivered"

    def test_a_service_is_named_beside_its_number(self, open_line: Callable[..., Line]) -> None:
        line = open_line(service=True)
        item = line.say()["item"]
        assert (item["To"], item["MessagingServiceSid"]) == (line.number, line.service)

    @pytest.mark.parametrize("sender", ["50015", "AIB"])
    def test_a_short_code_and_a_name_may_write(self, line: Line, sender: str) -> None:
        assert line.say(sender=sender)["item"]["From"] == sender

    def test_pictures_need_the_login_and_lie_behind_a_signed_address(self, line: Line) -> None:
        line.say("", files=[FILE, FILE])
        form = line.receiver.got[0].form
        assert (form["NumMedia"], form["MediaContentType1"], form["Body"]) == ("2", "image/png", "")
        assert form["MessageSid"].startswith("MM")
        url = form["MediaUrl0"]
        assert line.box.call("GET", url)[0] == 401
        answer = line.box.http.request("GET", url, redirect=False, headers=basic(line))
        assert answer.status == 307
        signed = answer.headers["Location"]
        assert line.box.call("GET", signed) == (200, PNG)
        assert line.box.call("GET", signed, headers=basic(line))[0] == 400
        assert line.box.call("GET", signed.replace("Signature=", "Signature=0"))[0] == 403
        listed = line.api("GET", f"/Messages/{form['MessageSid']}/Media.json")[1]["media_list"]
        assert [one["content_type"] for one in listed] == ["image/png"] * 2
        assert line.api("GET", listed[0]["uri"])[1]["parent_sid"] == form["MessageSid"]
        assert line.api("DELETE", listed[0]["uri"])[0] == 204
        assert line.api("GET", listed[0]["uri"])[0] == line.api("GET", url)[0] == 404
        assert line.box.call("GET", signed)[0] == 403

    def test_one_file_may_come_without_a_word(self, line: Line) -> None:
        done = line.say("", file=FILE)
        assert (done["item"]["NumMedia"], done["message"]["type"]) == ("1", "image")
        assert line.box.call("POST", "/control/sms/say", {"account": line.id, "from": AOIFE, "text": ""})[0] == 422

    def test_a_text_answer_goes_to_the_customer_so_that_the_mistake_is_seen(self, line: Line) -> None:
        line.receiver.says = ("text/plain", b"OK")
        line.say()
        until(lambda: [one["text"] for one in line.chat()] == ["Hello", "OK"])

    def test_twiml_is_obeyed_and_an_empty_one_says_nothing(self, line: Line) -> None:
        line.receiver.says = ("text/xml", b"<Response/>")
        line.say("One")
        line.receiver.says = (
            "text/xml",
            b"<Response><Message>Hi</Message><Message><Body>Ho</Body></Message></Response>",
        )
        line.say("Two")
        until(lambda: sorted(one["text"] for one in line.chat()) == ["Hi", "Ho", "One", "Two"])

    def test_other_answers_are_errors_in_the_log(self, line: Line) -> None:
        line.receiver.says = ("application/json", b"{}")
        line.say()
        line.receiver.says = ("text/xml", b"<Response>")
        line.say()
        notes = [row["note"][:5] for row in line.box.control("log?provider=sms&direction=control&limit=2")["exchanges"]]
        assert notes == ["12100", "12300"]
        assert len(line.chat()) == 2

    def test_bytes_as_they_are_go_out_signed(self, line: Line) -> None:
        line.box.control("sms/raw", {"account": line.id, "text": "Body=&New=1&New=2"})
        assert line.receiver.got[0].body == b"Body=&New=1&New=2"
        assert line.signed(line.receiver.got[0])


def basic(line: Line) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{line.sid}:{line.token}".encode()).decode()}


class TestSignatures:
    def test_the_worked_example_is_signed_alike(self) -> None:
        token, url = "12345678901234567890123456789012", "https://chat.example.ie/webhooks/twilio/sms/7"
        form = {"AccountSid": "AC00000000000000000000000000000001", "ApiVersion": "2010-04-01", "NumMedia": "0"}
        form |= {"MessageSid": "SM00000000000000000000000000000001", "Body": "Héllo & bye"}
        pairs = [*form.items(), ("From", "+353871234567"), ("To", "+353861111111")]
        assert hooks.signature(token, url, pairs) == "sZVh8Utl8JsyLMelmBwydFP1zVA="
        assert hooks.signature(token, url, pairs, "sha256") == "iNipWH123BC59sRZs6GSQI3BPg7kepcO/V+GZh8oTao="

    def test_a_shared_key_signs_with_sha_256_and_says_so(self, open_line: Callable[..., Line]) -> None:
        line = open_line(webhook_shared_key="shared-key")
        line.say()
        (got,) = line.receiver.got
        assert got.headers["x-twilio-webhooks-signature-settings"].endswith("algorithm=HMAC_SHA256")
        assert line.signed(got, "shared-key", "sha256")

    def test_signatures_go_wrong_when_told_to(self, line: Line) -> None:
        for kind in ("bad_signature", "missing_signature", "reserialised_signature"):
            line.fault(kind)
            line.say()
            assert not line.signed(line.receiver.got[-1]), kind
        line.say()
        assert line.signed(line.receiver.got[-1])


class TestTrouble:
    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "rate_limit"}, (429, 20429)),
            ({"kind": "pair_rate_limit"}, (429, 21611)),
            ({"kind": "server_error"}, (500, 20500)),
            ({"kind": "unavailable"}, (503, 20503)),
            ({"kind": "expired_token"}, (401, 20003)),
            ({"kind": "error", "code": 21408}, (400, 21408)),
        ],
    )
    def test_a_refusal_on_order_does_nothing(self, line: Line, fault: Any, expected: tuple[int, int]) -> None:
        line.fault(**fault)
        assert line.refused() == expected
        assert line.chat(all="1") == []
        line.sent()

    def test_a_proxys_page_on_order(self, line: Line) -> None:
        line.fault("server_error_html")
        status, page = line.send()
        assert (status, page[:9]) == (500, b"<!DOCTYPE")

    @pytest.mark.parametrize(("kind", "count"), [("drop_before_accept", 0), ("drop_after_accept", 1)])
    def test_the_connection_is_cut_on_order(self, line: Line, kind: str, count: int) -> None:
        line.fault(kind)
        with pytest.raises(Exception, match=r"closed|aborted|reset"):
            line.send()
        assert len(line.chat(all="1")) == count
        assert len(line.api("GET", "/Messages.json")[1]["messages"]) == count

    def test_a_time_out_after_accepting_has_sent_it(self, line: Line) -> None:
        line.fault("timeout_after_accept", seconds=0.2)
        with pytest.raises(Exception, match=r"closed|aborted|reset"):
            line.send()
        assert line.statuses(2)[-1].form["MessageStatus"] == "delivered"

    def test_statuses_may_come_before_the_answer(self, line: Line) -> None:
        line.fault("early_status")
        line.sent()
        assert len([got for got in line.receiver.got if "MessageStatus" in got.form]) == 2

    def test_callbacks_come_twice_late_or_in_reverse(self, line: Line) -> None:
        line.fault("duplicate_callbacks")
        line.say()
        one, two = line.receiver.wait(2)
        assert (one.body, one.headers["i-twilio-idempotency-token"]) == (
            two.body,
            two.headers["i-twilio-idempotency-token"],
        )
        line.fault("reversed_callbacks", times=2, seconds=0.3)
        line.sent()
        assert [got.form["MessageStatus"] for got in line.statuses(2)] == ["delivered", "sent"]

    def test_a_callback_that_fails_is_not_tried_again_unless_its_address_says_so(
        self, open_line: Callable[..., Line], receivers: Callable[[], Receiver], box: Box
    ) -> None:
        for fragment, count, state in (
            ("", 1, "given_up"),
            ("#rc=2&rp=5xx", 2, "delivered"),
            ("#rc=1&rp=4xx", 1, "given_up"),
        ):
            receiver = receivers()
            receiver.answers = [503]
            line = open_line(to=receiver, callback_url=receiver.url + fragment)
            id_ = line.say()["delivery"]["id"]
            receiver.wait(count)
            path = f"deliveries?id={id_}&state={state}"
            rows = until(lambda path=path: box.control(path)["deliveries"])
            assert (len(rows[0]["attempts"]), len(receiver.got)) == (count, count), fragment
            assert all(line.signed(got) for got in receiver.got)

    def test_a_restart_takes_up_what_was_under_way(self, open_line: Callable[..., Line], new_box: Any) -> None:
        box = new_box()
        line = open_line(at=box)
        line.people(online=False)
        sid = line.sent()["sid"]
        line.statuses(1)
        box.stop()
        box.start()
        line.people(online=True)
        until(lambda: line.message(sid)["status"] == "delivered")
        assert line.signed(line.statuses(2)[-1])
