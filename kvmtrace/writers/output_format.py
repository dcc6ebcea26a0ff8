"""The formats that contents of a run can be written in, and what writers may be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OutputFormat(StrEnum):
    """Formats that perf, trace-cmd and kvm-unit-tests write."""

    PERF_DATA = "perf.data"
    TRACE_DAT = "trace.dat"  # version 7
    TRACE_DAT_6 = "trace.dat-v6"
    PERF_SCRIPT = "perf-script"
    FTRACE = "ftrace"
    PERF_STAT = "perf-stat"
    PERF_STAT_CSV = "perf-stat-csv"
    PERF_STAT_JSON = "perf-stat-json"
    VMEXIT = "vmexit"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What differs within a format; None and the defaults suit every other one."""

    stream: bool = False  # perf.data: as perf writes it to a pipe
    packed: bool = False  # perf.data and trace.dat: with zstd
    elapsed_ns: int | None = None  # perf stat of a recording: how long it counted; None: first event to last
