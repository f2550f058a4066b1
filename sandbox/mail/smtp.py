"""The provider's SMTP server (RFC 5321): signs businesses in, and takes their mail for customers. As strict as most."""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import Any

from gevent.server import StreamServer

from sandbox.faults import Fault, Place
from sandbox.mail import accounts, people
from sandbox.mail.accounts import PROVIDER
from sandbox.store import Row
from sandbox.world import World

MOST = 25 * 1024 * 1024
LONGEST_LINE = 4096
_PATH = re.compile(r"(?:FROM|TO):<([^<>\s]*)>((?: [A-Za-z0-9=_-]+)*)", re.IGNORECASE)
_TROUBLE = {
    "rate_limit": "450 4.7.1 Too much mail, slow down",
    "pair_rate_limit": "450 4.2.1 Too much mail for this recipient",
    "server_error": "451 4.3.0 Internal error",
    "server_error_html": "451 4.3.0 Internal error",
    "unavailable": "421 4.3.2 Service not available",
}


class _Hung(Exception):
    """The other side is gone, or a fault cuts the connection."""


class _Session:
    """One connection."""

    def __init__(self, world: World, sock: Any) -> None:
        self.world, self.sock = world, sock
        self.lines = sock.makefile("rb")
        self.account: Row | None = None
        self.greeted = False
        self.sender: str | None = None
        self.recipients: list[str] = []

    def run(self) -> None:
        self.say("220 mail.sandbox.example ESMTP, a sandbox")
        while True:
            line = self.line()
            word, _, rest = line.partition(" ")
            do = getattr(self, f"do_{word.lower()}", None) if word.isalpha() else None
            self.say(do(rest.strip()) if do else "500 5.5.2 Unknown command")
            if word.upper() == "QUIT":
                return

    def line(self) -> str:
        data = self.lines.readline(LONGEST_LINE)
        if not data:
            raise _Hung
        if not data.endswith(b"\n"):
            self.say("500 5.5.2 Line too long")
            raise _Hung
        return str(data.decode("utf-8", "replace").rstrip("\r\n"))

    def say(self, answer: str) -> None:
        self.sock.sendall(f"{answer}\r\n".encode())

    def do_ehlo(self, name: str) -> str:
        self.greeted, self.sender, self.recipients = bool(name), None, []
        if not name:
            return "501 5.5.4 EHLO wants a name"
        offers = ("mail.sandbox.example", f"SIZE {MOST}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
        return "\r\n".join(f"250-{offer}" for offer in offers) + "\r\n250 AUTH PLAIN LOGIN"

    do_helo = do_ehlo

    def do_auth(self, rest: str) -> str:
        mechanism, _, first = rest.partition(" ")
        if self.account:
            return "503 5.5.1 You are signed in already"
        if not self.greeted or mechanism.upper() not in ("PLAIN", "LOGIN"):
            return "504 5.5.4 PLAIN or LOGIN, after EHLO"
        try:
            if mechanism.upper() == "PLAIN":
                _, user, password = self._word(first or self._ask("")).split("\0")
            else:
                user = self._word(first or self._ask("VXNlcm5hbWU6"))
                password = self._word(self._ask("UGFzc3dvcmQ6"))
        except (ValueError, binascii.Error):
            return "501 5.5.2 That is no base64 of it"
        account = accounts.signed_in(self.world, user, password)
        if account and self._fault("before", account, on="login"):
            account = None
        self.account = account
        return "235 2.7.0 Welcome" if account else "535 5.7.8 Authentication credentials invalid"

    def do_mail(self, rest: str) -> str:
        found = _PATH.fullmatch(rest)
        if self.account is None:
            return "530 5.7.0 Authentication required"
        if found is None or not rest.upper().startswith("FROM"):
            return "501 5.5.4 MAIL FROM:<address>"
        if (size := re.search(r"SIZE=(\d+)", found[2], re.IGNORECASE)) and int(size[1]) > MOST:
            return "552 5.3.4 Message too big"
        if found[1].lower() != self.account["id"]:
            return f"553 5.7.1 You send as {self.account['id']} alone"
        self.sender, self.recipients = found[1], []
        return "250 2.1.0 Ok"

    def do_rcpt(self, rest: str) -> str:
        found = _PATH.fullmatch(rest)
        if self.sender is None or self.account is None:
            return "503 5.5.1 MAIL first"
        if found is None or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", found[1]):
            return "501 5.1.3 That is no address"
        if len(self.recipients) >= 100:
            return "452 4.5.3 Too many recipients"
        person = people.find(self.world, self.account["id"], found[1])
        if person and person["data"]["unknown"]:
            return f"550 5.1.1 <{found[1]}>: no such mailbox"
        self.recipients.append(found[1])
        return "250 2.1.5 Ok"

    def do_data(self, _: str) -> str:
        if not self.recipients or self.account is None:
            return "503 5.5.1 RCPT first"
        fault = self._fault("before", self.account)
        if fault and fault.kind == "drop_before_accept":
            raise _Hung
        if fault:
            return _TROUBLE.get(fault.kind) or f"{fault.data.get('code', 554)} {fault.data.get('details', '5.0.0 No')}"
        self.say("354 Go ahead, end with a dot")
        mail = self._mail()
        if mail is None:
            return "552 5.3.4 Message too big"
        begun = time.monotonic()
        for recipient in self.recipients:
            people.take(self.world, self.account, recipient, mail)
        after = self._fault("after", self.account)
        answer = "250 2.0.0 Ok: queued"
        self.world.log.record(
            "in", PROVIDER, self.account["id"], "SMTP", ", ".join(self.recipients), request=mail, status=250,
            answer=answer, ms=(time.monotonic() - begun) * 1000, note=after.kind if after else "",
        )  # fmt: skip
        self.sender, self.recipients = None, []
        if after and after.kind == "slow":
            time.sleep(after.seconds(2))
        elif after:
            time.sleep(after.seconds(30) if after.kind == "timeout_after_accept" else 0)
            raise _Hung
        return answer

    def do_rset(self, _: str) -> str:
        self.sender, self.recipients = None, []
        return "250 2.0.0 Ok"

    def do_noop(self, _: str) -> str:
        return "250 2.0.0 Ok"

    def do_quit(self, _: str) -> str:
        return "221 2.0.0 Bye"

    def do_starttls(self, _: str) -> str:
        return "454 4.7.0 No encryption on this machine"

    def _ask(self, challenge: str) -> str:
        self.say(f"334 {challenge}")
        return self.line()

    def _word(self, text: str) -> str:
        return base64.b64decode(text, validate=True).decode()

    def _mail(self) -> bytes | None:
        """Read up to the lonely dot; None if it was too much."""
        kept: list[bytes] = []
        size = 0
        while True:
            line = self.lines.readline(1_000_000)
            if not line:
                raise _Hung
            if line in (b".\r\n", b".\n"):
                return b"".join(kept) if size <= MOST else None
            size += len(line)
            if size <= MOST:
                kept.append(line[1:] if line.startswith(b".") else line)

    def _fault(self, place: Place, account: Row, on: str = "messages") -> Fault | None:
        person = self.recipients[0].lower() if self.recipients else ""
        return self.world.faults.take(place, PROVIDER, account=account["id"], person=person, on=on)


def serve(world: World, host: str, port: int) -> int:
    """Listen; give the port."""

    def handle(sock: Any, _: Any) -> None:
        try:
            _Session(world, sock).run()
        except (_Hung, OSError):
            pass
        finally:
            sock.close()

    server = StreamServer((host, port), handle)
    server.start()
    return int(server.server_port)
