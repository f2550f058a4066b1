"""Signatures against the guide's words, Node's crypto and the Standard Webhooks library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from lib import signing

BODY = '{"event":"message.received","data":{"content":"Café 😀"}}'.encode()
KEY = "a secret key that is long enough for anybody"

GUIDE_RECEIVER = """
const crypto = require('crypto');
const {secret, timestamp, signature, body} = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const payload = JSON.parse(body);
const signedPayload = `${timestamp}.${JSON.stringify(payload)}`;
const expected = crypto.createHmac('sha256', secret).update(signedPayload).digest('hex');
process.stdout.write(String(crypto.timingSafeEqual(Buffer.from(signature), Buffer.from(expected))));
"""


def test_the_guides_receiver_accepts_the_guide_signature() -> None:
    secret, now = signing.new_webhook_secret(), int(time.time())
    signature = signing.guide_signature(secret, now, BODY)
    told = {"secret": secret, "timestamp": str(now), "signature": signature, "body": BODY.decode()}
    node = shutil.which("node")
    assert node
    done = subprocess.run(
        [node, "-e", GUIDE_RECEIVER], input=json.dumps(told).encode(), capture_output=True, check=True
    )
    assert done.stdout == b"true"


def test_the_guide_signature_is_one_value_of_64_hex_digits() -> None:
    expected = hmac.new(b"whsec_abc", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert signing.guide_signature("whsec_abc", 1700000000, BODY) == expected
    assert len(expected) == 64


def test_standard_webhooks_verifies_the_trio() -> None:
    secret, now = signing.new_webhook_secret(), int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signing.standard_signature([secret], "msg_1", now, BODY),
    }
    assert Webhook(secret).verify(BODY.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode() + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode(), headers | {"webhook-id": "msg_2"})


def test_during_a_rotation_either_secret_verifies() -> None:
    old, new, now = signing.new_webhook_secret(), signing.new_webhook_secret(), int(time.time())
    signature = signing.standard_signature([old, new], "msg_1", now, BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    assert len(signature.split(" ")) == 2
    for secret in (old, new):
        assert Webhook(secret).verify(BODY.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_webhook_secret()).verify(BODY.decode(), headers)


def test_a_webhook_secret_holds_32_random_bytes() -> None:
    secrets = {signing.new_webhook_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)


def test_a_secret_that_is_not_base64_signs_by_its_text() -> None:
    assert (
        signing.standard_signature(["geheim!"], "m", 1, b"x")
        == "v1," + base64.b64encode(hmac.new(b"geheim!", b"m.1.x", hashlib.sha256).digest()).decode()
    )


def test_keys_of_different_purposes_and_secrets_differ() -> None:
    keys = {
        signing.derive(secret, purpose) for secret in (KEY, KEY + "2") for purpose in ("embed", "download", "seal", "")
    }
    assert len(keys) == 8
    assert all(len(key) == 32 for key in keys)
    assert signing.derive(KEY, "embed") == signing.derive(KEY, "embed")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_opens_again_and_shows_nothing(text: str) -> None:
    token = signing.encrypt(KEY, text)
    assert signing.decrypt(KEY, token) == text
    assert len(text) < 4 or text not in token


def test_the_same_text_is_never_sealed_alike() -> None:
    assert signing.encrypt(KEY, "token") != signing.encrypt(KEY, "token")


def test_another_key_or_a_changed_token_opens_nothing() -> None:
    token = signing.encrypt(KEY, "token")
    for key, sealed in [(KEY + "x", token), (KEY, token[:-8] + "AAAAAAA="), (KEY, ""), (KEY, "not sealed"), (KEY, "é")]:
        with pytest.raises(signing.Unreadable):
            signing.decrypt(key, sealed)


def test_after_a_key_change_the_old_texts_still_open() -> None:
    token = signing.encrypt("old" * 12, "token")
    assert signing.decrypt(("new" * 12, "old" * 12), token) == "token"
    assert signing.decrypt("new" * 12, signing.encrypt(("new" * 12, "old" * 12), "later")) == "later"


def test_a_link_is_signed_in_full_and_needs_no_quoting() -> None:
    signature = signing.link_signature(b"key", "id", "170000")
    assert len(base64.urlsafe_b64decode(signature + "=")) == 32
    assert signing.link_matches(b"key", signature, "id", "170000")


@pytest.mark.parametrize("signature", ["", "A", "é" * 43, "\ud800", "A" * 43, "x" * 10_000])
def test_any_other_signature_is_refused_without_a_fuss(signature: str) -> None:
    assert not signing.link_matches(b"key", signature, "id", "170000")


def test_every_single_change_of_a_signature_is_refused() -> None:
    signature = signing.link_signature(b"key", "id", "170000")
    for place in range(len(signature)):
        for char in "AQgw_":
            changed = signature[:place] + char + signature[place + 1 :]
            assert signing.link_matches(b"key", changed, "id", "170000") == (changed == signature)
    assert not signing.link_matches(b"key", signature + "=", "id", "170000")
    assert not signing.link_matches(b"other", signature, "id", "170000")


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_parts_cannot_be_moved_from_one_to_another(left: list[str], right: list[str]) -> None:
    same = signing.link_signature(b"key", *left) == signing.link_signature(b"key", *right)
    assert same == (left == right)
