"""What stands before an event in a line of `perf script` and of tracefs' `trace`, and above all lines.

Columns: tools/perf/builtin-script.c (`perf script --ns -F +pid`), kernel/trace/trace_output.c and trace.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from kvmtrace.writers.events import COMM_BYTES, Machine, field_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from kvmtrace.recording import EventBlock, EventKind, Facts

US_NS, S_NS, S_US = 10**3, 10**9, 10**6
FTRACE_HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {samples}/{samples}   #P:{cpus}
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""
_IRQS_OFF, _HARDIRQ, _SOFTIRQ, _RESCHED, _PREEMPT_RESCHED, _NMI, _BH_OFF = 1, 8, 16, 4, 32, 64, 128


class Heads(Protocol):
    """Lays out one of the texts."""

    def top(self, facts: Facts, events: int) -> str:
        """Return what stands above the lines of `events` events."""

    def event(self, event: EventKind) -> str:
        """Return how an event is named in front of its text."""

    def heads(self, block: EventBlock, flags: NDArray[np.uint16], threads: Threads) -> Iterable[str]:
        """Return what stands before the event in each line; `flags`: common_flags, and common_preempt_count above."""


class Threads:
    """The newest names of threads."""

    def __init__(self, names: Mapping[tuple[int, int], str]) -> None:
        self._names: dict[int, str] = {}
        self.add(names)

    def add(self, names: Mapping[tuple[int, int], str]) -> None:
        """Take over names by (pid, tid)."""
        for (_, tid), name in names.items():
            self._names[tid] = name.encode()[:COMM_BYTES].decode(errors="ignore")

    def of(self, tids: list[int], idle: str, unknown: str) -> list[str]:
        """Return the name of each thread."""
        known = {tid: self._names.get(tid, unknown.format(tid)) for tid in set(tids)}
        return [known[tid] for tid in tids] if 0 not in known else [known[tid] if tid else idle for tid in tids]


class PerfScript:
    """`perf script --header --ns -F +pid`: the process of each thread, and whole nanoseconds."""

    def __init__(self, events: Iterable[EventKind]) -> None:
        self._width = max((len(f"{event.system}:{event.name}") for event in events), default=0)

    def top(self, facts: Facts, events: int) -> str:
        """Return what perf prints with --header of what is known."""
        del events
        host, tool = facts.host, facts.tool
        told = {
            "hostname": host.get("hostname"),
            "os release": host.get("kernel"),
            "perf version": tool.get("version"),
            "arch": host.get("arch"),
            "nrcpus online": host.get("cpus_online"),
            "nrcpus avail": host.get("cpus_available"),
            "cpudesc": host.get("cpu"),
            "cpuid": host.get("cpuid"),
            "cmdline": tool.get("cmdline"),
        }
        lines = [f"# {name} : {value}\n" for name, value in told.items() if value is not None]
        return "".join(["# ========\n", *lines, "# ========\n", "#\n"])

    def event(self, event: EventKind) -> str:
        """Return the name of an event: all are as wide as the longest."""
        return f"{event.system}:{event.name}".rjust(self._width) + ": "

    def heads(self, block: EventBlock, flags: NDArray[np.uint16], threads: Threads) -> Iterable[str]:
        """Return thread name, pid/tid, CPU and time."""
        del flags
        tids = block.tid.tolist()
        seconds, parts = (part.tolist() for part in np.divmod(block.ts_ns, S_NS))
        names = threads.of(tids, "swapper", ":{}")
        columns = zip(names, block.pid.tolist(), tids, block.cpu.tolist(), seconds, parts, strict=True)
        return map("%16s %5d/%-5d [%03d] %5d.%09d: ".__mod__, columns)


class Ftrace:
    """tracefs' `trace`: no process, times rounded to a microsecond."""

    def top(self, facts: Facts, events: int) -> str:
        """Return the header."""
        return FTRACE_HEADER.format(samples=events, cpus=Machine.of(facts).cpus)

    def event(self, event: EventKind) -> str:
        """Return the name of an event: its system is not told."""
        return f"{event.name}: "

    def heads(self, block: EventBlock, flags: NDArray[np.uint16], threads: Threads) -> Iterable[str]:
        """Return thread name, tid, CPU, flags and time."""
        tids = block.tid.tolist()
        times_us = (block.ts_ns + US_NS // 2) // US_NS
        seconds, parts = (part.tolist() for part in np.divmod(times_us, S_US))
        distinct, codes = np.unique(flags, return_inverse=True)
        letters = np.array([_letters(number & 0xFF, number >> 8) for number in distinct.tolist()], object)
        names = threads.of(tids, "<idle>", "<...>")
        columns = zip(names, tids, block.cpu.tolist(), letters[codes].tolist(), seconds, parts, strict=True)
        return map("%16s-%-7d [%03d] %s %5d.%06d: ".__mod__, columns)


def _letters(flags: int, counts: int) -> str:
    """Return the five letters of trace_print_lat_fmt() of Linux 5.16 and later."""
    off = {_IRQS_OFF: "d", _BH_OFF: "b", _IRQS_OFF | _BH_OFF: "D"}.get(flags & (_IRQS_OFF | _BH_OFF), ".")
    resched = {_RESCHED: "n", _PREEMPT_RESCHED: "p", _RESCHED | _PREEMPT_RESCHED: "N"}
    again = resched.get(flags & (_RESCHED | _PREEMPT_RESCHED), ".")
    hard, soft, nmi = flags & _HARDIRQ, flags & _SOFTIRQ, flags & _NMI
    place = "Z" if nmi and hard else "z" if nmi else "H" if hard and soft else "h" if hard else "s" if soft else "."
    return "".join([off, again, place, *(f"{depth:x}" if depth else "." for depth in (counts & 15, counts >> 4))])


def flags_of(raw: NDArray[np.uint8], event: EventKind, order: str) -> NDArray[np.uint16]:
    """Return common_flags of raw events, and common_preempt_count in the high byte; 0 where a kernel has none."""
    found = np.zeros(len(raw), np.uint16)
    for shift, name in enumerate(("common_flags", "common_preempt_count")):
        for field in event.format.fields:
            if field.name == name:
                found |= field_column(raw, field, order).astype(np.uint16) << np.uint16(8 * shift)
    return found
