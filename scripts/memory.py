"""Say how much memory `make run` holds: the sum of each process's share (PSS), by process.

`python scripts/memory.py [PID]`; without a pid, the run of this checkout's DATA_DIR. `make bench` imports `measure`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

MIB = 1024


def measure(root: int) -> list[tuple[int, str, float]]:
    """Give (pid, what it is, MiB) for a process and all its descendants."""
    rows = []
    for pid in descendants(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            share = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            rows.append((pid, words.strip()[-60:], share / MIB))
    return rows


def descendants(root: int) -> list[int]:
    """List a process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def main(words: list[str]) -> None:
    folder = Path(os.environ.get("DATA_DIR", "var"))
    rows = measure(int(words[0] if words else (folder / "servers.lock").read_text()))
    for pid, what, mib in sorted(rows, key=lambda row: -row[2]):
        print(f"{mib:7.1f} MiB  {pid:>7}  {what}")
    print(f"{sum(mib for *_, mib in rows):7.1f} MiB  in {len(rows)} processes")


if __name__ == "__main__":
    main(sys.argv[1:])
