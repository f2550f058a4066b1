"""A Twilio number in the sandbox, with what an integrator would do to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tests.sandbox.conftest import Box, Got, Receiver

AOIFE = "+353871234567"
Form = dict[str, Any]


@dataclass
class Line:
    """`sid` and `token` are the account's; the number is its sender."""

    box: Box
    receiver: Receiver
    sid: str
    token: str
    number: str
    service: str = ""

    @property
    def id(self) -> str:
        return self.service or self.number

    @property
    def root(self) -> str:
        return f"/2010-04-01/Accounts/{self.sid}"

    def api(
        self, method: str, path: str, form: Form | None = None, login: tuple[str, str] | None = None, **options: Any
    ) -> tuple[int, Any]:
        """Call the REST API; a path that begins with `.` or `/Messages` is one of this account's."""
        user, word = login or (self.sid, self.token)
        basic = base64.b64encode(f"{user}:{word}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"} if user else {}
        if form is not None:
            pairs = [
                (name, one) for name, given in form.items() for one in (given if isinstance(given, list) else [given])
            ]
            options |= {"fields": pairs, "encode_multipart": False}
        full = path if path.startswith(("/2010", "http")) else self.root + path
        return self.box.call(method, full, headers={**headers, **options.pop("headers", {})}, **options)

    def form(self, **changed: Any) -> Form:
        """The usual form of a send; a None takes a field out of it."""
        sender = {"MessagingServiceSid": self.service} if self.service else {"From": self.number}
        usual = {"To": AOIFE, **sender, "Body": "Dia dhuit", "StatusCallback": f"{self.receiver.url}?message=m1"}
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def send(self, **changed: Any) -> tuple[int, Any]:
        return self.api("POST", "/Messages.json", self.form(**changed))

    def sent(self, **changed: Any) -> Any:
        """Send what must be accepted; give the message."""
        status, answer = self.send(**changed)
        assert status == 201, answer
        return answer

    def refused(self, **changed: Any) -> tuple[int, int]:
        """Send what must be refused; give (HTTP status, code)."""
        status, answer = self.send(**changed)
        assert status >= 400, answer
        assert set(answer) == {"code", "message", "more_info", "status"}
        assert answer["status"] == status
        assert answer["more_info"] == f"https://www.twilio.com/docs/errors/{answer['code']}"
        return status, answer["code"]

    def message(self, sid: str) -> Any:
        return self.api("GET", f"/Messages/{sid}.json")[1]

    def say(self, text: str = "Hello", sender: str = AOIFE, **more: Any) -> Any:
        return self.box.control("sms/say", {"account": self.id, "from": sender, "text": text, **more})

    def people(self, sender: str = AOIFE, **facts: Any) -> Any:
        return self.box.control("sms/people", {"account": self.id, "from": sender, **facts})["person"]

    def fault(self, kind: str, **more: Any) -> None:
        self.box.control("faults", {"provider": "sms", "kind": kind, "account": self.id, **more})

    def chat(self, person: str = AOIFE, **query: str) -> list[Any]:
        words = urlencode({"account": self.id, "person": person, **query}, quote_via=quote)
        return list(self.box.control(f"sms/messages?{words}")["messages"])

    def statuses(self, count: int) -> list[Got]:
        """Give the status callbacks, once so many came."""
        until = time.monotonic() + 5
        while len(found := [got for got in list(self.receiver.got) if "MessageStatus" in got.form]) < count:
            assert time.monotonic() < until, f"not {count}: {[got.form for got in self.receiver.got]}"
            time.sleep(0.005)
        return found

    def url_of(self, got: Got) -> str:
        return self.receiver.url.removesuffix(self.receiver.path) + got.path

    def signed(self, got: Got, secret: str = "", algorithm: str = "sha1") -> bool:
        """Judge a signature as the documentation says."""
        pairs = sorted(set(parse_qsl(got.body.decode(), keep_blank_values=True)))
        text = self.url_of(got) + "".join(name + value for name, value in pairs)
        made = hmac.new((secret or self.token).encode(), text.encode(), getattr(hashlib, algorithm)).digest()
        return got.headers.get("x-twilio-signature") == base64.b64encode(made).decode()


def until(look: Any, seconds: float = 5) -> Any:
    """Look again until there is something to see."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return seen
