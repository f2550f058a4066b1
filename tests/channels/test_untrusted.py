"""What strangers send is read without surprise: numbers, times, characters and depths of any kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from channels import untrusted

NOON = datetime(2025, 11, 24, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize("stamp", [1764000000, "1764000000", 1764000000000, "1764000000000", 1764000000.0])
def test_seconds_and_milliseconds_are_read_as_number_or_string(stamp: object) -> None:
    assert untrusted.moment(stamp) == NOON


@pytest.mark.parametrize("stamp", [None, "", "soon", -1, 0, True, [], "9" * 300, "nan", "inf", 9e18, 253402300799])
def test_what_cannot_be_the_time_of_a_message_is_now(stamp: object) -> None:
    assert datetime.now(UTC) - untrusted.moment(stamp) < timedelta(seconds=5)


def test_ids_beyond_what_javascript_holds_keep_every_digit() -> None:
    found = untrusted.load(b'{"id": 17841400000000001234, "small": 7, "negative": -17841400000000001234}')
    assert found == {"id": "17841400000000001234", "small": 7, "negative": "-17841400000000001234"}


def test_numbers_that_json_does_not_have_are_empty() -> None:
    assert untrusted.load(b'{"a": NaN, "b": Infinity, "c": 1e999, "d": 1.5}') == {
        "a": None,
        "b": None,
        "c": None,
        "d": 1.5,
    }


def test_an_integer_of_many_digits_is_no_bomb() -> None:
    assert len(untrusted.load(b'{"a": ' + b"9" * 100_000 + b"}")["a"]) == untrusted.LONGEST_ID


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_object_reads_as_an_empty_one(body: bytes) -> None:
    assert untrusted.load(body) == {}


def test_bytes_that_are_no_utf8_hide_nothing_else() -> None:
    assert untrusted.load(b'{"a": "\xff", "b": "\xc3\xa9"}') == {"a": "\ufffd", "b": "é"}


def test_characters_that_no_database_takes_are_replaced_in_values_and_names() -> None:
    assert untrusted.load(b'{"a\\u0000": ["\\ud83d", "\\ud83d\\ude00"]}') == {"a\ufffd": ["\ufffd", "😀"]}


def test_what_lies_too_deep_is_cut_off() -> None:
    depth, tree = 0, untrusted.load(b'{"a":' * 100 + b"1" + b"}" * 100)
    while tree["a"]:
        depth, tree = depth + 1, tree["a"]
    assert depth == untrusted.DEEPEST - 1


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), (7, "7"), (1.5, "1.5"), (True, ""), (None, ""), ([], ""), ({}, "")]
)
def test_text_is_a_string_or_a_number(value: object, text: str) -> None:
    assert untrusted.text(value) == text


@pytest.mark.parametrize(
    ("value", "found"), [(" a ", "a"), (7, "7"), ("x" * 513, ""), ("x" * 512, "x" * 512), (None, "")]
)
def test_an_endless_id_is_none(value: object, found: str) -> None:
    assert untrusted.identifier(value) == found


def test_an_item_without_an_id_gets_the_same_one_each_time() -> None:
    assert untrusted.made_up_id({"a": 1, "b": 2}) == untrusted.made_up_id({"b": 2, "a": 1})
    assert untrusted.made_up_id({"a": 1}) != untrusted.made_up_id({"a": 2})
