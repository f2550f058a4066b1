"""Everything running and idle: the memory of all processes together, as PSS."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from bench.figures import Figure
from bench.stage import Stage


def measure(stage: Stage) -> list[Figure]:
    stage.call("GET", "/api-customers")
    time.sleep(5)
    roots = [process.pid for process in stage.live.processes.values()]
    servers = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(stage.live.services.folder.parent) in " ".join(process.info["cmdline"] or ())
    ]
    pids = {child.pid for root in {*roots, *servers} for child in _family(root)}
    total = sum(_pss(pid) for pid in pids) / 1024
    return [Figure("idle memory of all processes", total, 450, unit="MB", note=f"{len(pids)} processes")]


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(pid: int) -> int:
    """Read a process's proportional share of memory, in KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
