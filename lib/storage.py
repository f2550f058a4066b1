"""Where the bytes of files live: a folder of this machine, or a bucket of any S3-compatible service.

Services put and get by random keys; what a file is called and who may see it is not known here. A `put` that
returned is on disk. Works under gevent too: what may wait, waits in a thread.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

CHUNK = 256 * 1024

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_S3_OPTIONS = frozenset({"endpoint", "region", "access_key_id", "secret_access_key", "session_token"})


class Missing(LookupError):
    """No file is kept under this key."""


class StorageError(OSError):
    """The store is full, refuses us or cannot be reached."""


class Store(Protocol):
    """What `open` gives. Every call may raise `StorageError`, and `ValueError` for a key that is none."""

    def put(self, key: str, data: bytes | Iterable[bytes], mime: str = "application/octet-stream") -> None:
        """Keep a file, whole or not at all; one already under this key is replaced."""

    def get(self, key: str) -> bytes:
        """Give a whole file; raise `Missing`."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """Give a file piece by piece; raises `Missing` at once, before the first piece is asked for."""

    def delete(self, keys: Iterable[str]) -> None:
        """Forget files; those that are not there are no error."""

    def exists(self, key: str) -> bool:
        """Say whether a file is kept under this key."""


def open(url: str) -> Store:
    """Give the store at `file:///folder` or `s3://bucket/prefix?endpoint=…&region=…`.

    Keys for S3 come from the URL (`access_key_id`, `secret_access_key`) or from wherever AWS's own tools find them.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path and parts.netloc in ("", "localhost"):
        return Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query)))
    raise ValueError(f"STORAGE_URL must be file:///a/folder or s3://bucket/prefix, not {parts.scheme or url!r}")


def new_key(business_id: object) -> str:
    """Make a key that nobody can guess, under the business's own prefix."""
    return f"{business_id}/{token_hex(1)}/{token_hex(16)}"


class Folder:
    """Files below one folder. Plain system calls, so that it is safe to fork at any time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes | Iterable[bytes], mime: str = "application/octet-stream") -> None:
        path = self._path(key)
        part = path.with_name(f".{path.name}.{token_hex(4)}")
        with _explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    for chunk in [data] if isinstance(data, bytes) else data:
                        file.write(chunk)
                    file.flush()
                    _aside(os.fsync, file.fileno())
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            for folder in [path.parent, *path.parent.parents]:
                _aside(_sync_folder, folder)  # else a power cut may forget the name of a file whose bytes are safe
                if folder == self.root.parent:
                    break

    def get(self, key: str) -> bytes:
        with _explained():
            data: bytes = _aside(self._path(key).read_bytes)
        return data

    def chunks(self, key: str) -> Iterator[bytes]:
        with _explained():
            stream = _pieces(self._path(key).open("rb"))
        next(stream)
        return stream

    def delete(self, keys: Iterable[str]) -> None:
        with _explained():
            for key in keys:
                self._path(key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def _path(self, key: str) -> Path:
        return self.root / _checked(key)


class Bucket:
    """Objects below one prefix of an S3 bucket. A process that used it cannot fork children that use it."""

    def __init__(self, bucket: str, prefix: str, options: dict[str, str]) -> None:
        if unknown := options.keys() - _S3_OPTIONS:
            raise ValueError(f"STORAGE_URL does not know {', '.join(sorted(unknown))}; it knows {sorted(_S3_OPTIONS)}")
        plain = options.get("endpoint", "").startswith("http://")
        self._used_by = 0
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={"allow_http": plain, "connect_timeout": "5s", "timeout": "60s"},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            **options,  # type: ignore[arg-type]
        )

    def put(self, key: str, data: bytes | Iterable[bytes], mime: str = "application/octet-stream") -> None:
        attributes = {"Content-Type": mime, "Content-Disposition": "attachment"}
        with SpooledTemporaryFile(max_size=8 * 1024 * 1024) as spool:
            if not isinstance(data, bytes):
                for chunk in data:  # here, not in the thread: the pieces may come from this greenlet's socket
                    spool.write(chunk)
                spool.seek(0)
            whole: Any = data if isinstance(data, bytes) else spool
            try:
                self._call(obstore.put, _checked(key), whole, attributes=attributes)
            except Missing:
                raise StorageError("the bucket of STORAGE_URL does not exist") from None

    def get(self, key: str) -> bytes:
        return bytes(self._call(lambda store, key: obstore.get(store, key).bytes(), _checked(key)))

    def chunks(self, key: str) -> Iterator[bytes]:
        pieces = iter(self._call(obstore.get, _checked(key)).stream(min_chunk_size=CHUNK))
        return (bytes(piece) for piece in iter(lambda: self._call(lambda _: next(pieces, None)), None))

    def delete(self, keys: Iterable[str]) -> None:
        if whole := [_checked(key) for key in keys]:
            with suppress(Missing):
                self._call(obstore.delete, whole)

    def exists(self, key: str) -> bool:
        with suppress(Missing):
            self._call(obstore.head, _checked(key))
            return True
        return False

    def _call(self, verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._used_by not in (0, os.getpid()):  # obstore's threads did not survive the fork: it would wait for ever
            raise StorageError("this process was forked from one that had used the store already")
        self._used_by = os.getpid()
        with _explained():
            return _aside(verb, self._store, *args, **options)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no storage key")
    return key


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        yield b""  # taken at once, so that closing the iterator always closes the file
        while chunk := file.read(CHUNK):
            yield chunk


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Missing("no such file is kept") from None
    except OSError as exc:
        raise StorageError(exc.errno, f"the file store failed: {exc.strerror}") from exc
    except BaseError as exc:
        raise StorageError(f"the file store failed: {str(exc).splitlines()[0]}") from None


def _aside(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call in a thread where gevent runs the process, so that one slow disk or bucket stops nobody else."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return call(*args, **options)
    return sys.modules["gevent"].get_hub().threadpool.apply(call, args, options)
