"""Files that come by WhatsApp: two steps, on Meta's hosts alone, and the very file that was described."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

import channels
from channels import endpoints
from channels.base import ChannelError, Media
from tests.channels import kinds

CONTENT = b"\xff\xd8\xff picture"
DIGEST = hashlib.sha256(CONTENT)


def describe(provider: HTTPServer, **changes: Any) -> None:
    """Answer the first step; each time with another URL."""
    count = iter(range(1, 10))

    def answer(_: object) -> Response:
        found = {
            "url": f"{endpoints.current().meta_graph_url}/file/{next(count)}",
            "mime_type": "image/jpeg",
            "sha256": DIGEST.hexdigest(),
            "file_size": len(CONTENT),
            "id": "7001",
        }
        return Response(json.dumps(found | changes), content_type="application/json")

    provider.expect_request("/v26.0/7001", method="GET").respond_with_handler(answer)


def fetch(media: Media | None = None, max_bytes: int = 1000) -> tuple[bytes, str, str]:
    media = media or Media(provider_id="7001", filename="lamp.jpg")
    return channels.get("whatsapp").fetch_media(kinds.account("whatsapp"), media, max_bytes=max_bytes)


def failed(**given: Any) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        fetch(**given)
    return caught.value


def serve(provider: HTTPServer, content: bytes = CONTENT, number: int = 1, **answer: Any) -> None:
    answer = {"content_type": "image/jpeg"} | answer
    provider.expect_request(f"/file/{number}").respond_with_data(content, **answer)


def test_a_file_is_fetched_in_two_steps_with_the_same_token(provider: HTTPServer) -> None:
    describe(provider)
    serve(provider)
    assert fetch() == (CONTENT, "image/jpeg", "lamp.jpg")
    (first, _), (second, _) = provider.log
    assert first.args["phone_number_id"] == "5550001"
    assert first.headers["Authorization"] == second.headers["Authorization"] == "Bearer EAAG-token"
    assert second.headers["User-Agent"]


@pytest.mark.parametrize(
    "declared", [DIGEST.hexdigest(), DIGEST.hexdigest().upper(), base64.b64encode(DIGEST.digest()).decode()]
)
def test_the_hash_may_be_hexadecimal_or_base64(provider: HTTPServer, declared: str) -> None:
    describe(provider, sha256=declared)
    serve(provider)
    assert fetch()[0] == CONTENT


@pytest.mark.parametrize("encode", [lambda d: d.hex(), lambda d: base64.b64encode(d).decode()])
def test_another_file_than_described_is_refused(provider: HTTPServer, encode: Any) -> None:
    describe(provider, sha256=encode(hashlib.sha256(b"other").digest()))
    serve(provider)
    error = failed()
    assert (error.code, error.action) == ("media_hash", "retry")


def test_the_callbacks_hash_counts_where_the_first_step_gives_none(provider: HTTPServer) -> None:
    describe(provider, sha256=None)
    serve(provider)
    assert failed(media=Media(provider_id="7001", sha256=hashlib.sha256(b"other").hexdigest())).code == "media_hash"


def test_a_hash_that_is_none_cannot_be_compared(provider: HTTPServer) -> None:
    describe(provider, sha256="AAAA")
    serve(provider)
    assert fetch()[0] == CONTENT


def test_a_dead_url_is_renewed_once(provider: HTTPServer) -> None:
    describe(provider)
    serve(provider, b"", status=404)
    serve(provider, number=2)
    assert fetch()[0] == CONTENT


def test_a_url_that_is_dead_twice_is_tried_later(provider: HTTPServer) -> None:
    describe(provider)
    serve(provider, b"", status=404)
    serve(provider, b"", number=2, status=404)
    error = failed()
    assert (error.code, error.action) == ("media_404", "retry")
    assert [request.path for request, _ in provider.log] == ["/v26.0/7001", "/file/1", "/v26.0/7001", "/file/2"]


def test_a_file_that_is_too_large_by_its_description_is_not_fetched(provider: HTTPServer) -> None:
    for size in (1001, "1001"):
        describe(provider, file_size=size)
        assert (failed().code, failed().permanent) == ("too_large", True)
    assert not [1 for request, _ in provider.log if request.path.startswith("/file/")]


def test_a_file_that_is_larger_than_described_is_refused(provider: HTTPServer) -> None:
    describe(provider)
    serve(provider, b"x" * 2000)
    assert failed().code == "too_large"


def test_a_page_in_place_of_the_file_is_not_kept(provider: HTTPServer) -> None:
    describe(provider, sha256="")
    serve(provider, b"<html>Log in</html>", content_type="text/html; charset=utf-8")
    error = failed()
    assert (error.code, error.action) == ("media_page", "retry")


def test_a_file_that_is_older_than_seven_days_is_gone_for_good(provider: HTTPServer) -> None:
    error = {"code": 100, "error_subcode": 33, "message": "Unsupported get request."}
    provider.expect_request("/v26.0/7001").respond_with_json({"error": error}, 400)
    assert (failed().code, failed().permanent, failed().action) == ("media_gone", True, "permanent")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://169.254.169.254/latest/meta-data/",
        "https://evil.example/file",
        "https://fbsbx.com.evil.example/file",
        "https://evilfbsbx.com/file",
        "http://lookaside.fbsbx.com/file",
        "https://lookaside.fbsbx.com:8443/file",
        "https://a@lookaside.fbsbx.com/file",
        "file:///etc/passwd",
        "https://[::1/file",
    ],
)
def test_a_file_on_another_host_is_not_fetched(provider: HTTPServer, url: str) -> None:
    describe(provider, url=url)
    assert (failed().code, failed().permanent) == ("media_host", True)


def test_a_file_without_an_id_cannot_be_fetched(provider: HTTPServer) -> None:
    assert failed(media=Media(url="https://lookaside.fbsbx.com/x")).code == "media_missing"
