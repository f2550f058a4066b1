"""A text is cut so that every piece fits and nothing of it is lost."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from channels.messaging.outbound import characters, octets, split

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LETTERS = "añb é\n\t中👍🏽\u200d❤️"


@settings(max_examples=300, deadline=None)
@given(WORDS | st.text(LETTERS, max_size=400), st.integers(8, 60), st.sampled_from([octets, characters]))
def test_every_piece_fits_and_nothing_is_lost(text: str, longest: int, size: object) -> None:
    measure = octets if size is octets else characters
    pieces = split(text, longest, measure)
    assert all(0 < measure(piece) <= longest for piece in pieces)
    assert all(piece == piece.strip() for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("abcdé", min_size=1, max_size=9), min_size=1, max_size=60))
def test_words_that_fit_are_never_cut(words: list[str]) -> None:
    pieces = split(" ".join(words), 24, octets)
    assert " ".join(pieces).split() == words


def test_a_text_that_fits_stays_one() -> None:
    assert split("  one\ntwo  ", 1000, octets) == ["one\ntwo"]
    assert split("x" * 1000, 1000, octets) == ["x" * 1000]
    assert split("", 1000, octets) == split(" \n", 1000, octets) == []


def test_the_end_of_a_line_is_the_better_place() -> None:
    assert split("one two three\nfour five six", 20, octets) == ["one two three", "four five six"]


def test_a_word_may_end_exactly_at_the_limit() -> None:
    assert split("aaaa bbbb", 4, octets) == ["aaaa", "bbbb"]


def test_a_character_of_several_parts_stays_whole() -> None:
    thumb, family = "👍🏽", "👨\u200d👩\u200d👧"
    assert split(thumb * 4, 20, octets) == [thumb * 2, thumb * 2]
    assert split(family * 3, 20, octets) == [family] * 3
    accents = unicodedata.normalize("NFD", "é" * 10)
    assert all(unicodedata.normalize("NFC", piece) == "é" * 2 for piece in split(accents, 8, octets))


def test_bytes_and_characters_are_counted_as_the_strictest_server_would() -> None:
    assert (octets("é👍"), characters("é👍")) == (6, 3)
