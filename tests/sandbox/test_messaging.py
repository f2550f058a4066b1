"""The rooms of Messenger and Instagram: what their API refuses, what it calls back, and the phone's page."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sandbox.conftest import SECRET, VERIFY, Box, Receiver

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
PSID = "24000000000000222"
_numbers = itertools.count(7_000)


@dataclass
class Shop:
    """A declared page or account, with what an integrator would do to it."""

    box: Box
    receiver: Receiver
    kind: str
    id: str
    token: str

    def graph(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        token = options.pop("token", self.token)
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self.box.call(method, f"/v26.0/{path}", body, headers=headers, **options)

    def send(self, **body: Any) -> tuple[int, Any]:
        """Post to the messages endpoint; a None takes a part out of the usual call."""
        usual = {"recipient": {"id": PSID}, "message": {"text": "Hi"}}
        usual |= {"messaging_type": "RESPONSE"} if self.kind == "facebook" else {}
        given = {name: value for name, value in (usual | body).items() if value is not None}
        return self.graph("POST", f"{self.id}/messages", given)  # type: ignore[no-any-return]

    def code(self, **body: Any) -> tuple[int, int]:
        """Send what is refused; give (code, subcode)."""
        status, answer = self.send(**body)
        assert status >= 400, answer
        assert "error_data" not in answer["error"]
        return answer["error"]["code"], answer["error"].get("error_subcode", 0)

    def say(self, **body: Any) -> Any:
        return self.box.control(f"{self.kind}/say", {"account": self.id, "from": PSID, **body})

    def people(self, **facts: Any) -> Any:
        return self.box.control(f"{self.kind}/people", {"account": self.id, "from": PSID, **facts})["person"]

    def events(self, count: int, part: str) -> list[Any]:
        """Give the events of one kind, once so many came."""
        until = time.monotonic() + 5
        while len(found := [one for one in self._events() if part in one]) < count:
            assert time.monotonic() < until, f"not {count} of {part}: {self._events()}"
            time.sleep(0.005)
        return found

    def _events(self) -> list[Any]:
        entries = [entry for got in list(self.receiver.got) for entry in got.json["entry"]]
        return [one for entry in entries for one in entry.get("messaging", []) + entry.get("standby", [])]


@pytest.fixture
def open_shop(box: Box, receiver: Receiver) -> Callable[..., Shop]:
    def make(kind: str, **more: Any) -> Shop:
        n = next(_numbers)
        shop = Shop(box, receiver, kind, f"1784140000000{n}" if kind == "instagram" else f"10{n}", f"token-{n}")
        key = {"facebook": "page_id", "instagram": "account_id"}[kind]
        body = {
            key: shop.id,
            "username": "acme",
            "access_token": shop.token,
            "app_secret": SECRET,
            "app_id": f"app{n}",
            "callback_url": receiver.url,
            "verify_token": VERIFY,
            "verified_name": "Acme",
        }
        box.control(f"{kind}/accounts", body | more)
        shop.say(text="Hello", name="Aoife Walsh")
        receiver.got.clear()
        return shop

    return make


@pytest.fixture(params=["facebook", "instagram"])
def shop(open_shop: Callable[..., Shop], request: pytest.FixtureRequest) -> Shop:
    return open_shop(request.param)


@pytest.fixture
def page(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop("facebook")


@pytest.fixture
def gram(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop("instagram")


def picture(url: str = "https://x.invalid/a.png") -> dict[str, Any]:
    return {"attachment": {"type": "image", "payload": {"url": url}}}


class TestRefusals:
    @pytest.mark.parametrize(
        "body",
        [
            {"colour": "red"},
            {"message": {"text": "Hi", "colour": "red"}},
            {"message": {}},
            {"message": {"text": ""}},
            {"message": None},
            {"message": {"text": "Hi", **picture()}},
            {"message": picture("not an address")},
            {"message": {"attachment": {"type": "hologram", "payload": {"url": "https://x.invalid"}}}},
            {
                "message": {
                    "attachment": {"type": "image", "payload": {"url": "https://x.invalid", "attachment_id": "1"}}
                }
            },
            {"message": {"attachment": {"type": "image", "payload": {"attachment_id": "1"}}}},
            {"recipient": {"id": "me"}},
            {"recipient": {"phone_number": "+353871234567"}},
            {"messaging_type": "SHOUT"},
            {"messaging_type": "MESSAGE_TAG"},
            {"tag": "HUMAN_AGENT", "messaging_type": "RESPONSE"},
            {"sender_action": "wave"},
            {"sender_action": "typing_on", "message": {"text": "Hi"}},
        ],
    )
    def test_a_call_that_is_not_as_documented_is_an_invalid_parameter(self, shop: Shop, body: dict[str, Any]) -> None:
        assert shop.code(**body)[0] == 100

    @pytest.mark.parametrize("tag", ["ACCOUNT_UPDATE", "CONFIRMED_EVENT_UPDATE", "POST_PURCHASE_UPDATE"])
    def test_the_dead_tags_are_refused_even_within_the_window(self, shop: Shop, tag: str) -> None:
        assert shop.code(messaging_type="MESSAGE_TAG", tag=tag)[0] == 100

    def test_messenger_wants_to_know_the_type_of_each_call(self, page: Shop) -> None:
        assert page.code(messaging_type=None)[0] == 100

    def test_instagram_takes_neither_metadata_nor_quotes_nor_uploads(self, gram: Shop) -> None:
        assert gram.code(message={"text": "Hi", "metadata": "x"})[0] == 100
        assert gram.code(reply_to={"mid": "x"})[0] == 100
        fields = {"recipient": json.dumps({"id": PSID}), "message": "{}", "filedata": ("a.png", PNG, "image/png")}
        status, answer = gram.graph("POST", f"{gram.id}/messages", fields=fields)
        assert (status, answer["error"]["code"]) == (400, 100)

    def test_messenger_counts_characters_and_an_emoji_is_two(self, page: Shop) -> None:
        assert page.send(message={"text": "x" * 1999})[0] == 200
        assert page.code(message={"text": "x" * 2000})[0] == 100
        assert page.code(message={"text": "😀" * 1000})[0] == 100

    def test_instagram_counts_bytes(self, gram: Shop) -> None:
        assert gram.send(message={"text": "é" * 500})[0] == 200
        assert gram.code(message={"text": "é" * 501})[0] == 100

    def test_a_token_that_nobody_knows_is_told_so(self, shop: Shop) -> None:
        status, answer = shop.graph("POST", f"{shop.id}/messages", {}, token="guess")
        assert (status, answer["error"]["code"]) == (401, 190)

    def test_a_version_is_needed(self, shop: Shop) -> None:
        status, answer = shop.box.call("GET", f"/{shop.id}", headers={"Authorization": f"Bearer {shop.token}"})
        assert (status, answer["error"]["code"]) == (400, 2500)

    def test_nobody_is_written_to_who_never_wrote(self, shop: Shop) -> None:
        found = shop.code(recipient={"id": "999"})
        assert found == {"facebook": (100, 2018001), "instagram": (100, 2534014)}[shop.kind]

    def test_too_many_at_once_are_refused(self, shop: Shop) -> None:
        shop.box.control("faults", {"provider": shop.kind, "kind": "rate_limit", "account": shop.id})
        assert shop.code()[0] == 613


CLOSED = {"facebook": (10, 2018278), "instagram": (10, 2534022)}


class TestWindow:
    def test_after_a_day_the_refusal_comes_at_once(self, shop: Shop) -> None:
        shop.people(window="closed")
        assert shop.code() == CLOSED[shop.kind]

    def test_a_person_may_answer_later_only_where_the_feature_was_granted(
        self, open_shop: Callable[..., Shop], shop: Shop
    ) -> None:
        tag = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
        granted = open_shop(shop.kind, human_agent=True)
        for one in (shop, granted):
            one.say(text="Old", timestamp=one.box.control("clock")["now"] - 3 * 86400)
            one.box.control(f"{one.kind}/people", {"account": one.id, "from": "333", "window": "closed"})
            one.say(**{"from": "333"}, text="Old", timestamp=one.box.control("clock")["now"] - 3 * 86400)
        late = {"recipient": {"id": "333"}, **tag}
        assert shop.code(**late) == CLOSED[shop.kind]
        assert granted.code(recipient={"id": "333"}) == CLOSED[shop.kind]
        assert granted.send(**late)[0] == 200

    def test_a_reaction_opens_it_on_messenger_alone(self, shop: Shop) -> None:
        shop.people(window="closed")
        shop.say(reaction={"mid": "m_x", "emoji": "👍"})
        assert (shop.send()[0] == 200) == (shop.kind == "facebook")

    def test_a_tap_on_a_button_opens_it(self, shop: Shop) -> None:
        shop.people(window="closed")
        shop.say(postback={"title": "Hours", "payload": "H"})
        assert shop.send()[0] == 200


class TestCallbacks:
    def test_what_was_sent_comes_back_with_the_same_id_and_is_signed(self, shop: Shop) -> None:
        message = {"text": "Hi", **({"metadata": "ours"} if shop.kind == "facebook" else {})}
        _, answer = shop.send(message=message)
        (echo,) = shop.events(1, "message")
        assert (echo["message"]["mid"], echo["message"]["is_echo"]) == (answer["message_id"], True)
        assert (echo["sender"], echo["recipient"]) == ({"id": shop.id}, {"id": PSID})
        assert echo["message"].get("metadata") == message.get("metadata")
        assert all(got.signed_with(SECRET) for got in shop.receiver.got)
        assert shop.receiver.got[0].json["object"] == {"facebook": "page"}.get(shop.kind, "instagram")

    def test_the_echo_can_be_made_to_come_before_the_answer(self, shop: Shop) -> None:
        shop.box.control("faults", {"provider": shop.kind, "kind": "early_status", "account": shop.id})
        shop.send()
        assert [one for one in shop._events() if "message" in one]

    def test_times_are_milliseconds_and_bytes_are_escaped(self, shop: Shop) -> None:
        shop.say(text="café 😀 https://ex.ie")
        (event,) = shop.events(1, "message")
        assert event["timestamp"] > 10**12
        assert rb"caf\u00e9 \ud83d\ude00 https:\/\/ex.ie" in shop.receiver.got[0].body

    def test_messenger_tells_of_delivery_and_reading_by_a_watermark(self, page: Shop) -> None:
        page.people(auto_read=True)
        _, answer = page.send()
        (delivery,), (read,) = page.events(1, "delivery"), page.events(1, "read")
        (echo,) = page.events(1, "message")
        assert delivery["delivery"] == {"mids": [answer["message_id"]], "watermark": echo["timestamp"]}
        assert read["read"] == {"watermark": echo["timestamp"]}

    def test_instagram_tells_of_reading_alone_and_by_the_message(self, gram: Shop) -> None:
        gram.people(auto_read=True)
        _, answer = gram.send()
        (read,) = gram.events(1, "read")
        assert read["read"] == {"mid": answer["message_id"]}
        assert not [one for one in gram._events() if "delivery" in one]

    def test_a_phone_that_is_off_gets_it_later(self, page: Shop) -> None:
        page.people(online=False)
        page.send()
        page.events(1, "message")
        page.people(online=True)
        page.events(1, "delivery")

    def test_all_is_read_at_once_by_hand(self, page: Shop) -> None:
        sent = [page.send()[1]["message_id"] for _ in range(2)]
        page.events(2, "delivery")
        assert page.box.control("facebook/read", {"account": page.id, "person": PSID})["ids"] == sent
        assert len(page.events(1, "read")) == 1

    def test_what_is_not_subscribed_to_does_not_come(self, page: Shop) -> None:
        page.graph("POST", f"{page.id}/subscribed_apps?subscribed_fields=message_reactions")
        assert "note" in page.say(text="Anybody?")
        page.say(reaction={"mid": "m_x", "emoji": "👍"})
        assert [list(one)[-1] for one in page._events()] == ["reaction"]

    @pytest.mark.parametrize("fields", ["", "messages,holograms"])
    def test_one_subscribes_to_fields_that_exist(self, shop: Shop, fields: str) -> None:
        status, answer = shop.graph("POST", f"{shop.id}/subscribed_apps?subscribed_fields={fields}")
        assert (status, answer["error"]["code"]) == (400, 100)

    def test_a_batch_comes_in_one_envelope(self, shop: Shop) -> None:
        items = [{"account": shop.id, "from": PSID, "text": text} for text in ("one", "two")]
        shop.box.control("batch", {"provider": shop.kind, "items": items})
        assert [entry["messaging"][0]["message"]["text"] for entry in shop.receiver.wait(1)[0].json["entry"]] == [
            "one",
            "two",
        ]

    def test_any_body_can_be_called_back(self, shop: Shop) -> None:
        shop.box.control(f"{shop.kind}/raw", {"account": shop.id, "text": '{"object":"page"}'})
        assert shop.receiver.wait(1)[0].body == b'{"object":"page"}'
        assert shop.receiver.got[0].signed_with(SECRET)


class TestFiles:
    def test_a_file_may_come_along_on_messenger(self, page: Shop) -> None:
        message = {"attachment": {"type": "image", "payload": {"is_reusable": False}}}
        fields = {
            "recipient": json.dumps({"id": PSID}),
            "messaging_type": "RESPONSE",
            "message": json.dumps(message),
            "filedata": ("a.png", PNG, "image/png"),
        }
        status, answer = page.graph("POST", f"{page.id}/messages", fields=fields)
        assert status == 200, answer
        shown = page.box.control(f"facebook/messages?account={page.id}&person={PSID}")["messages"][-1]
        assert (shown["id"], shown["media"]["size"]) == (answer["message_id"], len(PNG))

    def test_an_upload_is_sent_by_its_id_and_by_its_owner_alone(
        self, page: Shop, open_shop: Callable[..., Shop]
    ) -> None:
        message = json.dumps({"attachment": {"type": "image", "payload": {"is_reusable": True}}})
        fields = {"message": message, "filedata": ("a.png", PNG, "image/png")}
        _, answer = page.graph("POST", f"{page.id}/message_attachments", fields=fields)
        by_id = {"attachment": {"type": "image", "payload": {"attachment_id": answer["attachment_id"]}}}
        assert page.send(message=by_id)[0] == 200
        assert open_shop("facebook").code(message=by_id) == (100, 2018074)

    def test_a_file_that_is_no_picture_is_found_out(self, page: Shop) -> None:
        message = json.dumps({"attachment": {"type": "image", "payload": {}}})
        fields = {"recipient": json.dumps({"id": PSID}), "messaging_type": "RESPONSE", "message": message}
        files = {"filedata": ("a.png", b"<html>", "image/png")}
        _, answer = page.graph("POST", f"{page.id}/messages", fields=fields | files)
        assert answer["error"]["error_subcode"] == 2018047

    def test_a_link_that_leads_nowhere_is_refused_at_once(self, shop: Shop) -> None:
        assert shop.code(message=picture(f"{shop.box.url}/nowhere")) == (100, 2018008)

    def test_the_cdn_takes_no_credentials_and_dies_after_a_day(self, shop: Shop) -> None:
        file = {"filename": "a.png", "mime": "image/png", "data": "iVBORw0KGgo="}
        shop.say(file=file)
        url = shop.events(1, "message")[-1]["message"]["attachments"][0]["payload"]["url"]
        assert shop.box.call("GET", url)[0] == 200
        assert shop.box.call("GET", url, headers={"Authorization": "Bearer x"})[0] == 400
        assert shop.box.call("GET", url.replace("oh=", "oh=0"))[0] == 403


class TestNodes:
    def test_a_profile_needs_a_message_first(self, shop: Shop) -> None:
        status, answer = shop.graph("GET", f"{PSID}?fields=name,first_name,username")
        assert status == 200
        assert answer["name"] == "Aoife Walsh"
        shop.people(window="closed")
        assert shop.graph("GET", PSID)[1]["error"]["error_subcode"] == 2018218

    def test_another_account_learns_nothing(self, shop: Shop, open_shop: Callable[..., Shop]) -> None:
        other = open_shop(shop.kind)
        assert shop.graph("GET", shop.id, token=other.token)[1]["error"]["error_subcode"] == 33

    def test_me_is_the_account_of_the_token(self, gram: Shop) -> None:
        _, answer = gram.graph("GET", "me?fields=user_id,username")
        assert (answer["user_id"], answer["username"]) == (gram.id, "acme")
        assert answer["id"] != gram.id

    def test_a_field_that_does_not_exist_is_refused(self, shop: Shop) -> None:
        assert shop.graph("GET", f"{shop.id}?fields=shoe_size")[1]["error"]["code"] == 100

    def test_a_young_token_is_not_renewed(self, open_shop: Callable[..., Shop], box: Box) -> None:
        young = open_shop("instagram", token_since=box.control("clock")["now"] - 3600)
        query = f"refresh_access_token?grant_type=ig_refresh_token&access_token={young.token}"
        assert young.graph("GET", query)[1]["error"]["code"] == 100

    def test_seen_and_typing_show_on_the_phone(self, shop: Shop) -> None:
        for action in ("typing_on", "mark_seen"):
            assert shop.send(sender_action=action, message=None, messaging_type=None)[0] == 200
        (greeting,) = shop.box.control(f"{shop.kind}/messages?account={shop.id}&person={PSID}")["messages"]
        assert greeting["status"] == "read"


class TestPhone:
    def test_the_page_shows_the_chat_and_writes_into_it(self, shop: Shop) -> None:
        replies = [{"content_type": "text", "title": "Yes", "payload": "Y"}]
        shop.send(message={"text": "Shall we?", "quick_replies": replies})
        shop.events(1, "message")
        address = f"{shop.box.url}/phone/{shop.kind}/{shop.id}/{PSID}"
        page = shop.box.http.request("GET", address).data.decode()
        assert all(word in page for word in ("Aoife Walsh", "Shall we?", "Yes", "Another app has the chat"))
        shop.receiver.got.clear()
        form = {"kind": "quick_reply", "message": "x", "id": "Y", "title": "Yes"}
        shop.box.http.request("POST", f"{address}/say", fields=form, redirect=False, encode_multipart=False)
        (message,) = [one["message"] for one in shop.events(1, "message")]
        assert (message["text"], message["quick_reply"]) == ("Yes", {"payload": "Y"})

    def test_a_customer_is_made_by_name_and_found_again(self, shop: Shop) -> None:
        said = [shop.say(**{"from": name}, text="hi") for name in ("@Siobhan.r", "siobhan.r", "Rory O'Shea")]
        people = [one["item"]["sender"]["id"] for one in said]
        assert people[0] == people[1] != people[2]
        assert all(person.isdecimal() for person in people)

    def test_the_overview_lists_every_room(self, shop: Shop) -> None:
        page = shop.box.http.request("GET", shop.box.url).data.decode()
        assert {"facebook": "Messenger", "instagram": "Instagram"}[shop.kind] in page
