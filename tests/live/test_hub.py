"""The hub: one listener, many streams, the same bytes for all of an audience."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import pytest
from redis import Redis

from lib import live_hub
from lib.ids import uuid7
from lib.live_hub import BYE, RETRY, Hub, Stream
from tests.servers import Services


class Paper:
    """A source with news that tests write."""

    def __init__(self) -> None:
        self.lines: dict[UUID, list[str]] = {}
        self.over: dict[Hashable, bytes] = {}
        self.reads = self.renders = 0
        self.broken = False

    def sequences(self, topics: Collection[UUID]) -> Mapping[UUID, int]:
        self._fail_if_broken()
        return {topic: len(self.lines.get(topic, [])) for topic in topics}

    def news(self, topic: UUID, after: int) -> tuple[int, Sequence[Any]]:
        self._fail_if_broken()
        self.reads += 1
        lines = self.lines.get(topic, [])
        return len(lines), list(enumerate(lines, 1))[after:]

    def frames(self, audience: Hashable, newest: int, news: Sequence[Any]) -> bytes:
        self.renders += 1
        return b"".join(f"{audience}:{number}:{line};".encode() for number, line in news)

    def farewells(self, keys: Collection[Hashable]) -> Mapping[Hashable, bytes]:
        return {key: words for key, words in self.over.items() if key in keys}

    def _fail_if_broken(self) -> None:
        if self.broken:
            raise ConnectionError("away")


class Reader:
    """A screen that reads its stream in a thread of its own."""

    def __init__(self, hub: Hub, topic: UUID, audience: str = "all", key: str = "one", newest: int = 0) -> None:
        self.stream: Stream = hub.join(topic, audience, key, newest)
        self.got = b""
        self.ended = False
        self._bytes = hub.serve(self.stream, [])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for piece in self._bytes:
            self.got += piece
        self.ended = True

    @property
    def said(self) -> str:
        return self.got.removeprefix(RETRY).decode()


def until(true: Callable[[], object], seconds: float = 4.0) -> float:
    """Wait for something; give how long it took."""
    began = monotonic()
    while not true():
        assert monotonic() < began + seconds, "it never came"
        sleep(0.005)
    return monotonic() - began


@pytest.fixture
def redis(services: Services) -> Iterator[Redis]:
    client = Redis.from_url(services.redis_url, socket_timeout=2.0)
    yield client
    client.close()


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def hub(redis: Redis, paper: Paper) -> Iterator[Hub]:
    made = Hub(redis, paper)
    yield made
    made.close()
    until(lambda: made._thread is None)


@pytest.fixture
def rare_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ticks rare enough that only a doorbell can be quick."""
    monkeypatch.setattr(live_hub, "TICK", 3.0)


def listens(hub: Hub) -> bool:
    """Say whether this hub has its line; every process on this Redis has one, so that Redis cannot tell."""
    if hub._bells is None or not hub._bells.patterns:
        return False
    sleep(0.1)
    return True


def tell(redis: Redis, paper: Paper, topic: UUID, *lines: str) -> None:
    paper.lines.setdefault(topic, []).extend(lines)
    redis.publish(f"live:{topic}", "1")


def test_a_doorbell_brings_news_at_once(hub: Hub, redis: Redis, paper: Paper, rare_ticks: None) -> None:
    topic = uuid7()
    reader = Reader(hub, topic)
    until(lambda: listens(hub))
    tell(redis, paper, topic, "a")
    assert until(lambda: reader.said == "all:1:a;") < 1.5


def test_news_is_read_once_and_rendered_once_for_each_audience(hub: Hub, redis: Redis, paper: Paper) -> None:
    topic = uuid7()
    readers = [Reader(hub, topic, audience, f"{audience}{n}") for audience in ("x", "y") for n in range(20)]
    until(lambda: listens(hub))
    tell(redis, paper, topic, "a", "b")
    until(lambda: all(reader.said.endswith(":2:b;") for reader in readers))
    assert (paper.reads, paper.renders) == (1, 2)


def test_topics_do_not_mix(hub: Hub, redis: Redis, paper: Paper) -> None:
    one, two = uuid7(), uuid7()
    first, second = Reader(hub, one), Reader(hub, two)
    until(lambda: listens(hub))
    tell(redis, paper, one, "for one")
    tell(redis, paper, two, "for two")
    until(lambda: first.said and second.said)
    assert (first.said, second.said) == ("all:1:for one;", "all:1:for two;")


def test_a_doorbell_that_never_rang_costs_a_second(hub: Hub, paper: Paper) -> None:
    topic = uuid7()
    reader = Reader(hub, topic)
    sleep(0.1)
    paper.lines[topic] = ["unrung"]
    assert until(lambda: reader.said) < 2.0


def test_without_redis_the_hub_looks_for_itself_and_listens_again_later(
    paper: Paper, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    hub, topic = Hub(client, paper), uuid7()
    reader = Reader(hub, topic)
    paper.lines[topic] = ["in the dark"]
    until(lambda: reader.said)
    monkeypatch.setattr(live_hub, "TICK", 3.0)
    hub._redis = Redis.from_url(services.redis_url, socket_timeout=2.0)
    until(lambda: listens(hub))
    tell(hub._redis, paper, topic, "by the bell")
    assert until(lambda: "by the bell" in reader.said) < 1.5
    hub.close()
    until(lambda: hub._thread is None)
    hub._redis.close()


def test_a_doorbell_line_that_is_cut_is_laid_again(hub: Hub, redis: Redis, paper: Paper, rare_ticks: None) -> None:
    topic = uuid7()
    reader = Reader(hub, topic)
    until(lambda: listens(hub))
    hub._bells.connection._sock.shutdown(socket.SHUT_RDWR)
    tell(redis, paper, topic, "a")
    until(lambda: "a;" in reader.said)
    until(lambda: listens(hub))
    tell(redis, paper, topic, "b")
    assert until(lambda: "b;" in reader.said) < 1.5


def test_a_database_that_is_away_loses_nothing(hub: Hub, redis: Redis, paper: Paper) -> None:
    topic = uuid7()
    reader = Reader(hub, topic)
    until(lambda: listens(hub))
    paper.broken = True
    tell(redis, paper, topic, "a")
    sleep(0.2)
    paper.broken = False
    tell(redis, paper, topic, "b")
    until(lambda: reader.said == "all:1:a;all:2:b;")


def test_a_late_comer_is_served_from_where_the_hub_stands(hub: Hub, redis: Redis, paper: Paper) -> None:
    topic = uuid7()
    first = Reader(hub, topic)
    until(lambda: listens(hub))
    tell(redis, paper, topic, "a")
    until(lambda: first.said)
    late = Reader(hub, topic, key="late", newest=0)
    assert late.stream.after == 1  # what is older the edge reads for itself
    tell(redis, paper, topic, "b")
    until(lambda: late.said == "all:2:b;")


def test_who_may_no_longer_look_hears_good_bye_within_two_seconds(hub: Hub, paper: Paper) -> None:
    topic = uuid7()
    reader, other = Reader(hub, topic, key="gone"), Reader(hub, topic, key="stays")
    paper.over = {"gone": BYE}
    assert until(lambda: reader.ended) < 2.0
    assert reader.got.endswith(BYE)
    assert not other.ended


def test_a_stream_that_does_not_keep_up_is_dropped_and_no_other_waits(
    hub: Hub, redis: Redis, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_hub, "ROOM", 5)
    topic = uuid7()
    slow = hub.join(topic, "all", "slow", 0)  # nobody reads it
    quick = Reader(hub, topic, key="quick")
    until(lambda: listens(hub))
    for number in range(12):
        tell(redis, paper, topic, str(number))
        until(lambda: f":{number};" in quick.said)  # noqa: B023
    assert slow.dropped
    assert slow.queue.qsize() <= 6
    assert list(hub.serve(slow, [])) == [RETRY]
    assert hub.keys() == {"quick"}


def test_one_key_cannot_fill_the_process(hub: Hub) -> None:
    topic = uuid7()
    readers = [Reader(hub, topic, key="greedy") for _ in range(live_hub.MOST + 3)]
    until(lambda: sum(reader.ended for reader in readers) == 3)
    assert [reader.ended for reader in readers[:4]] == [True, True, True, False]


def test_an_idle_stream_says_that_it_is_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_hub, "HEARTBEAT", 0.1)
    reader = Reader(hub, uuid7())
    until(lambda: reader.got.count(b": still here\n\n") > 2)


def test_a_process_that_ends_lets_its_streams_go(hub: Hub) -> None:
    reader = Reader(hub, uuid7())
    hub.stopping = lambda: True
    until(lambda: reader.ended)
    until(lambda: hub._thread is None)


def test_the_listener_rests_when_nobody_looks_and_comes_back(hub: Hub, redis: Redis, paper: Paper) -> None:
    topic = uuid7()
    reader = Reader(hub, topic)
    hub.leave(reader.stream)
    hub.leave(reader.stream)
    until(lambda: hub._thread is None)
    again = Reader(hub, topic)
    until(lambda: listens(hub))
    tell(redis, paper, topic, "a")
    until(lambda: again.said)
