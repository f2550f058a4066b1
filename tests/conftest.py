"""What every test may ask for: real servers, the settings, the application and a client, and live processes.

`services`, `settings`, `app` and `live` last for the whole run of one xdist worker. Tests share its database, so each
makes a business of its own and looks at nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from importlib import import_module
from ipaddress import ip_address
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from lib import ids
from tests import servers
from tests.processes import Live

pytest_plugins = ["tests.people", "tests.browsers"]


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under nohup; what tests start would not hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        servers.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and servers.FOLDER in os.environ:
        servers.end()


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> servers.Services:
    """The real PostgreSQL and Valkey, with a migrated database for this xdist worker alone."""
    return servers.provide(_worker(request.config))


@pytest.fixture(scope="session")
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """The product as running processes: web, worker and provider sandbox, on a database of their own."""
    processes = Live(servers.provide(f"{_worker(request.config)}_live"))
    try:
        processes.start()
        yield processes
    finally:
        processes.stop()


@pytest.fixture(scope="session")
def settings(services: servers.Services) -> config.Settings:
    return config.load(**servers.settings(services))


@pytest.fixture(scope="session")
def app(settings: config.Settings) -> Iterator[Flask]:
    built = import_module("app").create_app(settings)  # here, so that tests of leaves start at once
    yield built
    with built.app_context():
        import_module("models").db.engine.dispose()
        built.extensions["read_engine"].dispose()
        built.extensions["at_once"].close()
        built.extensions["redis"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(autouse=True)
def ids_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the ids that a test made in the future: none is smaller than the last, so all later ones would be too."""
    monkeypatch.setattr(ids, "_last", ids._last)


class OutboundCall(BaseException):
    """Not an `Exception`, so that no code under test can take it for a network error."""


@pytest.fixture(autouse=True)
def no_outbound_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that reaches for anything but this machine."""
    reached: list[str] = []

    def scold(where: object) -> None:
        reached.append(str(where))
        raise OutboundCall(
            f"This test tried to reach {where}. Tests stay on this machine: answer from the provider sandbox or a "
            "local receiver, and look at who opened the connection, for only the worker's outbound door may."
        )

    def guarded(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                scold(address)
            return original(self, address)

        return connect

    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and not _is_local(name) and not _is_address(name):
            if name.endswith(".invalid"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            scold(name)
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    if reached:
        pytest.fail(f"Outbound calls to {', '.join(reached)}", pytrace=False)


def _worker(config: pytest.Config) -> str:
    return str(getattr(config, "workerinput", {"workerid": "main"})["workerid"])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or (_is_address(host) and ip_address(host).is_loopback)
