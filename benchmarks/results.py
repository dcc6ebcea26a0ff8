"""What was measured of each program, and the figures that are made of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measure import Timing


@dataclass(slots=True)
class Results:
    """What was measured, by the program's name; what failed has no figures but a reason."""

    timings: dict[str, list[Timing]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    quarter_peak_bytes: dict[str, int] = field(default_factory=dict)  # with a quarter of the events
    store_bytes: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def walls_s(self, name: str) -> list[float]:
        """Return the elapsed time of each run; empty: never run."""
        return [timing.wall_s for timing in self.timings.get(name, ())]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure: of the median runs, and of the fastest ones, which show least of what else ran on the machine."""

    median: float
    fastest: float | None = None


def ratio(results: Results, name: str, base: str) -> Measured | None:
    """Return the ratio of the elapsed times; None: one of the programs was not measured."""
    ours, theirs = results.walls_s(name), results.walls_s(base)
    if not ours or not theirs:
        return None
    return Measured(statistics.median(ours) / statistics.median(theirs), min(ours) / min(theirs))


def elapsed(results: Results, name: str, parts: float = 1) -> Measured | None:
    """Return the elapsed time by part of the work, in seconds; None: the program was not measured."""
    walls_s = results.walls_s(name)
    return Measured(statistics.median(walls_s) / parts, min(walls_s) / parts) if walls_s else None


def memory(results: Results, name: str) -> Measured | None:
    """Return the peak memory in MB; None: it was not looked at."""
    peak = results.peak_bytes.get(name)
    return None if peak is None else Measured(peak / 1e6)


def growth(results: Results, name: str) -> Measured | None:
    """Return how many times the memory of a quarter of the events all of them take; None: it was not looked at."""
    peak, quarter = results.peak_bytes.get(name), results.quarter_peak_bytes.get(name)
    return None if peak is None or quarter is None else Measured(peak / quarter)
