"""`make run`: everything on this machine, from the servers to the demo business; Ctrl-C stops all of it.

`python run.py COMMAND…` runs one command on the same settings and servers instead. Nobody imports this but the tests.
Stays small in memory: the standard library and two modules of ours.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT
from types import FrameType

import embedded
from supervisor import Stop, Supervisor, found, say

ROOT = Path(__file__).parent
PORTS = ("PORT", "SANDBOX_PORT", "SANDBOX_SMTP_PORT", "SANDBOX_IMAP_PORT")
SERVERS = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}
PLACES = {"PORT", "PUBLIC_URL", "SANDBOX_URL", *SERVERS}  # without which a command beside us would mean another run


def environment(given: dict[str, str], database_url: str, redis_url: str) -> dict[str, str]:
    """Give our processes what the operator set, and for a developer's machine what makes it whole."""
    word = given.get("PORT") or "8000"
    if not word.isdigit() or not 0 < (port := int(word)) < 65536:
        raise embedded.EmbeddedError(f"PORT must be a number from 1 to 65535, not {word}.")
    env = {name: value for name, value in given.items() if value} | {
        "PORT": str(port),
        "DATA_DIR": str(data_dir(given)),
        "DATABASE_URL": given.get("DATABASE_URL") or database_url,
        "REDIS_URL": given.get("REDIS_URL") or redis_url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    env.setdefault("APP_ENV", "development")
    env.setdefault("MALLOC_ARENA_MAX", "2")
    if env["APP_ENV"] == "development":
        env.setdefault("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")
        env.setdefault("SANDBOX_URL", f"http://127.0.0.1:{port + 1 if port < 65535 else port - 1}")
        for name in ("META_GRAPH_URL", "INSTAGRAM_GRAPH_URL", "TWILIO_API_URL"):
            env.setdefault(name, env["SANDBOX_URL"])
        env.setdefault("SANDBOX_PORT", env["SANDBOX_URL"].rpartition(":")[2])
        env.setdefault("SANDBOX_DATA", str(data_dir(given) / "sandbox"))
        _add_mail(env, port)
    return env


def _add_mail(env: dict[str, str], port: int) -> None:
    """Give a developer's machine mail servers of the sandbox, and a door for mail that is forwarded."""
    first = port + 2 if port < 65530 else port - 5
    env.setdefault("SANDBOX_SMTP_PORT", str(first))
    env.setdefault("SANDBOX_IMAP_PORT", str(first + 1))
    env.setdefault("MAIL_LISTEN", f"127.0.0.1:{first + 2}")
    servers = [f"127.0.0.1:{env[name]}" for name in ("SANDBOX_SMTP_PORT", "SANDBOX_IMAP_PORT")]
    env.setdefault("MAIL_TRUSTED_HOSTS", " ".join(servers))


def commands(env: dict[str, str]) -> dict[str, list[str]]:
    """Read what to run from the Procfile; a developer's machine has the provider sandbox too."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    programs = {name: shlex.split(line) for name, _, line in (line.partition(":") for line in lines)}
    if "SANDBOX_PORT" in env:
        programs["sandbox"] = ["python", "-m", "sandbox"]
    return {name: found(command) for name, command in programs.items()}


def data_dir(given: dict[str, str]) -> Path:
    return (ROOT / (given.get("DATA_DIR") or "var")).resolve()


def settings_file(path: Path) -> dict[str, str]:
    """Read `.env`: NAME=value lines, quotes optional, `#` comments."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line.strip() and line.lstrip()[0] != "#")
    return {name.strip(): "".join(shlex.split(value, comments=True)) for name, _, value in pairs}


def leave_settings(given: dict[str, str], env: dict[str, str]) -> None:
    """Write down what we settled, so that `flask …`, typed beside us, means this run; config.py reads it.

    What was given is not ours to keep, but for where the run is found.
    """
    settled = {name: value for name, value in env.items() if name in PLACES or given.get(name) != value}
    settled.pop("PATH", None)
    path = data_dir(given) / "run.env"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settled.items()))


def migrate(command: list[str], env: dict[str, str]) -> None:
    """Bring the database up to date, and tell of nothing but steps and failures."""
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, text=True, stdout=PIPE, stderr=STDOUT)
    if done.returncode:
        raise embedded.EmbeddedError(f"{done.stdout}\nThe database cannot be brought up to date; see above.")
    for line in done.stdout.splitlines():
        if "Running upgrade" in line:
            say(f"migrate | {line.rpartition('Running ')[2]}")


def refuse_taken_ports(env: dict[str, str]) -> None:
    """Say which port is taken, after a moment in which an earlier run that was killed may still be letting go."""
    deadline = time.monotonic() + 5
    for port in [int(env[name]) for name in PORTS if name in env]:
        while True:
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                break
            if time.monotonic() > deadline:
                raise embedded.EmbeddedError(f"Port {port} is taken. Choose another: make run PORT={port + 10}")
            time.sleep(0.2)


def main(words: list[str]) -> int:
    listen(_stop)
    given = settings_file(ROOT / ".env") | dict(os.environ)
    servers = supervisor = None
    try:
        if not words:
            refuse_taken_ports(environment(given, "", ""))
        missing = [server for name, server in SERVERS.items() if not given.get(name)]
        servers = embedded.start(data_dir(given), only=missing, attach=bool(words))
        env = environment(given, servers.database_url, servers.redis_url)
        if words:
            return run_one(words, env)
        programs = commands(env)
        migrate(programs.pop("release"), env)
        leave_settings(given, env)
        supervisor = Supervisor(programs, env, servers)
        supervisor.run()
    except Stop:
        say("Stopping.")
    except embedded.EmbeddedError as exc:
        say(str(exc))
        return 1
    finally:
        listen(signal.SIG_IGN)
        if supervisor:
            supervisor.stop()
        if servers:
            servers.stop()
    return 0


def run_one(words: list[str], env: dict[str, str]) -> int:
    """Run one command to its end; Ctrl-C is for it, not for us."""
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(found(words), cwd=ROOT, env=env)


def listen(what: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup says so
            signal.signal(number, what)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
