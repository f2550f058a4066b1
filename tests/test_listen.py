"""`flask listen` and `listen.py` alone: events reach a developer's machine, signed as webhooks are, with no tunnel."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
from standardwebhooks import Webhook

import listen
import run
from lib.signing import guide_signature, standard_signature
from tests import servers
from tests.callers import Caller, business
from tests.processes import Live
from tests.receivers import Answer, Got, Receiver, listening, status

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBsaXN0ZW5lcg=="
STREAM = "/api-events?stream=true"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


@contextmanager
def program(live: Live, *command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the test is through with it."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=servers.ROOT, env=live.env | env, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def create(caller: Caller, name: str, **fields: Any) -> str:
    wish = {"name": name, "email": f"{name.lower()}@example.com"} | fields
    made: str = caller.post("/api-customers", wish)["customer"]["id"]
    return made


def test_events_are_forwarded_signed_and_tried_again(live: Live, receiver: Receiver) -> None:
    caller = business(live, "Listened")
    create(caller, "Before")
    receiver.will(status(500), status(200))
    words = ["--app", "app", "listen", "--forward-to", receiver.url(), "--secret", SECRET]
    with program(live, *run.found(["flask"]), *words, "--business", caller.business_id) as process:
        assert SECRET in line(process)
        create(caller, "Now")
        first, second = receiver.wait(2)
        assert "customer.created" in line(process)
        process.send_signal(2)
        process.wait(20)
    assert first.body == second.body
    assert first.event["data"]["customer"]["name"] == "Now"
    assert [got.headers["x-webhook-attempt"] for got in (first, second)] == ["1", "2"]
    Webhook(SECRET).verify(second.body, second.headers)


def test_the_command_writes_json_lines(live: Live, receiver: Receiver) -> None:
    caller = business(live, "Listened")
    words = ["--app", "app", "listen", "--forward-to", receiver.url(), "--business", caller.business_id, "--json"]
    with program(live, *run.found(["flask"]), *words) as process:
        begun = json.loads(line(process))
        create(caller, "Now")
        told = json.loads(line(process))
    assert begun == {"forward_to": receiver.url(), "secret": begun["secret"]}
    (got,) = receiver.got
    assert told == {"sequence": 1, "event": "customer.created", "id": got.event["id"], "outcome": "200"}
    Webhook(begun["secret"]).verify(got.body, got.headers)


def test_the_script_alone_needs_nothing_but_a_key_and_ends_with_it(live: Live, receiver: Receiver) -> None:
    caller = business(live, "Listened")
    made = caller.post("/api-keys", {"name": "listens", "scopes": ["messages:read"]})["api_key"]
    bare = [sys.executable, "-I", "-S", "listen.py"]  # no packages, and no module of ours
    words = ["--base-url", f"{live.base_url}/functions/v1/", "--forward-to", receiver.url(), "--secret", "secret"]
    only = ["--events", "customer.updated,customer.deleted"]
    with program(live, *bare, *words, *only, ALACARTE_API_KEY=made["key"]) as process:
        assert "signed with secret" in line(process)
        customer = create(caller, "Now")
        caller.patch(f"/api-customers?id={customer}", {"name": "Then"})
        assert "customer.updated             200" in line(process)
        caller.call("DELETE", f"/api-keys?id={made['id']}")
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "The API key is no longer good." in process.stderr.read()
    (got,) = receiver.got
    stamp = int(got.headers["x-webhook-timestamp"])
    assert got.headers["x-webhook-signature"] == guide_signature("secret", stamp, got.body)
    signed = standard_signature(["secret"], got.headers["webhook-id"], stamp, got.body)
    assert got.headers["webhook-signature"] == signed


def test_the_log_gives_the_very_bytes_of_the_stream(live: Live) -> None:
    caller = business(live, "Listened")
    create(caller, "Tricky", custom_fields={"10": 1, "2": 50000.0, "tiny": 1e-7, "small": 1e-6, "text": '[{"é": 1}]'})
    create(caller, "Plain")
    source = listen.Source(f"{live.base_url}/functions/v1", caller.key)
    logged = list(source.log(0))
    assert list(islice(source.stream(0), 2)) == logged
    assert [sequence for sequence, _, _ in logged] == [1, 2]
    assert list(listen.Source(source.base_url, caller.key, "customer.deleted").log(0)) == []


# --- against a product that is in trouble ---


def frame(sequence: int, kind: str = "", body: bytes = b"") -> bytes:
    lines = [
        b"id: %d" % sequence,
        *([b"event: " + kind.encode()] if kind else []),
        *([b"data: " + body] if body else []),
    ]
    return b"\n".join(lines) + b"\n\n"


def event(sequence: int) -> bytes:
    return frame(sequence, "customer.created", told(sequence))


def told(sequence: int) -> bytes:
    return b'{"id":"e%d","event":"customer.created","data":{"tiny":1e-7,"small":0.000001}}' % sequence


def streams(*frames: bytes, cut: bytes = b"") -> Answer:
    """Answer with a stream; with `cut` it breaks off in the middle of a chunk."""

    def answer(peer: socket.socket, got: Got) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = [b"%x\r\n%b\r\n" % (len(text), text) for text in (b"retry: 1000\n\n", b": still here\n\n", *frames)]
        peer.sendall(head + b"".join(chunks) + (b"ffff\r\n" + cut if cut else b"0\r\n\r\n"))
        peer.shutdown(socket.SHUT_RDWR)

    return answer


@pytest.fixture
def product(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """Stand in for the product, whose answers are scripted by what they are asked for."""
    monkeypatch.setattr(listen, "MAX_PAUSE", 0.01)
    return receiver


def heard(product: Receiver, count: int) -> list[tuple[int, str, bytes]]:
    return list(islice(listen.follow(listen.Source(product.url("").rstrip("/"), "key")), count))


def test_a_stream_that_is_cut_in_the_middle_is_taken_up_where_it_broke(product: Receiver) -> None:
    product.will(streams(frame(4), event(5), cut=b"id: 6\nevent: customer.created\ndata: {"), path=STREAM)
    product.will(streams(event(5), event(6), event(7)), path=f"{STREAM}&after=5")
    assert heard(product, 3) == [(number, "customer.created", told(number)) for number in (5, 6, 7)]
    assert [got.path for got in product.got] == [STREAM, f"{STREAM}&after=5"]


def test_a_quiet_stream_is_taken_up_where_it_stood(product: Receiver) -> None:
    product.will(streams(frame(4)), path=STREAM)
    product.will(streams(frame(9), cut=b"id"), path=f"{STREAM}&after=4")
    product.will(streams(event(10)), path=f"{STREAM}&after=9")
    assert heard(product, 1) == [(10, "customer.created", told(10))]


def test_a_passing_refusal_is_waited_for_as_long_as_it_says(
    product: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    passing = (
        status(502),
        status(503, retry_after="1"),
        status(429),
        status(200, b"", content_type="text/event-stream"),
    )
    product.will(*passing, streams(event(1)), path=STREAM)
    assert heard(product, 1)[0][0] == 1
    assert len(product.got) == 5
    noted = capsys.readouterr().err
    assert "answered 503); trying again in 1 s" in noted
    assert "answered 429" in noted


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status(401, b"unknown key"), "answered 401: unknown key"),
        (status(308, location="https://elsewhere.example/"), "answered 308: https://elsewhere.example/"),
        (status(200, b"<html>", content_type="text/html"), "is not our API"),
        (streams(frame(1), b"event: bye\ndata: ended\n\n"), "The API key is no longer good."),
    ],
    ids=["unauthenticated", "redirect", "website", "bye"],
)
def test_a_refusal_for_good_ends_it_with_a_sentence(product: Receiver, answer: Answer, why: str) -> None:
    product.will(answer, path=STREAM)
    with pytest.raises(SystemExit, match=why):
        heard(product, 1)


def test_what_a_reset_skips_is_read_from_the_log(product: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    def page(more: bool, *numbers: int) -> bytes:
        events = b",".join(b'{"sequence":%d,%b' % (number, told(number)[1:]) for number in numbers)
        rest = b'],"has_more":%b,"next_after":%d}' % (b"true" if more else b"false", numbers[-1])
        return b'{"events":[' + events + rest

    product.will(streams(event(2)), path=STREAM)
    product.will(streams(frame(9, "reset"), event(8), event(12)), path=f"{STREAM}&after=2")
    product.will(status(200, page(True, 3, 5)), path="/api-events?after=2&limit=1000")
    product.will(status(502), status(200, page(False, 8, 10)), path="/api-events?after=5&limit=1000")
    product.will(streams(frame(9, "reset"), event(10), event(12)), path=f"{STREAM}&after=5")
    assert heard(product, 6) == [(number, "customer.created", told(number)) for number in (2, 3, 5, 8, 10, 12)]
    assert "missed too much of the stream; reading the log from 2 on" in capsys.readouterr().err


def test_a_log_that_begins_anew_is_followed_from_where_it_is(
    product: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    product.will(streams(frame(40)), path=STREAM)
    product.will(streams(frame(3, "reset"), event(4)), path=f"{STREAM}&after=40")
    assert heard(product, 1) == [(4, "customer.created", told(4))]
    assert "the log is another one now and ends at 3" in capsys.readouterr().err


# --- the receiver's side ---


def garbage(peer: socket.socket, got: Got) -> None:
    peer.sendall(b"no HTTP at all\r\n\r\n")
    peer.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answers", "outcome", "attempts"),
    [
        ([status(302, location="/else")], "302 to /else; redirects are not followed", 1),
        ([status(400)], "400", 1),
        ([status(503)], "503", 4),
        ([status(429), status(200)], "200", 2),
        ([garbage, status(200)], "200", 2),
    ],
    ids=["redirect", "refused", "failing", "busy", "garbage"],
)
def test_a_receiver_is_tried_again_as_the_product_does(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answers: list[Answer], outcome: str, attempts: int
) -> None:
    monkeypatch.setattr(listen, "RETRIES", (0.01, 0.01, 0.01))
    receiver.will(*answers)
    assert listen.forward(receiver.url(), SECRET, "customer.created", told(1)) == outcome
    assert [got.path for got in receiver.got] == ["/hook"] * attempts


def test_an_erased_event_is_told_of_and_not_forwarded(product: Receiver) -> None:
    erased = b'{"id":"e1","event":"customer.created","data":null}'
    product.will(
        streams(frame(1, "customer.created", erased), b'id: 2\nevent: x\ndata: {"erased":true}\n\n'), path=STREAM
    )
    product.will(status(404), path=f"{STREAM}&after=2")
    said: list[str] = []
    with pytest.raises(SystemExit, match="answered 404"):
        listen.run(listen.Source(product.url("").rstrip("/"), "key"), product.url("/hook"), say=said.append)
    assert said[1].endswith("erased, not forwarded")
    assert said[2].endswith("erased, not forwarded")
    assert product.on("/hook") == []


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(SystemExit, match="'localhost:3000' is no web address"):
        listen.run(listen.Source("http://localhost", "key"), "localhost:3000")
