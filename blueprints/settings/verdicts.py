"""What became of a request, in words: what happened, and one hint what to do about it. For the webhook screens."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """`label` fits a badge, `title` is a sentence without its stop, `hint` says what helps."""

    label: str
    title: str
    hint: str
    tone: str = "bad"  # ok warn bad


_KINDS = {
    "dns": (
        "DNS",
        "The host's name was not found",
        "Check the spelling of the host, and that its DNS record is public.",
    ),
    "refused": (
        "Refused",
        "Nothing listens there",
        "Check the port, and that the receiver runs and its firewall lets us in.",
    ),
    "tls": ("TLS", "The secure connection failed", "Renew or complete the certificate; it must name this host."),
    "timeout": ("Time-out", "No answer in time", "Answer 200 first and do the work afterwards, or allow more seconds."),
    "reset": (
        "Cut off",
        "The connection was cut before an answer came",
        "Look into the receiver's log: it may have crashed.",
    ),
    "blocked": (
        "Blocked",
        "We do not call this address",
        "Use a public address, or let an operator allow its network.",
    ),
    "redirect": (
        "Redirect",
        "The receiver sent us elsewhere",
        "Redirects are not followed. Enter the address it points to.",
    ),
    "too_large": ("Too large", "The answer was too large", "Answer with a short body; we read 64 KB at most."),
    "protocol": ("Not HTTP", "What answered does not speak HTTP", "Check the port and whether it is http or https."),
    "internal": (
        "Our fault",
        "We failed to send this",
        "It is tried again. If it stays so, tell support the delivery's id.",
    ),
}
_STATUSES = {
    400: "The receiver did not understand the body. Its log should say why.",
    401: "The receiver refuses the signature or wants a login. Compare its secret with the one here, or add a header.",
    403: "The receiver refuses us. Compare its secret with the one here, and look at its firewall's rules.",
    404: "There is nothing at this path. Compare the address with the receiver's route.",
    405: "The route does not take POST. Let it.",
    408: "The receiver gave up waiting. Answer first and do the work afterwards.",
    410: "The receiver says that it is gone for good, which switches a webhook off.",
    413: "The receiver takes only smaller bodies. Allow at least 128 KB.",
    415: "The receiver does not take application/json. Let it.",
    422: "The receiver understood the body and refused it. Its log should say why.",
    429: "The receiver asks us to slow down. Real deliveries wait for as long as it says.",
    500: "The receiver's own code failed. Its log should say where.",
    502: "A proxy in front of the receiver cannot reach it.",
    503: "The receiver is overloaded or being updated.",
    504: "A proxy in front of the receiver waited in vain for it.",
}


def of(attempt: Any) -> Verdict:
    """Judge one attempt (or anything with `status`, `error_kind` and `error`)."""
    status, kind = attempt.status, attempt.error_kind
    if status is None:
        label, title, hint = _KINDS.get(kind or "", _KINDS["internal"])
        return Verdict(label, title, hint)
    name = phrase(status)
    if status < 300:
        return Verdict(name, "The receiver accepted it", "", "ok")
    if status < 400:
        return Verdict(name, *_KINDS["redirect"][1:])
    title = "The receiver failed" if status >= 500 else "The receiver refused it"
    hint = _STATUSES.get(status) or ("Look into the receiver's log." if status < 500 else "The receiver's side failed.")
    return Verdict(name, title, hint, "warn" if status == 429 else "bad")


def phrase(status: int) -> str:
    """Write a status with its name: 502 Bad Gateway."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def state(endpoint: Any) -> tuple[str, str]:
    """Name the state of an endpoint, and its tone."""
    if endpoint.state == "active":
        return ("Failing", "bad") if endpoint.failing_since else ("Enabled", "ok")
    return {"paused": ("Paused", "warn"), "disabled": ("Off", "bad")}.get(endpoint.state, ("Not saved", ""))
