"""Junk at any door is refused in words: no 500, no hang."""

import copy
import random

JUNK = [None, True, 0, -1, 1.5, "", "x", "\x00", "é" * 5000, [], [1], [{}], {}, {"id": {}}, {"text": []}, "{{1}}"]
GOOD = [
    {"type": "text", "text": {"body": "x", "preview_url": False}, "context": {"message_id": "wamid.x"}},
    {"type": "image", "image": {"id": "1", "caption": "x"}},
    {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": "x"}},
    {"type": "contacts", "contacts": [{"name": {"formatted_name": "A", "first_name": "A"}, "org": {}}]},
    {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}},
    {"status": "read", "message_id": "wamid.x", "typing_indicator": {"type": "text"}},
    {"type": "interactive", "interactive": {
        "type": "list", "body": {"text": "x"}, "header": {"type": "text", "text": "h"}, "footer": {"text": "f"},
        "action": {"button": "m", "sections": [{"title": "s", "rows": [{"id": "1", "title": "t"}]}]},
    }},
    {"type": "interactive", "interactive": {
        "type": "button", "body": {"text": "x"}, "header": {"type": "image", "image": {"link": "http://127.0.0.1:9/"}},
        "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "b"}}]},
    }},
    {"type": "template", "template": {"name": "order_update", "language": {"code": "en_US"}, "components": [
        {"type": "body", "parameters": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": []},
    ]}},
    {"type": "template", "template": {"name": "spring_offer", "language": {"code": "en"}, "components": [
        {"type": "header", "parameters": [{"type": "image", "image": {"link": "http://127.0.0.1:9/"}}]},
        {"type": "body", "parameters": [{"type": "text", "text": "a"}]},
        {"type": "button", "sub_type": "url", "index": 0, "parameters": [{"type": "text", "text": "b"}]},
    ]}},
]  # fmt: skip
SAID = {
    "from": "+353871234567", "text": "x", "name": "A", "username": "a", "user_id": "IE.1", "context": "x",
    "file": {"filename": "a.txt", "data": "eA=="}, "raw": {"type": "x"}, "id": "wamid.j", "timestamp": 1,
    "templates": [{"name": "a", "language": "en", "components": [
        {"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "{{1}}"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "a", "url": "https://x.ie/{{1}}"}]},
    ]}],
}  # fmt: skip


def places(value, path=()):
    """List every place in a JSON value."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += places(one, (*path, key))
    return found


def spoil(value, chance):
    """Replace one place of a JSON value with junk, or take it away."""
    out = copy.deepcopy(value)
    *way, last = chance.choice(places(out))
    holder = out
    for key in way:
        holder = holder[key]
    if chance.random() < 0.15:
        del holder[last]
    else:
        holder[last] = chance.choice(JUNK)
    return out


def test_junk_in_a_message_is_refused_in_words(declare):
    number = declare(pair_limit=False, messages_per_second=10_000)
    number.say()
    chance = random.Random(7)
    for _ in range(600):
        base = chance.choice(GOOD)
        body = spoil({"messaging_product": "whatsapp", "to": "+353871234567", **base}, chance)
        status, answer = number.graph("POST", f"{number.id}/messages", body)
        assert status in (200, 400, 404), (body, answer)
        assert status == 200 or answer["error"]["code"] in (100, 131008, 131009, 132000, 132001, 132012, 132018), body


def test_junk_at_the_control_api_is_refused_in_words(number, box):
    chance = random.Random(11)
    for verb in ("say", "people", "templates", "batch", "read", "status", "accounts"):
        for _ in range(60):
            body = spoil({"account": number.id, "items": [SAID], **SAID}, chance) | {"wait": False}
            status, _ = box.call("POST", f"/control/whatsapp/{verb}", body)
            assert status in (200, 404, 422), (verb, body, box.words())
        template = {"type": "template", "template": {"name": "a", "language": {"code": "en"}}}
        assert number.send(**template)[0] in (400, 404)
    for junk in ("[]", "{", "\x00", '"x"'):
        headers = {"Content-Type": "application/json"}
        assert box.http.request("POST", f"{box.url}/control/faults", body=junk, headers=headers).status == 400
