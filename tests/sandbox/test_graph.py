"""The front door of the Graph API, and the nodes behind it."""

import hashlib
import hmac


def code(answer):
    return answer[1]["error"]["code"]


def test_a_call_without_a_version_or_with_a_dead_one_is_refused(number, box):
    headers = {"Authorization": f"Bearer {number.token}"}
    assert code(box.call("POST", f"/{number.id}/messages", {}, headers=headers)) == 2500
    assert code(box.call("GET", f"/v20.0/{number.id}", headers=headers)) == 2635
    assert box.call("GET", f"/v23.0/{number.id}", headers=headers)[0] == 200


def test_a_missing_or_unknown_token_is_190(number, box):
    status, answer = box.call("GET", f"/v26.0/{number.id}")
    assert (status, answer["error"]["code"], answer["error"]["type"]) == (401, 190, "OAuthException")
    assert answer["error"]["fbtrace_id"]
    assert code(number.graph("GET", number.id, token="EAA-nobody")) == 190
    assert box.call("GET", f"/v26.0/{number.id}?access_token={number.token}")[0] == 200


def test_the_token_of_another_number_does_not_see_this_one(declare):
    number, other = declare(), declare()
    for path in (number.id, number.waba, f"{number.waba}/message_templates"):
        status, answer = other.graph("GET", path)
        assert (status, answer["error"]["code"], answer["error"]["error_subcode"]) == (400, 100, 33), path
    assert code(other.graph("POST", f"{number.id}/messages", {"messaging_product": "whatsapp"})) == 100


def test_an_app_secret_proof_is_checked_and_may_be_required(declare):
    number = declare(require_app_secret=True)
    proof = hmac.new(b"app-secret-123", number.token.encode(), hashlib.sha256).hexdigest()
    assert code(number.graph("GET", number.id)) == 100
    assert code(number.graph("GET", f"{number.id}?appsecret_proof={'0' * 64}")) == 100
    assert number.graph("GET", f"{number.id}?appsecret_proof={proof}")[0] == 200


def test_a_phone_number_tells_the_fields_asked_for(number):
    status, answer = number.graph("GET", f"{number.id}?fields=display_phone_number,verified_name,quality_rating")
    assert status == 200
    assert answer.keys() == {"display_phone_number", "verified_name", "quality_rating", "id"}
    assert answer["id"] == number.id
    assert (
        "nonexisting field (shoe_size)" in number.graph("GET", f"{number.id}?fields=shoe_size")[1]["error"]["message"]
    )


def test_templates_come_in_pages_with_cursors(number):
    fields = "id,name,language,status,category,parameter_format,components,rejected_reason,quality_score"
    seen, after = [], ""
    while True:
        path = f"{number.waba}/message_templates?fields={fields}&limit=2" + (f"&after={after}" if after else "")
        status, answer = number.graph("GET", path)
        assert status == 200
        seen += [(one["name"], one["language"]) for one in answer["data"]]
        assert len(answer["data"]) <= 2
        if "next" not in answer["paging"]:
            break
        after = answer["paging"]["cursors"]["after"]
    assert len(seen) == len(set(seen)) > 4
    assert ("order_update", "de") in seen
    only = number.graph("GET", f"{number.waba}/message_templates?status=PAUSED")[1]["data"]
    assert [one["name"] for one in only] == ["flash_sale"]
    assert code(number.graph("GET", f"{number.waba}/message_templates?after=nonsense")) == 100


def test_the_business_account_lists_its_numbers_and_apps(number):
    assert number.graph("GET", f"{number.waba}/phone_numbers")[1]["data"][0]["id"] == number.id
    assert number.graph("GET", f"{number.waba}/subscribed_apps")[1]["data"]
    assert number.graph("DELETE", f"{number.waba}/subscribed_apps")[1] == {"success": True}
    assert number.graph("GET", f"{number.waba}/subscribed_apps")[1]["data"] == []


def test_every_call_is_in_the_log_with_its_answer(number, box):
    number.send(text={"body": ""})
    row = box.control(f"log?direction=in&account={number.id}")["exchanges"][0]
    assert (row["method"], row["status"]) == ("POST", 400)
    assert row["url"] == f"/v26.0/{number.id}/messages"
    assert '"to"' in row["request"]
    assert "cannot be an empty string" in row["answer"]
