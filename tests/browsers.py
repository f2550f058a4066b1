"""Chromium for the tests, and a web server of somebody else, whose pages host embeds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

EXECUTABLE = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox"]  # the tests run as root


class Hosts:
    """A web server of somebody else: `http://localhost` on a port of its own, where the product is `127.0.0.1`."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        hosts = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = hosts.pages.get(self.path, "").encode()
                self.send_response(200 if body else 204)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.origin = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, path: str, body: str) -> str:
        """Serve a page; give its address."""
        self.pages[path] = f"<!doctype html><title>CRM</title>{body}"
        return self.origin + path

    def embed(self, address: str, *, path: str = "/crm", size: tuple[int, int] = (420, 600), **attributes: str) -> str:
        """Serve a page that frames an embed and keeps what it is told in `heard`; give its address."""
        given = " ".join(f'{name}="{value}"' for name, value in attributes.items())
        return self.page(
            path,
            f"""<script>heard = []; addEventListener('message', e => heard.push({{origin: e.origin, ...e.data}}));
            tell = message => document.getElementById('embed').contentWindow.postMessage(message, '*');</script>
            <iframe id="embed" src="{address}" width="{size[0]}" height="{size[1]}" {given}></iframe>""",
        )


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="session")
def playwright_() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(playwright_: Playwright) -> Iterator[Browser]:
    browser = playwright_.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def browser_context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser of its own for each test: its cookies, its storage, its tabs."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def tab(browser_context: BrowserContext) -> Page:
    return browser_context.new_page()


@pytest.fixture
def strict_context(playwright_: Playwright, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser whose user forbids all sites to keep anything: no cookie, no storage."""
    preferences = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    folder = tmp_path / "Default"
    folder.mkdir()
    (folder / "Preferences").write_text(json.dumps(preferences))
    context = playwright_.chromium.launch_persistent_context(
        str(tmp_path), executable_path=EXECUTABLE, args=ARGUMENTS, viewport={"width": 1280, "height": 800}
    )
    context.set_default_timeout(10_000)
    yield context
    context.close()
