"""Figures counted no more often than is worth it: cheap ones each time, dear ones now and then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from redis import Redis

from lib.sparing import sparingly
from tests.servers import Services


@pytest.fixture
def redis(services: Services) -> Redis:
    return Redis.from_url(services.redis_url)


def counting(seconds: float) -> Callable[[], int]:
    """Make something that takes so long to count, and counts how often it did."""
    times = itertools.count(1)

    def count() -> int:
        time.sleep(seconds)
        return next(times)

    return count


def test_what_is_dear_is_counted_once_for_twenty_times_as_long(redis: Redis) -> None:
    dear = counting(0.05)
    began = time.monotonic()
    seen = [sparingly(redis, "dear", dear) for _ in range(50)]
    assert seen == [1] * 50
    assert time.monotonic() - began < 1
    time.sleep(1.2)
    assert sparingly(redis, "dear", dear) == 2


def test_what_is_cheap_is_fresh(redis: Redis) -> None:
    cheap = counting(0)
    assert sparingly(redis, "cheap", cheap) == 1
    time.sleep(0.05)
    assert sparingly(redis, "cheap", cheap) == 2


def test_without_valkey_it_is_counted_each_time() -> None:
    away, figure = Redis(port=1), counting(0.05)
    assert [sparingly(away, "x", figure) for _ in range(3)] == [1, 2, 3]
