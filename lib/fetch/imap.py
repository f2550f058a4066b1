"""Read a mailbox over IMAP. Called by the email channel, from a thread of the worker's mail part.

The standard library's client on a socket of our door, read by a reader with bounds; IDLE is our own.
"""

from __future__ import annotations

import imaplib
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime

from lib.fetch import servers, wires
from lib.fetch.rules import FetchError
from lib.fetch.servers import Login, MailRefusal, Server

TIMEOUT = 60.0  # seconds for each answer
LONGEST_LINE = 1_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SIZE = re.compile(rb"UID (\d+)|RFC822\.SIZE (\d+)|INTERNALDATE \"([^\"]{1,40})\"")


class _Client(imaplib.IMAP4):
    """The standard library's client, but for how it connects and reads."""

    def __init__(self, server: Server, most: int) -> None:
        self._server, self._most, self._buffer = server, most, bytearray()
        super().__init__(server.host, server.port, TIMEOUT)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return servers.reach(self._server, timeout or TIMEOUT)

    def read(self, size: int) -> bytes:
        if size > self._most:
            raise self.abort(f"The server sends {size} bytes where {self._most} were expected.")
        while len(self._buffer) < size:
            self._fill()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def readline(self) -> bytes:
        at = 0
        while (end := self._buffer.find(b"\n", at)) < 0:
            at = len(self._buffer)
            if at > LONGEST_LINE:
                raise self.abort("The server sends a line without an end.")
            self._fill()
        return self.read(end + 1)

    def _fill(self) -> None:
        chunk = self.sock.recv(256 * 1024)
        if not chunk:
            raise self.abort("The mail server hung up.")
        self._buffer += chunk

    def encrypt(self, name: str) -> None:
        """Encrypt or give up; what came in the clear after the answer is not listened to."""
        if "STARTTLS" not in self.capabilities:
            raise FetchError("tls", "The server offers no STARTTLS.")
        kind, said = self._simple_command("STARTTLS")
        if kind != "OK":
            raise MailRefusal("encrypting", 0, _text(said))
        self._buffer.clear()
        self.sock = servers.tls_context().wrap_socket(self.sock, server_hostname=name)
        self._get_capabilities()

    def hears(self, seconds: float) -> bytes:
        """Give the next line if there is one within so many seconds, else nothing."""
        waiting = self._buffer or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending())
        if not waiting and not select.select([self.sock], [], [], seconds)[0]:
            return b""
        self.sock.settimeout(seconds)
        try:
            return self.readline()
        except TimeoutError:  # what came belonged to TLS, or is half a line
            return b""
        finally:
            self.sock.settimeout(TIMEOUT)

    def begin_idle(self) -> bytes:
        tag: bytes = self._new_tag()
        self.send(tag + b" IDLE\r\n")
        while not (line := self.readline()).startswith(b"+"):
            if line.startswith(tag):
                raise self.abort("The server does not idle.")
        return tag

    def end_idle(self, tag: bytes) -> None:
        self.send(b"DONE\r\n")
        while not self.readline().startswith(tag + b" "):
            pass


class Mailbox:
    """A folder that is open for reading."""

    def __init__(self, client: _Client, folder: str) -> None:
        self._client = client
        kind, said = client.select(_quoted(folder), readonly=True)
        if kind != "OK":
            raise MailRefusal("mailbox", 0, _text(said))
        self.uidvalidity, self.uidnext = self._number("UIDVALIDITY"), self._number("UIDNEXT")
        if not self.uidnext:
            self.uidnext = max(self._search("ALL"), default=0) + 1

    def after(self, uid: int) -> list[int]:
        """List the mails that came after one; `n:*` also names the last one there is, which may be older."""
        return [one for one in self._search(f"UID {uid + 1}:*") if one > uid]

    def since(self, day: date) -> list[int]:
        return self._search(f"SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}")

    def facts(self, uids: Sequence[int]) -> dict[int, tuple[int, datetime | None]]:
        """Give size and time of arrival of mails; those that are gone are left out."""
        found: dict[int, tuple[int, datetime | None]] = {}
        for start in range(0, len(uids), 200):
            chosen = ",".join(map(str, uids[start : start + 200]))
            for item in self._fetch(chosen, "(UID RFC822.SIZE INTERNALDATE)"):
                line = item[0] if isinstance(item, tuple) else item
                parts = [match.groups() for match in _SIZE.finditer(line or b"")]
                uid, size, at = (next((part[place] for part in parts if part[place]), b"") for place in range(3))
                if uid and size:
                    found[int(uid)] = (int(size), _moment(at.decode("ascii", "replace")))
        return found

    def message_ids(self, uids: Sequence[int]) -> dict[int, bytes]:
        """Give the raw Message-ID headers of mails."""
        found: dict[int, bytes] = {}
        for start in range(0, len(uids), 200):
            chosen = ",".join(map(str, uids[start : start + 200]))
            for item in self._fetch(chosen, "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"):
                if isinstance(item, tuple) and (uid := re.search(rb"UID (\d+)", item[0])):
                    found[int(uid[1])] = item[1].partition(b":")[2].strip()
        return found

    def mail(self, uid: int, most: int) -> bytes | None:
        """Give a mail, or as much of its beginning; None if it is gone. It stays unread."""
        for item in self._fetch(str(uid), f"(UID BODY.PEEK[]<0.{most}>)"):
            if isinstance(item, tuple):
                return bytes(item[1])
        return None

    def wait(self, seconds: float, poll: float, stopping: Callable[[], bool]) -> None:
        """Return when there may be news, after so many seconds, or when told to stop.

        A server that cannot say when news come is asked every `poll` seconds.
        """
        idles = "IDLE" in self._client.capabilities
        until = time.monotonic() + (seconds if idles else min(poll, seconds))
        tag = self._client.begin_idle() if idles else b""
        while time.monotonic() < until and not stopping():
            if not idles:
                time.sleep(min(1.0, max(0.0, until - time.monotonic())))
            elif _is_news(self._client.hears(1.0)):
                break
        if idles:
            self._client.end_idle(tag)
        else:
            self._client.noop()

    def _number(self, name: str) -> int:
        return int((self._client.response(name)[1] or [b"0"])[0] or 0)

    def _search(self, what: str) -> list[int]:
        kind, found = self._client.uid("SEARCH", what)
        if kind != "OK":
            raise MailRefusal("mailbox", 0, _text(found))
        return sorted({int(word) for line in found if line for word in line.split() if word.isdigit()})

    def _fetch(self, uids: str, what: str) -> list[tuple[bytes, bytes] | bytes]:
        kind, found = self._client.uid("FETCH", uids, what)
        if kind != "OK":
            raise MailRefusal("mailbox", 0, _text(found))
        return [item for item in found if item]


@contextmanager
def opened(server: Server, login: Login, folder: str, *, most: int) -> Iterator[Mailbox]:
    """Open a folder for reading; raise `FetchError` or `MailRefusal`. `most`: bytes of one answer."""
    client: _Client | None = None
    try:
        client = _Client(server, most + LONGEST_LINE)
        if server.security == "starttls":
            client.encrypt(servers.name_of(server))
        _sign_in(client, login)
        yield Mailbox(client, folder)
        with suppress(OSError, imaplib.IMAP4.error):
            client.logout()
    except imaplib.IMAP4.readonly as exc:
        raise MailRefusal("mailbox", 0, str(exc)) from None
    except imaplib.IMAP4.abort as exc:
        raise FetchError("reset", _sentence(exc), sent=True) from None
    except imaplib.IMAP4.error as exc:
        raise MailRefusal("mailbox", 0, _sentence(exc)) from None
    except (OSError, ValueError) as exc:
        found = wires.explain(exc, TIMEOUT, sent=False)
        raise FetchError(found.kind, found.message.replace("is not HTTP", "is not IMAP")) from None
    finally:
        if client is not None:
            with suppress(OSError):
                client.shutdown()


def _sign_in(client: _Client, login: Login) -> None:
    try:
        if login.token:
            client.authenticate("XOAUTH2", lambda challenge: b"" if challenge else login.xoauth2())
        elif "AUTH=PLAIN" in client.capabilities:
            client.authenticate("PLAIN", lambda _: login.plain())
        elif login.user.isascii() and login.password.isascii():
            client.login(login.user, login.password)
        else:
            raise MailRefusal("login", 0, "This server takes no passwords beyond ASCII.")
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as exc:
        raise MailRefusal("login", 0, _sentence(exc)) from None


def _is_news(line: bytes) -> bool:
    return bool(re.match(rb"\* \d+ (EXISTS|RECENT)|\* BYE", line, re.IGNORECASE))


def _quoted(folder: str) -> str:
    """Write a folder's name in modified UTF-7 (RFC 3501, 5.1.3) and quotes."""
    out = "".join(
        run if run.isascii() else f"&{run.encode('utf-7').decode()[1:].rstrip('-').replace('/', ',')}-"
        for run in re.findall(r"[\x00-\x7f]+|[^\x00-\x7f]+", folder.replace("&", "&-"))
    )
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", out))


def _moment(text: str) -> datetime | None:
    match = re.fullmatch(r" ?(\d{1,2})-(\w{3})-(\d{4}) (\d\d:\d\d:\d\d [+-]\d{4})", text)
    try:
        month = _MONTHS.index(match[2].title()) + 1 if match else 0
        return datetime.strptime(f"{match[3]}-{month}-{match[1]} {match[4]}", "%Y-%m-%d %H:%M:%S %z") if match else None
    except ValueError:
        return None


def _text(said: Sequence[object]) -> str:
    words = b" ".join(part for part in said if isinstance(part, bytes)).decode("utf-8", "replace")
    return " ".join(words.split())[:500] or "The server refused it."


def _sentence(exc: Exception) -> str:
    """Give what the server said; the library passes some of it on as written bytes."""
    said = exc.args[0] if exc.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return " ".join(text.removeprefix("b'").removesuffix("'").split())[:500] or "The server refused it."
