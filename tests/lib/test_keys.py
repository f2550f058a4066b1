"""The text of API keys: what `new` makes, `parse` reads, and nothing else."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import keys


def test_a_key_reads_back_to_its_id_and_secret() -> None:
    key = keys.new(b"pepper")
    assert re.fullmatch(r"alc_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", key.text)
    assert keys.parse(key.text) == (key.id, key.text[-49:-6])
    assert key.hash == keys.hash_secret(b"pepper", key.text)


def test_the_hash_is_of_the_secret_and_needs_the_pepper() -> None:
    key = keys.new(b"pepper")
    _, secret = keys.parse(key.text) or ("", "")
    assert keys.hash_secret(b"pepper", secret) == key.hash
    assert keys.hash_secret(b"salt", key.text) != key.hash
    assert len(key.hash) == 32


def test_keys_never_repeat_and_use_the_whole_alphabet() -> None:
    made = [keys.new() for _ in range(2000)]
    assert len({key.text for key in made}) == len({key.id for key in made}) == 2000
    counts = Counter(char for key in made for char in key.text[-30:-6])
    assert len(counts) == 62
    assert max(counts.values()) < 1.35 * min(counts.values())


def test_every_single_mistyped_character_is_noticed() -> None:
    text = keys.new().text
    for place in range(len(text)):
        for char in "aZ0_-é\n":
            mistyped = text[:place] + char + text[place + 1 :]
            assert (keys.parse(mistyped) is None) == (mistyped != text)


@pytest.mark.parametrize(
    "change",
    [str.lower, str.upper, lambda t: t + "\n", lambda t: " " + t, lambda t: t[:-1], lambda t: t + "a", lambda t: t * 2],
)
def test_a_key_that_is_bent_in_any_way_is_none(change) -> None:
    assert keys.parse(change(keys.new().text)) is None


@given(st.text())
def test_any_other_text_is_no_key_and_no_error(text: str) -> None:
    assert keys.parse(text) is None
    assert len(keys.hash_secret(b"pepper", text)) == 32


def test_the_preview_shows_both_ends_only() -> None:
    text = keys.new().text
    assert keys.preview(text) == f"{text[:13]}…{text[-4:]}"
