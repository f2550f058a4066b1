"""Mails that others choke on: a Subject of 280 KB and a mail of 2,000 parts, and how soon the next one is in."""

from __future__ import annotations

import smtplib
import time

from bench.figures import Figure
from bench.stage import Stage

ADDRESS = "support@bench.example"


def measure(stage: Stage) -> list[Figure]:
    config = {
        "address": ADDRESS,
        "password": "secret",
        "smtp_host": "127.0.0.1",
        "smtp_port": stage.live.env["SANDBOX_SMTP_PORT"],
        "smtp_security": "none",
    }
    stage.call("POST", "/api-channels", {"channel": "email", "name": "Support", "config": config})
    _seconds_to(stage, "warm")
    parts = "".join(f"--b\nContent-Type: text/plain; name=f{n}.txt\n\nx\n" for n in range(2000))
    awkward = {
        "a Subject of 280 KB": _mail("\n ".join(["x" * 900] * 310), "Hello"),
        "a mail of 2,000 parts": _mail("Parts", f"{parts}--b--", 'Content-Type: multipart/mixed; boundary="b"\n'),
    }
    return [
        Figure(f"the next mail after {what} is in", _seconds_to(stage, f"after {place}", mail), 5, unit="s")
        for place, (what, mail) in enumerate(awkward.items())
    ]


def _seconds_to(stage: Stage, subject: str, *before: str) -> float:
    """Hand over mails, the last with this subject; wait until that one is a message."""
    host, port = stage.live.env["MAIL_LISTEN"].split(":")
    began = time.perf_counter()
    with smtplib.SMTP(host, int(port)) as door:
        for mail in (*before, _mail(subject, "Hello")):
            door.sendmail("joe@x.example", [ADDRESS], mail)
    query = "SELECT 1 FROM messages WHERE extra->>'subject' = %s"
    while stage.db.execute(query, (subject,)).fetchone() is None:
        assert time.perf_counter() - began < 60, subject
        time.sleep(0.02)
    return time.perf_counter() - began


def _mail(subject: str, text: str, headers: str = "") -> str:
    identity = f"Message-ID: <{time.time_ns()}@x.example>\n"
    return f"From: Joe <joe@x.example>\nTo: {ADDRESS}\n{identity}{headers}Subject: {subject}\n\n{text}\n"
