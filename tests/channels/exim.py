"""Exim on this machine: Debian's own SMTP server, with a queue, logins and mailboxes."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from tests.channels.mail_servers import PASSWORD
from tests.ports import free_ports

EXIM = shutil.which("exim4") or ("/usr/sbin/exim4" if Path("/usr/sbin/exim4").exists() else "")
ACCEPTED = b"250 OK id="  # what it says once it has a mail, and only then


class Exim:
    """A real SMTP server. `support` may send, to `joe`, `ann` and `slow` at x.example; what arrives lies in a Maildir.

    It holds its answer to a recipient `slow`, and to a mail whose subject says `slow`, and writes `HELD` into its log.
    """

    def __init__(self, tls: Path | None = None) -> None:
        # Not below pytest's own folder: where we are root, Exim is another user, who may not look in there.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="exim-"))
        self.port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        for inner in ("spool", "log", "mail"):
            (folder / inner).mkdir()
        if tls:
            shutil.copy(tls, folder / "tls.pem")
        (folder / "exim.conf").write_text(_settings(folder, self.port, bool(tls)))
        if os.getuid() == 0:
            for path in (folder, *folder.iterdir()):
                if path.name != "exim.conf":  # it reads no settings that others may change
                    shutil.chown(path, _owner().pw_uid, _owner().pw_gid)

    def start(self, *, holding: bool = True) -> None:
        """Start it, and what lay in its queue goes on its way; without `holding` it answers `slow` at once."""
        with (self.folder / "log/out").open("ab") as log:
            command = [EXIM, "-C", str(self.folder / "exim.conf"), "-bdf", "-q1m", f"-DPAUSE={20 * holding}s"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                if sock.recv(100).startswith(b"220"):
                    sock.sendall(b"QUIT\r\n")
                    sock.recv(100)
                    return
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order; a session that is under way may come to its end before."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it and every session at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, how)
            self._process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def held(self, times: int) -> None:
        """Wait until it holds an answer for the `times`th time."""
        self._wait(lambda: self.log().count("HELD") >= times)

    def log(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("log/*"))

    def mails(self) -> list[EmailMessage]:
        """Give all that arrived, once the queue is empty."""
        self._wait(lambda: not list(self.folder.glob("spool/input/**/*-H")))
        found = sorted(self.folder.glob("mail/new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [BytesParser(policy=default).parsebytes(path.read_bytes()) for path in found]  # type: ignore[misc]

    def _wait(self, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not look():
            assert time.monotonic() < deadline, self.log()[-4000:]
            time.sleep(0.02)


@contextmanager
def cut_after(server: Exim, words: bytes) -> Iterator[int]:
    """Give a port that leads to the server, but when it says these words it is killed, restarted and not heard."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answers(client: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(65536):
                if words in data:
                    server.mails()  # what it took is where it belongs: killed in between, it might deliver again
                    server.kill()
                    server.start()
                    break
                client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", server.port)) as there:
            back = threading.Thread(target=answers, args=(client, there))
            back.start()
            with suppress(OSError):
                while data := client.recv(65536):
                    there.sendall(data)
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        thread.join(20)
        listener.close()


def _owner() -> pwd.struct_passwd:
    """Whose the queue and the mail are: ours, or where we are root, those of Exim's own user."""
    return pwd.getpwnam("Debian-exim") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


def _settings(folder: Path, port: int, tls: bool) -> str:
    owner = _owner()
    tls_lines = f"tls_advertise_hosts = *\ntls_certificate = {folder}/tls.pem" if tls else "tls_advertise_hosts ="
    good = "and{{eq{%s}{support}}{eq{%s}{" + PASSWORD + "}}}"
    encrypted = "server_advertise_condition = ${if def:tls_in_cipher}" if tls else ""
    return f"""
primary_hostname = mail.example
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/spool/exim.pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
host_lookup =
hosts_treat_as_local =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
message_size_limit = 1M
keep_environment =
notifier_socket =
exim_user = {owner.pw_uid}
exim_group = {owner.pw_gid}
admin_groups = {owner.pw_gid}
acl_smtp_mail = who
acl_smtp_rcpt = to_whom
acl_smtp_data = what
{tls_lines}

begin acl
who:
  accept authenticated = *
  deny message = 530 5.7.0 Authentication required
to_whom:
  warn local_parts = slow
       logwrite = HELD
       delay = PAUSE
  require verify = recipient
  accept
what:
  warn condition = ${{if match{{$h_subject:}}{{slow}}}}
       logwrite = HELD
       delay = PAUSE
  accept

begin routers
mailboxes:
  driver = accept
  domains = x.example
  local_parts = joe : ann : slow
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  envelope_to_add
  user = {owner.pw_uid}
  group = {owner.pw_gid}

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if {good % ("$auth2", "$auth3")}}}
  server_set_id = $auth2
  {encrypted}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if {good % ("$auth1", "$auth2")}}}
  server_set_id = $auth1
  {encrypted}
"""
