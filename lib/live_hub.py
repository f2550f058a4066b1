"""Who looks at a screen right now, and how news reaches them: one listener per process, a bounded queue per stream.

A doorbell on Redis (`live:<topic>`) says that a topic has news; the hub reads it once, has it rendered once for each
audience, and hands the same bytes to every stream. A tick each second looks for what no doorbell told of, so without
Redis the news is a second late and nothing else. `blueprints/live.py` says how to read and to render; no row is known
here. A stream that does not keep up is dropped: it comes back and catches up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, Protocol
from uuid import UUID

import structlog
from redis import Redis, RedisError

log = structlog.get_logger()

HEARTBEAT = 15.0  # seconds; also how long a connection that broke may go unnoticed
TICK = 1.0
ROOM = 256  # frames that may wait for one slow stream
MOST = 24  # streams of one key; the oldest gives way, so that nobody can fill the process
RETRY = b"retry: 1000\n\n"
BYE = b"event: bye\ndata: ended\n\n"
STILL_HERE = b": still here\n\n"


class Source(Protocol):
    """Where the news comes from. The hub calls it from a thread of its own, so it brings its own context."""

    def sequences(self, topics: Collection[UUID]) -> Mapping[UUID, int]:
        """Give the newest sequence of each topic."""

    def news(self, topic: UUID, after: int) -> tuple[int, Sequence[Any]]:
        """Give the newest sequence, and what happened after another one, oldest first."""

    def frames(self, audience: Hashable, newest: int, news: Sequence[Any]) -> bytes:
        """Render what one audience sees of it, which may be nothing."""

    def farewells(self, keys: Collection[Hashable]) -> Mapping[Hashable, bytes]:
        """Give last words for those whose right to look is over."""


@dataclass(eq=False, slots=True)
class Stream:
    """One open connection."""

    topic: UUID
    audience: Hashable
    key: Hashable  # whose right to look it stands on
    after: int  # the sequence from which the hub serves it
    queue: SimpleQueue[bytes | None] = field(default_factory=SimpleQueue)
    dropped: bool = False


class Hub:
    """All streams of this process."""

    def __init__(self, redis: Redis, source: Source) -> None:
        self.stopping: Callable[[], bool] = lambda: False  # gunicorn.conf.py says when the process ends
        self._redis, self._source = redis, source
        self._lock = threading.Lock()
        self._streams: dict[UUID, dict[Stream, None]] = {}  # in the order of their coming
        self._sequences: dict[UUID, int] = {}
        self._thread: threading.Thread | None = None
        self._bells: Any = None
        self._deaf_until = 0.0
        self._next_tick = 0.0

    def join(self, topic: UUID, audience: Hashable, key: Hashable, newest: int) -> Stream:
        """Take a new stream; the hub serves it from `Stream.after` on. `newest` is the topic's sequence right now."""
        with self._lock:
            stream = Stream(topic, audience, key, self._sequences.setdefault(topic, newest))
            streams = self._streams.setdefault(topic, {})
            streams[stream] = None
            mine = [other for other in streams if other.key == key]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
        for other in mine[:-MOST]:
            self._let_go(other)
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream; doing it twice does nothing."""
        with self._lock:
            streams = self._streams.get(stream.topic, {})
            streams.pop(stream, None)
            if not streams:
                self._streams.pop(stream.topic, None)
                self._sequences.pop(stream.topic, None)

    def serve(self, stream: Stream, first: Iterable[bytes]) -> Iterator[bytes]:
        """Give the bytes of a stream until it ends; while it waits it holds nothing but its queue."""
        yield RETRY
        yield from first
        while not stream.dropped:
            try:
                frame = stream.queue.get(timeout=HEARTBEAT)
            except Empty:
                frame = STILL_HERE
            if frame is None:
                return
            yield frame

    def keys(self) -> set[Hashable]:
        """Give those who look."""
        return {stream.key for stream in self._everyone()}

    def end(self, farewells: Mapping[Hashable, bytes]) -> None:
        """Say the last words to these keys' streams, and let them go."""
        for stream in self._everyone():
            if stream.key in farewells:
                stream.queue.put(farewells[stream.key])
                self._let_go(stream)

    def close(self) -> None:
        """Let every stream go, since the process ends; they come back to another one."""
        for stream in self._everyone():
            self._let_go(stream)

    def _everyone(self) -> list[Stream]:
        with self._lock:
            return [stream for streams in self._streams.values() for stream in streams]

    def _let_go(self, stream: Stream) -> None:
        self.leave(stream)
        stream.queue.put(None)

    def _run(self) -> None:
        while self._goes_on():
            try:
                for topic in self._rung():
                    self._tell(topic)
                if monotonic() >= self._next_tick:
                    self._next_tick = monotonic() + TICK
                    self._tick()
            except Exception:  # the database is away, or a template is broken: the streams stay, the next tick tries
                log.exception("live_failed")
                sleep(TICK)

    def _goes_on(self) -> bool:
        if self.stopping():
            self.close()
        with self._lock:
            if not self._streams:
                self._hang_up()
                self._thread = None
            return self._thread is not None

    def _rung(self) -> set[UUID]:
        """Wait for doorbells, until the next tick at the latest; give those that rang, each once."""
        wait = max(0.0, self._next_tick - monotonic())
        if monotonic() < self._deaf_until:
            sleep(wait)
            return set()
        rung = set()
        try:
            if self._bells is None:
                self._bells = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._bells.psubscribe("live:*")
            message = self._bells.get_message(timeout=wait)
            while message:
                with suppress(ValueError):
                    rung.add(UUID(message["channel"].decode().removeprefix("live:")))
                message = self._bells.get_message(timeout=0)
        except RedisError as exc:
            log.warning("live_without_doorbell", error=str(exc))
            self._deaf_until = monotonic() + TICK
            self._hang_up()
        return rung

    def _hang_up(self) -> None:
        bells, self._bells = self._bells, None
        if bells is not None:
            bells.close()

    def _tick(self) -> None:
        with self._lock:
            known = dict(self._sequences)
        if not known:
            return
        for topic, newest in self._source.sequences(known).items():
            if newest > known[topic]:
                self._tell(topic)
        self.end(self._source.farewells(self.keys()))

    def _tell(self, topic: UUID) -> None:
        """Hand on what is new in one topic."""
        after = self._sequences.get(topic)
        if after is None:
            return
        newest, news = self._source.news(topic, after)
        with self._lock:  # who joins after this is served from `newest` on
            streams = list(self._streams.get(topic, ()))
            if streams:
                self._sequences[topic] = max(after, newest)
        for audience in {stream.audience for stream in streams} if news else ():
            frames = self._source.frames(audience, newest, news)
            for stream in streams:
                if frames and stream.audience == audience:
                    self._put(stream, frames)

    def _put(self, stream: Stream, frames: bytes) -> None:
        if stream.queue.qsize() < ROOM:
            stream.queue.put(frames)
        else:
            stream.dropped = True
            self._let_go(stream)
