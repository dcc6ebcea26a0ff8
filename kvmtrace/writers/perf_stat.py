"""Counters → what `perf stat` prints: its table, `-x,` and `-j`, as perf 6.1 does.

Layouts: tools/perf/util/stat-display.c. All forms round as perf does: a count to a whole number, a value with a unit to
two decimals (JSON: six), shares to a hundredth of a percent. What a form cannot tell: the table, how long each counter
ran; CSV and JSON, the time elapsed and the number of repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmtrace.recording import Recording, TableSet

TARGET = "system wide"
"""What -a counts."""
_NS_PER_S = 10**9
_NOT_PRINTED = ("scope", "part", "interval_end_ns", "rate_per_s", "logged_at")


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter; value None: not counted."""

    event: str  # with its system
    value: float | None
    state: str = "counted"
    unit: str | None = None
    running_ns: int | None = None
    running_share: float | None = None  # of the time that it was enabled, 0 to 1
    stderr_share: float | None = None  # of the repeats, 0 to 1

    @property
    def printed(self) -> str | None:
        """The value in digits; None: there is none."""
        return None if self.value is None else f"{self.value:.2f}" if self.unit else f"{self.value:.0f}"


@dataclass(frozen=True, slots=True)
class Counters:
    """What one `perf stat` counted."""

    rows: Sequence[Counter]
    elapsed_ns: int | None
    repeats: int | None = None
    target: str = TARGET


def of_recording(recording: Recording, elapsed_ns: int | None) -> Counters:
    """Count the events of each tracepoint of a recording, on all CPUs; 0 where one never fired.

    `elapsed_ns` None: from the first event to the last.
    """
    facts = recording.facts
    counts = np.zeros(len(facts.events), np.int64)
    first = last = None
    for block in recording.blocks():
        for kind, rows in block.rows.items():
            counts[kind] += len(rows)
        if len(block.ts_ns):
            first = int(block.ts_ns.min()) if first is None else first
            last = int(block.ts_ns.max())
    if elapsed_ns is None:
        elapsed_ns = 0 if first is None or last is None else last - first
    cpus = facts.host.get("cpus_online", 1)
    running_ns = elapsed_ns * (cpus if isinstance(cpus, int) else 1)  # perf adds up the times of all CPUs
    names = (f"{event.system}:{event.name}" for event in facts.events)
    counted = zip(names, counts.tolist(), strict=True)
    return Counters([Counter(name, count, running_ns=running_ns) for name, count in counted], elapsed_ns)


def of_table(tables: TableSet) -> Counters:
    """Take the rows of a table of counters. UsageError: a row that perf stat prints in another layout than these."""
    rows = []
    found = tables.rows.to_pylist()
    for row in found:
        other = [name for name in _NOT_PRINTED if row[name] is not None]
        if other:
            raise UsageError(f"perf stat prints no {other[0]} in these forms: counter {row['event']} has one")
        rows.append(_counter(row, tables.elapsed_ns))
    repeats = max((row["repeats"] for row in found if row["repeats"] is not None), default=None)
    return Counters(rows, tables.elapsed_ns, repeats, tables.facts.tool.get("target", TARGET).strip("'"))


def _counter(row: dict[str, Any], elapsed_ns: int | None) -> Counter:
    running_ns, share = row["running_ns"], row["running_share"]
    if running_ns is None:  # one thread's counter is enabled for as long as the command runs
        enabled_ns = elapsed_ns if row["enabled_ns"] is None else row["enabled_ns"]
        running_ns = None if enabled_ns is None else round(enabled_ns * (1 if share is None else share))
    name = f"{row['system']}:{row['event']}" if row["system"] else row["event"]
    return Counter(name, row["value"], row["state"], row["unit"], running_ns, share, row["stderr_share"])


def table_lines(counters: Counters) -> Iterator[str]:
    """Yield the lines of the table. UsageError: the time elapsed is not known."""
    if counters.elapsed_ns is None:
        raise UsageError("perf-stat cannot be written: the time elapsed is not known")
    runs = f" ({counters.repeats} runs)" if counters.repeats else ""
    yield ""
    yield f" Performance counter stats for '{counters.target}'{runs}:"
    yield ""
    width = max((len(row.unit) for row in counters.rows if row.unit), default=0)
    for row in counters.rows:
        value = f"<{row.state}>" if row.value is None else f"{row.value:,.2f}" if row.unit else f"{row.value:,.0f}"
        line = f"{value:>18} {row.unit or '':<{width}}" if width else f"{value:>18}     "
        line = f"{line} {row.event:<25}" + " " * 44  # where a metric would stand
        if row.stderr_share is not None:
            line += f"  ( +-{100 * row.stderr_share:6.2f}% )"
        if row.running_share is not None and row.running_share != 1:
            line += f"  ({100 * row.running_share:.2f}%)"
        yield line
    yield ""
    yield f"{counters.elapsed_ns / _NS_PER_S:17.9f} seconds time elapsed"
    yield ""


def csv_lines(counters: Counters) -> Iterator[str]:
    """Yield a line of -x, for each counter. UsageError: how long a counter ran is not known."""
    for row in counters.rows:
        value = row.printed if row.printed is not None else f"<{row.state}>"
        error = [] if row.stderr_share is None else [f"{100 * row.stderr_share:.2f}%"]
        fields = [value, row.unit or "", row.event, *error, str(_ran_ns(row, "csv")), f"{_percent(row):.2f}"]
        yield ",".join([*fields, "", ""])


def json_lines(counters: Counters) -> Iterator[str]:
    """Yield a line of -j for each counter. UsageError: as in `csv_lines`."""
    for row in counters.rows:
        value = f"<{row.state}>" if row.value is None else f"{row.value:f}"
        error = "" if row.stderr_share is None else f'"variance" : {100 * row.stderr_share:.2f}, '
        yield (
            f'{{"counter-value" : "{value}", "unit" : "{row.unit or ""}", "event" : "{row.event}", {error}'
            f'"event-runtime" : {_ran_ns(row, "json")}, "pcnt-running" : {_percent(row):.2f}, '
            '"metric-value" : 0.000000, "metric-unit" : "(null)"}'
        )


def _ran_ns(row: Counter, form: str) -> int:
    if row.value is None:
        return 0  # as perf prints it
    if row.running_ns is None:
        raise UsageError(f"perf-stat-{form} cannot be written: it is not known how long {row.event} ran")
    return row.running_ns


def _percent(row: Counter) -> float:
    return 100.0 if row.running_share is None else 100 * row.running_share


FORMS: dict[str, Callable[[Counters], Iterator[str]]] = {"": table_lines, "csv": csv_lines, "json": json_lines}
"""What makes the lines of each form."""
