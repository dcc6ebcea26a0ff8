"""Runs of figures that somebody else worked out: counters, tables of `perf kvm stat`, benchmarks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace import queries
from kvmtrace.comparing.run_data import RunData
from kvmtrace.stats.estimates import Mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

    Floats = NDArray[np.float64]
    Row = Mapping[str, Any]


def _rows(connection: StoreConnection, name: str, manifest: Manifest) -> list[Row]:
    result = queries.run(connection, queries.load(name), {"run_id": manifest.run_id})
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]


def counters(connection: StoreConnection, manifest: Manifest, seconds: float | None) -> RunData:
    """Return counters; the intervals of `perf stat -I` are its blocks of time."""
    rows = _rows(connection, "compare/counters_by_interval", manifest)
    ends = sorted({end for row in rows for end in row["interval_end_ns"] if end is not None})
    events: dict[str, Floats] = {}
    figures: dict[str, Mean] = {}
    units: dict[str, str] = {}
    running: dict[str, float] = {}
    aliases: dict[str, str] = {}
    for row in rows:
        name = _counter_name(row)
        values = np.array([np.nan if value is None else value for value in row["counted"]], np.float64)
        if np.isnan(values).any() or (len(ends) > 1 and len(values) != len(ends)):
            continue  # an interval that was not counted: its rest is no figure of the same time
        share, repeats = row["stderr_share"], row["repeats"]
        mean = float(values.sum())
        figures[name] = Mean(mean, None if share is None else mean * share, repeats)
        if row["running_share"] is not None:
            running[name] = row["running_share"]
        if row["unit"] is not None:
            units[name] = row["unit"]
            continue
        events[name] = values if len(ends) > 1 else values[:1]
        if row["system"]:
            aliases[name.partition(":")[2]] = name
    seconds = seconds or (ends[-1] / 1e9 if ends else None)
    lengths = np.diff(np.array([0, *ends], np.float64)) / 1e9 if len(ends) > 1 else None
    # As `kvm_exit` is asked for, and kvm:kvm_exit counted; a counter of that very name is itself.
    short_events = {short: events[name] for short, name in aliases.items()}
    short_figures = {short: figures[name] for short, name in aliases.items()}
    return RunData(
        manifest, connection.catalogue.label(manifest.run_id), max(len(ends), 1), seconds,
        events=short_events | events, figures=short_figures | figures, unit_of=units, block_lengths_s=lengths,
        running_share=running,
    )  # fmt: skip


def _counter_name(row: Row) -> str:
    event = row["event"] if row["part"] is None else f"{row['event']}({row['part']})"
    return f"{row['system']}:{event}" if row["system"] else str(event)


def summaries(connection: StoreConnection, manifest: Manifest, seconds: float | None) -> RunData:
    """Return tables of `perf kvm stat`: means with their ±, and counts; rows of one name by their place among them."""
    rows = _rows(connection, "exit-summaries", manifest)
    named = {name: row for name, row in zip(_row_names(rows), rows, strict=True) if row["mean_ns"] is not None}
    figures = {
        name: Mean(row["mean_ns"], _times(row["mean_ns"], row["stderr_share"]), row["samples"])
        for name, row in named.items()
    }
    counts = {name: np.array([float(row["samples"])]) for name, row in named.items() if row["samples"] is not None}
    label = connection.catalogue.label(manifest.run_id)
    units = dict.fromkeys(figures, "ns, mean")
    return RunData(manifest, label, 1, seconds, events=counts, figures=figures, unit_of=units)


def _row_names(rows: Iterable[Row]) -> Iterator[str]:
    """Give what rows are called: of several UNKNOWN, in the order of lines, UNKNOWN, UNKNOWN #2, UNKNOWN #3."""
    seen: Counter[str] = Counter()
    for row in rows:
        name = f"{row['event_kind']} {row['reason']}"
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} #{seen[name]}"


def benchmarks(connection: StoreConnection, manifest: Manifest, seconds: float | None) -> RunData:
    """Return figures of benchmarks, each a single one."""
    rows = [row for row in _rows(connection, "benchmarks", manifest) if row["value"] is not None]
    figures = {row["name"]: Mean(row["value"], None, None) for row in rows}
    units = {row["name"]: row["unit"] for row in rows if row["unit"] is not None}
    return RunData(manifest, connection.catalogue.label(manifest.run_id), 1, seconds, figures=figures, unit_of=units)


def _times(mean: float, share: float | None) -> float | None:
    return None if share is None else mean * share


READERS: dict[str, Callable[[StoreConnection, Manifest, float | None], RunData]] = {
    "counters": counters,
    "exit_summaries": summaries,
    "benchmarks": benchmarks,
}
"""By the kind of a run."""
