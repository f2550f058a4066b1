"""What Messenger and Instagram are asked when we send, over HTTP, and what follows from their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import channels
from channels.base import ChannelError, File, Outgoing, Sent
from tests.channels import kinds

PSID = "222"
MESSAGES = {"facebook": "/v26.0/111/messages", "instagram": "/v26.0/17841400000000000/messages"}
WITHIN = {"facebook": {"messaging_type": "RESPONSE"}, "instagram": {}}
TAG = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
CLOSED = {
    "facebook": {
        "code": 10,
        "error_subcode": 2018278,
        "message": "(#10) This message is sent outside of allowed window.",
    },
    "instagram": {"code": 10, "error_subcode": 2534022, "message": "(#10) Outside of allowed window."},
}
BOTH = pytest.mark.parametrize("kind", ["facebook", "instagram"])


@pytest.fixture
def graph(provider: HTTPServer) -> HTTPServer:
    """Accept every message; ids count up."""
    counts: dict[str, int] = {}

    def accept(request: Request) -> Response:
        counts[request.path] = counts.get(request.path, 0) + 1
        return _json({"recipient_id": PSID, "message_id": f"m_OUT{counts[request.path]}"})

    for path in (*MESSAGES.values(), "/v26.0/333/messages"):
        provider.expect_request(path, method="POST").respond_with_handler(accept)
    return provider


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def send(kind: str, to: str = PSID, account: dict[str, str] | None = None, **parts: Any) -> Sent:
    return channels.get(kind).send(kinds.account(kind, **account or {}), Outgoing("msg-8f2", to, **parts))


def asked(server: HTTPServer) -> list[dict[str, Any]]:
    """Read what each call asked for, whether it came as JSON or as a form."""
    return [_asked(request) for request, _ in server.log]


def _asked(request: Request) -> dict[str, Any]:
    if request.is_json:
        return dict(request.get_json())
    return {name: json.loads(value) if value[0] == "{" else value for name, value in request.form.items()}


def file(mime: str = "image/png", name: str = "lamp.png", content: bytes = b"bytes", url: str = "") -> File:
    return File("file-1", name, mime, len(content), lambda: content, url or f"https://chat.example.ie/f/{name}")


def refuse(provider: HTTPServer, kind: str, *answers: Response) -> None:
    """Answer the next calls so."""
    rest = list(answers)
    provider.expect_request(MESSAGES[kind]).respond_with_handler(lambda _: rest.pop(0))


def error(status: int = 400, **parts: Any) -> Response:
    return _json({"error": {"message": "…", **parts}}, status)


class TestText:
    def test_on_messenger_it_is_one_call_with_our_own_id(self, graph: HTTPServer) -> None:
        assert send("facebook", text="Dia dhuit") == Sent(("m_OUT1",))
        message = {"text": "Dia dhuit", "metadata": "msg-8f2"}
        assert asked(graph) == [{"recipient": {"id": PSID}, "messaging_type": "RESPONSE", "message": message}]

    def test_on_instagram_it_is_one_call_without_a_type(self, graph: HTTPServer) -> None:
        assert send("instagram", text="Dia dhuit") == Sent(("m_OUT1",))
        assert asked(graph) == [{"recipient": {"id": PSID}, "message": {"text": "Dia dhuit"}}]

    def test_with_facebook_login_instagram_is_reached_through_the_page(self, graph: HTTPServer) -> None:
        send("instagram", account={"login": "facebook", "page_id": "333"}, text="hi")
        request, _ = graph.log[0]
        assert request.path == "/v26.0/333/messages"
        assert "appsecret_proof" in request.args

    def test_with_instagram_login_no_proof_is_sent(self, graph: HTTPServer) -> None:
        send("instagram", text="hi")
        assert graph.log[0][0].query_string == b""
        assert graph.log[0][0].headers["Authorization"] == "Bearer IGAA-token"

    def test_a_long_text_goes_out_in_pieces_of_a_thousand_bytes(self, graph: HTTPServer) -> None:
        text = " ".join(["dúnadh"] * 300)
        sent = send("instagram", text=text)
        pieces = [body["message"]["text"] for body in asked(graph)]
        assert len(sent.provider_ids) == len(pieces) == 3
        assert all(len(piece.encode()) <= 1000 for piece in pieces)
        assert " ".join(pieces) == text

    def test_messenger_takes_a_text_of_the_longest_length_whole(self, graph: HTTPServer) -> None:
        send("facebook", text="x" * channels.get("facebook").limits.text)
        assert len(graph.log) == 1

    def test_a_quote_stands_in_the_first_call_alone(self, graph: HTTPServer) -> None:
        send("facebook", text="here", files=[file()], reply_to="m_OLD")
        assert [body.get("reply_to") for body in asked(graph)] == [{"mid": "m_OLD"}, None]

    @BOTH
    def test_nothing_is_not_sent(self, graph: HTTPServer, kind: str) -> None:
        with pytest.raises(ChannelError, match="nothing"):
            send(kind, text=" \n ")
        assert graph.log == []

    @BOTH
    @pytest.mark.parametrize("to", ["", "me/accounts", "+353871234567", "joe", "٢٢٢", "1" * 33])
    def test_what_is_no_scoped_id_is_not_written_to(self, graph: HTTPServer, kind: str, to: str) -> None:
        with pytest.raises(ChannelError) as caught:
            send(kind, to, text="hi")
        assert (caught.value.code, caught.value.permanent, graph.log) == ("bad_recipient", True, [])


class TestFiles:
    @pytest.mark.parametrize(
        ("mime", "kind"),
        [
            ("image/jpeg", "image"),
            ("image/gif", "image"),
            ("image/webp", "file"),
            ("video/mp4", "video"),
            ("audio/ogg; codecs=opus", "audio"),
            ("application/pdf", "file"),
        ],
    )
    def test_on_messenger_a_file_goes_along_with_its_call(self, graph: HTTPServer, mime: str, kind: str) -> None:
        send("facebook", files=[file(mime, "Réceipt #1.pdf")])
        request, _ = graph.log[0]
        message = {"attachment": {"type": kind, "payload": {"is_reusable": False}}, "metadata": "msg-8f2"}
        assert _asked(request) == {"recipient": {"id": PSID}, "messaging_type": "RESPONSE", "message": message}
        sent = request.files["filedata"]
        assert (sent.read(), sent.filename, sent.content_type) == (b"bytes", "Réceipt #1.pdf", mime)

    @pytest.mark.parametrize(
        ("mime", "kind"),
        [("image/png", "image"), ("video/webm", "video"), ("audio/wav", "audio"), ("application/pdf", "file")],
    )
    def test_on_instagram_a_file_is_fetched_from_its_address(self, graph: HTTPServer, mime: str, kind: str) -> None:
        send("instagram", files=[file(mime)])
        attachment = {"type": kind, "payload": {"url": "https://chat.example.ie/f/lamp.png"}}
        assert asked(graph) == [{"recipient": {"id": PSID}, "message": {"attachment": attachment}}]

    def test_on_instagram_a_file_without_an_address_is_refused(self, graph: HTTPServer) -> None:
        with pytest.raises(ChannelError) as caught:
            send("instagram", files=[File("f", "a.png", "image/png", 1, lambda: b"x")])
        assert (caught.value.code, caught.value.permanent, graph.log) == ("no_url", True, [])

    @BOTH
    def test_text_and_files_are_a_call_each_the_text_first(self, graph: HTTPServer, kind: str) -> None:
        sent = send(kind, text="two", files=[file(), file("application/pdf", "b.pdf")])
        assert sent.provider_ids == ("m_OUT1", "m_OUT2", "m_OUT3")
        assert ["text" in body["message"] for body in asked(graph)] == [True, False, False]
        assert not [body for body in asked(graph) if {"text", "attachment"} <= body["message"].keys()]


class TestWindow:
    @BOTH
    def test_outside_it_a_person_answers_as_one_where_meta_allows_that(self, graph: HTTPServer, kind: str) -> None:
        send(kind, account={"human_agent": "yes"}, text="hi", window_open=False)
        assert {**asked(graph)[0], "message": None} == {"recipient": {"id": PSID}, **TAG, "message": None}

    @BOTH
    @pytest.mark.parametrize(
        "parts",
        [
            {"account": {"human_agent": "yes"}},
            {"window_open": False},
            {"account": {"human_agent": "yes"}, "window_open": False, "by_person": False},
        ],
    )
    def test_no_tag_is_used_otherwise(self, graph: HTTPServer, kind: str, parts: dict[str, Any]) -> None:
        send(kind, text="hi", **parts)
        body = asked(graph)[0]
        assert {name: body[name] for name in ("messaging_type", "tag") if name in body} == WITHIN[kind]

    @BOTH
    def test_where_metas_clock_says_otherwise_the_same_part_is_tried_with_the_tag(
        self, provider: HTTPServer, kind: str
    ) -> None:
        done = [_json({"message_id": f"m_{number}"}) for number in (1, 2)]
        refuse(provider, kind, error(**CLOSED[kind]), *done)
        sent = send(kind, account={"human_agent": "yes"}, text="hi", files=[file()])
        assert sent.provider_ids == ("m_1", "m_2")
        assert [body.get("tag") for body in asked(provider)] == [None, "HUMAN_AGENT", "HUMAN_AGENT"]

    @BOTH
    def test_a_window_that_is_closed_for_good_waits_for_the_customer(self, provider: HTTPServer, kind: str) -> None:
        refuse(provider, kind, *[error(**CLOSED[kind])] * 3)
        for account in ({}, {"human_agent": "yes"}):
            with pytest.raises(ChannelError) as caught:
                send(kind, account=account, text="hi")
            assert (caught.value.action, caught.value.sent_ids) == ("window", ())
        assert len(provider.log) == 3

    @BOTH
    def test_an_account_with_human_agents_may_answer_for_a_week(self, kind: str) -> None:
        channel, config = channels.get(kind), kinds.PROVIDERS[kind].config
        assert channel.window_hours(channel.normalise(config)) == 24
        assert channel.window_hours(channel.normalise(config | {"human_agent": "yes"})) == 168


class TestTrouble:
    @BOTH
    def test_the_parts_that_went_out_are_told_and_not_sent_again(self, provider: HTTPServer, kind: str) -> None:
        refuse(provider, kind, _json({"message_id": "m_1"}), error(500, code=2), _json({"message_id": "m_2"}))
        with pytest.raises(ChannelError) as caught:
            send(kind, text="hi", files=[file()])
        assert (caught.value.action, caught.value.sent_ids, caught.value.unknown) == ("retry", ("m_1",), False)
        assert send(kind, text="hi", files=[file()], sent_ids=("m_1",), attempt=2).provider_ids == ("m_1", "m_2")
        assert ["text" in body["message"] for body in asked(provider)] == [True, False, False]

    @BOTH
    def test_an_answer_without_an_id_leaves_it_open(self, provider: HTTPServer, kind: str) -> None:
        refuse(provider, kind, _json({"recipient_id": PSID}))
        with pytest.raises(ChannelError) as caught:
            send(kind, text="hi")
        assert (caught.value.action, caught.value.unknown) == ("retry", True)

    @BOTH
    def test_a_lost_answer_to_a_file_leaves_it_open(self, hanging_up: str, kind: str) -> None:
        with pytest.raises(ChannelError) as caught:
            send(kind, files=[file()])
        assert (caught.value.unknown, caught.value.permanent) == (True, False)

    @BOTH
    def test_the_error_that_may_be_a_success_leaves_it_open(self, provider: HTTPServer, kind: str) -> None:
        refuse(provider, kind, error(500, code=1, error_subcode=1357046))
        with pytest.raises(ChannelError) as caught:
            send(kind, text="hi")
        assert caught.value.unknown

    @BOTH
    def test_a_file_that_meta_could_not_fetch_is_tried_once_more(self, provider: HTTPServer, kind: str) -> None:
        actions = []
        refuse(provider, kind, *[error(code=100, error_subcode=2018008) for _ in range(2)])
        for attempt in (1, 2):
            with pytest.raises(ChannelError) as caught:
                send(kind, files=[file()], attempt=attempt)
            actions.append(caught.value.action)
        assert actions == ["retry", "permanent"]
