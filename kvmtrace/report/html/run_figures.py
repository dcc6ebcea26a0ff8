"""What an HTML report reads of a run beside its summary: aggregates of bounded size, and a few of the slowest exits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace import queries
from kvmtrace.exit_keys import By
from kvmtrace.report.reading import read_summary
from kvmtrace.schema import EVENT_COLUMNS
from kvmtrace.store.manifest import decode_name
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmtrace.report.reading import Choice
    from kvmtrace.report.summary import Summary
    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.manifest import Manifest

BLOCKS = 160
"""Blocks of equal length that a recording is cut into: what a wide screen shows, however long it is."""
BLOCKS_OF_A_ROW = 5
"""Of those blocks, so many are a row where a chart is told as a table."""
SLOWEST = 20
"""Exits that are shown one by one."""
EVENTS_OF_AN_EXIT = 40
"""Events that are shown of each of them: the first ones."""


class BlockCount(NamedTuple):
    """Exits of one reason in one block of time, counted from 0."""

    block: int
    idle: bool
    reason: str | None
    n: int
    suspect: int


class BandCount(NamedTuple):
    """Exits of one block of time and one band of latency, from 2^(band/2) ns on."""

    block: int
    band: int
    n: int


class VcpuCount(NamedTuple):
    """Exits of one vCPU and reason; None: not recorded."""

    vm_id: str | None
    vcpu: int | None
    reason: str | None
    idle: bool
    n: int
    out_of_guest_ns: int | None


class SlowExit(NamedTuple):
    """An exit, as the query slowest-exits gives it."""

    exit_id: int
    exit_ts_ns: int
    vm_id: str | None
    vcpu: int | None
    tid: int | None
    cpu: int | None
    reason: str | None
    detail_kind: str | None
    detail_hex: str | None
    detail_name: str | None
    latency_ns: int
    userspace_ns: int | None
    blocked_ns: int | None
    preempted_ns: int | None


class Named(NamedTuple):
    """A value that the recording has a name for."""

    value: int
    name: str


class InnerEvent(NamedTuple):
    """An event that its thread recorded between an exit and the next entry."""

    ts_ns: int
    event: str  # with its system
    cpu: int | None
    fields: tuple[tuple[str, object], ...]  # their values: `Named` where they have a name


@dataclass(frozen=True, slots=True)
class InnerEvents:
    """The first events of an exit, and how many there are in all."""

    events: tuple[InnerEvent, ...] = ()
    n: int = 0


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Everything that an HTML report says of one run. A run without exits has its summary alone."""

    summary: Summary  # by reason
    details: Summary | None = None  # by reason and detail
    asked: Summary | None = None  # by what the user asked for, where that is neither
    by_time: tuple[BlockCount, ...] = ()
    latencies_by_time: tuple[BandCount, ...] = ()
    by_vcpu: tuple[VcpuCount, ...] = ()
    slowest: tuple[tuple[SlowExit, InnerEvents], ...] = ()


def read_figures(connection: StoreConnection, told: Summary, choice: Choice) -> RunFigures:
    """Return what an HTML report says of the run of `told`, its summary by `choice`.

    `choice.by` adds a table to those by reason and detail. Nothing here grows with the recording but the time it takes:
    exits are added up in SQL.
    """
    manifest = told.manifest

    def summary(*by: By) -> Summary:
        return told if by == choice.by else read_summary(connection, manifest, told.label, replace(choice, by=by))

    by_reason = summary(By.REASON)
    if by_reason.exits is None:
        return RunFigures(by_reason)

    def rows(name: str, **parameters: object) -> list[tuple[object, ...]]:
        query = queries.load(name)
        return queries.run(connection, query, {"run_id": manifest.run_id, **parameters}).rows

    usual = ((By.REASON,), (By.REASON, By.DETAIL))
    slowest = rows("slowest-exits", top=SLOWEST, with_idle=choice.with_idle)
    return RunFigures(
        by_reason,
        details=summary(By.REASON, By.DETAIL),
        asked=None if choice.by in usual else summary(*choice.by),
        by_time=tuple(BlockCount._make(row) for row in rows("report/exits_by_time", blocks=BLOCKS)),
        latencies_by_time=tuple(
            BandCount._make(row) for row in rows("report/latencies_by_time", blocks=BLOCKS, with_idle=choice.with_idle)
        ),
        by_vcpu=tuple(VcpuCount._make(row) for row in rows("report/exits_by_vcpu_and_reason")),
        slowest=tuple(_with_events(connection, manifest, [SlowExit._make(row) for row in slowest])),
    )


def _with_events(
    connection: StoreConnection, manifest: Manifest, exits: Sequence[SlowExit]
) -> Iterator[tuple[SlowExit, InnerEvents]]:
    found: defaultdict[int, list[InnerEvent]] = defaultdict(list)
    counts: defaultdict[int, int] = defaultdict(int)
    ids = [each.exit_id for each in exits]
    names = _symbols(connection, manifest)
    for path, table in manifest.tables.items():
        if path.startswith("events/") and table.rows and "exit_id" in table.columns and ids:
            system, event = (decode_name(part) for part in path.split("/")[1:])
            result = _events(connection, manifest, system, event, ids)
            for exit_id, n, inner in _inner_events(result, system, event, names):
                found[exit_id].append(inner)
                counts[exit_id] = counts[exit_id] + n
    for each in exits:
        events = sorted(found[each.exit_id], key=lambda inner: (inner.ts_ns, inner.event))
        yield each, InnerEvents(tuple(events[:EVENTS_OF_AN_EXIT]), counts[each.exit_id])


def _events(connection: StoreConnection, manifest: Manifest, system: str, event: str, ids: Sequence[int]) -> Result:
    view = connection.views.find(f"{system}__{event}")
    name = quoted(view.name if view is not None else event)
    return connection.query(
        "SELECT * EXCLUDE (run_id), "  # noqa: S608 - a quoted name of a table of the store, and whole numbers
        "row_number() OVER (PARTITION BY exit_id ORDER BY ts_ns) AS kvmtrace_place, "
        "count(*) OVER (PARTITION BY exit_id) AS kvmtrace_n "
        f"FROM {name} WHERE run_id = $run_id AND exit_id IN ({', '.join(map(str, ids))}) "
        f"QUALIFY kvmtrace_place <= {EVENTS_OF_AN_EXIT} ORDER BY exit_id, kvmtrace_place",
        {"run_id": manifest.run_id},
    )


def _symbols(connection: StoreConnection, manifest: Manifest) -> dict[_Value, str]:
    """Return the names of values, as the recording's own print fmt has them."""
    if "symbols" not in manifest.tables:
        return {}
    sql = "SELECT system, event, field, value, name FROM symbols WHERE run_id = $run_id"
    rows = connection.query(sql, {"run_id": manifest.run_id}).rows
    return {(system, event, field, value): name for system, event, field, value, name in rows}


def _inner_events(
    result: Result, system: str, event: str, names: Mapping[_Value, str]
) -> Iterable[tuple[int, int, InnerEvent]]:
    """Yield the exit of each event, how many such events it has (once, else 0), and the event."""
    own = [n for n, name in enumerate(result.names) if name not in _OURS]
    place = {name: n for n, name in enumerate(result.names)}
    for row in result.rows:
        first = row[place["kvmtrace_place"]] == 1
        fields = tuple(
            (field, Named(row[n], names[key]) if key in names else row[n])
            for n in own
            if row[n] is not None and (key := (system, event, field := result.names[n], _whole(row[n])))
        )
        yield (
            row[place["exit_id"]],
            row[place["kvmtrace_n"]] if first else 0,
            InnerEvent(row[place["ts_ns"]], f"{system}:{event}", row[place["cpu"]], fields),
        )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_Value = tuple[str, str, str, int | None]  # system, event, field, value
_OURS = {*(column.name for column in EVENT_COLUMNS), "kvmtrace_place", "kvmtrace_n"}
