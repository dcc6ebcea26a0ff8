"""Holds a time-line to the store that it was made of: slices nest, and their sums are those of the table exits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from decoded_timeline import DecodedTimeline, Slice, decode

from kvmtrace import queries
from kvmtrace.export.perfetto import write_timeline
from kvmtrace.export.slices import GUEST, PART_NAMES
from kvmtrace.export.window import Window
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

_SUMS = """
SELECT coalesce(reason, 'exit reason not recorded') AS reason, sum(latency_ns), sum(guest_ns), sum(userspace_ns),
    sum(blocked_ns), sum(polled_ns), sum(preempted_ns), count(latency_ns), count(*)
FROM exits WHERE run_id = $run_id GROUP BY ALL
"""
_KINDS = ("latency_ns", "guest_ns", "userspace_ns", "blocked_ns", "polled_ns", "preempted_ns")


def exported(store: Path, run: str, to: Path, window: Window | None = None) -> DecodedTimeline:
    """Export the time-line of a run and decode it."""
    with StoreConnection(store) as connection:
        return _exported(connection, run, to, window or Window())


def _exported(connection: StoreConnection, run: str, to: Path, window: Window) -> DecodedTimeline:
    with to.open("wb") as file:
        write_timeline(connection, connection.catalogue.resolve(run), window, file)
    return decode(to)


def check_timeline(store: Path, run: str, to: Path) -> int:
    """Export the time-line of a whole run and check it against the store; return its slices."""
    with StoreConnection(store) as connection:
        return _check(_exported(connection, run, to, Window()), connection, run)


def _check(timeline: DecodedTimeline, connection: StoreConnection, run: str) -> int:
    assert timeline.faults == []
    exits = [s for s in timeline.slices if "exit" in s.categories]
    without = [s for s in timeline.instants if "exit" in s.categories]
    run_id = connection.catalogue.resolve(run).run_id
    rows = connection.query(_SUMS, {"run_id": run_id}).rows
    report = queries.run(connection, queries.load("exits-by-reason"), {"run_id": run_id}).rows
    reasons = dict(
        connection.query(
            "SELECT exit_id, coalesce(reason, 'exit reason not recorded') FROM exits WHERE run_id = $run_id",
            {"run_id": run_id},
        ).rows
    )
    found = {kind: Counter[str]() for kind in _KINDS}
    columns = {name: column for column, name in PART_NAMES.items()}
    for each in timeline.slices:
        if "exit" in each.categories:
            found["latency_ns"][each.name] += each.ns
        elif each.name in columns and "part" in each.categories:
            found[columns[each.name]][_reason(each, timeline, reasons)] += each.ns
    expected = {
        kind: {row[0]: int(row[1 + place]) for row in rows if row[1 + place]} for place, kind in enumerate(_KINDS)
    }
    guests = sum(s.ns for s in timeline.slices if s.name == GUEST and "guest" in s.categories)
    assert guests == sum(expected.pop("guest_ns").values())
    for kind, sums in expected.items():
        assert {reason: ns for reason, ns in found[kind].items() if ns} == sums, kind
    assert Counter(s.name for s in exits) == Counter({row[0]: row[7] for row in rows if row[7]})
    assert Counter(s.name for s in [*exits, *without]) == Counter({row[0]: row[8] for row in rows})
    trusted: Counter[str] = Counter()
    for each in exits:
        if "suspect" not in each.categories:
            trusted[each.name] += each.ns
    of_report: Counter[str] = Counter()
    for reason, _idle, _exits, _share, _rate, out_of_guest_ns, *_ in report:
        of_report[reason or "exit reason not recorded"] += out_of_guest_ns or 0
    assert +trusted == +of_report
    begun = Counter(f for s in exits for f in s.flows)
    assert begun == Counter(f for s in timeline.instants for f in s.ended_flows)
    assert all(n == 1 for n in begun.values())
    return len(timeline.slices)


def _reason(part: Slice, timeline: DecodedTimeline, reasons: dict[int, str]) -> str:
    """Return the reason of the exit that a part lies in; one without a latency is no slice but the instant before."""
    if part.parent is not None:
        assert part.depth == 1
        assert "exit" in part.parent.categories
        return reasons[part.parent.notes["exit_id"]]
    before = [
        s for s in timeline.instants if s.track == part.track and "exit" in s.categories and s.start_ns <= part.start_ns
    ]
    return reasons[max(before, key=lambda s: s.start_ns).notes["exit_id"]]
