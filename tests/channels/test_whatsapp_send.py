"""What WhatsApp is asked when we send, over HTTP, and what follows from its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import channels
from channels import endpoints
from channels.base import ChannelError, File, Outgoing, Sent, Template
from tests.channels import kinds

MESSAGES, MEDIA = "/v26.0/5550001/messages", "/v26.0/5550001/media"
PHONE, SCOPED = "353871234567", "IE.7700000000000001"


@pytest.fixture
def graph(provider: HTTPServer) -> HTTPServer:
    """Accept every message and every upload; ids count up."""
    counts = {MESSAGES: 0, MEDIA: 0}

    def accept(request: Request) -> Response:
        counts[request.path] += 1
        number = counts[request.path]
        if request.path == MEDIA:
            return _json({"id": f"M{number}"})
        contact = {"input": "x", "wa_id": PHONE} if "to" in request.get_json() else {"input": "x", "user_id": SCOPED}
        return _json({"contacts": [contact], "messages": [{"id": f"wamid.OUT{number}"}]})

    provider.expect_request(MESSAGES, method="POST").respond_with_handler(accept)
    provider.expect_request(MEDIA, method="POST").respond_with_handler(accept)
    return provider


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def send(to: str = PHONE, **parts: Any) -> Sent:
    return channels.get("whatsapp").send(kinds.account("whatsapp"), Outgoing("msg-8f2", to, **parts))


def asked(server: HTTPServer, path: str = MESSAGES) -> list[dict[str, Any]]:
    return [request.get_json() for request, _ in server.log if request.path == path]


def file(mime: str, name: str = "a.bin", content: bytes = b"bytes") -> File:
    return File("file-1", name, mime, len(content), lambda: content)


def test_a_text_is_one_call_with_our_own_id(graph: HTTPServer) -> None:
    assert send(text="Dia dhuit") == Sent(("wamid.OUT1",), address=PHONE)
    assert asked(graph) == [
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "+353871234567",
            "type": "text",
            "text": {"body": "Dia dhuit", "preview_url": False},
            "biz_opaque_callback_data": "msg-8f2",
        }
    ]


@pytest.mark.parametrize("to", ["353871234567", "+353871234567"])
def test_a_number_always_gets_its_plus(graph: HTTPServer, to: str) -> None:
    send(to, text="hi")
    assert asked(graph)[0]["to"] == "+353871234567"


@pytest.mark.parametrize("to", ["5215512345678", "551187654321", "5491123456789"])
def test_a_number_is_never_corrected(graph: HTTPServer, to: str) -> None:
    send(to, text="hi")
    assert asked(graph)[0]["to"] == f"+{to}"


@pytest.mark.parametrize("to", [SCOPED, "IE.ENT.7700000000000001"])
def test_a_scoped_id_is_the_recipient(graph: HTTPServer, to: str) -> None:
    assert send(to, text="hi").address == SCOPED
    assert asked(graph)[0]["recipient"] == to
    assert "to" not in asked(graph)[0]


@pytest.mark.parametrize("to", ["", "joe@x.ie", "+353 87", "IE.", "ie.77", "٣٥٣٨٧١٢٣٤٥٦٧"])
def test_what_is_neither_number_nor_scoped_id_is_not_sent(graph: HTTPServer, to: str) -> None:
    with pytest.raises(ChannelError) as caught:
        send(to, text="hi")
    assert (caught.value.action, graph.log) == ("permanent", [])


def test_a_link_gets_a_preview(graph: HTTPServer) -> None:
    send(text="see https://ex.ie")
    assert asked(graph)[0]["text"]["preview_url"] is True


def test_a_reply_quotes_in_its_first_call_alone(graph: HTTPServer) -> None:
    send(text="here", files=[file("audio/mpeg")], reply_to="wamid.QUOTED")
    assert [body.get("context") for body in asked(graph)] == [{"message_id": "wamid.QUOTED"}, None]


@pytest.mark.parametrize(
    ("mime", "kind", "extra"),
    [
        ("image/jpeg", "image", {"caption": "look"}),
        ("video/mp4", "video", {"caption": "look"}),
        ("application/pdf", "document", {"caption": "look", "filename": "Réceipt #1.pdf"}),
        ("text/plain", "document", {"caption": "look", "filename": "Réceipt #1.pdf"}),
    ],
)
def test_a_file_is_uploaded_and_then_sent_by_id_with_the_text_as_caption(
    graph: HTTPServer, mime: str, kind: str, extra: dict[str, str]
) -> None:
    assert send(text="look", files=[file(mime, "Réceipt #1.pdf")]).provider_ids == ("wamid.OUT1",)
    upload = next(request for request, _ in graph.log if request.path == MEDIA)
    assert dict(upload.form) == {"messaging_product": "whatsapp", "type": mime}
    uploaded = upload.files["file"]
    assert (uploaded.filename, uploaded.content_type, uploaded.read()) == ("Réceipt #1.pdf", mime, b"bytes")
    (body,) = asked(graph)
    assert body["type"] == kind
    assert body[kind] == {"id": "M1", **extra}


@pytest.mark.parametrize(
    ("mime", "kind", "content"),
    [
        ("audio/mpeg", "audio", {"id": "M1"}),
        ("audio/ogg; codecs=opus", "audio", {"id": "M1", "voice": True}),
        ("image/webp", "sticker", {"id": "M1"}),
    ],
)
def test_what_takes_no_caption_follows_the_text(
    graph: HTTPServer, mime: str, kind: str, content: dict[str, object]
) -> None:
    assert send(text="listen", files=[file(mime)]).provider_ids == ("wamid.OUT1", "wamid.OUT2")
    first, second = asked(graph)
    assert first["text"]["body"] == "listen"
    assert second[kind] == content


def test_the_first_of_several_files_that_can_carries_the_caption(graph: HTTPServer) -> None:
    send(text="all", files=[file("audio/mpeg"), file("image/png"), file("application/pdf", "b.pdf")])
    assert [body["type"] for body in asked(graph)] == ["audio", "image", "document"]
    assert [body[body["type"]].get("caption") for body in asked(graph)] == [None, "all", None]


def test_a_text_too_long_for_a_caption_goes_first(graph: HTTPServer) -> None:
    send(text="x" * 1025, files=[file("image/png")])
    assert [body["type"] for body in asked(graph)] == ["text", "image"]
    assert "caption" not in asked(graph)[1]["image"]


def test_every_part_carries_our_id(graph: HTTPServer) -> None:
    send(text="x", files=[file("audio/mpeg"), file("audio/mpeg")])
    assert [body["biz_opaque_callback_data"] for body in asked(graph)] == ["msg-8f2"] * 3


def test_an_empty_message_is_not_sent(graph: HTTPServer) -> None:
    with pytest.raises(ChannelError, match="nothing in this message"):
        send()
    assert graph.log == []


def template(graph: HTTPServer, parameters: Any, *files: File) -> dict[str, Any]:
    send(template=Template("order_update", "en_US", parameters), files=files)
    found: dict[str, Any] = asked(graph)[0]["template"]
    return found


def test_a_template_without_values_is_its_name_and_language(graph: HTTPServer) -> None:
    assert template(graph, {}) == {"name": "order_update", "language": {"code": "en_US"}}


def test_a_templates_values_go_by_position(graph: HTTPServer) -> None:
    assert template(graph, {"header": ["Mon"], "body": ["Aoife", "A-17"]})["components"] == [
        {"type": "header", "parameters": [{"type": "text", "text": "Mon"}]},
        {"type": "body", "parameters": [{"type": "text", "text": "Aoife"}, {"type": "text", "text": "A-17"}]},
    ]


def test_a_named_templates_values_go_by_name(graph: HTTPServer) -> None:
    assert template(graph, {"body": {"order_id": "A-17"}})["components"] == [
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "order_id", "text": "A-17"}]}
    ]


@pytest.mark.parametrize(
    ("key", "sub_type", "parameter"),
    [
        ("button:0", "url", {"type": "text", "text": "A"}),
        ("button:1:quick_reply", "quick_reply", {"type": "payload", "payload": "A"}),
        ("button:2:copy_code", "copy_code", {"type": "coupon_code", "coupon_code": "A"}),
    ],
)
def test_a_button_takes_the_value_of_its_sub_type(
    graph: HTTPServer, key: str, sub_type: str, parameter: dict[str, str]
) -> None:
    (button,) = template(graph, {key: ["A"]})["components"]
    assert button == {"type": "button", "sub_type": sub_type, "index": key[7], "parameters": [parameter]}


def test_a_single_value_is_not_taken_for_its_letters(graph: HTTPServer) -> None:
    (body,) = template(graph, {"body": "A-17"})["components"]
    assert body["parameters"] == [{"type": "text", "text": "A-17"}]


def test_a_templates_file_is_its_header(graph: HTTPServer) -> None:
    (header,) = template(graph, {}, file("application/pdf", "bill.pdf"))["components"]
    document = {"id": "M1", "filename": "bill.pdf"}
    assert header == {"type": "header", "parameters": [{"type": "document", "document": document}]}


@pytest.mark.parametrize(
    ("parameters", "files"),
    [({"footer": ["x"]}, []), ({}, [file("image/png"), file("image/png")]), ({}, [file("audio/mpeg")])],
)
def test_what_no_template_has_is_not_sent(graph: HTTPServer, parameters: Any, files: list[File]) -> None:
    with pytest.raises(ChannelError) as caught:
        template(graph, parameters, *files)
    assert (caught.value.permanent, graph.log) == (True, [])


def failing(provider: HTTPServer, *answers: Response) -> None:
    """Answer the calls to `messages` one after the other."""
    left = list(answers)
    provider.expect_request(MESSAGES, method="POST").respond_with_handler(lambda _: left.pop(0))
    provider.expect_request(MEDIA, method="POST").respond_with_json({"id": "M1"})


def accepted(provider_id: str) -> Response:
    return _json({"contacts": [{"wa_id": PHONE}], "messages": [{"id": provider_id}]})


def test_when_the_second_call_fails_the_first_ones_id_is_kept(provider: HTTPServer) -> None:
    failing(provider, accepted("wamid.1"), _json({"error": {"code": 130429}}, 400))
    with pytest.raises(ChannelError) as caught:
        send(text="x", files=[file("audio/mpeg")])
    assert (caught.value.action, caught.value.sent_ids) == ("retry", ("wamid.1",))


def test_trying_again_makes_only_the_calls_that_are_missing(provider: HTTPServer) -> None:
    failing(provider, accepted("wamid.2"))
    sent = send(text="x", files=[file("audio/mpeg")], sent_ids=["wamid.1"], reply_to="wamid.QUOTED", attempt=2)
    assert sent.provider_ids == ("wamid.1", "wamid.2")
    (body,) = asked(provider)
    assert body["type"] == "audio"
    assert "context" not in body


def test_trying_again_what_went_out_whole_calls_nobody(provider: HTTPServer) -> None:
    assert send(text="x", sent_ids=["wamid.1"]).provider_ids == ("wamid.1",)
    assert provider.log == []


def test_an_acceptance_without_an_id_leaves_the_outcome_unknown(provider: HTTPServer) -> None:
    failing(provider, _json({"messages": []}))
    with pytest.raises(ChannelError) as caught:
        send(text="x")
    assert caught.value.unknown


def test_a_connection_cut_during_an_upload_is_simply_tried_again(hanging_up: str) -> None:
    with pytest.raises(ChannelError) as caught:
        send(files=[file("image/png")])
    assert (caught.value.unknown, caught.value.action) == (False, "retry")


def test_nobody_listening_is_simply_tried_again(provider: HTTPServer, unused_port: int) -> None:
    endpoints.configure(endpoints.Endpoints(meta_graph_url=f"http://127.0.0.1:{unused_port}"))
    with pytest.raises(ChannelError) as caught:
        send(text="x")
    assert (caught.value.unknown, caught.value.action, caught.value.sent_ids) == (False, "retry", ())


def test_an_expired_token_is_trouble_with_the_account(provider: HTTPServer) -> None:
    error = {"code": 190, "error_subcode": 463, "message": "Session has expired"}
    failing(provider, _json({"error": error}, 401))
    with pytest.raises(ChannelError) as caught:
        send(text="x")
    assert (caught.value.action, caught.value.code) == ("account", "190/463")


def test_a_wrong_app_secret_is_trouble_with_the_account(provider: HTTPServer) -> None:
    error = {"code": 100, "message": "Invalid appsecret_proof provided in the API argument"}
    failing(provider, _json({"error": error}, 400))
    with pytest.raises(ChannelError, match="app secret") as caught:
        send(text="x")
    assert caught.value.action == "account"
