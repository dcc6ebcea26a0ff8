"""Tables of figures that somebody else worked out: as they were given, beside their units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import readable
from kvmtrace.report.blocks import Column, Table, number, table
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.report.summary import Row

KINDS = {"exit_summaries": "exit-summaries", "benchmarks": "benchmarks"}
"""Kind of a run of such figures → the query that gives them."""
NOUNS = {"counters": "counter", "exit_summaries": "row", "benchmarks": "figure"}
"""What one row of each kind of run is."""


def given_table(kind: str, rows: Sequence[Row]) -> Table:
    """Return the table of the rows of a kind of run; a column that no row has is left out."""
    names, numbers, title = (
        (_SUMMARY_NAMES, _SUMMARY_NUMBERS, "Exits, as perf kvm stat says")
        if kind == "exit_summaries"
        else (_BENCHMARK_NAMES, _BENCHMARK_NUMBERS, "Benchmarks, as they say")
    )
    known = {name for row in rows for name, value in row.items() if value is not None}
    shown = [column for name, column in names.items() if name in known]
    columns = [*shown, *(column for name, column in numbers.items() if name in known)]
    return table(title, columns, rows, names=len(shown))


def given_footnotes(kind: str, rows: Sequence[Row]) -> list[str]:
    """Say what the figures are of: one sentence each."""
    if kind != "exit_summaries":
        return []
    meanings = {row["time_is"] for row in rows}
    sentences = {
        "times are out of the guest: from an exit to the next entry.": "out of the guest" in meanings,
        "times are in the guest: from an entry to the exit (perf kvm stat on arm64 and riscv).": (
            "in the guest" in meanings
        ),
        "± SE %: standard error of the mean, in % of avg, as printed.": any(
            row["stderr_share"] is not None for row in rows
        ),
        "Every figure is rounded as it was printed.": bool(rows),
        "The table has no rows: there was no such exit.": not rows,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else printable(str(row[name]))


def _detail(row: Row) -> str:
    detail, name = row["detail"], row["detail_name"]
    shown = "" if detail is None else f"{detail:#x}"
    return printable(" ".join(str(part) for part in (row["detail_kind"], shown, name) if part))


_SUMMARY_NAMES = {
    "logged_at": Column("at", _text("logged_at")),
    "event_kind": Column("kind", _text("event_kind")),
    "reason": Column("reason", _text("reason")),
    "detail_kind": Column("detail", _detail),
    "direction": Column("direction", _text("direction")),
}
_SUMMARY_NUMBERS = {
    "samples": number("exits", "samples", readable.count),
    "samples_share": number("exits %", "samples_share", readable.percent),
    "time_share": number("time %", "time_share", readable.percent),
    "total_ns": number("time µs", "total_ns", readable.microseconds),
    "min_ns": number("min µs", "min_ns", readable.microseconds),
    "mean_ns": number("avg µs", "mean_ns", readable.microseconds),
    "stderr_share": number("± SE %", "stderr_share", readable.percent),
    "max_ns": number("max µs", "max_ns", readable.microseconds),
}
_BENCHMARK_NAMES = {
    "suite": Column("suite", _text("suite")),
    "test": Column("test", _text("test")),
    "name": Column("name", _text("name")),
    "state": Column("state", _text("state")),
    "message": Column("message", _text("message")),
}
_BENCHMARK_NUMBERS = {
    "value": number("value", "value", readable.count),
    "unit": Column("unit", _text("unit")),
    "statistic": Column("statistic", _text("statistic")),
    "clock": Column("clock", _text("clock")),
}
