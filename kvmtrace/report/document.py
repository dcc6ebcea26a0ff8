"""A report as people read it: facts, tables, sentences and a histogram, in words, before any layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmtrace.report import histogram, readable, wording
from kvmtrace.report.columns import counter_rows, exit_rows, tracepoint_rows
from kvmtrace.report.printable import printable
from kvmtrace.report.summary import By

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmtrace.report.columns import Row
    from kvmtrace.report.summary import ExitTable, Section, Summary


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values under a title."""

    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int  # so many columns from the left are names, the rest are numbers
    parts: tuple[int, ...] = ()  # columns of each part that a narrow layout may show apart, without the names
    totals: int = 0  # so many rows from the end are totals


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences, one a line; warnings are to be read before the figures."""

    sentences: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins whose bars are drawn to the width of the layout."""

    title: str
    bins: tuple[histogram.Bin, ...]


Block = Facts | Table | Sentences | Histogram


class Column(NamedTuple):
    """A heading, and what a row shows under it."""

    heading: str
    cell: Callable[[Row], str]


_BY_WORDS = {By.REASON: "reason", By.DETAIL: "detail", By.VCPU: "vCPU", By.VM: "VM", By.CPU: "CPU"}
_DECIMAL_DETAILS = {"vector", "cr", "hypercall"}


def document(summary: Summary) -> list[Block]:
    """Return what a report says of one run, in reading order. Names of the recording are made printable."""
    blocks: list[Block] = [_facts(summary)]
    warnings = wording.warnings(summary)
    if warnings:
        blocks.append(Sentences(tuple(map(printable, warnings)), warning=True))
    if summary.manifest.kind == "counters":
        blocks += _counters(summary)
    elif summary.exits is None:
        blocks += _tracepoints(summary)
    else:
        blocks += _exits(summary, summary.exits)
    return blocks


def _facts(summary: Summary) -> Facts:
    manifest, source, label = summary.manifest, summary.manifest.source, summary.label
    names = [label.label or "", *(f"{key}={value}" for key, value in label.tags.items())]
    host = [manifest.host.get(name) for name in ("hostname", "kernel", "arch", "cpu")]
    facts = {
        "label": ", ".join(filter(None, names)),
        "source": f"{source.title} ({source.format}, {wording.of(source.size_bytes, 'byte')})",
        "part": source.part_label,
        "host": ", ".join(str(fact) for fact in host if fact) or "not recorded",
        "recorder": ": ".join(filter(None, (manifest.tool.get("version"), manifest.tool.get("cmdline")))),
        "recorded": _recorded(summary),
        "time": wording.time_told(manifest, summary.rate_time),
        "started": manifest.start,
        "clock": manifest.clock or (None if manifest.kind == "counters" else "not recorded"),
        "lost": None if manifest.lost or manifest.kind == "counters" else "nothing, as far as the recording tells",
        "not stored": ", ".join(manifest.left_out),
        "interrupts": _injected(summary),
    }
    return Facts(
        f"Run {printable(manifest.run_id)}", tuple((name, printable(text)) for name, text in facts.items() if text)
    )


def _recorded(summary: Summary) -> str:
    if summary.manifest.kind == "counters":
        return wording.of(len(summary.counters), "counter")
    tracepoints = summary.manifest.tracepoints
    fired = sum(t.samples > 0 for t in tracepoints)
    events = sum(t.samples for t in tracepoints)
    return (
        f"{wording.of(len(tracepoints), 'tracepoint')} enabled, {fired:,} fired, {wording.of(events, 'event')}"
        if tracepoints
        else "not told"
    )


def _injected(summary: Summary) -> str | None:
    injected = summary.injected_interrupts
    if not injected or summary.exits is None:
        return None
    ratio = readable.fixed(summary.exits.exits / injected)
    return f"{ratio} exits per injected interrupt ({readable.count(injected)} kvm_inj_virq)"


def _exits(summary: Summary, table: ExitTable) -> Iterator[Block]:
    rows = list(exit_rows(summary, table))
    by = " and ".join(_BY_WORDS[by] for by in table.by)
    start = 0
    for section in table.sections:
        end = start + len(section.groups) + 1
        title = f"{'Idle exits' if section.idle else 'Exits'} by {by}"
        yield _exit_table(title, table, section, rows[start:end])
        start = end
    yield Sentences(tuple(map(printable, wording.footnotes(summary))))
    if summary.distribution:
        bins = histogram.bins(summary.distribution)
        which = "idle ones too" if table.with_idle else "without idle ones"
        yield Histogram(f"Latency of {wording.of(sum(b.n for b in bins), 'exit')}, {which}", bins)


def _exit_table(title: str, table: ExitTable, section: Section, rows: Sequence[Row]) -> Table:
    total = section.total
    counts = [
        _column("exits", "exits", readable.count),
        *([] if section.idle else [_column("exits %", "exits_share", readable.percent)]),
        _column("exits/s", "rate_per_s", readable.fixed),
        _column("time µs", "out_of_guest_ns", readable.microseconds),
        *([] if section.idle else [_column("time %", "out_of_guest_share", readable.percent)]),
        *([] if total.userspace is None else [_column("userspace", "userspace_exits", readable.count)]),
        *([_column("suspect", "suspect_exits", readable.count)] if total.suspect else []),
        *([_column("no latency", "no_latency_exits", readable.count)] if total.no_latency else []),
    ]
    latency = [
        _column("min µs", "min_ns", readable.microseconds),
        _column("avg µs", "avg_ns", readable.microseconds),
        _column("± SE %", "stderr_share", readable.percent),
        _column("p50 µs", "p50_ns", readable.microseconds),
        _column("p90 µs", "p90_ns", readable.microseconds),
        _column("p99 µs", "p99_ns", readable.microseconds),
        _column("p99.9 µs", "p99_9_ns", readable.microseconds),
        _column("max µs", "max_ns", readable.microseconds),
    ]
    names = [Column(_BY_WORDS[by], _NAMES[by]) for by in table.by]
    laid = _table(title, [*names, *counts, *latency], rows, names=len(names), parts=(len(counts), len(latency)))
    # The total bears its name where the first group bears its own.
    total_row = ("total", *laid.rows[-1][1:])
    return Table(laid.title, laid.headings, (*laid.rows[:-1], total_row), laid.names, laid.parts, totals=1)


def _table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], *, names: int, parts: tuple[int, ...] = ()
) -> Table:
    cells = tuple(tuple(cell(row) for _, cell in columns) for row in rows)
    return Table(title, tuple(heading for heading, _ in columns), cells, names, parts)


def _column(heading: str, name: str, readable_number: Callable[[Any], str]) -> Column:
    return Column(heading, lambda row: readable_number(row[name]))


def _name(column: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row[column]
        if row.get("row") == "total":
            return ""
        return "(not recorded)" if value is None else printable(str(value))

    return cell


def _detail(row: Row) -> str:
    if row["row"] == "total":
        return ""
    if row["detail_capped"]:
        return "(other details: use --exact)"
    kind, number, name = row["detail_kind"], row["detail"], row["detail_name"]
    if number is None and name is None:
        return "(none recorded)"
    shown = None if number is None else str(number) if kind in _DECIMAL_DETAILS else f"{number:#x}"
    return printable(" ".join(str(part) for part in (kind, shown, name) if part is not None))


_NAMES: dict[By, Callable[[Row], str]] = {
    By.REASON: _name("reason"),
    By.DETAIL: _detail,
    By.VCPU: _name("vcpu"),
    By.VM: _name("vm_id"),
    By.CPU: _name("cpu"),
}


def _tracepoints(summary: Summary) -> Iterator[Block]:
    rows = list(tracepoint_rows(summary))
    if not rows:
        return
    stored_apart = any(row["events"] != row["stored_events"] for row in rows)
    sampled = any(row["period"] != 1 for row in rows)
    columns: list[Column] = [
        Column("event", _name("event")),
        _column("events", "events", readable.count),
        _column("events/s", "rate_per_s", readable.fixed),
        *([_column("stored", "stored_events", readable.count)] if stored_apart else []),
        *(
            [_column("1 in", "period", lambda period: readable.count(period) if period else "varying")]
            if sampled
            else []
        ),
    ]
    yield _table("Recorded events", columns, rows, names=1)
    yield Sentences(tuple(wording.footnotes(summary)))


def _counters(summary: Summary) -> Iterator[Block]:
    rows = list(counter_rows(summary))
    known = {name for row in rows for name, value in row.items() if value is not None}
    intervals = any(counter.source_rows > 1 for counter in summary.counters)
    columns: list[Column] = [
        *([Column("scope", _scope)] if "scope" in known else []),
        Column("event", _name("event")),
        Column("value", _value),
        *([Column("unit", lambda row: printable(str(row["unit"] or "")))] if "unit" in known else []),
        *([_column("per second", "rate_per_s", readable.fixed)] if "rate_per_s" in known else []),
        *(
            [_column("per kvm_inj_virq", "per_injected_interrupt", readable.ratio)]
            if "per_injected_interrupt" in known
            else []
        ),
        *([_column("± SE %", "stderr_share", readable.percent)] if "stderr_share" in known else []),
        *([_column("ran %", "running_share", readable.percent)] if "running_share" in known else []),
        *([Column("intervals", _intervals)] if intervals else []),
    ]
    yield _table("Counters", columns, rows, names=2 if "scope" in known else 1)
    if footnotes := wording.footnotes(summary):
        yield Sentences(tuple(footnotes))


def _scope(row: Row) -> str:
    return "all" if row["scope"] is None else printable(str(row["scope"]))


def _value(row: Row) -> str:
    value = row["value"]
    return printable(str(row["state"])) if value is None else readable.count(float(value))


def _intervals(row: Row) -> str:
    all_rows, counted = row["rows"], row["counted_rows"]
    return str(all_rows) if all_rows == counted else f"{counted} of {all_rows}"
