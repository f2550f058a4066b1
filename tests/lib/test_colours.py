"""An accent of somebody else's choice can be read in both themes, and stays itself where it can already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import colours

COLOUR = st.tuples(*(st.integers(0, 255),) * 3)


def rgb(text: str) -> colours.Colour:
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


@given(COLOUR)
def test_every_accent_becomes_readable_on_light_and_on_dark(colour: colours.Colour) -> None:
    light, dark = colours.accents(bytes(colour).hex()) or ("", "")
    assert colours.contrast(rgb(light), (255, 255, 255)) >= colours.ENOUGH
    assert colours.contrast(rgb(dark), (24, 26, 30)) >= colours.ENOUGH


def test_an_accent_that_can_be_read_stays_as_it_is() -> None:
    assert colours.accents("#3350CC") is not None
    assert (colours.accents("3350cc") or ("",))[0] == "#3350cc"
    assert (colours.accents("93a7ff") or ("", ""))[1] == "#93a7ff"


@pytest.mark.parametrize("text", ["", "red", "12345", "1234567", "#12345g", "٣٣٣٣٣٣", "ffcc00;"], ids=ascii)
def test_what_is_no_colour_is_none(text: str) -> None:
    assert colours.accents(text) is None


def test_contrast_runs_from_one_to_twenty_one() -> None:
    assert colours.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert colours.contrast((9, 9, 9), (9, 9, 9)) == 1
