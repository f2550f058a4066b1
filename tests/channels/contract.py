"""The contract of a channel, as tests. `test_contract.py` runs it for every kind in the register.

A situation (`fixtures/<kind>/<name>.json`) says what the provider sends and which items must come of it; of each item,
the parts that it names are compared.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from copy import copy
from datetime import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

import channels
from channels.base import AccountNotice, BadSignature, Callback, ChannelError, Inbound
from channels.contract import Channel
from tests.channels import kinds
from tests.channels.counters import COUNTERS, Counter, opened

NASTY = st.sampled_from(["\x00", "\ud83d", "9" * 400, 10**400, float("inf")])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(max_examples=200, deadline=None)


def plain(item: object) -> dict[str, Any]:
    """Write an item as a fixture does."""
    parts = dataclasses.asdict(item)  # type: ignore[call-overload]
    return {"item": type(item).__name__, **json.loads(json.dumps(parts, default=_plain_value))}


def _plain_value(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else None


def parts_of(found: Any, named: Any) -> Any:
    """Leave of what was found the parts that a situation names; `extra` and `raw` are compared whole."""
    if isinstance(found, dict) and isinstance(named, dict):
        whole = {"extra", "raw"}
        return {key: found[key] if key in whole else parts_of(found[key], named[key]) for key in named if key in found}
    if isinstance(found, list) and isinstance(named, list) and len(found) == len(named):
        return [parts_of(*pair) for pair in zip(found, named, strict=True)]
    return found


def assert_storable(item: Any) -> None:
    """Make sure that the database can take an item, and an agent can see it."""
    tree = plain(item)
    orjson.dumps(tree)  # refuses half characters and numbers beyond 64 bits
    assert not [node for node in nodes(tree) if isinstance(node, str) and "\x00" in node]
    assert not hasattr(item, "at") or item.at.tzinfo is not None
    if isinstance(item, Inbound):
        assert 0 < len(item.provider_id) <= 512
        assert item.person.address
        assert item.text or item.media, "an agent would see an empty bubble"
    if isinstance(item, AccountNotice):
        assert item.text


class Contract:
    """What holds for any channel."""

    @pytest.fixture
    def channel(self, kind: str) -> Channel:
        return channels.get(kind)

    @pytest.fixture
    def config(self, kind: str) -> dict[str, str]:
        return kinds.PROVIDERS[kind].config

    @pytest.fixture
    def counter(self, kind: str, provider: HTTPServer) -> Iterator[Counter]:
        with opened(kind, provider) as counter:
            yield counter

    def test_is_registered_under_its_own_kind(self, channel: Channel, kind: str) -> None:
        assert channel.kind == kind
        assert channel.label

    def test_normalising_twice_changes_nothing(self, channel: Channel, config: dict[str, str]) -> None:
        once = channel.normalise(config)
        assert channel.normalise(once) == once

    def test_a_missing_setting_is_refused_by_name(self, channel: Channel, config: dict[str, str]) -> None:
        for field in channel.fields:
            if field.required and not field.default:
                with pytest.raises(ValueError, match=rf"^{field.name}: "):
                    channel.normalise({name: value for name, value in config.items() if name != field.name})

    def test_a_setting_that_is_no_text_is_refused_by_name(self, channel: Channel, config: dict[str, str]) -> None:
        nonsenses: tuple[object, ...] = ([], {}, True, 1.5, "line\nbreak", "x" * 5000)
        for field in channel.fields:
            for nonsense in nonsenses:
                with pytest.raises(ValueError, match=rf"^{field.name}: "):
                    channel.normalise({**config, field.name: nonsense})

    def test_a_setting_that_does_not_exist_is_refused(self, channel: Channel, config: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"^colour: "):
            channel.normalise({**config, "colour": "red"})

    def test_secrets_are_marked(self, channel: Channel) -> None:
        unmarked = [field.name for field in channel.fields if not field.secret]
        assert not [name for name in unmarked if any(word in name for word in ("token", "secret", "password"))]

    def test_an_account_has_a_key_and_an_address(self, channel: Channel, config: dict[str, str]) -> None:
        read = channel.normalise(config)
        assert channel.account_key(read)
        assert channel.address(read)

    def test_a_signed_callback_is_accepted(self, channel: Channel, kind: str, config: dict[str, str]) -> None:
        if channel.polled:
            pytest.skip("nobody calls us")
        channel.verify(kinds.callback(kind, b'{"a":"caf\\u00e9"}'), config)

    @pytest.mark.parametrize("body", [b"{}", b"", b'{"a":"caf\xc3\xa9"}'])
    def test_a_callback_signed_for_another_body_is_refused(
        self, channel: Channel, kind: str, config: dict[str, str], body: bytes
    ) -> None:
        signature = kinds.PROVIDERS[kind].sign(b'{"a":"caf\\u00e9"}')
        with pytest.raises(BadSignature):
            channel.verify(kinds.callback(kind, body, headers=signature), config)

    @pytest.mark.parametrize("value", [None, "", "sha256=", "sha256=é", "sha1=00", "0" * 64])
    def test_a_callback_without_a_true_signature_is_refused(
        self, channel: Channel, kind: str, config: dict[str, str], value: str | None
    ) -> None:
        names = kinds.PROVIDERS[kind].sign(b"{}")
        headers = {} if value is None else dict.fromkeys(names, value)
        with pytest.raises(BadSignature):
            channel.verify(kinds.callback(kind, b"{}", headers=headers), config)

    def test_an_account_without_secrets_accepts_no_callback(
        self, channel: Channel, kind: str, config: dict[str, str]
    ) -> None:
        blank = {**config, **{field.name: "" for field in channel.fields if field.secret}}
        with pytest.raises(BadSignature):
            channel.verify(kinds.callback(kind, b"{}"), blank)

    def test_a_handshake_with_a_guessed_token_is_refused(
        self, channel: Channel, kind: str, config: dict[str, str]
    ) -> None:
        query = {"hub.mode": "subscribe", "hub.verify_token": secrets.token_hex(), "hub.challenge": "1158201444"}
        reply = channel.handshake(Callback("GET", kinds.URL, {}, query, b""), config)
        assert reply.status in (403, 404)
        assert "1158201444" not in reply.body

    def test_an_accepted_callback_is_answered_with_success(self, channel: Channel, kind: str) -> None:
        assert channel.reply(kinds.callback(kind, b"{}")).status == 200

    def test_every_situation_gives_its_items(self, channel: Channel, kind: str, situation: str) -> None:
        told = kinds.situation(kind, situation)
        body = kinds.PROVIDERS[kind].encode(told["body"])
        headers = kinds.PROVIDERS[kind].sign(body) | told.get("headers", {})
        found = channel.parse(kinds.callback(kind, body, headers=headers))
        for item in found:
            assert_storable(item)
        named = told["items"]
        assert parts_of([plain(item) for item in found], named) == named

    def test_no_bytes_make_parsing_fail(self, channel: Channel, kind: str) -> None:
        @QUICK
        @given(st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode()))
        def parse(body: bytes) -> None:
            for item in channel.parse(kinds.callback(kind, body, headers={})):
                assert_storable(item)

        parse()

    def test_no_damage_to_a_situation_makes_parsing_fail(self, channel: Channel, kind: str) -> None:
        bodies = [kinds.situation(kind, name)["body"] for name in kinds.situations(kind)]

        @QUICK
        @given(st.sampled_from(bodies), st.lists(st.tuples(st.integers(0, 10_000), JSON), min_size=1, max_size=4))
        def parse(body: Any, damages: list[tuple[int, Any]]) -> None:
            for where, what in damages:
                body = damaged(body, where, what)
            for item in channel.parse(kinds.callback(kind, kinds.PROVIDERS[kind].encode(body), headers={})):
                assert_storable(item)

        parse()

    def test_a_text_gives_an_id_for_each_call(self, counter: Counter) -> None:
        ids = counter.send("Dia dhuit, a Sheáin 😀").provider_ids
        assert 0 < len(ids) == len(set(ids)) == counter.asked
        assert all(isinstance(one, str) and 0 < len(one) <= 512 for one in ids)

    def test_what_went_at_an_earlier_try_does_not_go_again(self, counter: Counter) -> None:
        before = counter.send().provider_ids
        again = counter.send(sent_ids=before, attempt=2)
        assert (again.provider_ids, counter.asked) == (before, len(before))

    def test_each_kind_of_refusal_has_its_consequence(self, counter: Counter, action: str) -> None:
        counter.refuse(action)
        error = counter.refused()
        assert (error.action, error.code, error.unknown) == (action, counter.codes[action], False)
        assert error.permanent == (action != "retry")
        assert error.sent_ids == ()
        assert error.message.strip()
        assert "{" not in error.message
        assert counter.asked == 1, "the worker decides on another try, not the channel"

    def test_there_is_a_refusal_for_each_consequence_that_the_channel_knows(self, channel: Channel, kind: str) -> None:
        windows = {"window"} if channel.limits.window_hours else set()
        assert set(COUNTERS[kind].codes) == {"retry", "permanent", "account"} | windows

    def test_a_lost_answer_leaves_the_outcome_unknown(self, counter: Counter, request: pytest.FixtureRequest) -> None:
        counter.hang_up(request)
        error = counter.refused()
        assert (error.unknown, error.permanent) == (True, False)
        assert "may have gone" in error.message

    def test_a_file_is_fetched_whole_up_to_the_most_bytes_and_no_larger(
        self, channel: Channel, counter: Counter
    ) -> None:
        content = b"\x89PNG\r\n\x1a\n" + bytes(92)
        media = counter.media(content)
        found, mime, _ = channel.fetch_media(counter.account, media, max_bytes=len(content))
        assert (found, mime) == (content, "image/png")
        with pytest.raises(ChannelError) as caught:
            channel.fetch_media(counter.account, media, max_bytes=len(content) - 1)
        assert (caught.value.code, caught.value.action) == ("too_large", "permanent")


def damaged(tree: Any, where: int, what: Any) -> Any:
    """Put `what` in place of the node that `where` picks."""
    places = list(all_places(tree))
    return _put(tree, places[where % len(places)], what)


def all_places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, node in inside:
        yield from all_places(node, (*at, key))


def _put(tree: Any, place: tuple[Any, ...], what: Any) -> Any:
    if not place:
        return what
    changed = copy(tree)
    changed[place[0]] = _put(tree[place[0]], place[1:], what)
    return changed


def nodes(tree: Any) -> Iterator[Any]:
    """Walk a tree from its root: each value, and each key."""
    yield tree
    if isinstance(tree, dict):
        yield from tree
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for node in inner:
        yield from nodes(node)
