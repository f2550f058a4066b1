"""Whatever a CRM keeps in custom fields, a receiver that parses and writes it again gets the signature right."""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from tests.callers import Caller, fetch
from tests.factories import BASE
from tests.guide.conftest import Stage

COUNT = 1000  # of customers in a batch
BATCHES = 2
KEYS = (
    "0",
    "10",
    "2",
    "-1",
    "01",
    "4294967294",
    "4294967295",
    "1.5",
    "1e3",
    "",
    " ",
    "constructor",
    "toString",
    "é",
    "🥾",
)
TEXTS = (
    "\u2028\u2029",
    "</script>",
    "\x01\x1f\x7f",
    '"\\/',
    "🥾👩‍👩‍👧",
    "e\u0301",
    "\ufeff",
    "\U0010ffff",
    "عربي",
    "a" * 300,
)
FLOATS = (50000.0, 1e21, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e-7, 123456789012345680000.0, 1.5e300)
WHOLE = (0, -1, 2**53 - 1, -(2**53 - 1), 50000)


def value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(8 if depth else 6)
    if kind == 0:
        return chance.choice(TEXTS)
    if kind == 1:
        return chance.choice((*FLOATS, chance.uniform(-1, 1) * 10.0 ** chance.randrange(-30, 30)))
    if kind == 2:
        return chance.choice((*WHOLE, chance.randrange(-(2**53) + 1, 2**53)))
    if kind == 3:
        return chance.choice((True, False))
    if kind == 4:
        return "".join(chance.choice(string.printable) for _ in range(chance.randrange(12)))
    if kind == 5:
        points = (chance.choice((chance.randrange(1, 0xD800), chance.randrange(0xE000, 0x110000))) for _ in range(5))
        return "".join(map(chr, points))
    if kind == 6:
        return [chance.choice((None, value(chance, depth - 1))) for _ in range(chance.randrange(4))]
    return fields(chance, depth - 1)


def fields(chance: random.Random, depth: int) -> dict[str, Any]:
    """Make an object; null is left to lists, since it removes a custom field."""
    keys = [
        chance.choice((*KEYS, str(chance.randrange(200)), chance.choice(TEXTS))) for _ in range(chance.randrange(1, 7))
    ]
    return {key: value(chance, depth) for key in keys}


def test_thousands_of_payloads_verify_after_parsing_and_writing_again(caller: Caller, tmp_path: Path) -> None:
    stage = Stage(caller, {"config": {"phone_number_id": ""}})
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    files = []
    for batch in range(BATCHES):
        names = [f"{batch}-{i}" for i in range(COUNT)]
        made = [
            {
                "external_id": name,
                "name": "Somebody",
                "email": f"{name}@example.com",
                "custom_fields": fields(chance, 4),
            }
            for name in names
        ]
        # Told again of a change, the fields have been to the database and back.
        changed = [{"external_id": name, "notes": "changed"} for name in names]
        for records in (made, changed):
            files.append(tmp_path / f"{len(files)}.json")
            text = json.dumps({"customers": records}, ensure_ascii=chance.random() < 0.5)
            files[-1].write_text(text, encoding="utf-8")
    kept = tmp_path / "received"
    seen = stage.run("webhooks", files=list(map(str, files)), expected=2 * COUNT * BATCHES, received=str(kept))
    assert seen["failures"][:3] == [], f"seed {seed}: {len(seen['failures'])} of {seen['received']} fail"
    library = Webhook(seen["secret"])
    received = [json.loads(line) for line in kept.read_text().splitlines()]
    for one in received:
        library.verify(base64.b64decode(one["body"]), one["headers"])
    assert len({one["headers"]["webhook-id"] for one in received}) == 2 * COUNT * BATCHES


@pytest.mark.parametrize(
    "refused",
    [
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": "\\u0000"}',
        '{"__proto__": {"admin": true}}',
        '{"a": [{"__proto__": 1}]}',
        '{"constructor": {"prototype": {}}}',
        '{"a": 9007199254740992}',
        '{"a": -9007199254740993}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        f'{{"a": 1{"0" * 400}}}',
        f'{{"a": {"[" * 40}{"]" * 40}}}',
    ],
)
def test_what_javascript_would_change_is_refused_and_nothing_is_kept(caller: Caller, refused: str) -> None:
    record = f'{{"external_id": "X", "name": "X", "email": "x@example.com", "custom_fields": {refused}}}'
    alone = fetch(f"{caller.live.base_url}{BASE}/api-customers", "POST", record.encode(), key=caller.key)
    assert alone.status in (400, 422), alone.data
    assert orjson.loads(alone.data)["error"]["code"] in ("malformed_json", "invalid_field")
    batch = f'{{"customers": [{record}]}}'.encode()
    among = fetch(f"{caller.live.base_url}{BASE}/api-customers-sync", "POST", batch, key=caller.key)
    assert among.status == 400 or orjson.loads(among.data)["results"]["failed"] == 1
    assert caller.get("/api-customers")["customers"] == []
