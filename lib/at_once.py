"""The hottest statements, without an ORM or an engine between: a few autocommit psycopg connections.

Each is prepared, is its own transaction, and costs a third of what it costs through SQLAlchemy. Knows no table of
ours; `models.read` and `models.write_at_once` are how it is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row

from errors import Unavailable

WAIT = 5.0  # seconds for a free connection
LOOK_AGAIN = 0.005  # seconds, while there is none


class Statements:
    """A stack of places for connections, made when they are needed; dead ones are replaced within the statement.

    A place is taken and given back by one list operation each, since a semaphore costs a tenth of a read.
    """

    def __init__(self, options: Mapping[str, Any], size: int) -> None:
        self._options = dict(options) | {"autocommit": True, "row_factory": namedtuple_row}
        self._places: list[psycopg.Connection[Any] | None] = [None] * size

    def run(self, query: str, params: Mapping[str, Any]) -> list[Any]:
        """Run one statement and give its rows, as named tuples; raise `Unavailable` when the database does not answer.

        Where a connection breaks before the answer comes, the statement is run once more: a write must bear that.
        """
        connection = self._take()
        try:
            if connection is not None:
                try:
                    return _rows(connection, query, params)
                except psycopg.OperationalError:
                    connection.close()
                    self.close()  # the server went away, so the others are dead too
            connection = psycopg.connect(**self._options)
            return _rows(connection, query, params)
        except psycopg.OperationalError as exc:
            raise Unavailable("The database does not answer. Try again.", headers={"Retry-After": "2"}) from exc
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close what is idle; the next statements connect anew."""
        with suppress(IndexError):
            for _ in range(len(self._places)):
                if (connection := self._places.pop()) is not None:
                    connection.close()
                self._places.insert(0, None)

    def _give_back(self, connection: psycopg.Connection[Any] | None) -> None:
        if connection is not None and connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.close()  # it broke, or whoever waited was told to stop before the answer came
            connection = None
        self._places.append(connection)

    def _take(self) -> psycopg.Connection[Any] | None:
        deadline = monotonic() + WAIT
        while True:
            try:
                return self._places.pop()
            except IndexError:
                if monotonic() > deadline:
                    raise Unavailable("The database is busy. Try again.", headers={"Retry-After": "2"}) from None
                sleep(LOOK_AGAIN)


def _rows(connection: psycopg.Connection[Any], query: str, params: Mapping[str, Any]) -> list[Any]:
    cursor = connection.execute(query, params)
    result = cursor.pgresult  # asked of it, since a cursor's `description` costs more than all the rest
    return cursor.fetchall() if result and result.nfields else []
