"""What a measurement is, and how it is printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `value` is held against `bar`: at most it, or at least it where `more` is better."""

    what: str
    value: float
    bar: float
    unit: str = "×"
    more: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.bar if self.more else self.value <= self.bar

    def line(self) -> str:
        sign = "≥" if self.more else "≤"
        verdict = "ok  " if self.reached else "MISS"
        return f"{verdict} {self.what:<58} {self.value:>9.2f} {self.unit:<5} ({sign} {self.bar:g})  {self.note}"


def interleaved(rounds: int, *steps: Callable[[], float]) -> list[float]:
    """Run the steps in turn, so that what disturbs one disturbs all; give each one's median."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for values, step in zip(taken, steps, strict=True):
            values.append(step())
    return [statistics.median(values) for values in taken]


def seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def ms(value: float) -> str:
    return f"{value * 1000:.1f} ms"
