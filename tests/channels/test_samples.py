"""The sample payloads of the providers' contracts, byte for byte as they stand there, and what comes of each.

`fixtures/samples` holds them: an item of `messaging` a line, a form a line, a mail. (WhatsApp's are situations.)
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

import channels
from tests.channels import kinds
from tests.channels.contract import assert_storable, parts_of, plain

SAMPLES = kinds.FIXTURES / "samples"
ENVELOPES = {"facebook": ("page", "111"), "instagram": ("instagram", "17841400000000000")}
CDN, IG = "https://scontent.xx.fbcdn.net/v", "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id="
MMS = "https://api.twilio.com/2010-04-01/Accounts/AC01/Messages/MM01/Media/ME01"


def said(provider_id: str, kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"item": "Inbound", "provider_id": provider_id, "kind": kind, "text": text} | {"echo": False} | more


def change(kind: str, target: str, **more: Any) -> dict[str, Any]:
    return {"item": "Change", "kind": kind, "target": target, "by_customer": True} | more


def receipt(status: str, **more: Any) -> dict[str, Any]:
    return {"item": "Receipt", "status": status} | more


def story(what: str, number: int, signature: str, **more: str) -> dict[str, Any]:
    url = f"{IG}{number}&signature={signature}"
    return {"media": [{"url": url}], "extra": {"story": {"type": what, "url": url} | more}}


UNTIL = {"person": "222", "watermark": "2025-11-24T16:00:43.500000+00:00"}
EXPECTED: dict[str, list[list[dict[str, Any]]]] = {
    "facebook": [
        [said("m_1", "image", "", media=[{"url": f"{CDN}/a.jpg"}, {"url": "https://cdn.fbsbx.com/v/b.pdf"}])],
        [said("m_2", "sticker", "👍", extra={"sticker_id": "369239263222822"})],
        [said("m_3", "text", "see https://ex.ie", extra={"links": [{"url": "https://ex.ie", "title": "Example"}]})],
        [said("m_OUT1", "text", "Yes", echo=True, message_id="msg-8f2", opens_window=False)],
        [receipt("delivered", provider_id="m_OUT1"), receipt("delivered", provider_id=None, **UNTIL)],
        [receipt("read", provider_id=None, **UNTIL)],
        [change("reaction", "m_OUT1", emoji="❤️", opens_window=True)],
        [said("m_4", "text", "Get started", extra={"postback": {"payload": "GET_STARTED"}}, opens_window=True)],
        [change("edit", "m_1x", text="Is it open *today*?")],
    ],
    "instagram": [
        [said("aWdfZA1", "story", "[Mentioned you in a story]", **story("mention", 1, "x"))],
        [said("aWdfZA2", "story", "love this", **story("reply", 2, "y", id="17900000000000001"))],
        [said("aWdfZA3", "text", "New drop", media=[{"url": f"{IG}3&signature=z"}])],
        [said("aWdfZA4", "unsupported", "[Unsupported message: only the app shows it]", media=[])],
        [change("delete", "aWdfZA2")],
        [said("aWdfOUT", "text", "Thanks!", echo=True, message_id=None, opens_window=False)],
        [receipt("read", provider_id="aWdfOUT", and_before=True)],
        [change("reaction", "aWdfOUT", emoji=None)],
    ],
    "sms": [
        [
            said("MM01", "image", "", account="+353861111111", media=[{"url": MMS, "mime": "image/jpeg"}])
            | {"person": {"address": "+12025550143", "phone": "+12025550143"}}
        ],
        [receipt("failed", provider_id="SM09", error_code="30005", action="permanent")],
    ],
    "email": [
        [
            receipt("failed", account="support@acme.ie", provider_id="<m.8f2.9f3a1c2e@acme.ie>", message_id=None)
            | {"error": "The mail could not be delivered to joe@x.ie: 550 5.1.1 User unknown"}
            | {"error_code": "5.1.1", "action": "permanent"}
        ]
    ],
}


def samples(kind: str) -> list[bytes]:
    if kind == "email":
        return [(SAMPLES / "dsn.eml").read_bytes()]
    return next(SAMPLES.glob(f"{kind}.*")).read_bytes().splitlines()


def parsed(kind: str, body: bytes) -> list[dict[str, Any]]:
    callback = kinds.callback(kind, body)
    if not channels.get(kind).polled:
        short = {"account_sid": "AC01"} if kind == "sms" else {}  # a real one has 32 digits
        channels.get(kind).verify(callback, kinds.PROVIDERS[kind].config | short)
    found = channels.get(kind).parse(callback)
    for item in found:
        assert_storable(item)
    return [plain(item) for item in found]


def enveloped(kind: str, sample: bytes, field: str = "messaging") -> bytes:
    """Put an item where its provider puts it, and leave its bytes alone."""
    named, account = ENVELOPES[kind]
    head = f'{{"object":"{named}","entry":[{{"id":"{account}","time":1764000070000,"{field}":['
    return head.encode() + sample + b"]}]}"


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind, expected in EXPECTED.items() for number in range(len(expected))]
)
def test_each_sample_gives_its_items(kind: str, number: int) -> None:
    sample, expected = samples(kind)[number], EXPECTED[kind][number]
    found = parsed(kind, enveloped(kind, sample) if kind in ENVELOPES else sample)
    assert parts_of(found, expected) == expected


@pytest.mark.parametrize(("kind", "person", "first"), [("facebook", "222", 40), ("instagram", "998877", 60)])
def test_the_samples_of_meta_are_of_one_account_and_one_person_a_second_apart(
    kind: str, person: str, first: int
) -> None:
    for number, sample in enumerate(samples(kind)):
        for found in parsed(kind, enveloped(kind, sample)):
            named = found["person"] if found["item"] == "Receipt" else found["person"]["address"]
            assert (found["account"], named) == (ENVELOPES[kind][1], person)
            assert datetime.fromisoformat(found["at"]).timestamp() == 1764000000 + first + number


@pytest.mark.parametrize("kind", EXPECTED)
def test_no_sample_is_left_out(kind: str) -> None:
    assert len(samples(kind)) == len(EXPECTED[kind])


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7])
def test_in_standby_a_messengers_sample_says_so(number: int) -> None:
    [found] = parsed("facebook", enveloped("facebook", samples("facebook")[number], "standby"))
    [expected] = EXPECTED["facebook"][number]
    assert found["extra"].pop("standby") is True
    assert parts_of(found, {"extra": {}} | expected)["provider_id"] == expected["provider_id"]
    assert (found["text"], found["kind"], found["echo"]) == (expected["text"], expected["kind"], expected["echo"])


def test_all_samples_of_a_kind_in_one_callback_give_the_same() -> None:
    for kind in ENVELOPES:
        found = parsed(kind, enveloped(kind, b",".join(samples(kind))))
        expected = [item for items in EXPECTED[kind] for item in items]
        assert parts_of(found, expected) == expected
