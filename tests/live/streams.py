"""A screen without a browser: reads a stream of the running product and tells it apart into events."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Flask

from models import User


class Heard(NamedTuple):
    """One event of a stream."""

    event: str
    id: int | None
    data: str


class Screen:
    """One open connection, read in a thread of its own."""

    def __init__(self, base_url: str, path: str, headers: dict[str, str]) -> None:
        self.heard: list[Heard] = []
        self.ended = False
        self._connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=60)
        self._connection.request("GET", path, headers=headers)
        self._socket = self._connection.sock
        self.answer = self._connection.getresponse()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        lines: list[str] = []
        try:
            while line := self.answer.readline():
                if text := line.decode().rstrip("\n"):
                    lines.append(text)
                else:
                    self._take(lines)
                    lines = []
        except (OSError, http.client.HTTPException):
            pass
        self.ended = True

    def _take(self, lines: list[str]) -> None:
        parts = [line.partition(":") for line in lines]
        data = "\n".join(value.removeprefix(" ") for name, _, value in parts if name == "data")
        fields = {name: value.strip() for name, _, value in parts}
        if "id" in fields or "event" in fields:
            self.heard.append(Heard(fields.get("event", ""), int(fields["id"]) if "id" in fields else None, data))

    def of(self, event: str) -> list[Heard]:
        return [one for one in self.heard if one.event == event]

    @property
    def html(self) -> str:
        return "\n".join(one.data for one in self.of("html"))

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self.answer.close()
        self._connection.close()


def until(true: Callable[[], object], seconds: float = 5.0) -> float:
    """Wait for something; give how long it took."""
    began = monotonic()
    while not true():
        assert monotonic() < began + seconds, "it never came"
        sleep(0.01)
    return monotonic() - began


def cookie_of(app: Flask, user: User) -> dict[str, str]:
    """Give the header of a browser in which this user is signed in."""
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"], session["_fresh"] = user.get_id(), True
    cookie = client.get_cookie("alc_session")
    assert cookie
    return {"Cookie": f"alc_session={cookie.value}"}
