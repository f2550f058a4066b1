"""Rows into one table, by one INSERT or by COPY. Takes a psycopg connection and knows no table of ours.

COPY is in its text form: psycopg's own row writer adapts value by value through its type system; writing the text by
hand takes a fifth of that. The INSERT is a prepared statement, which costs a third of what it costs through an ORM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb

CHUNK = 256 * 1024  # characters handed to the server at a time
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def insert(connection: Any, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert a few rows, of the same values as `copy` takes, by one statement."""
    values = [Jsonb(value, orjson.dumps) if type(value) is dict else value for each in rows for value in each]
    connection.execute(_insertion(table, tuple(columns), len(rows)), values)


@lru_cache(maxsize=256)
def _insertion(table: str, columns: tuple[str, ...], rows: int) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    row = "(" + ", ".join(["%s"] * len(columns)) + ")"
    return f'INSERT INTO "{table}" ({names}) VALUES {", ".join([row] * rows)}'


def copy(connection: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows of None, text, bytes, numbers, bools, UUIDs, times, dicts (jsonb) and lists (text[])."""
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor().copy(f'COPY "{table}" ({names}) FROM STDIN') as stream:
        lines: list[str] = []
        size = 0
        for row in rows:
            line = "\t".join([_WRITERS[type(value)](value) for value in row])
            lines.append(line)
            size += len(line)
            if size > CHUNK:
                stream.write("\n".join(lines) + "\n")
                lines, size = [], 0
        if lines:
            stream.write("\n".join(lines) + "\n")


def _text(value: str) -> str:
    # Most texts hold nothing to escape, and looking is cheaper than translating.
    return value.translate(_ESCAPES) if "\\" in value or "\n" in value or "\t" in value or "\r" in value else value


def _list(value: list[str]) -> str:
    items = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value)
    return _text("{" + ",".join(items) + "}")


_WRITERS: dict[type, Any] = {
    type(None): lambda value: "\\N",
    str: _text,
    bytes: lambda value: "\\\\x" + value.hex(),
    int: str,
    float: repr,
    bool: lambda value: "t" if value else "f",
    UUID: str,
    datetime: datetime.isoformat,
    dict: lambda value: _text(orjson.dumps(value).decode()),
    list: _list,
}
