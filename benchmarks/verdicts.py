"""What the benchmark measured, held against the project's targets, as text."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.inputs import Input
from benchmarks.results import Measured, Results, elapsed, growth, memory, ratio

if TYPE_CHECKING:
    from collections.abc import Collection

HELP, INGEST, REPORT = "kvmtrace --help", "kvmtrace ingest perf.data", "kvmtrace report"
INGEST_ALONE = f"{INGEST} --jobs 1"
INGEST_TRACE_DAT = "kvmtrace ingest trace.dat"
INGEST_SCRIPT, INGEST_FTRACE = "kvmtrace ingest perf script text", "kvmtrace ingest ftrace text"
PERF_KVM, PERF_SCRIPT, TRACE_CMD = "perf kvm stat report", "perf script", "trace-cmd report"
UNSTABLE_SPREAD = 1.3  # slowest run over fastest


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must not be exceeded, and one that we aim at."""

    what: str
    limit: float
    unit: str
    aim: float | None = None


Judged = list[tuple[Target, Measured | None]]

LARGE_SAMPLES = 20_000_000
"""From here on a file is a large one: start-up counts for nothing, and perf script would take minutes."""
FLAT_SAMPLES = 4_000_000
"""From here on a quarter of the events fills every buffer, and memory must not grow with their number."""
INGEST_TO_KVM = Target(f"{INGEST} / {PERF_KVM}", 2.5, "x", aim=1.5)
LARGE_INGEST_TO_KVM = Target(f"{INGEST} / {PERF_KVM}", 2, "x", aim=1)
INGEST_TO_SCRIPT = Target(f"{INGEST} / {PERF_SCRIPT}", 0.2, "x", aim=0.12)
INGEST_TO_ALONE = Target(f"{INGEST} / the same with --jobs 1", 1, "x")
REPORT_TO_KVM = Target(f"{REPORT} / {PERF_KVM}", 1.2, "x")
LARGE_REPORT_TO_KVM = Target(f"{REPORT} / {PERF_KVM}", 0.3, "x")
STORE_SIZE = Target("store, events and exits together", 20, "bytes an event")
HELP_TIME = Target(HELP, 0.25, "s")
TRACE_DAT_TO_TRACE_CMD = Target(f"{INGEST_TRACE_DAT} / {TRACE_CMD}", 0.2, "x", aim=0.1)


def judged(results: Results, samples: int, inputs: Collection[Input]) -> Judged:
    """Return each target of what was read with what was measured."""
    told: Judged = [(HELP_TIME, elapsed(results, HELP))]
    if Input.PERF_DATA in inputs:
        told += _of_perf_data(results, samples)
    if Input.TRACE_DAT in inputs:
        told.append((TRACE_DAT_TO_TRACE_CMD, ratio(results, INGEST_TRACE_DAT, TRACE_CMD)))
        told += of_memory(results, samples, INGEST_TRACE_DAT)
    for text, name in ((Input.PERF_SCRIPT, INGEST_SCRIPT), (Input.FTRACE, INGEST_FTRACE)):
        if text in inputs:
            told.append((Target(name, 1, "s/million lines", aim=0.5), elapsed(results, name, samples / 1e6)))
            told += of_memory(results, samples, name)
    return told


def _of_perf_data(results: Results, samples: int) -> Judged:
    store = results.store_bytes.get(INGEST)
    large = samples >= LARGE_SAMPLES
    return [
        (LARGE_INGEST_TO_KVM if large else INGEST_TO_KVM, ratio(results, INGEST, PERF_KVM)),
        *([] if large else [(INGEST_TO_SCRIPT, ratio(results, INGEST, PERF_SCRIPT))]),
        (INGEST_TO_ALONE, ratio(results, INGEST, INGEST_ALONE)),
        (LARGE_REPORT_TO_KVM if large else REPORT_TO_KVM, ratio(results, REPORT, PERF_KVM)),
        *of_memory(results, samples, INGEST),
        (STORE_SIZE, None if store is None else Measured(store / samples)),
    ]


def of_memory(results: Results, samples: int, name: str) -> Judged:
    """Return the targets of a program's memory with what was measured."""
    told: Judged = [(Target(f"peak memory of {name}", 500, "MB"), memory(results, name))]
    if samples >= FLAT_SAMPLES:
        told.append((Target("    the same / that of a quarter of the events", 1.3, "x"), growth(results, name)))
    return told


def verdict(target: Target, measured: Measured | None) -> str:
    """Return what to say of a figure; the median decides."""
    if measured is None:
        return "not measured"
    if measured.median > target.limit:
        return "MISSED"
    return "met, and the aim" if target.aim is not None and measured.median <= target.aim else "met"


def print_results(results: Results, told: Judged) -> None:
    """Print times, memory, targets and failures."""
    print(f"\n{'program':<36}{'runs':>5}{'median s':>10}{'min s':>9}{'max s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, timings in results.timings.items():
        walls = results.walls_s(name)
        cpu_s = statistics.median(timing.cpu_s for timing in timings)
        peak = f"{results.peak_bytes[name] / 1e6:.0f}" if name in results.peak_bytes else "-"
        unstable = "  unstable" if max(walls) > UNSTABLE_SPREAD * min(walls) else ""
        times = f"{statistics.median(walls):>10.3f}{min(walls):>9.3f}{max(walls):>9.3f}{cpu_s:>9.3f}"
        print(f"{name:<36}{len(walls):>5}{times}{peak:>9}{unstable}")
    print(f"\n{'target':<54}{'medians':>9}{'fastest':>9}{'limit':>7}{'aim':>6}  {'unit':<16}verdict")
    for target, measured in told:
        median = "-" if measured is None else f"{measured.median:.3g}"
        fastest = "-" if measured is None or measured.fastest is None else f"{measured.fastest:.3g}"
        aim = "-" if target.aim is None else f"{target.aim:g}"
        says = verdict(target, measured)
        print(f"{target.what:<54}{median:>9}{fastest:>9}{target.limit:>7g}{aim:>6}  {target.unit:<16}{says}")
    for name, reason in results.failures.items():
        print(f"\n{name} failed: {reason}")
