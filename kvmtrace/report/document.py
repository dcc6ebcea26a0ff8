"""A report as people read it, in words, before any layout."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.exit_keys import By
from kvmtrace.report import circumstances, histogram, readable, wording
from kvmtrace.report.blocks import Column, Facts, Histogram, Sentences, Table, number, table
from kvmtrace.report.columns import counter_rows, exit_rows, tracepoint_rows
from kvmtrace.report.given import KINDS, NOUNS, given_table
from kvmtrace.report.key_words import BY_WORDS, NOT_RECORDED, detail_words
from kvmtrace.report.printable import printable
from kvmtrace.report.split import split_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvmtrace.report.blocks import Block
    from kvmtrace.report.summary import ExitTable, Row, Section, Summary


def document(summary: Summary) -> list[Block]:
    """Return what a report says of one run, in reading order. Names of the recording are made printable."""
    blocks: list[Block] = [facts(summary)]
    warnings = wording.warnings(summary)
    if warnings:
        blocks.append(Sentences(tuple(map(printable, warnings)), warning=True))
    if summary.manifest.kind == "counters":
        blocks += _counters(summary)
    elif summary.manifest.kind in KINDS:
        blocks += _given(summary)
    elif summary.exits is None:
        blocks += _tracepoints(summary)
    else:
        blocks += _exits(summary, summary.exits)
    return blocks


def facts(summary: Summary) -> Facts:
    """Return what is known of how a run was made."""
    manifest, source, label = summary.manifest, summary.manifest.source, summary.label
    names = [label.label or "", *(f"{key}={value}" for key, value in label.tags.items())]
    host = [manifest.host.get(name) for name in ("hostname", "kernel", "arch", "cpu")]
    unrecorded = "not recorded" if manifest.kind == "recording" else None  # figures tell nothing of these
    told = {
        "label": ", ".join(filter(None, names)),
        "source": f"{source.title} ({source.format}, {wording.of(source.size_bytes, 'byte')})",
        "part": source.part_label,
        "host": ", ".join(str(fact) for fact in host if fact) or unrecorded,
        "settings": circumstances.settings_told(manifest),
        "VMs": circumstances.vms_told(manifest),
        "recorder": _recorder(manifest.tool),
        "command": manifest.environment.get("command"),
        "recorded": _recorded(summary),
        "time": None if manifest.kind in KINDS else circumstances.time_told(manifest, summary.rate_time),
        "started": manifest.start,
        "clock": circumstances.clock_told(manifest) or unrecorded,
        "lost": "nothing, as far as the recording tells" if unrecorded and not manifest.lost else None,
        "session": circumstances.session_told(manifest),
        "not stored": ", ".join(manifest.left_out),
        "interrupts": _injected(summary),
    }
    return Facts(
        f"Run {printable(manifest.run_id)}", tuple((name, printable(text)) for name, text in told.items() if text)
    )


def _recorder(tool: Mapping[str, str]) -> str:
    version = f"version {tool['version']}" if "version" in tool else ""
    return ", ".join(filter(None, (tool.get("cmdline"), version)))


def _recorded(summary: Summary) -> str:
    kind = summary.manifest.kind
    if kind in NOUNS:
        return wording.of(len(summary.counters or summary.given), NOUNS[kind])
    tracepoints = summary.manifest.tracepoints
    if tracepoints and not summary.manifest.tells_enabled:
        told = wording.of(sum(t.samples for t in tracepoints), "event")
        return f"{wording.of(len(tracepoints), 'tracepoint')} fired, {told}; which others were enabled is not told"
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


def exit_tables(summary: Summary, exits: ExitTable) -> Iterator[tuple[Table, Table | None]]:
    """Yield for each section its table, and the one of where its time went, None where nothing of it was recorded."""
    rows = list(exit_rows(summary, exits))
    by = " and ".join(BY_WORDS[by] for by in exits.by)
    start = 0
    for section in exits.sections:
        end = start + len(section.groups) + 1
        title = f"{'Idle exits' if section.idle else 'Exits'} by {by}"
        split = split_table(
            f"Where the time went: {title[0].lower()}{title[1:]}", _name_columns(exits), rows[start:end]
        )
        yield _exit_table(title, exits, section, rows[start:end]), split
        start = end


def _exits(summary: Summary, exits: ExitTable) -> Iterator[Block]:
    for table_and_split in exit_tables(summary, exits):
        yield from filter(None, table_and_split)
    yield Sentences(tuple(map(printable, wording.footnotes(summary))))
    if summary.distribution:
        bins = histogram.bins(summary.distribution)
        which = "idle ones too" if exits.with_idle else "without idle ones"
        yield Histogram(f"Latency of {wording.of(sum(b.n for b in bins), 'exit')}, {which}", bins)


def _exit_table(title: str, exits: ExitTable, section: Section, rows: Sequence[Row]) -> Table:
    total = section.total
    counts = [
        number("exits", "exits", readable.count),
        *([] if section.idle else [number("exits %", "exits_share", readable.percent)]),
        number("exits/s", "rate_per_s", readable.fixed),
        number("time µs", "out_of_guest_ns", readable.microseconds),
        *([] if section.idle else [number("time %", "out_of_guest_share", readable.percent)]),
        *([] if total.userspace is None else [number("userspace", "userspace_exits", readable.count)]),
        *([number("suspect", "suspect_exits", readable.count)] if total.suspect else []),
        *([number("no latency", "no_latency_exits", readable.count)] if total.no_latency else []),
    ]
    latency = [
        number("min µs", "min_ns", readable.microseconds),
        number("avg µs", "avg_ns", readable.microseconds),
        number("± SE %", "stderr_share", readable.percent),
        number("p50 µs", "p50_ns", readable.microseconds),
        number("p90 µs", "p90_ns", readable.microseconds),
        number("p99 µs", "p99_ns", readable.microseconds),
        number("p99.9 µs", "p99_9_ns", readable.microseconds),
        number("max µs", "max_ns", readable.microseconds),
    ]
    names = _name_columns(exits)
    shown = table(title, [*names, *counts, *latency], rows, names=len(names), parts=(len(counts), len(latency)))
    # The total bears its name where the first group bears its own.
    return replace(shown, rows=(*shown.rows[:-1], ("total", *shown.rows[-1][1:])), totals=1)


def _name_columns(exits: ExitTable) -> list[Column]:
    return [Column(BY_WORDS[by], _NAMES[by], _NUMBERED.get(by)) for by in exits.by]


def _name(column: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row[column]
        if row.get("row") == "total":
            return ""
        return NOT_RECORDED if value is None else printable(str(value))

    return cell


def _detail(row: Row) -> str:
    if row["row"] == "total":
        return ""
    kind, detail, name = row["detail_kind"], row["detail"], row["detail_name"]
    if row["detail_capped"]:
        return printable(f"{kind} (other details: use --exact)")
    if detail is None:
        return "(none recorded)"
    kind, name = (None if text is None else str(text) for text in (kind, name))
    return detail_words(kind, int(detail), name)


_NAMES: dict[By, Callable[[Row], str]] = {
    By.REASON: _name("reason"),
    By.DETAIL: _detail,
    By.VCPU: _name("vcpu"),
    By.VM: _name("vm_id"),
    By.CPU: _name("cpu"),
}
_NUMBERED = {By.VCPU: "vcpu", By.CPU: "cpu"}


def _tracepoints(summary: Summary) -> Iterator[Block]:
    rows = list(tracepoint_rows(summary))
    if not rows:
        return
    stored_apart = any(row["events"] != row["stored_events"] for row in rows)
    sampled = any(row["period"] != 1 for row in rows)
    columns: list[Column] = [
        Column("event", _name("event")),
        number("events", "events", readable.count),
        number("events/s", "rate_per_s", readable.fixed),
        *([number("stored", "stored_events", readable.count)] if stored_apart else []),
        *(
            [number("1 in", "period", lambda period: readable.count(period) if period else "varying")]
            if sampled
            else []
        ),
    ]
    yield table("Recorded events", columns, rows, names=1)
    yield Sentences(tuple(wording.footnotes(summary)))


def _counters(summary: Summary) -> Iterator[Block]:
    rows = list(counter_rows(summary))
    known = {name for row in rows for name, value in row.items() if value is not None}
    intervals = any(counter.source_rows > 1 for counter in summary.counters)
    columns: list[Column] = [
        *([Column("scope", _scope)] if "scope" in known else []),
        Column("event", _name("event")),
        Column("value", _value, "value"),
        *([Column("unit", lambda row: printable(str(row["unit"] or "")))] if "unit" in known else []),
        *([number("per second", "rate_per_s", readable.fixed)] if "rate_per_s" in known else []),
        *(
            [number("per kvm_inj_virq", "per_injected_interrupt", readable.ratio)]
            if "per_injected_interrupt" in known
            else []
        ),
        *([number("± SE %", "stderr_share", readable.percent)] if "stderr_share" in known else []),
        *([number("ran %", "running_share", readable.percent)] if "running_share" in known else []),
        *([Column("intervals", _intervals, "counted_rows")] if intervals else []),
    ]
    yield table("Counters", columns, rows, names=2 if "scope" in known else 1)
    if footnotes := wording.footnotes(summary):
        yield Sentences(tuple(footnotes))


def _given(summary: Summary) -> Iterator[Block]:
    yield given_table(summary.manifest.kind, summary.given)
    if footnotes := wording.footnotes(summary):
        yield Sentences(tuple(footnotes))


def _scope(row: Row) -> str:
    return "all" if row["scope"] is None else printable(str(row["scope"]))


def _value(row: Row) -> str:
    value = row["value"]
    return printable(str(row["state"])) if value is None else readable.count(float(value))


def _intervals(row: Row) -> str:
    all_rows, counted = row["source_rows"], row["counted_rows"]
    return str(all_rows) if all_rows == counted else f"{counted} of {all_rows}"
