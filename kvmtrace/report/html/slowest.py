"""The slowest exits one by one, each with the events that its thread recorded inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report import readable
from kvmtrace.report.html.charts import name_of
from kvmtrace.report.html.parts import Cell, DataTable, Fold, Text
from kvmtrace.report.html.run_figures import Named
from kvmtrace.report.key_words import detail_words
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.report.html.parts import Part
    from kvmtrace.report.html.run_figures import InnerEvents, SlowExit

_LONGEST_VALUE = 80
_HEXADECIMAL_FROM = 1 << 16


def slowest_parts(slowest: Sequence[tuple[SlowExit, InnerEvents]], start_ns: int) -> Iterator[Part]:
    """Yield the table of the slowest exits, and for each of them its events; `start_ns` is the time of the first."""
    yield _table([each for each, _ in slowest], start_ns)
    for place, (each, inner) in enumerate(slowest, start=1):
        events = f"{readable.count(inner.n)} event{'' if inner.n == 1 else 's'}"
        reason, detail = name_of(each.reason), _detail(each)
        what = detail if detail.startswith(f"{reason} ") else " ".join(filter(None, (reason, detail)))
        title = f"{place}. {readable.duration(each.latency_ns)}: {what} at {_since(each, start_ns)} s, {events}"
        yield Fold(title, (_events(each, inner),) if inner.n else (Text(("No events were recorded inside it.",)),))


def _table(slowest: Sequence[SlowExit], start_ns: int) -> DataTable:
    told = {
        "in userspace µs": [each.userspace_ns for each in slowest],
        "blocked µs": [each.blocked_ns for each in slowest],
        "preempted µs": [each.preempted_ns for each in slowest],
    }
    recorded = {heading: column for heading, column in told.items() if any(ns is not None for ns in column)}
    several = len({each.vm_id for each in slowest}) > 1
    rows = [
        (
            Cell(str(place + 1), place + 1),
            Cell(name_of(each.reason)),
            Cell(_detail(each)),
            *([Cell(name_of(each.vm_id))] if several else []),
            Cell(readable.NONE if each.vcpu is None else str(each.vcpu), each.vcpu),
            Cell(readable.NONE if each.cpu is None else str(each.cpu), each.cpu),
            Cell(_since(each, start_ns), each.exit_ts_ns - start_ns),
            Cell(readable.microseconds(each.latency_ns), each.latency_ns),
            *(Cell(readable.microseconds(column[place]), column[place]) for column in recorded.values()),
        )
        for place, each in enumerate(slowest)
    ]
    vm = ("VM",) if several else ()
    headings = ("#", "reason", "detail", *vm, "vCPU", "CPU", "at s", "time µs", *recorded)
    return DataTable("Slowest exits", headings, tuple(rows), names=5 + several)


def _since(each: SlowExit, start_ns: int) -> str:
    return f"{(each.exit_ts_ns - start_ns) / 1e9:,.6f}"


def _detail(each: SlowExit) -> str:
    if each.detail_hex is None:
        return ""
    return detail_words(each.detail_kind, int(each.detail_hex, 16), each.detail_name)


def _events(each: SlowExit, inner: InnerEvents) -> DataTable:
    rows = [
        (
            Cell(f"{(event.ts_ns - each.exit_ts_ns) / 1e3:,.3f}", event.ts_ns),
            Cell(printable(event.event)),
            Cell(readable.NONE if event.cpu is None else str(event.cpu), event.cpu),
            Cell(" ".join(f"{printable(name)}={_value(value)}" for name, value in event.fields)),
        )
        for event in inner.events
    ]
    left = f", the first {len(rows)} of {readable.count(inner.n)}" if inner.n > len(rows) else ""
    headings = ("µs after the exit", "event", "CPU", "fields")
    return DataTable(f"Events inside it{left}", headings, tuple(rows), names=4)


def _value(value: object) -> str:
    if isinstance(value, Named):
        return f"{_value(value.name)} ({_value(value.value)})"
    if isinstance(value, int) and not isinstance(value, bool) and value >= _HEXADECIMAL_FROM:
        return f"{value:#x}"
    text = printable(value.hex() if isinstance(value, bytes | bytearray) else str(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
