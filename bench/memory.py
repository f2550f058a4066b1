"""Everything running and idle: the memory of all processes together, as PSS."""

from __future__ import annotations

import time

import psutil

from bench.figures import Figure
from bench.stage import Stage
from scripts.memory import measure as processes


def measure(stage: Stage) -> list[Figure]:
    stage.call("GET", "/api-customers")
    time.sleep(5)
    roots = [process.pid for process in stage.live.processes.values()]
    servers = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(stage.live.services.folder.parent) in " ".join(process.info["cmdline"] or ())
    ]
    shares = {pid: mib for root in {*roots, *servers} for pid, _, mib in processes(root)}
    return [
        Figure("idle memory of all processes", sum(shares.values()), 450, unit="MB", note=f"{len(shares)} processes")
    ]
