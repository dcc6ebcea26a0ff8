"""What the benchmark measured, held against the project's targets, as text."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measure import Timing

HELP, INGEST, REPORT = "kvmtrace --help", "kvmtrace ingest", "kvmtrace report"
INGEST_ALONE = "kvmtrace ingest --jobs 1"
PERF_KVM, PERF_SCRIPT = "perf kvm stat report", "perf script"
UNSTABLE_SPREAD = 1.3  # slowest run over fastest


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must not be exceeded, and one that we aim at."""

    what: str
    limit: float
    unit: str
    aim: float | None = None


LARGE_SAMPLES = 20_000_000
"""From here on a file is a large one: start-up counts for nothing, and perf script would take minutes."""
INGEST_TO_KVM = Target(f"{INGEST} / {PERF_KVM}", 2.5, "x", aim=1.5)
LARGE_INGEST_TO_KVM = Target(f"{INGEST} / {PERF_KVM}", 2, "x", aim=1)
INGEST_TO_SCRIPT = Target(f"{INGEST} / {PERF_SCRIPT}", 0.2, "x", aim=0.12)
INGEST_TO_ALONE = Target(f"{INGEST} / {INGEST_ALONE}", 1, "x")
REPORT_TO_KVM = Target(f"{REPORT} / {PERF_KVM}", 1.2, "x")
LARGE_REPORT_TO_KVM = Target(f"{REPORT} / {PERF_KVM}", 0.3, "x")
INGEST_MEMORY = Target(f"peak memory of {INGEST}", 500, "MB")
STORE_SIZE = Target("store, events and exits together", 20, "bytes an event")
HELP_TIME = Target(HELP, 0.25, "s")


@dataclass(slots=True)
class Results:
    """What was measured; what failed has no figures but a reason."""

    timings: dict[str, list[Timing]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    store_bytes: int | None = None
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


def judged(results: Results, samples: int) -> list[tuple[Target, Measured | None]]:
    """Return each target with what was measured."""
    memory = results.peak_bytes.get(INGEST)
    store = results.store_bytes
    helps = results.walls_s(HELP)
    large = samples >= LARGE_SAMPLES
    return [
        (LARGE_INGEST_TO_KVM if large else INGEST_TO_KVM, ratio(results, INGEST, PERF_KVM)),
        *([] if large else [(INGEST_TO_SCRIPT, ratio(results, INGEST, PERF_SCRIPT))]),
        (INGEST_TO_ALONE, ratio(results, INGEST, INGEST_ALONE)),
        (LARGE_REPORT_TO_KVM if large else REPORT_TO_KVM, ratio(results, REPORT, PERF_KVM)),
        (INGEST_MEMORY, None if memory is None else Measured(memory / 1e6)),
        (STORE_SIZE, None if store is None else Measured(store / samples)),
        (HELP_TIME, Measured(statistics.median(helps), min(helps)) if helps else None),
    ]


def verdict(target: Target, measured: Measured | None) -> str:
    """Return what to say of a figure; the median decides."""
    if measured is None:
        return "not measured"
    if measured.median > target.limit:
        return "MISSED"
    return "met, and the aim" if target.aim is not None and measured.median <= target.aim else "met"


def print_results(results: Results, samples: int) -> None:
    """Print times, memory, targets and failures."""
    print(f"\n{'program':<26}{'runs':>5}{'median s':>10}{'min s':>9}{'max s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, timings in results.timings.items():
        walls = results.walls_s(name)
        cpu_s = statistics.median(timing.cpu_s for timing in timings)
        peak = f"{results.peak_bytes[name] / 1e6:.0f}" if name in results.peak_bytes else "-"
        unstable = "  unstable" if max(walls) > UNSTABLE_SPREAD * min(walls) else ""
        times = f"{statistics.median(walls):>10.3f}{min(walls):>9.3f}{max(walls):>9.3f}{cpu_s:>9.3f}"
        print(f"{name:<26}{len(walls):>5}{times}{peak:>9}{unstable}")
    print(f"\n{'target':<44}{'medians':>9}{'fastest':>9}{'limit':>7}{'aim':>6}  {'unit':<16}verdict")
    for target, measured in judged(results, samples):
        median = "-" if measured is None else f"{measured.median:.3g}"
        fastest = "-" if measured is None or measured.fastest is None else f"{measured.fastest:.3g}"
        aim = "-" if target.aim is None else f"{target.aim:g}"
        says = verdict(target, measured)
        print(f"{target.what:<44}{median:>9}{fastest:>9}{target.limit:>7g}{aim:>6}  {target.unit:<16}{says}")
    for name, reason in results.failures.items():
        print(f"\n{name} failed: {reason}")
