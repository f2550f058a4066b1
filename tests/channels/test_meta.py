"""What the three channels of Meta share: handshake, signature, and how the Graph API's refusals are read."""

from __future__ import annotations

import json

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from channels import meta
from channels.base import BadSignature, Callback, ChannelError, File, Reply
from channels.whatsapp.errors import VERDICTS

SECRET = "app-secret-123"
BODY = (
    b'{"object":"page","entry":[{"id":"111","time":1764000000000,"messaging":[{"sender":{"id":"222"},"recipient":'
    b'{"id":"111"},"timestamp":1764000000000,"message":{"mid":"m_AAA","text":"caf\\u00e9 \\ud83d\\ude00 '
    b'https:\\/\\/ex.ie"}}]}]}'
)
SIGNATURE = "sha256=5e9d1ba2d1318e7d3c3b39f411ef3a921e96257b3fc85fde14028d0f7106ce32"


def posted(body: bytes, signature: str | None) -> Callback:
    headers = {} if signature is None else {"x-hub-signature-256": signature}
    return Callback("POST", "https://chat.example.ie/callbacks/whatsapp/1", headers, {}, body)


def asked(**query: str) -> Reply:
    names = {"mode": "hub.mode", "token": "hub.verify_token", "challenge": "hub.challenge"}
    given = {names[name]: value for name, value in query.items()}
    return meta.handshake(Callback("GET", "https://chat.example.ie/", {}, given, b""), {"verify_token": "verify-me"})


def test_the_worked_example_of_the_signature_is_accepted() -> None:
    assert len(BODY) == 224
    meta.verify(posted(BODY, SIGNATURE), [SECRET])


def test_a_body_that_was_written_anew_is_refused() -> None:
    tree = json.loads(BODY)
    for body in (json.dumps(tree, separators=(",", ":")), json.dumps(tree, separators=(",", ":"), ensure_ascii=False)):
        with pytest.raises(BadSignature):
            meta.verify(posted(body.encode(), SIGNATURE), [SECRET])


def test_any_of_several_secrets_may_have_signed() -> None:
    meta.verify(posted(BODY, SIGNATURE), ["another", SECRET])
    meta.verify(posted(BODY, SIGNATURE), [SECRET, ""])


@pytest.mark.parametrize("signature", [None, "", SIGNATURE.upper(), SIGNATURE[7:], SIGNATURE + " ", "sha256=é"])
def test_a_signature_that_is_missing_or_malformed_is_refused(signature: str | None) -> None:
    with pytest.raises(BadSignature):
        meta.verify(posted(BODY, signature), [SECRET])


def test_the_old_sha1_header_proves_nothing() -> None:
    with pytest.raises(BadSignature):
        meta.verify(Callback("POST", "", {"x-hub-signature": "sha1=00"}, {}, BODY), [SECRET])


def test_without_a_secret_nothing_is_accepted() -> None:
    empty_key = "sha256=" + meta._hmac("", BODY)
    for secrets in ([], [""], ["", ""]):
        with pytest.raises(BadSignature):
            meta.verify(posted(BODY, empty_key), secrets)


def test_the_challenge_is_echoed_as_plain_text() -> None:
    reply = asked(mode="subscribe", token="verify-me", challenge="<script>1</script>")
    assert (reply.status, reply.body) == (200, "<script>1</script>")
    assert reply.content_type.startswith("text/plain")


@pytest.mark.parametrize(
    "query",
    [
        {"mode": "subscribe", "token": "guess", "challenge": "1"},
        {"mode": "subscribe", "token": "vérify", "challenge": "1"},
        {"mode": "subscribe", "challenge": "1"},
        {"mode": "unsubscribe", "token": "verify-me", "challenge": "1"},
        {"token": "verify-me", "challenge": "1"},
        {"mode": "subscribe", "token": "verify-me"},
        {},
    ],
)
def test_any_other_handshake_is_forbidden(query: dict[str, str]) -> None:
    assert asked(**query).status == 403


def test_a_channel_without_a_verify_token_answers_no_handshake() -> None:
    query = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "1"}
    assert meta.handshake(Callback("GET", "", {}, query, b""), {"verify_token": ""}).status == 403


def graph(server: HTTPServer, *, attempt: int = 1, secret: str = SECRET) -> meta.Graph:
    return meta.Graph(f"http://127.0.0.1:{server.port}", "v26.0", "token-1", secret, VERDICTS, attempt)


def refused(server: HTTPServer, answer: Response, *, once: bool = True, attempt: int = 1) -> ChannelError:
    server.expect_request("/v26.0/1/messages").respond_with_response(answer)
    with pytest.raises(ChannelError) as caught:
        graph(server, attempt=attempt).post("1/messages", {}, once=once)
    return caught.value


def graph_error(status: int = 400, headers: dict[str, str] | None = None, **error: object) -> Response:
    return Response(json.dumps({"error": error}), status, headers, content_type="application/json")


def test_every_call_carries_the_version_the_token_and_the_proof_of_the_secret(provider: HTTPServer) -> None:
    provider.expect_request("/v26.0/1", method="GET").respond_with_json({"id": "1"})
    assert graph(provider).get("1", fields="a,b") == {"id": "1"}
    request, _ = provider.log[0]
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["User-Agent"]
    assert dict(request.args) == {
        "fields": "a,b",
        # printf token-1 | openssl dgst -sha256 -hmac app-secret-123
        "appsecret_proof": "9d8636b8acdd86a05609b415bd0c3b3e873b5b6475488152cee74e9072c59a02",
    }


def test_without_a_secret_there_is_no_proof(provider: HTTPServer) -> None:
    provider.expect_request("/v26.0/1", method="GET").respond_with_json({"id": "1"})
    graph(provider, secret="").get("1")
    assert provider.log[0][0].query_string == b""


@pytest.mark.parametrize(
    ("code", "action"),
    [(190, "account"), (131047, "window"), (131026, "permanent"), (130429, "retry"), (299, "account"), (0, "account")],
)
def test_the_code_decides_whatever_the_http_status_is(provider: HTTPServer, code: int, action: str) -> None:
    error = refused(provider, graph_error(500, code=code, message=f"(#{code}) …"))
    assert (error.action, error.code, error.unknown) == (action, str(code), False)


def test_a_code_that_nobody_knows_is_told_in_metas_words(provider: HTTPServer) -> None:
    error = refused(
        provider, graph_error(code=999999, message="(#999999) No", error_data={"details": "The moon is full."})
    )
    assert (error.action, error.message) == ("permanent", "WhatsApp refused this: The moon is full (error 999999).")


def test_error_data_may_be_a_plain_string(provider: HTTPServer) -> None:
    assert "The moon is full" in refused(provider, graph_error(code=999999, error_data="The moon is full.")).message


def test_an_unknown_code_that_passes_by_itself_is_tried_again(provider: HTTPServer) -> None:
    assert refused(provider, graph_error(code=999999, is_transient=True)).action == "retry"


def test_an_unknown_code_with_a_server_error_is_tried_again(provider: HTTPServer) -> None:
    assert refused(provider, graph_error(503, code=999999)).action == "retry"


def test_an_unknown_error_is_worth_two_more_tries(provider: HTTPServer) -> None:
    answer = graph_error(500, code=1)
    assert [refused(provider, answer, attempt=n).action for n in (1, 2, 3)] == ["retry", "retry", "permanent"]


def test_the_pair_limit_waits_four_times_as_long_each_time(provider: HTTPServer) -> None:
    answer = graph_error(code=131056)
    assert [refused(provider, answer, attempt=n).retry_after for n in (1, 2, 3)] == [4, 16, 64]


def test_retry_after_is_honoured(provider: HTTPServer) -> None:
    assert refused(provider, graph_error(429, {"Retry-After": "17"}, code=4)).retry_after == 17


def test_the_usage_header_tells_how_long_to_wait(provider: HTTPServer) -> None:
    usage = json.dumps({"9001": [{"type": "whatsapp", "call_count": 100, "estimated_time_to_regain_access": 19}]})
    answer = graph_error(400, {"X-Business-Use-Case-Usage": usage}, code=80007)
    assert refused(provider, answer).retry_after == 19 * 60


@pytest.mark.parametrize("header", ["soon", "-1", "9" * 40, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_wait_that_is_no_number_is_ignored(provider: HTTPServer, header: str) -> None:
    answer = graph_error(429, {"Retry-After": header}, code=4)
    assert refused(provider, answer).retry_after is None


@pytest.mark.parametrize("status", [200, 500, 502, 504])
def test_a_proxys_page_may_hide_that_the_message_went(provider: HTTPServer, status: int) -> None:
    error = refused(provider, Response("<html>Bad gateway</html>", status, content_type="text/html"))
    assert (error.action, error.unknown) == ("retry", True)


def test_a_proxys_refusal_did_not_pass_the_message_on(provider: HTTPServer) -> None:
    error = refused(provider, Response("<html>Too many</html>", 429, {"Retry-After": "3"}, content_type="text/html"))
    assert (error.action, error.unknown, error.retry_after) == ("retry", False, 3)


def test_a_proxys_page_to_a_call_without_effect_is_simply_tried_again(provider: HTTPServer) -> None:
    error = refused(provider, Response("<html>Bad gateway</html>", 502, content_type="text/html"), once=False)
    assert (error.action, error.unknown) == ("retry", False)


def test_a_file_name_cannot_break_out_of_its_form(provider: HTTPServer) -> None:
    provider.expect_request("/v26.0/1/media", method="POST").respond_with_json({"id": "M9"})
    name = 'a"; name="type"\r\nX: y/Réceipt #1.pdf'
    file = File("f", name, "application/pdf", 3, lambda: b"\r\n--")
    graph(provider).upload("1/media", {"messaging_product": "whatsapp"}, file, "application/pdf")
    request, _ = provider.log[0]
    assert dict(request.form) == {"messaging_product": "whatsapp"}
    uploaded = request.files["file"]
    assert (uploaded.read(), uploaded.content_type) == (b"\r\n--", "application/pdf")
