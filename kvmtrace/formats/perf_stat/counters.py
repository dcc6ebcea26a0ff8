"""What every form of `perf stat` comes to: one `Row` for each counter, and the columns and times of a set of them."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kvmtrace import schema
from kvmtrace.formats.text_lines import shown
from kvmtrace.recording import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

WRAPPED = 2.0**63
"""No count comes so far: a value from here on is a difference below zero that wrapped (perf 5.3 with -I)."""

METRICS = "metrics"
"""What stands behind `#`, or in the last columns: figures that perf worked out of the counters."""
INSTANCES = "numbers of CPUs"
"""How many CPUs or counters a row of --per-core, --per-socket, … sums up."""

_EXACT = 2.0**53
_LARGEST = 2.0**63 - 1024  # of a column of 64 signed bits
_AGREE = 0.02  # counters are read one after another, so their times are never quite the same

_MODIFIERS = "[ukhGHpPSDIWeb]+"
TRACEPOINT = re.compile(rf"([A-Za-z_][\w-]*):(?!{_MODIFIERS}$)([A-Za-z_][\w.-]*(?::{_MODIFIERS})?)", re.ASCII)
_PMU_EVENT = re.compile(r"[A-Za-z_][\w.-]*/[^/\s]*/[A-Za-z]*", re.ASCII)
_GENERIC_EVENT = re.compile(
    r"(?:cycles|cpu-cycles|ref-cycles|bus-cycles|instructions|branches|branch-instructions|branch-misses"
    r"|cache-references|cache-misses|stalled-cycles-(?:frontend|backend)|task-clock(?:-msecs)?|cpu-clock(?:-msecs)?"
    r"|(?:page|minor|major|alignment|emulation)-faults|faults|context-switches|cs|(?:cpu-|CPU-)?migrations"
    r"|cgroup-switches|dummy|bpf-output|duration_time|user_time|system_time|r[0-9a-f]{2,16}"
    rf"|(?:L1-[di]cache|LLC|[di]TLB|branch|node)-(?:load|store|prefetch)(?:s|es)?(?:-misses)?)(?::{_MODIFIERS})?",
)

_ONE_CPU = re.compile("CPU[0-9]+")


@dataclass(frozen=True, slots=True)
class Row:
    """A row, its fields named as the columns of `schema.COUNTERS`; `doubts` are readings that are not certain."""

    line: int | None
    event: str
    system: str | None
    value: float | None
    unit: str | None
    state: str
    enabled_ns: int | None = None
    running_ns: int | None = None
    running_share: float | None = None
    stderr_share: float | None = None
    interval_end_ns: int | None = None
    scope: str | None = None
    instances: int | None = None  # CPUs or counters that the row sums up
    left_out: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def is_known_event(name: str) -> bool:
    """Tell whether a word can be nothing else than an event: a tracepoint, pmu/terms/, or one of perf's own names."""
    return any(event.fullmatch(name) for event in (TRACEPOINT, _PMU_EVENT, _GENERIC_EVENT))


def split_event(name: str) -> tuple[str | None, str]:
    """Split the name that perf prints into a tracepoint's system (None: not a tracepoint) and the event."""
    tracepoint = TRACEPOINT.fullmatch(name)
    return (tracepoint[1], tracepoint[2]) if tracepoint else (None, name)


def doubts_of(value: float | None, running_share: float | None) -> Iterator[str]:
    """Say what cannot be true of a row, or is not kept of it."""
    if value is not None and value >= WRAPPED:
        yield "this value is above 2^63: a difference that wrapped, not a count"
    elif value is not None and value > _EXACT:
        yield "this value is above 2^53: its last digits are not kept"
    if running_share is not None and running_share > 1:
        yield "the counter ran for more than 100% of its time"


def not_read(line: int, why: object, text: str) -> Note:
    """Return the note of a line that looks like a counter and is none for certain."""
    return Note(f"line {line}", f"looks like a counter and is not read ({why}): {shown(text)}")


def enabled_ns(running_ns: int | None, running_share: float | None) -> int | None:
    """Work out how long a counter was enabled, from how long it ran and which part of its time that was.

    perf prints the part with two decimals, and as 100% for a counter that was never enabled (enabled for 0 ns).
    """
    if running_ns is None or not running_share or running_share > 1:
        return None
    enabled = running_ns / running_share
    return round(enabled) if enabled <= _LARGEST else None


def times(rows: Sequence[Row]) -> tuple[int | None, int | None]:
    """Return how long rows without a table around them were counted: elapsed and enabled, in ns. None: not told.

    Elapsed is the end of the last interval, or perf's own event duration_time, which it counts once, on the first CPU.
    The time enabled that perf gives is the sum over all CPUs or threads of a row: it is a time that passed only where
    the row says how many CPUs it sums up, and all rows agree within 2%. It is the longest of them then.
    """
    ends = [row.interval_end_ns for row in rows if row.interval_end_ns is not None]
    if ends:
        return max(ends), None
    durations = [int(row.value) for row in rows if row.event == "duration_time" and row.unit == "ns" and row.value]
    elapsed = durations[0] if len(durations) == 1 and durations[0] < _LARGEST else None
    spans = [_span(row) for row in rows if row.state == "counted" and row.event != "duration_time"]
    known = [span for span in spans if span]
    agree = bool(known) and len(known) == len(spans) and max(known) - min(known) <= _AGREE * max(known)
    return elapsed, round(max(known)) if agree else None


def _span(row: Row) -> float | None:
    """Return the time that passed while a row was enabled."""
    cpus = 1 if row.scope and _ONE_CPU.fullmatch(row.scope) else row.instances
    return row.enabled_ns / cpus if row.enabled_ns and cpus else None


def left_out(rows: Iterable[Row]) -> list[str]:
    """Name what rows hold that the table of counters does not keep, each once, in order."""
    return list(dict.fromkeys(name for row in rows for name in row.left_out))


def counters_table(rows: Iterable[Row], repeats: int | None) -> pa.Table:
    """Return rows in the columns of `schema.COUNTERS`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and recognising a format needs none of it

    names = schema.COUNTERS.names()
    cells = [{**dict.fromkeys(names), **asdict(row), "repeats": repeats} for row in rows]
    return pa.Table.from_pylist(cells, schema=schema.COUNTERS.arrow_schema())
