"""What Twilio is asked when we send, fetch a file or test a connection, over HTTP, and what follows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import channels
from channels import endpoints
from channels.base import Account, Callback, ChannelError, File, Media, Outgoing, Receipt, Sent
from channels.sms import inbound
from tests.channels import kinds

AC = kinds.PROVIDERS["sms"].config["account_sid"]
ROOT = f"/2010-04-01/Accounts/{AC}"
MESSAGES, MEDIA = f"{ROOT}/Messages.json", f"{ROOT}/Messages/MM1/Media/ME1"
SID = "SM000000000000000000000000000000a1"
SERVICE = {"messaging_service_sid": "MG00000000000000000000000000000001"}
KEY = {"api_key_sid": "SK00000000000000000000000000000001", "api_key_secret": "key-secret"}
CALLBACK = f"{kinds.URL}/sms/account-1"


def _json(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json")


@pytest.fixture
def twilio(provider: HTTPServer) -> HTTPServer:
    provider.expect_request(MESSAGES, method="POST").respond_with_data(
        json.dumps({"sid": SID, "status": "queued", "error_code": None}), 201, content_type="application/json"
    )
    return provider


def account(**config: str) -> Account:
    return Account("account-1", "business-1", "sms", "", kinds.PROVIDERS["sms"].config | config, CALLBACK)


def send(to: str = "+353871234567", config: dict[str, str] | None = None, attempt: int = 1, **parts: Any) -> Sent:
    return channels.get("sms").send(account(**config or {}), Outgoing("msg-8f2", to, attempt=attempt, **parts))


def failed(**parts: Any) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        send(**{"text": "Dia dhuit"} | parts)
    return caught.value


def file(size: int = 5, url: str = "https://chat.example.ie/f/1") -> File:
    return File("file-1", "lamp.png", "image/png", size, lambda: b"bytes", url)


def asked(server: HTTPServer) -> Request:
    [(request, _)] = server.log
    return request


def login(user: str, word: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


class TestSending:
    def test_a_text_that_is_known_to_have_gone_is_not_sent_again(self, twilio: HTTPServer) -> None:
        assert send(text="Dia dhuit", sent_ids=["SM1"], attempt=2) == Sent(("SM1",))
        assert twilio.log == []

    def test_a_text_is_one_form_with_a_status_address_of_its_own(self, twilio: HTTPServer) -> None:
        assert send(text="Dia dhuit, a Sheáin & Áine") == Sent((SID,))
        request = asked(twilio)
        assert request.mimetype == "application/x-www-form-urlencoded"
        assert request.headers["Authorization"] == login(AC, "auth-token-123")
        assert request.form.to_dict(flat=False) == {
            "To": ["+353871234567"],
            "From": ["+353861111111"],
            "Body": ["Dia dhuit, a Sheáin & Áine"],
            "StatusCallback": [f"{CALLBACK}?message=msg-8f2"],
        }

    def test_the_status_address_brings_our_id_back(self, twilio: HTTPServer) -> None:
        send(text="hi")
        url = asked(twilio).form["StatusCallback"]
        body = kinds.as_twilio_writes({"MessageSid": SID, "MessageStatus": "delivered"})
        [receipt] = inbound.parse(Callback("POST", url, {}, {}, body))
        assert isinstance(receipt, Receipt)
        assert (receipt.status, receipt.provider_id, receipt.message_id) == ("delivered", SID, "msg-8f2")

    def test_a_messaging_service_chooses_the_sender(self, twilio: HTTPServer) -> None:
        send(text="hi", config=SERVICE)
        assert asked(twilio).form["MessagingServiceSid"] == SERVICE["messaging_service_sid"]
        assert "From" not in asked(twilio).form

    def test_an_api_key_makes_the_call_where_there_is_one(self, twilio: HTTPServer) -> None:
        send(text="hi", config=KEY)
        assert asked(twilio).headers["Authorization"] == login(KEY["api_key_sid"], "key-secret")

    def test_files_go_by_their_addresses_in_the_same_call(self, twilio: HTTPServer) -> None:
        send(files=[file(), file(url="https://chat.example.ie/f/2")])
        assert asked(twilio).form.getlist("MediaUrl") == ["https://chat.example.ie/f/1", "https://chat.example.ie/f/2"]
        assert "Body" not in asked(twilio).form

    @pytest.mark.parametrize(
        ("parts", "code"),
        [
            ({"to": "AIB"}, "no_answer"),
            ({"text": " \n"}, "empty"),
            ({"text": "x" * 1601}, "21617"),
            ({"files": [file(3_000_000), file(3_000_000)]}, "too_large"),
            ({"files": [file(url="")]}, "no_file_url"),
        ],
    )
    def test_what_twilio_would_not_deliver_is_not_sent(
        self, twilio: HTTPServer, parts: dict[str, Any], code: str
    ) -> None:
        error = failed(**parts)
        assert (error.code, error.action, error.unknown) == (code, "permanent", False)
        assert twilio.log == []

    def test_the_longest_text_goes_out_whole(self, twilio: HTTPServer) -> None:
        send(text="x" * 1600)
        assert len(asked(twilio).form["Body"]) == 1600


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code", "action"),
        [
            (429, 20429, "retry"),
            (500, 20500, "retry"),
            (503, 20503, "retry"),
            (400, 21611, "retry"),
            *((400, code, "permanent") for code in (21211, 21212, 21408, 21602, 21608, 21610, 21612, 21614, 21617)),
            *((400, code, "permanent") for code in (21266, 21619, 21620, 21623, 21635, 29999)),
            *((400, code, "account") for code in (20005, 21606, 21659, 21660, 21701, 21703)),
            (401, 20003, "account"),
        ],
    )
    def test_the_code_decides(self, provider: HTTPServer, status: int, code: int, action: str) -> None:
        answer = _json({"code": code, "message": "…", "status": status}, status)
        provider.expect_request(MESSAGES).respond_with_response(answer)
        error = failed()
        assert (error.code, error.action, error.unknown) == (str(code), action, False)

    def test_who_opted_out_is_explained(self, provider: HTTPServer) -> None:
        provider.expect_request(MESSAGES).respond_with_response(_json({"code": 21610}, 400))
        assert "START" in failed().message

    def test_a_wait_that_twilio_asks_for_is_kept(self, provider: HTTPServer) -> None:
        answer = Response("slow down", 429, {"Retry-After": "90"})
        provider.expect_request(MESSAGES).respond_with_response(answer)
        error = failed()
        assert (error.code, error.action, error.retry_after) == ("20429", "retry", 90.0)

    @pytest.mark.parametrize("answer", [Response("<html>", 502), Response("<html>", 200), _json({"status": "x"}, 201)])
    def test_an_answer_that_is_not_twilios_leaves_the_outcome_unknown(
        self, provider: HTTPServer, answer: Response
    ) -> None:
        provider.expect_request(MESSAGES).respond_with_response(answer)
        assert failed().unknown

    def test_a_call_that_never_left_is_tried_again(self, unused_port: int) -> None:
        before = endpoints.current()
        endpoints.configure(endpoints.Endpoints(twilio_api_url=f"http://127.0.0.1:{unused_port}"))
        try:
            error = failed()
        finally:
            endpoints.configure(before)
        assert (error.action, error.unknown) == ("retry", False)


class TestMedia:
    def fetch(self, path: str, max_bytes: int = 100) -> tuple[bytes, str, str]:
        media = Media(mime="image/jpeg", url=path)
        return channels.get("sms").fetch_media(account(), media, max_bytes=max_bytes)

    def refused(self, **parts: Any) -> ChannelError:
        with pytest.raises(ChannelError) as caught:
            self.fetch(**parts)
        return caught.value

    def redirect(self, provider: HTTPServer, to: str) -> None:
        def answer(request: Request) -> Response:
            known = request.headers.get("Authorization") == login(AC, "auth-token-123")
            return Response("", 307, {"Location": to}) if known else Response("", 401)

        provider.expect_request(MEDIA).respond_with_handler(answer)

    def test_the_signed_address_does_not_get_our_credentials(self, provider: HTTPServer) -> None:
        self.redirect(provider, "/signed?Signature=x")
        provider.expect_request("/signed").respond_with_data(b"jpeg")
        base = endpoints.current().twilio_api_url
        assert self.fetch(base + MEDIA) == (b"jpeg", "image/jpeg", "")
        first, second = [request for request, _ in provider.log]
        assert "Authorization" in first.headers
        assert "Authorization" not in second.headers

    @pytest.mark.parametrize("to", ["https://evil.example/x", "http://127.0.0.1:1/x", "http://mms.twiliocdn.com/x"])
    def test_a_redirect_elsewhere_is_not_followed(self, provider: HTTPServer, to: str) -> None:
        self.redirect(provider, to)
        assert self.refused(path=endpoints.current().twilio_api_url + MEDIA).code == "media_host"

    @pytest.mark.parametrize(
        "url", ["https://evil.example/x", "https://mms.twiliocdn.com/x", "file:///etc/passwd", "x"]
    )
    def test_only_twilios_api_is_asked_with_our_credentials(self, provider: HTTPServer, url: str) -> None:
        assert self.refused(path=url).code == "media_host"
        assert provider.log == []

    @pytest.mark.parametrize("status", [401, 404, 500])
    def test_an_error_is_no_file(self, provider: HTTPServer, status: int) -> None:
        provider.expect_request(MEDIA).respond_with_data(b"sorry", status)
        error = self.refused(path=endpoints.current().twilio_api_url + MEDIA)
        assert (error.code, error.action) == (f"media_{status}", "retry")


class TestAccount:
    def test_the_test_reads_the_account_with_the_token_and_tries_the_key(self, provider: HTTPServer) -> None:
        told = {"friendly_name": "Acme", "status": "active", "type": "Full"}
        provider.expect_request(f"{ROOT}.json").respond_with_response(_json(told))
        provider.expect_request(MESSAGES, method="GET").respond_with_response(_json({"messages": []}))
        found = channels.get("sms").check(account(**KEY))
        details = {"status": "active", "type": "Full"}
        assert found == {"name": "Acme", "address": "+353861111111", "details": details}
        logins = [request.headers["Authorization"] for request, _ in provider.log]
        assert logins == [login(AC, "auth-token-123"), login(KEY["api_key_sid"], "key-secret")]

    def test_a_wrong_token_is_the_accounts_trouble(self, provider: HTTPServer) -> None:
        provider.expect_request(f"{ROOT}.json").respond_with_response(_json({"code": 20003}, 401))
        with pytest.raises(ChannelError, match="auth token") as caught:
            channels.get("sms").check(account())
        assert caught.value.action == "account"

    def test_a_suspended_account_is_told(self, provider: HTTPServer) -> None:
        provider.expect_request(f"{ROOT}.json").respond_with_response(_json({"status": "suspended"}))
        with pytest.raises(ChannelError, match="suspended"):
            channels.get("sms").check(account())

    @pytest.mark.parametrize(
        ("entered", "region", "kept"),
        [
            ("086 123 4567", "IE", "+353861234567"),
            ("+1 (500) 555-0006", "IE", "+15005550006"),
            ("50015", "IE", "50015"),
            ("Acme", "IE", "Acme"),
        ],
    )
    def test_a_sender_is_written_as_twilio_wants_it(self, entered: str, region: str, kept: str) -> None:
        config = kinds.PROVIDERS["sms"].config | {"from_number": entered, "default_region": region}
        assert channels.get("sms").normalise(config)["from_number"] == kept

    @pytest.mark.parametrize("changed", [{"from_number": ""}, {"from_number": "12"}, {"from_number": "A" * 12}])
    def test_a_sender_that_cannot_be_is_refused(self, changed: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"^from_number: "):
            channels.get("sms").normalise(kinds.PROVIDERS["sms"].config | changed)

    def test_half_an_api_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^api_key_secret: "):
            channels.get("sms").normalise(kinds.PROVIDERS["sms"].config | {"api_key_sid": KEY["api_key_sid"]})

    def test_a_service_and_a_number_both_name_the_account(self) -> None:
        config = kinds.PROVIDERS["sms"].config | SERVICE
        assert channels.get("sms").names(config) == (SERVICE["messaging_service_sid"], "+353861111111")
        assert channels.get("sms").account_key(config) == SERVICE["messaging_service_sid"]

    def test_the_answer_to_a_callback_says_nothing_to_the_customer(self) -> None:
        reply = channels.get("sms").reply(kinds.callback("sms", b"{}"))
        assert (reply.status, reply.body, reply.content_type.split(";")[0]) == (200, "<Response/>", "text/xml")
