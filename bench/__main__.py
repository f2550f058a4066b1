"""Run the measurements named on the command line, or all of them: `make bench ARGS="sync lookup"`."""

from __future__ import annotations

import sys
from importlib import import_module

from bench.stage import stage

SECTIONS = (
    "sync",
    "lookup",
    "growth",
    "events",
    "webhooks",
    "delivery_log",
    "callbacks",
    "inbox",
    "files",
    "mail",
    "memory",
)


def main(names: list[str]) -> int:
    unknown = set(names) - set(SECTIONS)
    if unknown:
        print(f"No such measurement: {', '.join(sorted(unknown))}. There are {', '.join(SECTIONS)}.")
        return 2
    missed = 0
    for name in names or SECTIONS:
        print(f"\n{name}: {(import_module(f'bench.{name}').__doc__ or '').splitlines()[0]}", flush=True)
        with stage() as built:
            for figure in import_module(f"bench.{name}").measure(built):
                print(figure.line(), flush=True)
                missed += not figure.reached
    print(f"\n{missed} missed" if missed else "\nevery bar reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
