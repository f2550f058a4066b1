"""The sandbox's memory: one SQLite file and a folder of media, or neither when `SANDBOX_DATA` is unset.

Rows are plain dicts; the columns named in `_JSON` hold JSON. Everything runs on one thread (gevent), so a read and
the write after it are one step as long as nothing between them waits.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import secrets
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

Row = dict[str, Any]

_JSON = frozenset({"data", "attempts", "headers"})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS things (kind TEXT, id TEXT, data TEXT, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS accounts (provider TEXT, id TEXT, data TEXT, PRIMARY KEY (provider, id));
CREATE TABLE IF NOT EXISTS people (provider TEXT, account TEXT, id TEXT, user_id TEXT, match_key TEXT, data TEXT,
    PRIMARY KEY (provider, account, id));
CREATE INDEX IF NOT EXISTS people_user_id ON people (provider, account, user_id);
CREATE INDEX IF NOT EXISTS people_match_key ON people (provider, account, match_key);
CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT, account TEXT, person TEXT,
    id TEXT, direction TEXT, kind TEXT, status TEXT, at REAL, data TEXT, UNIQUE (provider, id));
CREATE INDEX IF NOT EXISTS messages_chat ON messages (provider, account, person, seq);
CREATE INDEX IF NOT EXISTS messages_status ON messages (provider, direction, status);
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, provider TEXT, account TEXT, source TEXT, mime TEXT,
    name TEXT, size INTEGER, sha256 TEXT, at REAL);
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT, account TEXT,
    person TEXT, lane TEXT, label TEXT, url TEXT, headers TEXT, body BLOB, state TEXT, due REAL, at REAL,
    attempts TEXT);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, lane, due);
CREATE TABLE IF NOT EXISTS exchanges (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, direction TEXT, provider TEXT,
    account TEXT, method TEXT, url TEXT, request TEXT, status INTEGER, answer TEXT, ms INTEGER, note TEXT);
CREATE TABLE IF NOT EXISTS faults (id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT, kind TEXT, remaining INTEGER,
    data TEXT);
"""
TABLES = ("things", "accounts", "people", "messages", "files", "deliveries", "exchanges", "faults")


class Store:
    """Open (or make) the memory in a folder; without one, keep it until the process ends."""

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="sandbox-")
        root = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self.files = root / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(root / "sandbox.sqlite3" if folder else ":memory:", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA cache_size = -1000")
        self._db.executescript(_SCHEMA)

    def query(self, sql: str, *values: object) -> list[Row]:
        """Run one statement and give its rows."""
        return [_decode(row) for row in self._db.execute(sql, values)]

    def get(self, table: str, **where: object) -> Row:
        """Give the one row with these values, which must be there."""
        row = self.one(table, **where)
        if row is None:
            raise KeyError(f"no such row in {table}: {where}")
        return row

    def all(self, table: str, **where: object) -> list[Row]:
        """List the rows of a table that have these values, oldest first."""
        return self.query(f"SELECT * FROM {table}{_where(where)} ORDER BY rowid", *where.values())

    def one(self, table: str, **where: object) -> Row | None:
        """Find the one row with these values."""
        rows = self.query(f"SELECT * FROM {table}{_where(where)} LIMIT 1", *where.values())
        return rows[0] if rows else None

    def put(self, table: str, **values: object) -> int:
        """Insert a row, in place of the one that has its key; give its row id."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})"
        return int(self._db.execute(sql, _encode(values)).lastrowid or 0)

    def update(self, table: str, where: Row, **values: object) -> None:
        """Change the rows that have these values."""
        changes = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE {table} SET {changes}{_where(where)}", [*_encode(values), *where.values()])

    def delete(self, table: str, **where: object) -> None:
        """Remove the rows that have these values."""
        self._db.execute(f"DELETE FROM {table}{_where(where)}", list(where.values()))

    def thing(self, kind: str, id_: str) -> Any:
        """Give what is kept under a kind and an id, or None."""
        row = self.one("things", kind=kind, id=id_)
        return row["data"] if row else None

    def keep(self, kind: str, id_: str, data: object) -> None:
        """Keep a small thing that needs no table of its own."""
        self.put("things", kind=kind, id=id_, data=data)

    def save_file(
        self, stream: IO[bytes], *, provider: str, account: str, source: str, mime: str, name: str, at: float
    ) -> Row:
        """Write a file to disk in pieces and give its row."""
        id_ = str(secrets.randbelow(9 * 10**14) + 10**14)
        digest, size = hashlib.sha256(), 0
        with (self.files / id_).open("wb") as target:
            while chunk := stream.read(1 << 16):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
        mime = mime or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.put(
            "files",
            id=id_,
            provider=provider,
            account=account,
            source=source,
            mime=mime,
            name=name,
            size=size,
            sha256=digest.hexdigest(),
            at=at,
        )
        return self.get("files", id=id_)

    def path_of(self, file: Row) -> Path:
        """Say where a file's bytes lie."""
        return self.files / str(file["id"])

    def delete_file(self, file: Row) -> None:
        """Forget a file and its bytes."""
        self.delete("files", id=file["id"])
        self.path_of(file).unlink(missing_ok=True)

    def wipe(self, tables: Iterable[str] = TABLES) -> None:
        """Forget everything in these tables, and the media with the files."""
        for table in tables:
            self._db.execute(f"DELETE FROM {table}")
            if table == "files":
                for path in self.files.iterdir():
                    path.unlink()


def _where(where: Row) -> str:
    return " WHERE " + " AND ".join(f"{name} = ?" for name in where) if where else ""


def _encode(values: Row) -> list[object]:
    return [json.dumps(value) if name in _JSON else value for name, value in values.items()]


def _decode(row: sqlite3.Row) -> Row:
    values = dict(row)
    return values | {name: json.loads(values[name]) for name in _JSON & values.keys() if values[name]}
