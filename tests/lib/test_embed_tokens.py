"""E1: a token is ours, whole and in time, or it is nothing."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from lib import embed_tokens
from lib.embed_tokens import Claims, Expired, NotOurs
from lib.ids import uuid7

KEY = b"k" * 32


def claims(**changes: object) -> Claims:
    at = datetime.now(UTC).replace(microsecond=0)
    given = Claims(uuid7(), uuid7(), uuid7(), "inbox", uuid7(), uuid7(), True, at + timedelta(hours=1))
    return replace(given, **changes)


def payload(**changes: object) -> dict[str, object]:
    """A genuine token's payload, with changes; None takes a claim away."""
    given = jwt.decode(embed_tokens.write(KEY, claims()), options={"verify_signature": False}) | changes
    return {name: value for name, value in given.items() if value is not None}


def sign(body: dict[str, object], key: bytes | None = KEY, algorithm: str = "HS256") -> str:
    """Sign whatever it says: PyJWT's own writer refuses some of it."""
    return jwt.PyJWS().encode(json.dumps(body).encode(), key, algorithm)


def part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_a_token_reads_back_as_it_was_written() -> None:
    written = claims()
    assert embed_tokens.read(KEY, embed_tokens.write(KEY, written)) == written


def test_a_token_without_agent_and_limit_reads_back_too() -> None:
    written = claims(agent_id=None, single_use=False, scope="inbox:read")
    assert embed_tokens.read(KEY, embed_tokens.write(KEY, written)) == written


def test_the_time_of_issue_is_known_to_the_millisecond() -> None:
    before = datetime.now(UTC)
    assert timedelta(milliseconds=-1) <= claims().issued_at - before < timedelta(seconds=1)


def test_an_expired_token_is_told_apart_from_a_false_one() -> None:
    with pytest.raises(Expired):
        embed_tokens.read(KEY, embed_tokens.write(KEY, claims(expires_at=datetime.now(UTC))))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "business", "scope", "key", "jti", "iat", "exp"])
def test_every_claim_is_required(name: str) -> None:
    with pytest.raises(NotOurs):
        embed_tokens.read(KEY, sign(payload(**{name: None})))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["embed"]},
        {"aud": ["embed", "other"]},
        {"aud": "embed "},
        {"aud": "other"},
        {"iss": "somebody"},
        {"iss": ["alacarte"]},
        {"scope": "admin"},
        {"scope": ["inbox"]},
        {"sub": 7},
        {"sub": "customer"},
        {"business": {"id": 1}},
        {"jti": ["x"]},
        {"exp": "9999999999"},
        {"exp": 1e400},
        {"exp": 10**30},
        {"iat": "now"},
        {"agent": "nobody"},
        {"nbf": 9999999999},
    ],
    ids=str,
)
def test_claims_of_the_wrong_kind_are_refused_even_when_signed(changes: dict[str, object]) -> None:
    with pytest.raises(NotOurs):
        embed_tokens.read(KEY, sign(payload(**changes)))


def test_no_other_key_and_no_other_algorithm_will_do() -> None:
    body = payload()
    unsigned = f"{part(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{part(json.dumps(body).encode())}."
    forged = [
        sign(body, b"another key of thirty-two bytes!"),
        sign(body, KEY * 2, "HS512"),
        sign(body, KEY * 2, "HS384"),
        sign(body, None, "none"),
        unsigned,
        unsigned + "AA",
    ]
    for token in forged:
        with pytest.raises(NotOurs):
            embed_tokens.read(KEY, token)


def test_a_token_has_one_spelling() -> None:
    """Base64 has unused bits and padding: neither lets a second text mean the same token."""
    token = embed_tokens.write(KEY, claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    variants = [token[:-1] + letter for letter in alphabet if letter != token[-1]]
    variants += [token + "=", token + "\n", " " + token, token + ".", token.replace(".", "..", 1), token[:-1]]
    for variant in variants:
        with pytest.raises(NotOurs):
            embed_tokens.read(KEY, variant)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "null", "a" * 5000, "é.é.é", "\x00.\x00.\x00", "eyJhbGciOiJIUzI1NiJ9.W10.AAAA"],
    ids=ascii,
)
def test_any_text_at_all_may_come_in(text: str) -> None:
    with pytest.raises(NotOurs):
        embed_tokens.read(KEY, text)
