"""Emails and phones: what becomes an identity, and what never does."""

from __future__ import annotations

import random
import time
import unicodedata

import email_validator
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("john@example.com", "john@example.com"),
        ("  John.O'Brien+CRM@Example.COM\n", "john.o'brien+crm@example.com"),
        ("a@exämple.de", "a@xn--exmple-cua.de"),
        ("a@EXÄMPLE.de", "a@xn--exmple-cua.de"),
        ("a@XN--EXMPLE-CUA.de", "a@xn--exmple-cua.de"),
        ("a@faß.de", "a@xn--fa-hia.de"),
        ("josé@example.com", "josé@example.com"),
        ("jose\u0301@example.com", "josé@example.com"),
        ("JOSÉ@example.com", "josÉ@example.com"),
        ("\u212a@example.com", "k@example.com"),
        ("a@\u212a.com", "a@k.com"),
        ("İ@example.com", "İ@example.com"),
        ("ſ@example.com", "ſ@example.com"),
        ("a@ſ.com", "a@s.com"),
        ("agent@acme.test", "agent@acme.test"),
        ("boss@office.local", "boss@office.local"),
        ("joe@crm.example.com.invalid", "joe@crm.example.com.invalid"),
        ("_-+@a-b.co", "_-+@a-b.co"),
        ("x@" + "a" * 63 + ".com", "x@" + "a" * 63 + ".com"),
    ],
)
def test_emails_have_one_form(text: str, address: str) -> None:
    assert addresses.email(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "john", "@", "@example.com", "john@", "john@example", "john@@example.com", "a@b@example.com"),
        *("a b@example.com", "a..b@example.com", ".a@example.com", "a.@example.com", "a@.com", "a@x..com", "a@x.com."),
        *("a@-x.com", "a@x-.com", "a@x_y.com", "a@1.2.3.4", "a@[127.0.0.1]", '"a b"@x.com', "Joe <joe@x.com>"),
        *("mailto:a@x.com", "a@x.com,b@x.com", "a@x.com;b@x.com", "a\0@x.com", "a@x.com\nBcc: b@x.com", "a\r\n@x.com"),
        *("\u202ea@x.com", "a\u200b@x.com", "a\u00ad@x.com", "\ud800@x.com", "a@\ud800.com", "a@xn--80.com", "a@☃.net"),
        *("a" * 65 + "@x.com", "a@" + "b" * 64 + ".com", "a@" + "b." * 130 + "com", "é" * 33 + "@x.com", "a" * 100_000),
    ],
)
def test_what_is_no_email_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        addresses.email(text)


local_parts = st.text("abcXYZ019._+-éİſK'", min_size=1, max_size=12)
domains = st.lists(st.text("abcXYZ019-éſK", min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)


@given(st.builds("{}@{}".format, local_parts, domains) | st.text(max_size=30))
@example("a@B--c.com")
@example("a@ab--c.com")
@settings(max_examples=500, deadline=None)
def test_a_form_once_found_stays(text: str) -> None:
    try:
        address = addresses.email(text)
    except ValueError:
        return
    assert addresses.email(address) == address
    assert addresses.email(text.swapcase() if text.isascii() else text) == address
    assert unicodedata.is_normalized("NFC", address)
    assert address.partition("@")[2].isascii()
    assert not any("A" <= char <= "Z" for char in address)


plain_locals = st.lists(st.text("az09_+-", min_size=1, max_size=40), min_size=1, max_size=4).map(".".join)
plain_domains = st.lists(st.text("axn09-", min_size=1, max_size=70), min_size=1, max_size=5).map(".".join)


@given(st.builds("{}@{}.{}".format, plain_locals, plain_domains, st.sampled_from(["com", "test", "c", "co1"])))
@example("a" * 64 + "@" + "b" * 63 + ".com")
@settings(max_examples=500, deadline=None)
def test_the_quick_way_never_passes_what_the_validator_refuses(text: str) -> None:
    try:
        found = email_validator.validate_email(text, check_deliverability=False).ascii_email
    except email_validator.EmailNotValidError:
        found = None
    try:
        assert addresses.email(text) == found
    except ValueError:
        assert found is None or len(found.partition("@")[0]) > 64


IRISH = "+353871234567"


@pytest.mark.parametrize(
    "text",
    [
        *("087 123 4567", "00353871234567", "353871234567", "+353 (0)87 123 4567", "+3530871234567", "087-123-4567"),
        *(
            "٠٨٧١٢٣٤٥٦٧",
            "０８７１２３４５６７",
            "＋353871234567",
            "+353\u00a087\u00a0123\u00a04567",
            "\u202a+353871234567\u202c",
        ),
        *(
            "whatsapp:+353871234567",
            "tel:+353-87-123-4567",
            " TEL:0871234567",
            "(087) 123.4567",
            "087/1234567",
            "\u200b0871234567",
        ),
    ],
)
def test_a_number_is_read_as_somebody_in_the_region_writes_it(text: str) -> None:
    assert addresses.phone(text, "IE") == IRISH


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("+353871234567", None, IRISH),
        ("+353871234567", "US", IRISH),
        ("011 353 87 123 4567", "US", IRISH),
        ("(202) 555-0123", "US", "+12025550123"),
        ("+54 11 15 2345 6789", None, "+5491123456789"),
        ("+541123456789", None, "+541123456789"),
        ("06 6982 1234", "IT", "+390669821234"),
        ("+39 06 6982 1234", "IE", "+390669821234"),
        ("2250712345678", "CI", "+2250712345678"),
        ("+447911123456", "IE", "+447911123456"),
        ("(242) 365-1234", "US", "+12423651234"),
    ],
)
def test_numbers_keep_their_own_country(text: str, region: str | None, number: str) -> None:
    assert addresses.phone(text, region) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            "999",
            "112",
            "50015",
            "AIB",
            "1-800-FLOWERS",
            "call 0871234567",
            "0871234567 ext 3",
            "0871234567x3",
        ),
        *(
            "087 123 4567 #3",
            "+353871234567;ext=3",
            "+353871234567,123",
            "0871234567 / 0871234568",
            "0871234567;0871234568",
        ),
        *(
            "+999123456789",
            "+1234567890",
            "+35387123456",
            "+3538712345678",
            "+353 87 1234567890123",
            "0871234567 0871234568",
        ),
        *("*123#", "тел 0871234567", "\0", "+", "0" * 50, "1" * 400, "mobile", "tel:", "²³⁴", "0871234567\nx"),
    ],
)
def test_what_is_no_whole_number_never_becomes_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        addresses.phone(text, "IE")


@pytest.mark.parametrize("region", [None, "", "XX", "ie"])
def test_without_a_region_a_bare_number_is_refused(region: str | None) -> None:
    with pytest.raises(ValueError, match="country code"):
        addresses.phone("0871234567", region)


@given(st.text(max_size=30), st.sampled_from(["IE", "US", "BR", None]))
@settings(deadline=None)
def test_any_text_is_a_number_or_a_value_error(text: str, region: str | None) -> None:
    try:
        number = addresses.phone(text, region)
    except ValueError:
        return
    assert addresses.phone(number, None) == number


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("353871234567", IRISH),
        ("+353871234567", IRISH),
        ("5215512345678", "+525512345678"),
        ("525512345678", "+525512345678"),
        ("5491123456789", "+5491123456789"),
        ("551187654321", "+5511987654321"),
        ("5511987654321", "+5511987654321"),
        ("2290197123456", "+2290197123456"),
        *((text, None) for text in ("50015", "", "AIB", "IE.7700000000000001", "9" * 15, "٣٥٣٨٧١٢٣٤٥٦٧")),
    ],
)
def test_a_providers_digits_become_a_number_or_nothing(digits: str, number: str | None) -> None:
    assert addresses.phone_from_digits(digits) == number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+5215512345678", "+525512345678"),
        ("+5491123456789", "+541123456789"),
        ("+551187654321", "+5511987654321"),
        ("+3534890123456", "+442890123456"),
    ],
)
def test_two_ways_of_writing_a_number_share_a_key(one: str, other: str) -> None:
    assert addresses.phone_key(one) == addresses.phone_key(other)


@pytest.mark.parametrize(
    "number", [IRISH, "+390669821234", "+551133334444", "+5511987654321", "+525512345678", "+12025550123", "AIB"]
)
def test_other_numbers_are_their_own_key(number: str) -> None:
    assert addresses.phone_key(number) == number


@given(st.from_regex(r"\+(52|54|55|353)[0-9]{8,12}", fullmatch=True))
def test_a_key_is_its_own_key(number: str) -> None:
    key = addresses.phone_key(number)
    assert addresses.phone_key(key) == key


@pytest.mark.parametrize(
    ("number", "region", "shown"),
    [
        (IRISH, "IE", "087 123 4567"),
        (IRISH, "US", "+353 87 123 4567"),
        (IRISH, None, "+353 87 123 4567"),
        (IRISH, "XX", "+353 87 123 4567"),
        ("+12025550123", "CA", "(202) 555-0123"),
        ("AIB", "IE", "AIB"),
        ("", "IE", ""),
    ],
)
def test_numbers_are_shown_as_the_reader_would_dial_them(number: str, region: str | None, shown: str) -> None:
    assert addresses.national(number, region) == shown


def test_a_thousand_new_emails_and_phones_take_fifty_milliseconds() -> None:
    chance = random.Random()
    best = 1.0
    for _ in range(5):
        emails = [f"Person.{chance.randrange(10**9)}@Example{index % 50}.com" for index in range(1000)]
        phones = [f"+353 87 {chance.randrange(1000000, 9999999)}" for _ in range(1000)]
        start = time.process_time()
        for each in emails:
            addresses.email(each)
        for each in phones:
            addresses.phone(each, "IE")
        best = min(best, time.process_time() - start)
    assert best < 0.050
