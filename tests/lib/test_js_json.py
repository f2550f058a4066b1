"""`lib.js_json` against Node itself: one process reads thousands of documents back."""

from __future__ import annotations

import contextlib
import json
import math
import random
import shutil
import struct
import subprocess
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import js_json

SPECIAL_NUMBERS: list[Any] = [
    *(0, -0.0, 0.0, 50000.0, 1e16, 1e20, 1e21, 1e22, 1.5e300, 5e-324, 1e-5, 1e-6, 1e-7, 1.5e-7, 123456789.125),
    *(
        2**53 - 1,
        2**53,
        2**53 + 1,
        -(2**53) - 1,
        2**63,
        2**64,
        10**20,
        10**21,
        10**22 + 1,
        10**308,
        1.7976931348623157e308,
    ),
    *(
        123456789012345680000.0,
        1.2345678901234567e20,
        0.1 + 0.2,
        100.5,
        -1e-7,
        4.35,
        9007199254740993.0,
        True,
        False,
        None,
    ),
]
SPECIAL_TEXTS = [
    *(
        "",
        "é",
        "😀",
        "\u2028\u2029",
        "\x7f",
        "\x00\x01\x1f",
        "\b\t\n\f\r",
        '"\\/',
        "\ud83d\ude00",
        "\ud800",
        "x\udfff",
        "ﬁ",
        "e\u0301",
    ),
    *("\ufeff", "\ufffe", "\uffff", "</script>", "\U0010ffff"),
]
SPECIAL_KEYS = [
    *(
        "0",
        "1",
        "10",
        "2",
        "01",
        "-1",
        "1.5",
        "4294967294",
        "4294967295",
        "4294967296",
        "99999999999",
        "a",
        "b",
        " ",
        "",
        "!",
    ),
    *("__proto__", "constructor", "toJSON", "length", "\u0661", "\ud83d\ude00", "😀", "1e3", "9", "00"),
]

NODE = """
const lines = require('fs').readFileSync(0, 'utf8').split('\\u0003');
const bad = [];
for (const line of lines) {
  const back = JSON.stringify(JSON.parse(line));
  if (back !== line) bad.push([line, back]);
}
console.log(JSON.stringify({seen: lines.length, bad: bad.slice(0, 5)}));
"""


def by_node(documents: list[bytes]) -> dict[str, Any]:
    node = shutil.which("node")
    assert node, "these tests need Node as the judge"
    done = subprocess.run(
        [node, "-e", NODE], input=b"\x03".join(documents), capture_output=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


def a_number(chance: random.Random) -> Any:
    match chance.randrange(5):
        case 0:
            return chance.choice(SPECIAL_NUMBERS)
        case 1:
            return chance.randrange(-(10 ** chance.randrange(1, 30)), 10**20)
        case 2:
            value = struct.unpack("<d", chance.randbytes(8))[0]
            return value if math.isfinite(value) else 0
        case 3:
            return round(chance.uniform(-1e6, 1e6), chance.randrange(4))
        case _:
            return float(chance.randrange(10 ** chance.randrange(1, 25)))


def a_text(chance: random.Random) -> str:
    if chance.random() < 0.4:
        return chance.choice(SPECIAL_TEXTS)
    return "".join(
        chr(chance.choice([chance.randrange(128), chance.randrange(0x3000), chance.randrange(0x110000)]))
        for _ in range(5)
    )


def a_document(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth > 4 or (depth and kind < 0.55):
        return a_number(chance) if chance.random() < 0.6 else a_text(chance)
    if kind < 0.75:
        keys = (
            chance.choice(SPECIAL_KEYS) if chance.random() < 0.7 else a_text(chance) for _ in range(chance.randrange(7))
        )
        return {key: a_document(chance, depth + 1) for key in keys}
    return [a_document(chance, depth + 1) for _ in range(chance.randrange(5))]


def test_node_gives_back_every_generated_document_byte_for_byte() -> None:
    chance = random.Random(20261124)
    documents = [js_json.dumps(a_document(chance)) for _ in range(20_000)]
    assert by_node(documents) == {"seen": 20_000, "bad": []}


def test_node_gives_back_every_kind_of_double() -> None:
    chance = random.Random(7)
    doubles = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(60_000)]
    finite = [value for value in doubles if math.isfinite(value)] + SPECIAL_NUMBERS
    finite += [float(10**power) * sign for power in range(25) for sign in (1, -1)] + [
        10.0**-power for power in range(12)
    ]
    assert by_node([js_json.dumps({"n": finite})])["bad"] == []


def test_the_rules_for_numbers_and_keys_are_as_javascript_has_them() -> None:
    assert js_json.dumps({"b": 50000.0, "10": -0.0, "2": 2**53 + 1, "01": 1e20, "a": 2**63}) == (
        b'{"2":9007199254740992,"10":0,"b":50000,"01":100000000000000000000,"a":9223372036854776000}'
    )
    assert js_json.dumps({"4294967295": 1, "4294967294": 2}) == b'{"4294967294":2,"4294967295":1}'


def test_non_ascii_text_is_written_raw() -> None:
    assert js_json.dumps(["é\u2028😀\x7f/"]) == '["é\u2028😀\x7f/"]'.encode()


def test_surrogate_pairs_are_joined_and_lone_halves_replaced() -> None:
    assert js_json.dumps({"\ud83d\ude00": "\ud83d\ude00 \ud800"}) == '{"😀":"😀 \ufffd"}'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**309)])
def test_what_is_no_double_is_not_written(value: Any) -> None:
    with pytest.raises(js_json.NotPortable):
        js_json.dumps({"a": [value]})


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, {1: 2}, 1j])
def test_what_is_not_json_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        js_json.dumps({"a": value})


def test_the_document_itself_is_left_as_it_was() -> None:
    document = {"b": [1.0, {"2": 1, "1": 2}], "a": 2**60}
    before = repr(document)
    js_json.dumps(document)
    assert repr(document) == before


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
safe_numbers = st.integers(-js_json.SAFE, js_json.SAFE) | st.floats(-js_json.SAFE, js_json.SAFE)
values = st.recursive(
    st.none() | st.booleans() | safe_numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
@settings(deadline=None)
def test_what_is_written_reads_back_equal_and_writes_the_same_again(document: Any) -> None:
    raw = js_json.dumps(document)
    assert js_json.loads(raw) == document
    assert js_json.dumps(js_json.loads(raw)) == raw


def has_proto(value: Any) -> bool:
    if isinstance(value, dict):
        return "__proto__" in value or "constructor" in value or any(has_proto(item) for item in value.values())
    return isinstance(value, list) and any(has_proto(item) for item in value)


@given(values.filter(lambda value: not has_proto(value)))
@settings(deadline=None)
def test_check_lets_sound_documents_pass(document: Any) -> None:
    js_json.check(document)


def nested(levels: int) -> Any:
    value: Any = {"leaf": 1.5}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("document", "path", "word"),
    [
        ({"customers": [{}, {"custom_fields": {"a": "x\0y"}}]}, "customers[1].custom_fields.a", "NUL"),
        ({"customers": [{"custom_fields": {"a": "\ud800"}}]}, "customers[0].custom_fields.a", "surrogate"),
        ({"a": {"b\0": 1}}, "a", "NUL"),
        ({"a": {"\udfff": 1}}, "a", "surrogate"),
        ({"a": [1, 2, 2**53]}, "a[2]", "2^53"),
        ({"a": -(2**53)}, "a", "2^53"),
        ({"a": 2**70}, "a", "2^53"),
        ({"a": [math.nan]}, "a[0]", "finite"),
        ({"a": {"b": -math.inf}}, "a.b", "finite"),
        ({"a": {"__proto__": 1}}, "a", "__proto__"),
        ({"a": [{"constructor": {"prototype": 1}}]}, "a[0]", "constructor.prototype"),
        ([[2**53]], "[0][0]", "2^53"),
        ("x\0", "", "NUL"),
        (math.nan, "", "finite"),
        (nested(33), ".".join(["a"] * 32), "deep"),
        ({"a": {1: 2}}, "a", "not text"),
        ({"a": b"x"}, "a", "bytes"),
    ],
)
def test_check_names_the_place_and_the_reason(document: Any, path: str, word: str) -> None:
    with pytest.raises(js_json.NotPortable) as caught:
        js_json.check(document)
    assert caught.value.path == path
    assert word in caught.value.reason
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        nested(32),
        {"constructor": "Renault", "text": "__proto__ and \\u0000"},
        {"constructor": {"name": "x"}},
        {"a": 2**53 - 1, "b": -(2**53) + 1, "c": 1e21, "d": -0.0},
        [], {}, "", 0, None, 1.5, True,
    ],
)  # fmt: skip
def test_check_refuses_nothing_that_travels(document: Any) -> None:
    js_json.check(document)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.sampled_from([0, 1.5, math.nan, "\0", 2**60, "ok"]))
def test_the_bulk_verdict_and_the_slow_walk_agree(depths: list[int], leaf: Any) -> None:
    document: Any = []
    for depth in depths:
        value = leaf
        for level in range(depth):
            value = [value] if level % 2 else {"k": value}
        document.append(value)
    slow = list(js_json._faults(document, "", js_json.MAX_DEPTH))
    assert js_json._looks_sound(document, js_json.MAX_DEPTH) == (not slow)


@pytest.mark.parametrize(
    ("raw", "position"),
    [
        (b'{"a":tru}', 5),
        ('{"é😀":"a\\x"}'.encode(), 12),
        (b"", 0),
        (b"NaN", 0),
        (b'{"a":Infinity}', 5),
        (b"\xef\xbb\xbf{}", 0),
        (b'{"a":"\xff"}', 6),
        (b"[1,]", 2),
        (b'{"a":1} x', 8),
        (b"[" + b"1" * 400 + b"]", 1),
        (b'{"a":' + b"-" + b"1" * 300 + b"}", 5),
        (b"[18446744073709551616]", 1),
        (b"[-9223372036854775809]", 1),
        (b'["1234567890123456789012 \\" 12345678901234567890123", 123456789012345678901]', 54),
        (b"[" * 5000, None),
        (b'{"a":' * 100_000, None),
        (b"1e999", 0),
        (b'"\\ud800"', 1),
        (b'"\n"', 1),
    ],
)
def test_malformed_bodies_are_refused_with_the_position(raw: bytes, position: int | None) -> None:
    with pytest.raises(js_json.BadJson) as caught:
        js_json.loads(raw)
    if position is not None:
        assert caught.value.position == position
    assert str(caught.value.position) in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b" [1] \n", [1]),
        (b"[1234567890123456789012.5, 12345678901234567890e3]", [1.2345678901234568e21, 1.2345678901234568e22]),
        (b'["12345678901234567890123"]', ["12345678901234567890123"]),
        (b"[9007199254740993]", [2**53 + 1]),
        (b'"\\ud83d\\ude00"', "😀"),
    ],
)
def test_well_formed_bodies_are_read(raw: bytes, value: Any) -> None:
    assert js_json.loads(raw) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(js_json.BadJson, js_json.NotPortable):
        js_json.check(js_json.loads(raw))


def a_thousand_customers() -> bytes:
    record = {
        "external_id": "CRM-1",
        "name": "María Ó Briain",
        "email": "maria@example.com",
        "phone": "+353871234567",
        "address": {"street": "1 Main Street", "city": "Cork", "postcode": "T12", "country": "IE"},
        "notes": "x" * 700,
        "tags": ["vip", "2026"],
        "custom_fields": {"score": 1.5, "revenue": 50000.0, "n": 12, "plan": "gold", "10": True, "2": None},
    }
    return orjson.dumps({"customers": [record] * 1000})


def test_a_megabyte_of_customers_is_read_and_checked_in_ten_milliseconds() -> None:
    raw = a_thousand_customers()
    assert 950_000 < len(raw) < 1_100_000
    best = 1.0
    for _ in range(7):
        start = time.process_time()
        js_json.check(js_json.loads(raw))
        best = min(best, time.process_time() - start)
    assert best < 0.010
