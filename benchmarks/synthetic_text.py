"""The synthetic events as text: what `perf script` prints, and what tracefs' `trace` file shows.

Texts of events: the print fmt of their formats. Columns: tools/perf/builtin-script.c, kernel/trace/trace_output.c.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.svm_vcpu import CPUS, REASONS, THREADS
from benchmarks.synthetic_events import SyntheticEvents, column
from kvmtrace.writers.text_heads import FTRACE_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Records = NDArray[np.void]


class TextForm(StrEnum):
    """The texts that the events can be written as."""

    PERF_SCRIPT = "perf-script"
    FTRACE = "ftrace"


HEADS = {
    TextForm.PERF_SCRIPT: "%16s %5d [%03d] %5d.%06d: kvm:",
    TextForm.FTRACE: "%16s-%-7d [%03d] ..... %5d.%06d: ",
}
EVENTS = {
    "kvm_exit": (
        "kvm_exit: vcpu %d reason %s rip 0x%x info1 0x%016x info2 0x%016x intr_info 0x%08x error_code 0x%08x\n",
        ("vcpu_id", "exit_reason", "guest_rip", "info1", "info2", "intr_info", "error_code"),
    ),
    "kvm_entry": ("kvm_entry: vcpu %d, rip 0x%x\n", ("vcpu_id", "rip")),
}
NAMES = {reason.code: reason.name for reason in REASONS}
COMMS = {thread.tid: thread.comm for thread in THREADS}
LINES_OF_BLOCK = 1 << 15
US_NS = 1_000
S_US = 1_000_000


def write_text(target: Path, form: TextForm, *, samples: int, seed: int = 1) -> None:
    """Write `samples` lines of events to `target`, by time. ValueError: an odd number, for they come in pairs."""
    events = SyntheticEvents.of(samples, seed)
    with target.open("w", encoding="ascii", newline="\n") as output:
        if form is TextForm.FTRACE:
            output.write(FTRACE_HEADER.format(samples=samples, cpus=CPUS))
        for window in events.in_time():
            lines = list(chain.from_iterable(_lines(records, form) for records in window))
            order = np.argsort(column(window, "ts_ns"), kind="stable").tolist()
            output.writelines(map(lines.__getitem__, order))


def _lines(records: Records, form: TextForm) -> Iterator[str]:
    """Yield the line of each record of one kind."""
    name = "kvm_exit" if "exit_reason" in (records.dtype.names or ()) else "kvm_entry"
    body, fields = EVENTS[name]
    # perf script aligns events to the longest name
    indent = " " * (len("kvm_entry") - len(name)) if form is TextForm.PERF_SCRIPT else ""
    head = HEADS[form].replace("kvm:", f"{indent}kvm:")
    for first in range(0, len(records), LINES_OF_BLOCK):
        block = records[first : first + LINES_OF_BLOCK]
        values = chain.from_iterable(zip(*_head_columns(block, form), *_columns(block, fields), strict=True))
        yield from (((head + body) * len(block)) % tuple(values)).splitlines(keepends=True)


def _head_columns(records: Records, form: TextForm) -> tuple[Sequence[object], ...]:
    """Return thread name, tid, CPU, seconds and microseconds: perf cuts the time off, the kernel rounds it."""
    rounding_ns = US_NS // 2 if form is TextForm.FTRACE else 0
    times_us = (records["ts_ns"].astype(np.int64) + rounding_ns) // US_NS
    tids = records["tid"].tolist()
    comms = [COMMS[tid] for tid in tids]
    return comms, tids, records["cpu"].tolist(), (times_us // S_US).tolist(), (times_us % S_US).tolist()


def _columns(records: Records, fields: tuple[str, ...]) -> Iterator[Sequence[object]]:
    for field in fields:
        values = records[field].tolist()
        yield [NAMES[value] for value in values] if field == "exit_reason" else values
