"""The product as processes of its own: gunicorn, worker.py and the provider sandbox, started as `make run` starts them.

The fixture `live` gives them; they have a database and a Valkey number apart from the in-process tests', since their
worker takes up whatever is due. Tests of crashes kill and restart them here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from flask import Flask

import config
import embedded
import run
import supervisor
from tests import servers
from tests.ports import free_ports


class Live:
    """Three running programs and how to reach them."""

    def __init__(self, services: servers.Services, **overrides: object) -> None:
        port, sandbox, smtp, imap, forwarded = free_ports(5)
        self.services = services
        self.base_url = f"http://127.0.0.1:{port}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox}"
        given = servers.settings(services) | {
            "APP_ENV": "development",
            "PORT": port,
            "PUBLIC_URL": self.base_url,
            "SANDBOX_URL": self.sandbox_url,
            "SANDBOX_SMTP_PORT": smtp,
            "SANDBOX_IMAP_PORT": imap,
            "MAIL_LISTEN": f"127.0.0.1:{forwarded}",
        }
        inherited = {name: os.environ[name] for name in ("HOME", "PATH", "LANG", "TMPDIR") if name in os.environ}
        words = {name: str(value) for name, value in (given | overrides).items()}
        self.env = run.environment(inherited | words, services.database_url, services.redis_url)
        self.commands = run.commands(self.env)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @cached_property
    def settings(self) -> config.Settings:
        return config.load(**{field.alias: self.env[field.alias] for field in _fields() if field.alias in self.env})

    @cached_property
    def app(self) -> Flask:
        """The application in this process, on the database of the running ones: to arrange and to look."""
        app: Flask = import_module("app").create_app(self.settings)
        return app

    def start(self, *names: str) -> None:
        """Start these programs (all three by default) and wait until they answer."""
        for name in names or ("sandbox", "web", "worker"):
            with self._log_path(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    embedded.dies_with_us(self.commands[name], signal.SIGTERM),
                    cwd=servers.ROOT,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Return once every started program answers; fail with the log of one that ended."""
        deadline = time.monotonic() + seconds
        while not all(self._answers(name) for name in self.processes):
            for name, process in self.processes.items():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{name} does not answer ({process.poll()}):\n{self.log(name)[-4000:]}")
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """End a program and its children without a word of warning, as a power cut would."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, *names: str) -> None:
        """End these programs (all of them by default) in good order."""
        ending = {name: self.processes.pop(name) for name in names or tuple(self.processes)}
        for process in ending.values():
            process.send_signal(signal.SIGTERM)
        for process in ending.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not self.processes and "app" in self.__dict__:
            with self.app.app_context():
                self.app.extensions["read_engine"].dispose()
                self.app.extensions["at_once"].close()
                import_module("models").db.engine.dispose()

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def log(self, name: str) -> str:
        return self._log_path(name).read_text(errors="replace")

    def flask(self, *words: str) -> Any:
        """Run an operator's command with `--json` and give its answer."""
        command = [*supervisor.found(["flask"]), "--app", "app", *words, "--json"]
        done = subprocess.run(command, cwd=servers.ROOT, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _answers(self, name: str) -> bool:
        if name == "worker":
            return self.processes[name].poll() is None
        return supervisor.answers(self.env["PORT" if name == "web" else "SANDBOX_PORT"])

    def _log_path(self, name: str) -> Path:
        return self.services.folder / f"{name}.log"


def _fields() -> Any:
    return config.Settings.model_fields.values()
