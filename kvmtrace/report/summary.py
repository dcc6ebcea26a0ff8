"""What a report says of one run, in plain numbers: built from the store by `reading`, by hand in tests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.exit_keys import By, Key  # noqa: TC001 - fields of dataclasses

if TYPE_CHECKING:
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest

INJECTION = ("kvm", "kvm_inj_virq")
"""System and name of the tracepoint that counts injected interrupts on x86."""

PARTS = ("userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "hcall_ns")
"""Columns of latency_buckets and of ExitGroup that say where the time out of the guest went."""


Cell = str | int | float | bool | None
Row = dict[str, Cell]
"""Values of a table's row by the names of its columns."""


@dataclass(frozen=True, slots=True)
class ExitGroup:
    """Exits of one key, or of a whole section. Latency figures are of `timed` exits, None where there are none."""

    key: Key | None  # None: a section's total
    idle: bool | None  # None: not told apart
    exits: int  # timed + suspect + no_latency
    timed: int
    suspect: int = 0  # a loss or a hole lies inside
    no_latency: int = 0
    userspace: int | None = None  # went to the VMM; None: not recorded
    several_vms: bool = False
    out_of_guest_ns: int | None = None
    sq_dev_ns2: float | None = None  # sum of the squared deviations of the latencies from their mean
    min_ns: int | None = None
    max_ns: int | None = None
    p50_ns: int | None = None  # the latency of rank ceil(p * timed), likewise below
    p90_ns: int | None = None
    p99_ns: int | None = None
    p99_9_ns: int | None = None
    # Parts of out_of_guest_ns that do not overlap; None: not recorded.
    userspace_ns: int | None = None
    blocked_ns: int | None = None
    polled_ns: int | None = None
    preempted_ns: int | None = None
    hcall_ns: int | None = None  # no part of its own: it lies in the kernel's and others

    @property
    def kernel_ns(self) -> int | None:
        """Time in the kernel: the rest. None where a part was not recorded; an exit that is not idle does not halt."""
        recorded = self.userspace_ns is not None and self.preempted_ns is not None
        return self._rest_ns if recorded and (self.blocked_ns is not None or not self.idle) else None

    @property
    def unclear_ns(self) -> int | None:
        """Time in the kernel or in a part that was not recorded."""
        rest = self._rest_ns
        return rest if rest is None or self.kernel_ns is None else 0

    @property
    def _rest_ns(self) -> int | None:
        if self.out_of_guest_ns is None:
            return None
        parts = (self.userspace_ns, self.blocked_ns, self.polled_ns, self.preempted_ns)
        return self.out_of_guest_ns - sum(part or 0 for part in parts)

    @property
    def avg_ns(self) -> float | None:
        """Mean latency."""
        return None if self.out_of_guest_ns is None else self.out_of_guest_ns / self.timed

    @property
    def stderr_ns(self) -> float | None:
        """Standard error of the mean latency; None for a single exit, which has none."""
        if self.sq_dev_ns2 is None or self.timed < 2:  # noqa: PLR2004 - n - 1 in the denominator
            return None
        return math.sqrt(self.sq_dev_ns2 / (self.timed - 1) / self.timed)

    @property
    def stderr_share(self) -> float | None:
        """Standard error of the mean latency, relative to it."""
        return self.stderr_ns / self.avg_ns if self.stderr_ns is not None and self.avg_ns else None


@dataclass(frozen=True, slots=True)
class Section:
    """Groups, most time out of the guest first, and their total. Idle exits are a section of their own."""

    idle: bool
    groups: tuple[ExitGroup, ...]
    total: ExitGroup


@dataclass(frozen=True, slots=True)
class ExitTable:
    """All exits of a run, by the keys asked for."""

    by: tuple[By, ...]
    sections: tuple[Section, ...]
    exact: bool = False  # from exits; else from latency buckets, with percentiles within 1%
    with_idle: bool = False  # one section of idle and other exits

    @property
    def exits(self) -> int:
        """Number of exits, idle ones too."""
        return sum(section.total.exits for section in self.sections)


class Bucket(NamedTuple):
    """Exits of one reason (None: not recorded, or not told apart) with latencies from `low_ns` to `high_ns`."""

    reason: str | None
    low_ns: int
    high_ns: int
    n: int
    sum_ns: int


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of `perf stat`, its intervals added up."""

    scope: str | None  # what is counted apart (CPU0, a thread); None: everything
    system: str | None
    event: str
    part: str | None  # part of the event that is counted: in kvm_stat an exit reason; None: all of it
    unit: str | None  # None: a count of events
    counted: float | None  # None: not counted, not supported
    states: str  # counted; where intervals differ, several
    source_rows: int = 1
    counted_rows: int = 1
    interval_end_ns: int | None = None
    counted_ns: int | None = None  # time of the intervals that have a value; None: no intervals
    running_share: float | None = None
    stderr_share: float | None = None
    repeats: int | None = None
    rate_per_s: float | None = None  # as printed

    @property
    def name(self) -> str:
        """Event with its system, as `perf stat` prints it, and its part, as kvm_stat prints it."""
        event = self.event if self.part is None else f"{self.event}({self.part})"
        return f"{self.system}:{event}" if self.system else event


@dataclass(frozen=True, slots=True)
class RateTime:
    """The time that rates are divided by."""

    ns: int
    which: str  # enabled, elapsed, intervals

    def per_second(self, n: float) -> float:
        """Return the rate of `n` things."""
        return n * 1e9 / self.ns


@dataclass(frozen=True, slots=True)
class Summary:
    """What a report says of one run. Neither exits, counters nor figures: a recording without exits."""

    manifest: Manifest
    label: Label
    exits: ExitTable | None = None
    distribution: tuple[Bucket, ...] = ()  # of exits that are not suspect; idle ones only with `with_idle`
    counters: tuple[Counter, ...] = ()
    given: tuple[Row, ...] = ()  # rows of figures that somebody else worked out, as they were given

    @property
    def rate_time(self) -> RateTime | None:
        """Enabled time where it is told, else elapsed time, else the end of the last interval."""
        ends = [c.interval_end_ns for c in self.counters if c.interval_end_ns]
        if self.manifest.rate_time is not None:
            return RateTime(*self.manifest.rate_time)
        return RateTime(max(ends), "intervals") if ends else None

    @property
    def injected_interrupts(self) -> int | None:
        """Interrupts that were injected while the exits were recorded; None: not recorded, or sampled."""
        tracepoint = self.manifest.tracepoint(*INJECTION)
        return tracepoint.rows if self.exits and tracepoint and tracepoint.period == 1 else None

    def per_injection(self, counter: Counter) -> float | None:
        """Return `counter` per injected interrupt of its scope; None where these were not counted."""
        key = (*INJECTION, None, counter.scope)
        injected = next((c for c in self.counters if (c.system, c.event, c.part, c.scope) == key), None)
        if injected is None or not injected.counted or counter.counted is None or counter.unit is not None:
            return None
        # Intervals that one of the two did not count are no time of it.
        times = injected.counted_ns / counter.counted_ns if injected.counted_ns and counter.counted_ns else 1
        return counter.counted / injected.counted * times
