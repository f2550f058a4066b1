"""Statements at once: a bounded stack of connections that mends itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from errors import Unavailable
from lib import at_once
from lib.at_once import Statements
from tests.servers import Services


@pytest.fixture
def statements(services: Services) -> Iterator[Statements]:
    made = Statements({"conninfo": services.psycopg(), "application_name": "at-once"}, 3)
    yield made
    made.close()


def backends(services: Services) -> list[int]:
    with psycopg.connect(services.psycopg()) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'at-once' AND datname = current_database()"
        return [pid for (pid,) in connection.execute(query)]


def ask(statements: Statements, seconds: float = 0) -> Any:
    return statements.run("SELECT %(n)s::int AS n, pg_sleep(%(s)s)", {"n": 7, "s": seconds})[0].n


def test_one_connection_serves_one_read_after_the_other(statements: Statements, services: Services) -> None:
    assert [ask(statements) for _ in range(20)] == [7] * 20
    assert len(backends(services)) == 1


def test_there_are_never_more_connections_than_places(statements: Statements, services: Services) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(lambda _: ask(statements, 0.05), range(24))) == [7] * 24
    assert len(backends(services)) == 3


def test_who_finds_no_place_in_time_is_told(statements: Statements, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "WAIT", 0.1)
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(ask, statements, 1) for _ in range(3)]
        while statements._places:
            pass
        with pytest.raises(Unavailable):
            ask(statements)
        assert [one.result() for one in slow] == [7] * 3
    assert ask(statements) == 7


def test_connections_that_died_are_replaced_without_a_word(statements: Statements, services: Services) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: ask(statements, 0.1), range(3)))
    with psycopg.connect(services.psycopg(), autocommit=True) as connection:
        for pid in backends(services):
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert [ask(statements) for _ in range(5)] == [7] * 5
    assert len(statements._places) == 3


def test_an_error_in_the_query_costs_no_place(statements: Statements) -> None:
    for _ in range(5):
        with pytest.raises(psycopg.errors.DivisionByZero):
            statements.run("SELECT 1 / 0", {})
    assert (ask(statements), len(statements._places)) == (7, 3)


def test_a_database_that_is_away_is_unavailable_and_costs_no_place() -> None:
    away = Statements({"conninfo": "host=/nowhere"}, 2)
    for _ in range(3):
        with pytest.raises(Unavailable) as refused:
            ask(away)
        assert refused.value.headers["Retry-After"]
    assert away._places == [None, None]
