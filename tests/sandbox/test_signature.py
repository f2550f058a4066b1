"""Callbacks carry the bytes and the signature that Meta's would."""

import json

from sandbox.meta import apps

WORKED = (
    rb'{"object":"page","entry":[{"id":"111","time":1764000000000,"messaging":[{"sender":{"id":"222"},"recipient":'
    rb'{"id":"111"},"timestamp":1764000000000,"message":{"mid":"m_AAA","text":"caf\u00e9 \ud83d\ude00 '
    rb'https:\/\/ex.ie"}}]}]}'
)


def test_the_worked_example_of_the_documentation_is_signed_alike():
    assert len(WORKED) == 224
    assert apps.dump(json.loads(WORKED)) == WORKED
    expected = "sha256=5e9d1ba2d1318e7d3c3b39f411ef3a921e96257b3fc85fde14028d0f7106ce32"
    assert apps.signature("app-secret-123", WORKED) == expected


def test_a_callback_is_signed_over_its_escaped_bytes(number):
    number.say("Dia dhuit, Seán 😀 https://ex.ie/a")
    got = number.receiver.wait(1)[0]
    assert got.signed_with("app-secret-123")
    assert b"Se\\u00e1n \\ud83d\\ude00 https:\\/\\/ex.ie\\/a" in got.body
    assert json.dumps(got.json, separators=(",", ":")).encode() != got.body


def test_signatures_go_wrong_when_told_to(number):
    for kind in ("bad_signature", "missing_signature", "reserialised_signature"):
        number.fault(kind)
        number.say("Seán/1")
        assert not number.receiver.got[-1].signed_with("app-secret-123"), kind
    assert "x-hub-signature-256" not in number.receiver.got[1].headers
    number.say("Seán/2")
    assert number.receiver.got[-1].signed_with("app-secret-123")
