"""Files that come by Messenger and Instagram: from Meta's hosts alone, without a token, named after what they are."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

import channels
from channels import endpoints
from channels.base import ChannelError, Media
from tests.channels import kinds

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
BOTH = pytest.mark.parametrize("kind", ["facebook", "instagram"])
pytestmark = BOTH


def fetch(kind: str, path: str = "/file", max_bytes: int = 1000, **media: Any) -> tuple[bytes, str, str]:
    given = {"url": f"{endpoints.current().meta_graph_url}{path}"} | media
    return channels.get(kind).fetch_media(kinds.account(kind), Media(**given), max_bytes=max_bytes)


def failed(kind: str, **given: Any) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        fetch(kind, **given)
    return caught.value


def test_a_file_is_fetched_without_our_token(provider: HTTPServer, kind: str) -> None:
    provider.expect_request("/file").respond_with_data(PNG, content_type="image/png")
    assert fetch(kind) == (PNG, "image/png", "image.png")
    request, _ = provider.log[0]
    assert "Authorization" not in request.headers
    assert request.headers["User-Agent"]


def test_a_story_turns_out_to_be_a_film(provider: HTTPServer, kind: str) -> None:
    provider.expect_request("/file").respond_with_data(b"film", content_type="video/mp4")
    assert fetch(kind, mime="image/jpeg") == (b"film", "video/mp4", "video.mp4")


def test_a_document_keeps_its_name(provider: HTTPServer, kind: str) -> None:
    provider.expect_request("/file").respond_with_data(b"%PDF-1.4", content_type="application/octet-stream")
    assert fetch(kind, filename="Réceipt.pdf") == (b"%PDF-1.4", "application/pdf", "Réceipt.pdf")


def test_a_redirect_is_followed_on_metas_hosts_alone(provider: HTTPServer, kind: str) -> None:
    provider.expect_request("/here").respond_with_data(PNG, content_type="image/png")
    provider.expect_request("/file").respond_with_response(Response(status=302, headers={"Location": "/here"}))
    provider.expect_request("/away").respond_with_response(
        Response(status=302, headers={"Location": "http://169.254.169.254/latest"})
    )
    assert fetch(kind)[0] == PNG
    assert failed(kind, path="/away").code in ("redirect", "blocked")


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_file_that_is_gone_is_not_asked_for_again(provider: HTTPServer, kind: str, status: int) -> None:
    provider.expect_request("/file").respond_with_data(b"URL signature expired", status=status)
    error = failed(kind)
    assert (error.code, error.permanent) == ("media_gone", True)


@pytest.mark.parametrize("answer", [{"status": 500}, {"status": 429}, {"content_type": "text/html; charset=utf-8"}])
def test_trouble_at_meta_is_tried_later(provider: HTTPServer, kind: str, answer: dict[str, Any]) -> None:
    provider.expect_request("/file").respond_with_data(b"<html>Sorry</html>", **answer)
    assert failed(kind).action == "retry"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://evil.example/file",
        "https://fbsbx.com.evil.example/file",
        "http://lookaside.fbsbx.com/file",
        "https://a@lookaside.fbsbx.com/file",
    ],
)
def test_a_file_on_another_host_is_not_fetched(provider: HTTPServer, kind: str, url: str) -> None:
    error = failed(kind, url=url)
    assert (error.code, error.permanent, provider.log) == ("media_host", True, [])


def test_a_file_without_an_address_cannot_be_fetched(provider: HTTPServer, kind: str) -> None:
    assert failed(kind, url=None).code == "media_missing"
