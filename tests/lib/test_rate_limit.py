"""Token buckets: exact in Valkey, kept in the process while Valkey is away, and apart from each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine
from redis import Redis

from lib import rate_limit
from lib.ids import uuid7
from tests.servers import Services


@pytest.fixture
def valkey(services: Services) -> Iterator[Redis]:
    with Redis.from_url(services.redis_url) as redis:
        yield redis


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    monkeypatch.setattr(rate_limit, "_broken_until", 0.0)
    with Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2) as redis:
        yield redis
    rate_limit._broken_until = 0.0


@pytest.mark.parametrize("which", ["valkey", "nowhere"])
def test_a_bucket_gives_its_limit_and_no_more(which: str, request: pytest.FixtureRequest) -> None:
    redis, name = request.getfixturevalue(which), f"test:{uuid7()}"
    verdicts = [rate_limit.take(redis, name, 5, period=3600) for _ in range(7)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False] * 2
    assert [verdict.remaining for verdict in verdicts] == [4, 3, 2, 1, 0, 0, 0]
    assert 0 < verdicts[5].retry_after <= 720
    assert rate_limit.take(redis, f"{name}:other", 5).allowed


def test_tokens_come_back_with_time(nowhere: Redis) -> None:
    name = f"test:{uuid7()}"
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as clock:
        while rate_limit.take(nowhere, name, 60).allowed:
            pass
        assert rate_limit.take(nowhere, name, 60).retry_after == 1
        clock.shift(2)
        assert [rate_limit.take(nowhere, name, 60).allowed for _ in range(3)] == [True, True, False]
        clock.shift(3600)
        assert rate_limit.take(nowhere, name, 60).remaining == 59


def test_many_processes_share_one_bucket(valkey: Redis) -> None:
    name = f"test:{uuid7()}"
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: rate_limit.take(valkey, name, 30, period=3600), range(60)))
    assert sum(verdict.allowed for verdict in verdicts) == 30


def test_a_bucket_leaves_nothing_behind_once_it_is_full(valkey: Redis) -> None:
    name = f"test:{uuid7()}"
    rate_limit.take(valkey, name, 1000, period=10)
    assert 0 < valkey.pttl(name) <= 12


def test_a_restarted_valkey_is_taught_the_script_again(valkey: Redis) -> None:
    valkey.script_flush()
    assert rate_limit.take(valkey, f"test:{uuid7()}", 5).remaining == 4


def test_while_valkey_is_away_only_one_call_a_second_waits_for_it(
    nowhere: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def evaluate(*_: object) -> int:
        asked.append(1)
        raise ConnectionError

    monkeypatch.setattr(rate_limit, "_evaluate", evaluate)
    for _ in range(50):
        rate_limit.take(nowhere, f"test:{uuid7()}", 5)
    assert len(asked) == 1


def test_the_process_forgets_full_buckets_before_it_holds_too_many(
    nowhere: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "MOST_BUCKETS", 100)
    monkeypatch.setattr(rate_limit, "_buckets", {})
    for _ in range(1000):
        rate_limit.take(nowhere, f"test:{uuid7()}", 5, period=3600)
    assert len(rate_limit._buckets) <= 100


@pytest.mark.parametrize("which", ["valkey", "nowhere"])
def test_tokens_that_are_drawn_together_are_there_or_are_waited_for(which: str, request: pytest.FixtureRequest) -> None:
    redis, name = request.getfixturevalue(which), f"test:{uuid7()}"
    assert [rate_limit.draw(redis, name, 5, 300, tokens) for tokens in (3, 2)] == [0, 0]
    assert 110 < rate_limit.draw(redis, name, 5, 300, 2) <= 120, "two tokens, one a minute"
    assert 290 < rate_limit.draw(redis, name, 5, 300, 99) <= 300, "no more than there can ever be"
