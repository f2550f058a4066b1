"""Mail servers on this machine: a real SMTP server (aiosmtpd), one that says what a test tells it, and Dovecot."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from channels import endpoints
from tests.ports import free_ports

PASSWORD = "let me in"
DOVECOT = shutil.which("dovecot") or ("/usr/sbin/dovecot" if Path("/usr/sbin/dovecot").exists() else "")


@contextmanager
def trusting(*ports: int) -> Iterator[None]:
    """Let the channel speak to these ports of this machine, also without encryption."""
    before = endpoints.current()
    hosts = tuple(f"{host}:{port}" for port in ports for host in ("127.0.0.1", "localhost"))
    endpoints.configure(endpoints.Endpoints(mail_trusted_hosts=hosts))
    try:
        yield
    finally:
        endpoints.configure(before)


@dataclass
class PostOffice:
    """What a real SMTP server took."""

    port: int = 0
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    logins: list[tuple[str, bytes]] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken.append((envelope.mail_from or "", list(envelope.rcpt_tos), bytes(envelope.original_content or b"")))
        return "250 2.0.0 Ok: queued as ABC"

    def mail(self) -> EmailMessage:
        """Give the last mail, read by the standard library."""
        return BytesParser(policy=default).parsebytes(self.taken[-1][2])  # type: ignore[return-value]


@contextmanager
def post_office(tls: ssl.SSLContext | None = None, *, size: int = 1_000_000, auth: bool = True) -> Iterator[PostOffice]:
    """Start aiosmtpd; with `tls` it wants STARTTLS first, and with `auth` a login."""
    office = PostOffice()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        if isinstance(data, LoginPassword):
            office.logins.append((mechanism, data.login))
            return AuthResult(success=data.password == PASSWORD.encode(), handled=False)
        return AuthResult(success=False, handled=False)

    options = {
        "tls_context": tls,
        "require_starttls": tls is not None,
        "data_size_limit": size,
        "authenticator": authenticate if auth else None,
        "auth_required": auth,
        "auth_require_tls": tls is not None,
        "hostname": "mail.example",
        "enable_SMTPUTF8": True,
    }
    ready, done = threading.Event(), asyncio.Event()

    async def serve() -> None:
        open_ones: set[SMTP] = set()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: _Conversation(open_ones, office, options), "127.0.0.1", 0)
        office.port, office.loop = listener.sockets[0].getsockname()[1], loop
        ready.set()
        await done.wait()
        listener.close()
        for one in open_ones:
            if one.transport:
                one.transport.close()
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield office
    finally:
        assert office.loop is not None
        office.loop.call_soon_threadsafe(done.set)
        thread.join(10)


class _Conversation(SMTP):
    """One connection, known to who closes them all."""

    def __init__(self, open_ones: set[SMTP], office: PostOffice, options: dict[str, Any]) -> None:
        with warnings.catch_warnings(action="ignore"):  # of a login without TLS, which some tests are about
            super().__init__(office, **options)
        self.open_ones = open_ones

    def connection_made(self, transport: Any) -> None:
        self.open_ones.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.open_ones.discard(self)
        super().connection_lost(error)


class Script:
    """An SMTP server that answers each command as it is told; `None` hangs up without a word."""

    def __init__(self, answers: Mapping[str, str | None]) -> None:
        self.answers = {
            **{"": "220 ready", "EHLO": "250-script\r\n250-SIZE 100000\r\n250 AUTH PLAIN XOAUTH2", "AUTH": "235 ok"},
            **{"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", ".": "250 2.0.0 ok", "QUIT": "221 bye"},
        } | dict(answers)
        self.said: list[str] = []
        self.on_empty_line = "500 what?"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as lines:
                    self._serve(connection, lines)

    def _serve(self, connection: socket.socket, lines: Any) -> None:
        word, in_data = "", False
        while True:
            answer = self.on_empty_line if word == "(empty)" else self.answers.get(word, "500 what?")
            if answer is None:
                return
            connection.sendall(f"{answer}\r\n".encode())
            in_data = word == "DATA" and answer.startswith("354")
            line = lines.readline()
            while in_data and line not in (b".\r\n", b""):
                line = lines.readline()
            if not line:
                return
            self.said.append(line.decode().strip())
            word = "." if in_data else self.said[-1].partition(" ")[0].upper() or "(empty)"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)


@contextmanager
def script(**answers: str | None) -> Iterator[Script]:
    """Start one; `dot` is the answer to the end of a mail, `greeting` the first line."""
    names = {"dot": ".", "greeting": ""}
    server = Script({names.get(name, name.upper()): said for name, said in answers.items()})
    try:
        yield server
    finally:
        server.close()


# --- Dovecot ---


_count = itertools.count()


class Dovecot:
    """A real IMAP server with one user, `support`, whose mail lies in a Maildir."""

    def __init__(self, tls: Path | None = None, tokens: str = "") -> None:
        # Not below pytest's own folder: its processes are other users, who may not look in there.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.port, self.tls_port, self.tls = *free_ports(2), tls and Path(shutil.copy(tls, folder / "tls.pem"))
        self.maildir = folder / "mail"
        self._process: subprocess.Popen[bytes] | None = None
        self.tokens = tokens  # where it asks what a token is worth; then it takes tokens too
        self.make_folder(".")
        self.make_folder(".Entw&APw-rfe &- M&AOE-s")
        (folder / "dovecot.conf").write_text(self._settings())
        (folder / "tokens.conf").write_text(f"tokeninfo_url = {tokens}\nusername_attribute = email\n")
        user = pwd.getpwuid(os.getuid())
        (folder / "users").write_text(
            f"support:{{PLAIN}}{PASSWORD}:{_mail_user().pw_uid}:{_mail_user().pw_gid}::{folder}\n"
        )
        if user.pw_uid == 0:
            subprocess.run(["chown", "-R", _mail_user().pw_name, str(self.maildir)], check=True)
            folder.chmod(0o755)

    def make_folder(self, name: str) -> None:
        for inner in ("new", "cur", "tmp"):
            (self.maildir / name / inner).mkdir(parents=True, exist_ok=True)

    def empty(self) -> None:
        for folder in ("new", "cur"):
            for path in (self.maildir / folder).iterdir():
                path.unlink()

    def start(self) -> None:
        with (self.folder / "out.log").open("ab") as log:
            command = [DOVECOT, "-F", "-c", str(self.folder / "dovecot.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                if sock.recv(100).startswith(b"* OK"):
                    return
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an operator's restart does: every connection with it."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None

    def deliver(self, mail: bytes) -> None:
        """Put a mail into the mailbox, whole or not at all, as a mail server does."""
        unique = f"{time.time_ns()}.M{next(_count)}.test"
        path = self.maildir / "tmp" / unique
        path.write_bytes(mail)
        if os.getuid() == 0:
            os.chown(path, _mail_user().pw_uid, _mail_user().pw_gid)
        path.rename(self.maildir / "new" / unique)

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def renumber(self) -> None:
        """Give the mailbox a new UIDVALIDITY, as a move to another server does."""
        self.stop()
        for path in self.maildir.glob("dovecot*"):
            path.unlink()
        time.sleep(1.1)  # the next one is the second of its making
        self.start()

    def log(self) -> str:
        return "".join(path.read_text(errors="replace")[-3000:] for path in self.folder.glob("*.log"))

    def _settings(self) -> str:
        us = pwd.getpwuid(os.getuid())
        inside = us.pw_name if us.pw_uid else "dovenull"
        internal = us.pw_name if us.pw_uid else "dovecot"
        ssl_lines = f"ssl = yes\nssl_cert = <{self.tls}\nssl_key = <{self.tls}" if self.tls else "ssl = no"
        wants_tokens = f"passdb {{\n driver = oauth2\n mechanisms = xoauth2\n args = {self.folder}/tokens.conf\n}}"
        tokens = wants_tokens if self.tokens else ""
        return f"""
protocols = imap
listen = 127.0.0.1
base_dir = {self.folder}/run
state_dir = {self.folder}/run
log_path = {self.folder}/dovecot.log
default_login_user = {inside}
default_internal_user = {internal}
default_internal_group = {"dovecot" if us.pw_uid == 0 else us.pw_gid}
disable_plaintext_auth = no
auth_mechanisms = plain login{" xoauth2" if self.tokens else ""}
{tokens}
mail_location = maildir:{self.maildir}
first_valid_uid = 1
mail_max_userip_connections = 50
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {self.folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {self.folder}/users
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port if self.tls else 0}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
{ssl_lines}
"""


def _mail_user() -> pwd.struct_passwd:
    """Whose the mail is: ours, or where we are root, somebody's who is not."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
