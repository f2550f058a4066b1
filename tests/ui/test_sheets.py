"""What an agent fills in to send a template: which values it asks for, how they go out, what is refused at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from blueprints import sheets
from errors import Invalid


def sheet(body: str = "Hello", *, named: bool = False, header: Any = None, buttons: Any = ()) -> sheets.Sheet:
    parts = [{"type": "BODY", "text": body}, {"type": "BUTTONS", "buttons": list(buttons)}]
    parts += [{"type": "HEADER"} | header] if header else []
    details = {"components": parts} | ({"parameter_format": "NAMED"} if named else {})
    return sheets.sheet(SimpleNamespace(name="a", language="en", details=details))


def file(mime: str) -> Any:
    return SimpleNamespace(mime=mime)


def test_numbered_values_go_out_in_the_order_of_their_numbers() -> None:
    gaps = " ".join(f"{{{{{number}}}}}" for number in (10, 2, 1, 9, 3, 4, 5, 6, 7, 8, 2))
    form = {f"value:body:{number}": f"v{number}" for number in range(1, 11)}
    assert sheet(gaps).values(form) == {"body": [f"v{number}" for number in range(1, 11)]}


def test_named_values_go_out_by_name_but_for_a_buttons() -> None:
    link = {"type": "URL", "text": "Track", "url": "https://x.example/{{1}}"}
    found = sheet("{{b}} {{a}}", named=True, header={"format": "TEXT", "text": "{{b}}"}, buttons=[link])
    form = {"value:body:a": "A", "value:body:b": "B", "value:header:b": "H", "value:button:0:1": "L"}
    assert found.values(form) == {"header": {"b": "H"}, "body": {"b": "B", "a": "A"}, "button:0": ["L"]}


def test_a_coupon_has_a_value_of_its_own() -> None:
    found = sheet(buttons=[{"type": "QUICK_REPLY", "text": "Thanks"}, {"type": "COPY_CODE", "text": "Copy"}])
    assert [variable.label for variable in found.variables] == ["Coupon code of the button"]
    assert found.values({"value:button:1:copy_code:1": "SAVE20"}) == {"button:1:copy_code": ["SAVE20"]}


def test_a_value_is_written_on_one_line_as_templates_take_it() -> None:
    form = {"value:body:1": "  two\n lines\tand      spaces "}
    assert sheet("{{1}}").values(form) == {"body": ["two lines and spaces"]}
    assert sheet("Say {{1}}").text(form) == "Say two lines and spaces"


def test_the_preview_knows_what_is_a_gap() -> None:
    found = sheet("Hi {{1}}!", header={"format": "TEXT", "text": "{{ day }}"})
    assert list(found.pieces("body")) == [("Hi ", ""), ("{{1}}", "value:body:1"), ("!", "")]
    assert list(found.pieces("header")) == [("", ""), ("{{ day }}", "value:header:day"), ("", "")]


@pytest.mark.parametrize(
    ("given", "form", "files", "words"),
    [
        pytest.param(sheet("{{1}}"), {"value:body:1": " "}, [], "Fill in “Value 1”", id="an empty value"),
        pytest.param(sheet("{{1}}"), {"value:body:1": "x" * 1025}, [], "longer than 1024", id="too long a value"),
        pytest.param(sheet(), {}, ["image/png"], "takes no file", id="a file that it does not take"),
        pytest.param(sheet(header={"format": "VIDEO"}), {}, [], "begins with a video", id="no video"),
        pytest.param(sheet(header={"format": "IMAGE"}), {}, ["image/webp"], "begins with a picture", id="a sticker"),
        pytest.param(sheet(header={"format": "IMAGE"}), {}, ["image/png"] * 2, "a picture", id="two pictures"),
        pytest.param(sheet(header={"format": "LOCATION"}), {}, [], "cannot be sent from here", id="a place"),
    ],
)
def test_what_the_provider_would_refuse_is_refused_at_once(
    given: sheets.Sheet, form: dict[str, str], files: list[str], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        given.check(form, [file(mime) for mime in files])


@pytest.mark.parametrize(
    ("kind", "mime"),
    [("IMAGE", "image/jpeg"), ("VIDEO", "video/mp4"), ("DOCUMENT", "application/pdf")],
)
def test_a_file_of_the_right_kind_goes_along(kind: str, mime: str) -> None:
    found = sheet(header={"format": kind})
    found.check({}, [file(mime)])
    assert not found.is_plain
