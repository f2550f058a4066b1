"""The provider's IMAP server (RFC 3501, with IDLE of RFC 2177): an INBOX that one can read and be told about.

What a mail client needs to fetch mail, and no more; what it does not know is answered with BAD.
"""

from __future__ import annotations

import base64
import binascii
import re
import select
from collections.abc import Callable
from typing import Any

from gevent.server import StreamServer

from sandbox.mail import accounts, grammar, mails
from sandbox.mail.accounts import PROVIDER
from sandbox.mail.grammar import Bad
from sandbox.store import Row
from sandbox.world import World

CAPABILITIES = "IMAP4rev1 IDLE AUTH=PLAIN UIDPLUS"
LONGEST_LINE = 65_536


class _Gone(Exception):
    """The other side hung up, or said goodbye."""


class _Session:
    """One connection."""

    def __init__(self, world: World, sock: Any) -> None:
        self.world, self.sock = world, sock
        self.buffer = b""
        self.account: Row | None = None
        self.rows: list[Row] = []  # what the client has been told of
        self.selected = False
        self.flags: dict[int, set[str]] = {}

    def run(self) -> None:
        self.say(f"* OK [CAPABILITY {CAPABILITIES}] IMAP of a sandbox")
        while True:
            tag, _, rest = self.line().partition(" ")
            name, _, rest = rest.partition(" ")
            if name.upper() == "UID":
                name, _, rest = rest.partition(" ")
                name = f"uid_{name}"
            try:
                do: Callable[[str], str] | None = getattr(self, f"do_{name.lower()}", None)
                if do is None or not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", tag):
                    raise Bad(f"Unknown command {name[:40]}")
                if self.account is None and name.lower() not in _BEFORE_LOGIN:
                    raise Bad("Sign in first")
                answer = do(rest.strip())
            except Bad as exc:
                answer = f"BAD {exc}"
            self.say(f"{tag} {answer}")
            if name.upper() == "LOGOUT":
                raise _Gone

    def line(self) -> str:
        """Read a line, with the literals that stand in it put into quotes."""
        text = self._raw_line()
        while found := re.search(r"\{(\d{1,6})(\+?)\}$", text):
            if not found[2]:
                self.say("+ go ahead")
            size = int(found[1])
            while len(self.buffer) < size:
                self._fill()
            literal, self.buffer = self.buffer[:size].decode("utf-8", "replace"), self.buffer[size:]
            escaped = literal.replace("\\", "\\\\").replace('"', '\\"')
            text = f'{text[: found.start()]}"{escaped}"{self._raw_line()}'
        return text

    def _raw_line(self) -> str:
        while b"\n" not in self.buffer:
            if len(self.buffer) > LONGEST_LINE:
                raise _Gone
            self._fill()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")

    def _fill(self) -> None:
        chunk = self.sock.recv(65_536)
        if not chunk:
            raise _Gone
        self.buffer += chunk

    def say(self, line: str | bytes) -> None:
        self.sock.sendall((line.encode() if isinstance(line, str) else line) + b"\r\n")

    # --- before and around a mailbox ---

    def do_capability(self, _: str) -> str:
        self.say(f"* CAPABILITY {CAPABILITIES}")
        return "OK done"

    def do_noop(self, _: str) -> str:
        self._tell()
        return "OK done"

    do_check = do_noop

    def do_logout(self, _: str) -> str:
        self.say("* BYE until then")
        return "OK done"

    def do_login(self, rest: str) -> str:
        words = grammar.words(rest)
        if len(words) != 2:
            raise Bad("LOGIN user password")
        return self._sign_in(*words)

    def do_authenticate(self, rest: str) -> str:
        mechanism, _, first = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            return "NO [CANNOT] PLAIN alone"
        if not first:
            self.say("+ ")
            first = self.line()
        try:
            _, user, password = base64.b64decode(first, validate=True).decode().split("\0")
        except (ValueError, binascii.Error):
            raise Bad("That is no base64 of it") from None
        return self._sign_in(user, password)

    def _sign_in(self, user: str, password: str) -> str:
        self.account = accounts.signed_in(self.world, user, password)
        if self.account is None:
            return "NO [AUTHENTICATIONFAILED] Invalid credentials"
        self.world.log.record(
            "in", PROVIDER, self.account["id"], "IMAP", "LOGIN", request=user, status=200, answer="OK", ms=0
        )
        return f"OK [CAPABILITY {CAPABILITIES}] Welcome"

    def do_list(self, _: str) -> str:
        self.say('* LIST (\\HasNoChildren) "/" INBOX')
        return "OK done"

    def do_status(self, rest: str) -> str:
        if [word.upper() for word in grammar.words(rest)[:1]] != ["INBOX"]:
            return "NO [NONEXISTENT] There is INBOX alone"
        rows = self._inbox()
        facts = {
            "MESSAGES": len(rows), "RECENT": 0, "UIDNEXT": self._next(), "UNSEEN": len(rows),
            "UIDVALIDITY": self._account()["data"]["uidvalidity"],
        }  # fmt: skip
        wanted = re.findall(r"[A-Z]+", rest.partition("(")[2].upper())
        self.say(f"* STATUS INBOX ({' '.join(f'{name} {facts[name]}' for name in wanted if name in facts)})")
        return "OK done"

    def do_select(self, rest: str, *, writable: bool = True) -> str:
        if [word.upper() for word in grammar.words(rest)[:1]] != ["INBOX"]:
            self.selected = False
            return "NO [NONEXISTENT] There is INBOX alone"
        self.rows, self.selected = self._inbox(), True
        self.say("* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)")
        self.say(f"* {len(self.rows)} EXISTS")
        self.say("* 0 RECENT")
        self.say(f"* OK [UIDVALIDITY {self._account()['data']['uidvalidity']}] valid")
        self.say(f"* OK [UIDNEXT {self._next()}] next")
        return f"OK [READ-{'WRITE' if writable else 'ONLY'}] done"

    def do_examine(self, rest: str) -> str:
        return self.do_select(rest, writable=False)

    def do_close(self, _: str) -> str:
        self.rows, self.selected = [], False
        return "OK done"

    do_unselect = do_close

    # --- in a mailbox ---

    def do_uid_search(self, rest: str) -> str:
        self._look()
        found = [row["seq"] for row in grammar.chosen(self.rows, rest, self.flags)]
        self.say(f"* SEARCH{''.join(f' {uid}' for uid in found)}")
        return "OK done"

    def do_uid_fetch(self, rest: str) -> str:
        self._look()
        uids, _, items = rest.partition(" ")
        wanted = grammar.items(items)
        inside = grammar.among(uids, self.rows)
        for number, row in enumerate(self.rows, 1):
            if inside(row["seq"]):
                self._give(number, row, wanted)
        return "OK done"

    def do_uid_store(self, rest: str) -> str:
        self._look()
        uids, _, rest = rest.partition(" ")
        sign, named = rest[:1], set(re.findall(r"\\?[A-Za-z$]+", rest.partition("(")[2]))
        inside = grammar.among(uids, self.rows)
        for row in self.rows:
            if inside(row["seq"]):
                before = self.flags.get(row["seq"], set())
                self.flags[row["seq"]] = before | named if sign == "+" else before - named if sign == "-" else named
        return "OK done"

    def do_idle(self, _: str) -> str:
        """Tell of news until the client has heard enough (RFC 2177)."""
        self.say("+ idling")
        with self.world.live.watch(None) as watcher:
            while True:
                self._tell()
                if b"\n" in self.buffer or select.select([self.sock], [], [], 0)[0]:
                    break
                watcher.wait(0.2)
        if self._raw_line().strip().upper() != "DONE":
            raise Bad("DONE was expected")
        return "OK done"

    def _give(self, number: int, row: Row, wanted: list[re.Match[str]]) -> None:
        raw: bytes | None = None
        parts: list[bytes] = []
        for match in wanted:
            name = match[0].upper()
            if name.startswith("BODY"):
                raw = mails.raw_of(self.world, row) if raw is None else raw
                parts.append(grammar.section(raw, match))
                if ".PEEK" not in name:
                    self.flags.setdefault(row["seq"], set()).add("\\Seen")
            elif name == "UID":
                parts.append(f"UID {row['seq']}".encode())
            elif name == "RFC822.SIZE":
                parts.append(f"RFC822.SIZE {row['data']['size']}".encode())
            elif name == "INTERNALDATE":
                parts.append(f'INTERNALDATE "{grammar.date(row["at"])}"'.encode())
            elif name == "FLAGS":
                parts.append(f"FLAGS ({' '.join(sorted(self.flags.get(row['seq'], ())))})".encode())
            else:
                raise Bad(f"Cannot fetch {name[:40]}")
        if not any(part.startswith(b"UID ") for part in parts):
            parts.insert(0, f"UID {row['seq']}".encode())
        self.say(f"* {number} FETCH (".encode() + b" ".join(parts) + b")")

    def _look(self) -> None:
        if not self.selected:
            raise Bad("SELECT a mailbox first")
        self._tell()

    def _tell(self) -> None:
        """Tell of mails that came."""
        if not self.selected:
            return
        new = mails.inbox(self.world, self._account()["id"], self.rows[-1]["seq"] if self.rows else 0)
        if new:
            self.rows += new
            self.say(f"* {len(self.rows)} EXISTS")

    def _account(self) -> Row:
        assert self.account is not None
        return self.account

    def _inbox(self) -> list[Row]:
        return mails.inbox(self.world, self._account()["id"])

    def _next(self) -> int:
        rows = self._inbox()
        return int(rows[-1]["seq"]) + 1 if rows else 1


_BEFORE_LOGIN = ("capability", "noop", "logout", "login", "authenticate")


def serve(world: World, host: str, port: int) -> int:
    """Listen; give the port."""

    def handle(sock: Any, _: Any) -> None:
        try:
            sock.settimeout(1800)
            _Session(world, sock).run()
        except (_Gone, OSError):
            pass
        finally:
            sock.close()

    server = StreamServer((host, port), handle)
    server.start()
    return int(server.server_port)
