"""A snapshot → the line above the table, and its rows as they are shown: sorted, and as wide as there is room."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a field of a named tuple
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.exit_keys import By, Key
from kvmtrace.report.blocks import Table
from kvmtrace.report.key_words import BY_WORDS, NOT_RECORDED, detail_words
from kvmtrace.report.printable import printable
from kvmtrace.report.readable import NONE, count, microseconds, percent

if TYPE_CHECKING:
    from kvmtrace.watch.onlooker import Totals
    from kvmtrace.watch.snapshot import Group, Snapshot

_OTHER = "(other)"
_WHOLE_FROM_NS = 1_000_000
_GAP = 2


class Sort(StrEnum):
    """What the rows are sorted by, in the order of the columns; the value is the key that asks for it."""

    NAME = "r"
    COUNT = "c"
    TIME = "t"
    P50 = "5"
    P99 = "9"
    MAX = "m"


class _Column(NamedTuple):
    heading: str
    sort: Sort | None
    cell: Callable[[Group, Snapshot], str]
    rank: int  # where room is short, those of the highest rank go first


@dataclass(frozen=True, slots=True)
class View:
    """How the user wants to see it."""

    by: tuple[By, ...] = (By.REASON,)
    sort: Sort = Sort.TIME
    reverse: bool = False

    def sorted_by(self, sort: Sort) -> View:
        """Return the view sorted by that; the other way round where it is already."""
        return View(self.by, sort, reverse=not self.reverse if sort == self.sort else False)

    def moved(self, step: int) -> View:
        """Return the view sorted by the column so many further to the right."""
        order = list(Sort)
        return View(self.by, order[(order.index(self.sort) + step) % len(order)])


def headline(snapshot: Snapshot, totals: Totals) -> str:
    """Return what window is shown, and what was lost."""
    if snapshot.waits_for is not None:
        return snapshot.waits_for
    where = f"at {snapshot.ends_ns / 1e9:.1f} s, last {snapshot.covered_ns / 1e9:.1f} s"
    exits = [f"{_rate(snapshot, total.exits)} {'idle ' if total.idle else ''}exits/s" for total in snapshot.totals]
    if not snapshot.has_exits:
        exits = [f"{_rate(snapshot, sum(n for _, n in snapshot.events))} events/s, no exits recorded"]
    return f"{where}: " + ", ".join([*(exits or ["no exits"]), _losses(snapshot, totals)])


def closing(totals: Totals) -> str:
    """Return what the recording held as a whole."""
    held = [f"{totals.events:,} events"]
    if totals.exits or totals.idle_exits:
        held += [f"{totals.exits:,} exits", f"{totals.idle_exits:,} idle exits"]
    lost = f"{totals.lost_events:,} events lost" if totals.lost_events else "nothing lost, as far as it tells"
    return ", ".join([f"whole recording: {totals.elapsed_ns / 1e9:.3f} s", *held, lost])


def table(snapshot: Snapshot, view: View, *, width: int | None = None, rows: int | None = None) -> Table:
    """Return the rows of a snapshot, no wider and no more than there is room for (None: as it comes)."""
    if snapshot.waits_for is None and not snapshot.has_exits:
        return _fitted(_event_table(snapshot, view), width, rows, [0, 0])
    columns = [*(_key_column(by, marked=by == view.by[0]) for by in view.by), *_COLUMNS]
    if all(group.timed == group.exits for group in snapshot.groups):
        columns = [column for column in columns if column.heading != _UNTIMED]
    busy = _sorted([group for group in snapshot.groups if not group.idle], view)
    idle = _sorted([group for group in snapshot.groups if group.idle], view)
    cells = [tuple(column.cell(group, snapshot) for column in columns) for group in (*busy, *idle)]
    title = f"exits by {', '.join(BY_WORDS[by] for by in view.by)}"
    whole = Table(title, tuple(column.heading for column in columns), tuple(cells), len(view.by))
    return _fitted(whole, width, rows, [column.rank for column in columns])


def _sorted(groups: list[Group], view: View) -> list[Group]:
    """Return groups as asked for; those of one rank, and those without the figure, by their names."""
    figures: dict[Sort, Callable[[Group], int | None]] = {
        Sort.COUNT: lambda group: group.exits,
        Sort.TIME: lambda group: group.out_of_guest_ns,
        Sort.P50: lambda group: group.p50_ns,
        Sort.P99: lambda group: group.p99_ns,
        Sort.MAX: lambda group: group.max_ns,
    }
    by_name = sorted(groups, key=_name_order, reverse=view.sort is Sort.NAME and view.reverse)
    if view.sort is Sort.NAME:
        return by_name
    figure = figures[view.sort]
    known = [group for group in by_name if figure(group) is not None]
    unknown = [group for group in by_name if figure(group) is None]
    return sorted(known, key=lambda group: (figure(group) or 0) * (1 if view.reverse else -1)) + unknown


def _name_order(group: Group) -> tuple[object, ...]:
    if group.key is None:
        return (True,)
    return (False, *((part is None, part if part is not None else 0) for part in group.key))


def _fitted(table: Table, width: int | None, rows: int | None, ranks: list[int]) -> Table:
    """Leave out columns and rows that there is no room for; how many rows is said in the last one."""
    chosen = list(range(len(table.headings)))
    shown = table.rows
    if rows is not None and len(shown) > max(rows, 1):
        left = len(shown) - max(rows, 1) + 1
        shown = (*shown[: max(rows, 1) - 1], (f"({left} more)", *[""] * (len(table.headings) - 1)))
    if width is not None:
        widths = [max(map(len, column)) for column in zip(table.headings, *shown, strict=True)]
        while sum(widths[at] + _GAP for at in chosen) - _GAP > width and any(ranks[at] for at in chosen):
            chosen.remove(max(chosen, key=lambda at: ranks[at]))
    return Table(
        table.title,
        tuple(table.headings[at] for at in chosen),
        tuple(tuple(row[at] for at in chosen) for row in shown),
        table.names,
    )


def _event_table(snapshot: Snapshot, view: View) -> Table:
    events = sorted(snapshot.events, key=lambda event: event[0])
    if view.sort is not Sort.NAME:
        events.sort(key=lambda event: event[1], reverse=not view.reverse)
    rows = tuple((printable(name), _rate(snapshot, n)) for name, n in events)
    return Table("events by tracepoint", ("tracepoint", "events/s"), rows, 1)


def _key_column(by: By, *, marked: bool) -> _Column:
    """Return the column of a key; `marked`: it says of idle exits that they are."""

    def cell(group: Group, _: Snapshot) -> str:
        words = _OTHER if group.key is None else _KEY_WORDS[by](group.key)
        return f"{words} (idle)" if group.idle and marked else words

    return _Column(BY_WORDS[by], Sort.NAME, cell, 0)


def _detail(key: Key) -> str:
    if key.detail_capped:
        return f"{key.detail_kind} {_OTHER}"
    return NONE if key.detail is None else detail_words(key.detail_kind, key.detail, key.detail_name)


def _or_not_recorded(value: str | int | None) -> str:
    return NOT_RECORDED if value is None else printable(str(value))


def _rate(snapshot: Snapshot, n: int) -> str:
    rate = snapshot.per_second(n)
    return NONE if rate is None else f"{rate:,.1f}"


def _microseconds(ns: int | None) -> str:
    """Return a time in µs, as wide as a table needs it that changes all the time: 16.40, 1,024."""
    return microseconds(ns) if ns is None or ns < _WHOLE_FROM_NS else f"{ns / 1e3:,.0f}"


def _time_share(group: Group, snapshot: Snapshot) -> str:
    whole = sum(g.out_of_guest_ns or 0 for g in snapshot.groups if not g.idle)
    if group.idle or group.out_of_guest_ns is None or not whole:
        return percent(None)
    return percent(group.out_of_guest_ns / whole)


def _losses(snapshot: Snapshot, totals: Totals) -> str:
    if not totals.lost_events:
        return "nothing lost"
    return f"lost {snapshot.lost_events:,} events, {totals.lost_events:,} in all: figures are too low"


_UNTIMED = "untimed"
_KEY_WORDS: dict[By, Callable[[Key], str]] = {
    By.REASON: lambda key: _or_not_recorded(key.reason),
    By.DETAIL: _detail,
    By.VCPU: lambda key: _or_not_recorded(key.vcpu),
    By.VM: lambda key: _or_not_recorded(key.vm_id),
    By.CPU: lambda key: _or_not_recorded(key.cpu),
}
_COLUMNS = (
    _Column("exits", None, lambda group, _: count(group.exits), 5),
    _Column("exits/s", Sort.COUNT, lambda group, snapshot: _rate(snapshot, group.exits), 0),
    _Column("time %", Sort.TIME, _time_share, 3),
    _Column("p50 µs", Sort.P50, lambda group, _: _microseconds(group.p50_ns), 1),
    _Column("p99 µs", Sort.P99, lambda group, _: _microseconds(group.p99_ns), 0),
    _Column("max µs", Sort.MAX, lambda group, _: _microseconds(group.max_ns), 4),
    _Column(_UNTIMED, None, lambda group, _: count(group.exits - group.timed), 6),
)
SORT_HEADINGS = {column.heading: column.sort for column in _COLUMNS}
