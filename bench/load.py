"""A load on one address by `wrk` (Debian's package of that name), and a bare server beside ours to hold it against."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import run
from bench.stage import Stage
from tests import servers
from tests.ports import free_ports


def rate(url: str, *, headers: dict[str, str] | None = None, script: Path | None = None, seconds: int = 4) -> float:
    """Give the requests a second that 16 connections get through."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("This measurement needs wrk: apt-get install wrk")
    words = [wrk, "-t1", "-c16", f"-d{seconds}s", *(f"-H{name}: {value}" for name, value in (headers or {}).items())]
    done = subprocess.run(
        [*words, *(["-s", str(script)] if script else []), url], capture_output=True, text=True, check=False
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert "Non-2xx" not in done.stdout, done.stdout
    return float(found[1])


@contextmanager
def bare(stage: Stage, **env: str) -> Iterator[str]:
    """Run `bench.bare` on the same kind of server with one process; give its address."""
    (port,) = free_ports(1)
    given = stage.live.env | {
        "PORT": str(port),
        "BENCH_DSN": stage.live.services.psycopg(),
        "BENCH_BUSINESS": stage.business_id,
        **env,
    }
    command = run.found(["gunicorn"])
    process = subprocess.Popen(
        [*command, "-c", "gunicorn.conf.py", "bench.bare:app"],
        cwd=servers.ROOT,
        env=given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{port}/none", timeout=1)
            except OSError as exc:
                if getattr(exc, "code", None) == 404:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
