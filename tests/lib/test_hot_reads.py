"""Hot reads: a bounded stack of connections that mends itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from errors import Unavailable
from lib import hot_reads
from lib.hot_reads import Reads
from tests.servers import Services


@pytest.fixture
def reads(services: Services) -> Iterator[Reads]:
    made = Reads({"conninfo": services.psycopg(), "application_name": "hot-reads"}, 3)
    yield made
    made.close()


def backends(services: Services) -> list[int]:
    with psycopg.connect(services.psycopg()) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'hot-reads' AND datname = current_database()"
        return [pid for (pid,) in connection.execute(query)]


def ask(reads: Reads, seconds: float = 0) -> Any:
    return reads.all("SELECT %(n)s::int AS n, pg_sleep(%(s)s)", {"n": 7, "s": seconds})[0].n


def test_one_connection_serves_one_read_after_the_other(reads: Reads, services: Services) -> None:
    assert [ask(reads) for _ in range(20)] == [7] * 20
    assert len(backends(services)) == 1


def test_there_are_never_more_connections_than_places(reads: Reads, services: Services) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(lambda _: ask(reads, 0.05), range(24))) == [7] * 24
    assert len(backends(services)) == 3


def test_who_finds_no_place_in_time_is_told(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_reads, "WAIT", 0.1)
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(ask, reads, 1) for _ in range(3)]
        while reads._places:
            pass
        with pytest.raises(Unavailable):
            ask(reads)
        assert [one.result() for one in slow] == [7] * 3
    assert ask(reads) == 7


def test_connections_that_died_are_replaced_without_a_word(reads: Reads, services: Services) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ask(reads, 0.1), range(3)))
    with psycopg.connect(services.psycopg(), autocommit=True) as connection:
        for pid in backends(services):
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert [ask(reads) for _ in range(5)] == [7] * 5
    assert len(reads._places) == 3


def test_an_error_in_the_query_costs_no_place(reads: Reads) -> None:
    for _ in range(5):
        with pytest.raises(psycopg.errors.DivisionByZero):
            reads.all("SELECT 1 / 0", {})
    assert (ask(reads), len(reads._places)) == (7, 3)


def test_a_database_that_is_away_is_unavailable_and_costs_no_place() -> None:
    away = Reads({"conninfo": "host=/nowhere"}, 2)
    for _ in range(3):
        with pytest.raises(Unavailable) as refused:
            ask(away)
        assert refused.value.headers["Retry-After"]
    assert away._places == [None, None]
