"""Mail against the sandbox: what `make run` gives somebody who has no mailbox to try."""

from __future__ import annotations

from typing import Any

from tests.callers import Caller, business, operate, until
from tests.processes import Live

JOE = "joe@customers.example"


def connect(live: Live, acme: Caller) -> str:
    address = f"hello-{acme.business_id[-8:]}@acme.example"
    config = {"address": address, "password": "secret", "imap_host": "127.0.0.1", "smtp_host": "127.0.0.1"}
    config |= {"imap_port": live.env["SANDBOX_IMAP_PORT"], "smtp_port": live.env["SANDBOX_SMTP_PORT"]}
    config |= {"imap_security": "none", "smtp_security": "none"}
    acme.post("/api-channels", {"channel": "email", "name": "Hello", "config": config})
    return address


def say(live: Live, acme: Caller, text: str) -> Any:
    words = ("--business", acme.business_id, "--from", JOE, "--name", "Joe", "--text", text)
    return operate(live, "sandbox", "say", "email", *words)


def found(acme: Caller, text: str) -> dict[str, Any]:
    def look() -> list[dict[str, Any]]:
        return [one for one in acme.messages() if one["content"] == text]

    return until(look, 40)[0]


def test_a_customer_writes_is_answered_and_answers_again(live: Live) -> None:
    acme = business(live)
    connect(live, acme)
    assert say(live, acme, "Is it open?")["message"]["header"] == "Question"
    first = found(acme, "Is it open?")
    assert (first["channel"], first["sender"]["name"]) == ("email", "Joe")
    acme.post("/api-send-message", {"customer_id": first["customer_id"], "channel": "email", "content": "Until six."})
    until(lambda: found(acme, "Until six.")["status"] == "sent", 40)
    say(live, acme, "Thanks!")
    assert found(acme, "Thanks!")["conversation_id"] == first["conversation_id"]
