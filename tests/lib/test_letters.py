"""Mails taken apart: whatever the bytes are, and whatever they do to the process that reads them."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import letters
from lib.letters import apart, bodies, quotes, structure, tnef, words
from lib.letters.letter import Letter, file_in, take_apart

CORPUS = sorted((Path(__file__).parents[1] / "channels/fixtures/email").glob("*.eml"))
SMALL = [path.read_bytes() for path in CORPUS if path.stat().st_size < 20_000]
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MAIL = b"From: Joe <joe@x.example>\nMessage-ID: <1@x.example>\n\nHello\n"

HEADER = st.sampled_from(
    b"From To Cc Reply-To Subject Message-ID References Date Content-Type Content-Disposition "
    b"Content-Transfer-Encoding Return-Path Auto-Submitted".split()
)
VALUE = st.binary(max_size=60) | st.sampled_from([
    *(b"=?utf-8?B?//8?= =?x?Q?=ZZ?=", b"<<<a@b>,;:@", b'multipart/mixed; boundary="', b"text/html; charset=utf-7"),
    *(b"multipart/report; report-type=delivery-status; boundary=b", b"base64", b"x-uuencode"),
    *(b"message/delivery-status", b"application/ms-tnef; name*0*=utf-9''%; name*99999999999999999999=x"),
])  # fmt: skip


def _texts(tree: Any) -> Iterator[str]:
    """Give every text in a tree of JSON."""
    if isinstance(tree, str):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _texts(branch)


def assert_storable(letter: Letter) -> None:
    """Make sure that it survives the way through JSON into a database."""
    tree = json.loads(json.dumps(letter.plain(), ensure_ascii=False).encode())
    assert Letter.from_plain(tree) == letter
    assert "\0" not in "".join(_texts(tree))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_mail_of_the_corpus_is_quick_to_read_and_keeps_its_files(path: Path) -> None:
    mail, begun = path.read_bytes(), time.process_time()
    letter = take_apart(mail)
    assert time.process_time() - begun < 1.5
    assert_storable(letter)
    for file in letter.files[:5]:
        assert len(file_in(mail, file.path)) == file.size


class TestAnyBytes:
    @QUICK
    @given(st.binary(max_size=400))
    def test_noise(self, mail: bytes) -> None:
        assert_storable(take_apart(mail))
        assert_storable(letters.outline(mail))

    @QUICK
    @given(st.lists(st.tuples(HEADER, VALUE), max_size=8), st.binary(max_size=200))
    def test_any_headers(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        head = b"".join(name + b": " + value + b"\n" for name, value in headers)
        assert_storable(take_apart(head + b"\n" + body))

    @QUICK
    @given(st.sampled_from(SMALL), st.randoms(use_true_random=False))
    def test_damaged_mails(self, mail: bytes, chance: random.Random) -> None:
        assert_storable(take_apart(damaged(mail, chance)))

    @QUICK
    @given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "utf-7", "iso-2022-jp", "hz", "punycode", "x" * 50]))
    def test_any_text_in_any_set(self, data: bytes, charset: str) -> None:
        words.decode(data, charset).encode()

    @QUICK
    @given(st.binary(max_size=300))
    def test_any_winmail(self, data: bytes) -> None:
        tnef.unpack(b"\x78\x9f\x3e\x22\x01\x00" + data)

    @QUICK
    @given(st.text(max_size=200), st.text(alphabet="<>/= abdivquote'\"&;#1\n", max_size=200))
    def test_nothing_that_was_written_is_lost_by_folding(self, text: str, html: str) -> None:
        said, quoted = quotes.split(text)
        assert sorted("".join(said + quoted).split()) == sorted("".join(text).split()) or said + quoted
        assert "".join((said + quoted).split()) == "".join(text.split())
        quotes.split(text, html)
        bodies.harmless(html)


def damaged(mail: bytes, chance: random.Random) -> bytes:
    """Cut, double, exchange or overwrite some pieces."""
    for _ in range(chance.randint(1, 6)):
        at, size = chance.randrange(len(mail) + 1), chance.randint(1, 40)
        piece = mail[at : at + size]
        new = chance.choice([b"", piece * 3, bytes(chance.randbytes(size)), b"\n", b"--b\n", b"\r", mail[:size]])
        mail = mail[:at] + new + mail[at + size :]
    return mail


class TestBounds:
    def test_headers_of_any_length_are_read_in_linear_time(self) -> None:
        for value in (b"<a@" * 90_000, b"=?utf-8?q?" * 28_000, b'"' * 280_000, b"(" * 280_000, b"a@b.ie," * 40_000):
            begun = time.process_time()
            mail = b"".join(b"%s: %s\n" % (name, value) for name in (b"From", b"To", b"References", b"Subject"))
            letter = take_apart(mail + b"Date: Tue, 3 Nov 2026 10:00:00 +0000\n\nstill here")
            assert time.process_time() - begun < 2
            assert (letter.text, letter.date) == ("still here", "2026-11-03T10:00:00+00:00")

    def test_html_that_others_take_minutes_for_is_not_handed_to_them(self) -> None:
        for html in ("<div>" * 200_000, "<b>" * 100_000 + "x", "<" * 500_000, "<p " + "a=b " * 100_000 + ">"):
            begun = time.process_time()
            bodies.html_to_text(html)
            bodies.harmless(html)
            quotes.split("", html)
            assert time.process_time() - begun < 3

    def test_a_long_text_is_cut_and_says_so(self) -> None:
        letter = take_apart(b"From: a@b.ie\n\n" + b"word " * 100_000)
        assert len(letter.text) < 260_000
        assert letter.incomplete == ["text"]

    def test_parts_beyond_the_bound_are_counted_out(self) -> None:
        whole, cut_off = structure.split(
            b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 5000 + b"--b--"
        )
        assert cut_off
        assert len(list(whole.walk())) == structure.MOST_PARTS + 1


class TestApart:
    def test_what_the_other_process_finds_is_what_we_would(self) -> None:
        assert letters.read(MAIL) == take_apart(MAIL)

    def test_a_process_that_dies_with_a_mail_does_not_take_the_next_one_along(self) -> None:
        letters.read(MAIL)
        os.kill(_pid(), signal.SIGKILL)
        time.sleep(0.05)
        assert letters.read(MAIL).text == "Hello"

    def test_a_process_that_hangs_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        letters.read(MAIL)
        monkeypatch.setattr(apart, "WALL_SECONDS", 0.2)
        os.kill(_pid(), signal.SIGSTOP)
        with pytest.raises(letters.Unreadable):
            letters.read(MAIL)
        monkeypatch.undo()
        assert letters.read(MAIL).text == "Hello"

    def test_a_file_that_is_not_there_is_an_answer_and_no_accident(self) -> None:
        letters.read(MAIL)
        before = _pid()
        with pytest.raises(letters.Unreadable, match="KeyError"):
            letters.file(MAIL, "7.7")
        assert (letters.read(MAIL).text, _pid()) == ("Hello", before)

    def test_it_knows_none_of_our_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_KEY", "a secret")
        apart._process.end()
        letters.read(MAIL)
        assert b"SECRET_KEY" not in Path(f"/proc/{_pid()}/environ").read_bytes()


def _pid() -> int:
    process = apart._process._popen
    assert process is not None
    return process.pid
