"""Twilio's signature, by the vectors of its own library, and what must not pass."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import BadSignature, Callback
from channels.sms import signature

TOKEN = "12345678901234567890123456789012"
URL = "https://chat.example.ie/webhooks/twilio/sms/7"
AC = "AC00000000000000000000000000000001"
FORM = {
    "AccountSid": AC,
    "ApiVersion": "2010-04-01",
    "Body": "Héllo & bye",
    "From": "+353871234567",
    "MessageSid": "SM00000000000000000000000000000001",
    "NumMedia": "0",
    "To": "+353861111111",
}
SHA1, SHA256 = "sZVh8Utl8JsyLMelmBwydFP1zVA=", "iNipWH123BC59sRZs6GSQI3BPg7kepcO/V+GZh8oTao="
HASHED = f"{URL}?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
SETTINGS = {"x-twilio-webhooks-signature-settings": "key=SharedKey, algorithm=HMAC_SHA256"}


def verify(
    given: str,
    body: bytes = urlencode(FORM).encode(),
    url: str = URL,
    more: dict[str, str] | None = None,
    **config: str,
) -> None:
    headers = {"x-twilio-signature": given, **(more or {})}
    signature.verify(Callback("POST", url, headers, {}, body), {"account_sid": AC, "auth_token": TOKEN} | config)


def test_a_form_is_signed_with_the_auth_token() -> None:
    verify(SHA1)


def test_the_order_of_the_form_does_not_matter() -> None:
    verify(SHA1, urlencode(dict(reversed(FORM.items()))).encode())


def test_a_shared_key_signs_by_sha_256() -> None:
    verify(SHA256, more=SETTINGS, webhook_shared_key=TOKEN, auth_token="other")


def test_without_a_shared_key_its_signature_is_refused_even_if_the_token_made_it() -> None:
    with pytest.raises(BadSignature, match="shared key"):
        verify(SHA256, more=SETTINGS)


def test_sha_256_does_not_pass_where_no_header_asks_for_it() -> None:
    with pytest.raises(BadSignature):
        verify(SHA256, webhook_shared_key=TOKEN)


def test_a_body_that_is_no_form_is_signed_by_its_hash_in_the_address() -> None:
    verify("kyrM7V0p6SZW3xpc/t7M2lzpCjs=", b'{"a":1}', HASHED)


def test_another_body_than_the_hash_in_the_address_is_refused() -> None:
    with pytest.raises(BadSignature, match="hash"):
        verify("kyrM7V0p6SZW3xpc/t7M2lzpCjs=", b'{"a":2}', HASHED)


def test_twilio_may_write_or_leave_out_the_default_port() -> None:
    written = "https://chat.example.ie:443/webhooks/twilio/sms/7"
    verify(signature.sign(TOKEN, written, FORM.items()))
    verify(SHA1, url=written)
    with pytest.raises(BadSignature):
        verify(signature.sign(TOKEN, written.replace("443", "8443"), FORM.items()))


@pytest.mark.parametrize("part", ["?a=1", "/8"])
def test_another_address_is_refused(part: str) -> None:
    with pytest.raises(BadSignature):
        verify(SHA1, url=URL + part)


def test_blank_values_are_signed_and_repeats_count_once_in_order() -> None:
    pairs = [("b", "2"), ("b", "1"), ("a", ""), ("b", "2")]
    verify(signature.sign(TOKEN, URL + "ab1b2", []), urlencode(pairs).encode())


def test_a_callback_about_another_account_is_refused() -> None:
    with pytest.raises(BadSignature, match="another Twilio account"):
        verify(SHA1, account_sid="AC00000000000000000000000000000002")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), st.text(st.characters(codec="utf-8"))))
def test_any_form_passes_with_its_signature_and_with_no_other(form: dict[str, str]) -> None:
    form.pop("AccountSid", None)
    body, made = urlencode(form).encode(), signature.sign(TOKEN, URL, form.items())
    verify(made, body)
    with pytest.raises(BadSignature):
        verify(made, urlencode({**form, "Body": "another one entirely"}).encode())
    with pytest.raises(BadSignature):
        verify(made, body, auth_token=TOKEN[:-1])
