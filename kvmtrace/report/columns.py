"""The cells of a report's tables, exactly: every format shows these values under the units that their names carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.exit_keys import By
from kvmtrace.report.summary import PARTS, RateTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.report.summary import Counter, ExitGroup, ExitTable, Row, Section, Summary

KEY_COLUMNS = {
    By.REASON: ("reason",),
    By.DETAIL: ("detail_kind", "detail", "detail_name", "detail_capped"),
    By.VCPU: ("vcpu",),
    By.VM: ("vm_id",),
    By.CPU: ("cpu",),
}
"""Columns of `Key` for each thing that exits are told apart by."""

_SPLIT = ("kernel_ns", *PARTS, "unclear_ns")
_DECIMALS = 9  # enough for any figure, few enough that the order of summation does not show


def exit_rows(summary: Summary, table: ExitTable) -> Iterator[Row]:
    """Yield a row for each group and each total of `table`; `row` tells them apart."""
    for section in table.sections:
        for group in (*section.groups, section.total):
            yield _exit_row(summary, table, section, group)


def _exit_row(summary: Summary, table: ExitTable, section: Section, group: ExitGroup) -> Row:
    row: Row = {"row": "total" if group.key is None else "group", "idle": group.idle}
    for column in (column for by in table.by for column in KEY_COLUMNS[by]):
        row[column] = getattr(group.key, column) if group.key else None
    shares = (None, None) if section.idle else _shares(group, section.total)
    rate_time = summary.rate_time
    return row | {
        "exits": group.exits,
        "exits_share": shares[0],
        "rate_per_s": _rounded(rate_time.per_second(group.exits)) if rate_time else None,
        "out_of_guest_ns": group.out_of_guest_ns,
        "out_of_guest_share": shares[1],
        "min_ns": group.min_ns,
        "avg_ns": _rounded(group.avg_ns),
        "stderr_ns": _rounded(group.stderr_ns, 3),
        "stderr_share": _rounded(group.stderr_share),
        "p50_ns": group.p50_ns,
        "p90_ns": group.p90_ns,
        "p99_ns": group.p99_ns,
        "p99_9_ns": group.p99_9_ns,
        "max_ns": group.max_ns,
        "userspace_exits": group.userspace,
        **{name: getattr(group, name) for name in _SPLIT},
        **{f"{name.removesuffix('_ns')}_share": _part_share(group, name) for name in _SPLIT},
        "timed_exits": group.timed,
        "suspect_exits": group.suspect,
        "no_latency_exits": group.no_latency,
    }


def _shares(group: ExitGroup, total: ExitGroup) -> tuple[float | None, float | None]:
    time = group.out_of_guest_ns
    time_share = _rounded(time / total.out_of_guest_ns) if time is not None and total.out_of_guest_ns else None
    return _rounded(group.exits / total.exits), time_share


def _part_share(group: ExitGroup, name: str) -> float | None:
    """Return a part of the group's time out of the guest, relative to it."""
    part: int | None = getattr(group, name)
    return _rounded(part / group.out_of_guest_ns) if part is not None and group.out_of_guest_ns else None


def counter_rows(summary: Summary) -> Iterator[Row]:
    """Yield a row for each counter."""
    rate_time = summary.rate_time
    for counter in summary.counters:
        is_count = counter.counted is not None and counter.unit is None
        yield {
            "scope": counter.scope,
            "event": counter.name,
            "value": _whole(counter.counted),
            "unit": counter.unit,
            "state": counter.states,
            "rate_per_s": _rounded(_rate(counter, rate_time) if is_count else None),
            "per_injected_interrupt": _rounded(summary.per_injection(counter)),
            "running_share": _rounded(counter.running_share),
            "stderr_share": _rounded(counter.stderr_share),
            "repeats": counter.repeats,
            "source_rows": counter.source_rows,
            "counted_rows": counter.counted_rows,
        }


def _rate(counter: Counter, rate_time: RateTime | None) -> float | None:
    """Return events in a second: as printed, else of the intervals that were counted, else of the time of all."""
    if counter.rate_per_s is not None:
        return counter.rate_per_s
    time = RateTime(counter.counted_ns, "intervals") if counter.counted_ns else rate_time
    return time.per_second(counter.counted or 0) if time else None


def tracepoint_rows(summary: Summary) -> Iterator[Row]:
    """Yield a row for each tracepoint that was enabled, most events first; a count of 0 is: it never fired."""
    rate_time = summary.rate_time
    for tracepoint in sorted(summary.manifest.tracepoints, key=lambda t: (-t.samples, t.system, t.event)):
        yield {
            "event": f"{tracepoint.system}:{tracepoint.event}",
            "events": tracepoint.samples,
            "rate_per_s": _rounded(rate_time.per_second(tracepoint.samples)) if rate_time else None,
            "stored_events": tracepoint.rows,
            "period": tracepoint.period,
        }


def _rounded(value: float | None, decimals: int = _DECIMALS) -> float | None:
    return None if value is None else round(value, decimals)


def _whole(value: float | None) -> float | None:
    """Return counts, which perf prints as whole numbers, as whole numbers."""
    return int(value) if value is not None and value.is_integer() else value
