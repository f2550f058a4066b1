"""Where each kind hands its messages in: a provider that takes them, refuses them or has a file, as a test says.

The refusals are providers' own, one for each action of the kind's error table.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from itertools import count
from typing import Any, ClassVar

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

import channels
from channels.base import Account, ChannelError, Inbound, Media, Outgoing, Sent
from tests.channels import kinds
from tests.channels.mail_servers import Script, script, trusting

Answer = tuple[int, dict[str, Any]]  # of HTTP: status, JSON


class Counter(ABC):
    """One account's way to its provider. `codes`: what an agent is shown of each refusal."""

    kind: ClassVar[str]
    person: ClassVar[str]
    codes: ClassVar[Mapping[str, str]]  # action → code

    @property
    @abstractmethod
    def account(self) -> Account: ...

    @property
    @abstractmethod
    def asked(self) -> int:
        """How often it was asked to send something."""

    @abstractmethod
    def refuse(self, action: str) -> None:
        """From now on refuse, for a reason that this action follows from."""

    @abstractmethod
    def hang_up(self, request: pytest.FixtureRequest) -> None:
        """From now on take each message and end the connection without a word."""

    @abstractmethod
    def media(self, content: bytes) -> Media:
        """Have this file, sent by a customer."""

    def send(self, text: str = "Dia dhuit", **parts: Any) -> Sent:
        return channels.get(self.kind).send(self.account, Outgoing("msg-8f2", self.person, text, **parts))

    def refused(self) -> ChannelError:
        with pytest.raises(ChannelError) as caught:
            self.send()
        return caught.value


class Web(Counter):
    """A provider with an API over HTTP."""

    path: ClassVar[str]  # where messages go
    refusals: ClassVar[Mapping[str, Answer]]

    def __init__(self, server: HTTPServer) -> None:
        self.server, self.answer, self.ids = server, self.taken, count(1)
        server.expect_request(self.path, method="POST").respond_with_handler(self._answer)

    @property
    def account(self) -> Account:
        return replace(kinds.account(self.kind), callback_url=f"{kinds.URL}/{self.kind}/account-1")

    @property
    def asked(self) -> int:
        return len(self.server.log)

    @abstractmethod
    def taken(self) -> Answer:
        """What it says to a message that it takes."""

    def refuse(self, action: str) -> None:
        self.answer = lambda: self.refusals[action]

    def hang_up(self, request: pytest.FixtureRequest) -> None:
        request.getfixturevalue("hanging_up")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    def _answer(self, _: Request) -> Response:
        status, body = self.answer()
        return Response(json.dumps(body), status, content_type="application/json")


def _graph(code: int, subcode: int = 0, status: int = 400) -> Answer:
    error = {"message": f"(#{code}) Meta's words", "type": "OAuthException", "code": code, "error_subcode": subcode}
    return status, {"error": error}


class WhatsApp(Web):
    kind, person, path = "whatsapp", "+353871234567", "/v26.0/5550001/messages"
    codes: ClassVar = {"retry": "130429", "window": "131047", "permanent": "131026", "account": "190"}
    refusals: ClassVar = {
        "retry": _graph(130429, status=429),
        "window": _graph(131047),
        "permanent": _graph(131026),
        "account": _graph(190, status=401),
    }

    def taken(self) -> Answer:
        return 200, {"messaging_product": "whatsapp", "messages": [{"id": f"wamid.OUT{next(self.ids)}"}]}

    def media(self, content: bytes) -> Media:
        found = {"url": self.url("/file"), "mime_type": "image/png", "id": "7001"}
        self.server.expect_request("/v26.0/7001").respond_with_json(found)
        self.server.expect_request("/file").respond_with_data(content, content_type="image/png")
        return Media(provider_id="7001", filename="lamp.png")


class Facebook(Web):
    kind, person, path = "facebook", "222", "/v26.0/111/messages"
    codes: ClassVar = {"retry": "613", "window": "10/2018278", "permanent": "551/1545041", "account": "190/463"}
    refusals: ClassVar = {
        "retry": _graph(613),
        "window": _graph(10, 2018278),
        "permanent": _graph(551, 1545041),
        "account": _graph(190, 463, status=401),
    }

    def taken(self) -> Answer:
        return 200, {"recipient_id": self.person, "message_id": f"m_OUT{next(self.ids)}"}

    def media(self, content: bytes) -> Media:
        self.server.expect_request("/file").respond_with_data(content, content_type="image/png")
        return Media(url=self.url("/file"))


class Instagram(Facebook):
    kind, person, path = "instagram", "998877", "/v26.0/17841400000000000/messages"
    codes: ClassVar = {"retry": "4", "window": "10/2534022", "permanent": "100/2534014", "account": "200/2534041"}
    refusals: ClassVar = {
        "retry": _graph(4),
        "window": _graph(10, 2534022),
        "permanent": _graph(100, 2534014),
        "account": _graph(200, 2534041, status=403),
    }


def _twilio(code: int, status: int) -> Answer:
    return status, {"code": code, "message": "Twilio's words", "status": status}


class Sms(Web):
    kind, person = "sms", "+353871234567"
    root = f"/2010-04-01/Accounts/{kinds.PROVIDERS['sms'].config['account_sid']}"
    path = f"{root}/Messages.json"
    codes: ClassVar = {"retry": "20429", "permanent": "21211", "account": "20003"}
    refusals: ClassVar = {
        "retry": _twilio(20429, 429),
        "permanent": _twilio(21211, 400),
        "account": _twilio(20003, 401),
    }

    def taken(self) -> Answer:
        return 201, {"sid": f"SM{next(self.ids):032}", "status": "queued", "error_code": None}

    def media(self, content: bytes) -> Media:
        path = f"{self.root}/Messages/MM1/Media/ME1"
        self.server.expect_request(path).respond_with_data(content, content_type="image/png")
        return Media(mime="image/png", url=self.url(path))


class Email(Counter):
    """A mail server; a customer's file lies in the mail that brought it."""

    kind, person = "email", "joe@x.example"
    codes: ClassVar = {"retry": "450 4.2.0", "permanent": "550 5.1.1", "account": "535 5.7.8"}

    def __init__(self, server: Script) -> None:
        self.server = server

    @property
    def account(self) -> Account:
        given = {"smtp_host": "127.0.0.1", "smtp_port": str(self.server.port), "smtp_security": "none"}
        read = channels.get("email").normalise(kinds.PROVIDERS["email"].config | given)
        return replace(kinds.account("email"), config=read)

    @property
    def asked(self) -> int:
        return sum(line.upper().startswith("EHLO") for line in self.server.said)

    def refuse(self, action: str) -> None:
        self.server.answers["AUTH" if action == "account" else "RCPT"] = f"{self.codes[action]} the server's words"

    def hang_up(self, request: pytest.FixtureRequest) -> None:
        self.server.answers["."] = None

    def media(self, content: bytes) -> Media:
        mail = EmailMessage()
        mail["From"], mail["Message-ID"] = self.person, "<1@x.example>"
        mail.set_content("See below")
        mail.add_attachment(content, maintype="image", subtype="png", filename="lamp.png")
        [found] = channels.get("email").parse(kinds.callback("email", mail.as_bytes()))
        assert isinstance(found, Inbound)
        [file] = found.media
        return replace(file, data=mail.as_bytes())


COUNTERS: dict[str, type[Web] | type[Email]] = {one.kind: one for one in (WhatsApp, Facebook, Instagram, Sms, Email)}


@contextmanager
def opened(kind: str, provider: HTTPServer) -> Iterator[Counter]:
    """Open one; `provider` stands in for all that speak HTTP."""
    if kind != "email":
        yield COUNTERS[kind](provider)  # type: ignore[arg-type]
        return
    with script() as server, trusting(server.port):
        yield Email(server)
