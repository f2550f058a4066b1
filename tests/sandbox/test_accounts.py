"""Declaring numbers: the handshake comes first, an app has one callback, and the control API is for this machine."""


def declaration(receiver, **more):
    return {
        "phone_number_id": "5559999",
        "business_account_id": "909999",
        "display_phone_number": "+353 1 555 9999",
        "access_token": "EAA-9999",
        "app_secret": "s3cret",
        "callback_url": receiver.url,
        "verify_token": "verify-me",
        **more,
    }


def test_a_wrong_verify_token_is_refused_with_what_went_wrong(box, receiver):
    status, answer = box.call("POST", "/control/whatsapp/accounts", declaration(receiver, verify_token="other"))
    assert status == 422
    assert answer["error"]["code"] == "handshake_failed"
    assert "403" in answer["error"]["message"]
    assert box.call("GET", "/v26.0/5559999", headers={"Authorization": "Bearer EAA-9999"})[0] == 401


def test_a_callback_that_cannot_be_reached_is_refused(box, receiver):
    body = declaration(receiver, callback_url="http://127.0.0.1:9/callbacks/x")
    status, answer = box.call("POST", "/control/whatsapp/accounts", body)
    assert status == 422
    assert "ConnectionRefusedError" in answer["error"]["message"]


def test_a_field_that_is_missing_is_named(box, receiver):
    status, answer = box.call("POST", "/control/whatsapp/accounts", declaration(receiver, access_token=""))
    assert status == 422
    assert answer["error"]["message"].startswith("access_token")


def test_declaring_twice_changes_the_number_and_never_shows_its_token(declare, box):
    number = declare()
    declare(
        phone_number_id=number.id, business_account_id=number.waba, access_token="EAA-new", verified_name="New name"
    )
    listed = {one["phone_number_id"]: one for one in box.control("whatsapp/accounts")["accounts"]}
    assert listed[number.id]["verified_name"] == "New name"
    assert "access_token" not in listed[number.id]
    assert number.graph("GET", number.id)[0] == 401
    assert number.graph("GET", number.id, token="EAA-new")[0] == 200


def test_numbers_of_one_app_share_its_callback(declare, receivers, receiver):
    first = declare(app_id="shared", to=receiver)
    second = declare(app_id="shared", to=receiver, callback_url="")
    second.say("to the second")
    assert receiver.wait(1)[0].value["metadata"]["phone_number_id"] == second.id
    moved = receivers()
    declare(app_id="shared", to=moved)
    first.say("after the app's callback moved")
    assert moved.wait(1)[0].value["metadata"]["phone_number_id"] == first.id
    assert len(receiver.got) == 1


def test_a_number_may_override_the_callback_of_its_app(declare, receivers, receiver):
    first, own = declare(app_id="overridden"), receivers()
    second = declare(app_id="overridden", callback_url="", override_callback_url=own.url)
    second.say("to my own address")
    first.say("to the app's address")
    assert [got.value["metadata"]["phone_number_id"] for got in own.got] == [second.id]
    assert [got.value["metadata"]["phone_number_id"] for got in receiver.got] == [first.id]


def test_apps_never_share_a_batch(declare, box):
    one, other = declare(), declare()
    items = [{"account": one.id, "from": "+353871", "text": "a"}, {"account": other.id, "from": "+353871", "text": "b"}]
    status, answer = box.call("POST", "/control/batch", {"items": items})
    assert status == 422
    assert "different apps" in answer["error"]["message"]


def test_nothing_is_called_back_before_the_business_account_is_subscribed(declare):
    number = declare(subscribed=False)
    assert number.say("too early")["delivery"] is None
    assert number.graph("POST", f"{number.waba}/subscribed_apps") == (200, {"success": True})
    number.say("now")
    assert [one["text"]["body"] for one in number.receiver.messages()] == ["now"]


def test_another_site_or_an_unknown_host_name_is_kept_out(box):
    evil = {"Origin": "https://evil.example", "Content-Type": "application/json"}
    assert box.call("POST", "/control/clock", headers=evil, body=b"{}".decode())[0] == 403
    assert box.call("GET", "/control/log", headers={"Host": "evil.example"})[0] == 403


def test_unknown_things_are_named(box):
    assert "tiktok" in box.call("POST", "/control/tiktok/say", {})[1]["error"]["message"]
    assert "say" in box.call("POST", "/control/whatsapp/shout", {})[1]["error"]["message"]
    assert box.call("POST", "/control/faults", {"kind": "nonsense"})[1]["error"]["code"] == "unknown_fault"
