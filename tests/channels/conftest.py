"""A Graph API of our own on this machine, which answers what a test says and keeps what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from channels import endpoints

pytest.register_assert_rewrite("tests.channels.contract")


@pytest.fixture
def provider(httpserver: HTTPServer) -> Iterator[HTTPServer]:
    """Stand in for every provider."""
    before = endpoints.current()
    url = f"http://127.0.0.1:{httpserver.port}"
    endpoints.configure(endpoints.Endpoints(meta_graph_url=url, instagram_graph_url=url, twilio_api_url=url))
    yield httpserver
    endpoints.configure(before)
    for request, _ in httpserver.log:
        request.close()  # and with it the files that were uploaded


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """Stand in for every provider with one that reads each request and then drops the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    before, url = endpoints.current(), f"http://127.0.0.1:{listener.getsockname()[1]}"
    endpoints.configure(endpoints.Endpoints(meta_graph_url=url, instagram_graph_url=url, twilio_api_url=url))
    yield url
    endpoints.configure(before)
    stopped.set()
    socket.create_connection(listener.getsockname()).close()
    thread.join()
    listener.close()
