"""Reads the flows of IPIs stretch by stretch, so that a window costs what it holds and memory does not grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kvmtrace import queries
from kvmtrace.export import exit_blocks
from kvmtrace.export.flows import Flows, joined
from kvmtrace.export.instants import INJECTION
from kvmtrace.query_file import preceded_by
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.export.exit_blocks import ChosenExits
    from kvmtrace.export.instants import InstantReader
    from kvmtrace.query_file import Query
    from kvmtrace.store.manifest import Manifest

_SPANS = 4
"""Spans of ChosenExits.spans that are one stretch: of about 260,000 exits."""
_SPANS_AROUND = 1
"""Spans before and behind a stretch that are read too: an IPI that waits longer than they take may have no flow."""
_AROUND_WINDOW_NS = 200_000_000
"""How far before and behind a window events are read at most, and no farther than a span: those at its edges."""
_EDGES = """
SELECT
    (SELECT min(ts_ns) FROM (
        SELECT exit_ts_ns AS ts_ns FROM exits
        WHERE run_id = $run_id AND exit_ts_ns >= $from_ns - $around_ns AND exit_ts_ns < $from_ns
        ORDER BY ts_ns DESC LIMIT $exits
    )),
    (SELECT max(ts_ns) FROM (
        SELECT exit_ts_ns AS ts_ns FROM exits
        WHERE run_id = $run_id AND exit_ts_ns >= $to_ns AND exit_ts_ns < $to_ns + $around_ns
        ORDER BY ts_ns LIMIT $exits
    ))
"""
_QUERY = "ipi-chain"
_NEEDED = ("kvm_apic_accept_irq", INJECTION)
_SENT_BY = ("kvm_apic_ipi", "kvm_hypercall", "kvm_hv_send_ipi", "kvm_hv_send_ipi_ex")
_THREADS = """
SELECT tid, vm_id, vcpu, max(entry_ts_ns) AS entry_ts_ns FROM exits
WHERE run_id = $run_id GROUP BY tid, vm_id, vcpu ORDER BY tid, vm_id, vcpu
"""
_NEAR = "ts_ns >= $near_from AND ts_ns < $near_to"
_EXITS = f"""exits AS (
SELECT * FROM main.exits WHERE run_id = $run_id AND exit_{_NEAR.replace("AND ", "AND exit_")}
UNION ALL BY NAME
SELECT $run_id AS run_id, unnest($tid::INTEGER[]) AS tid, unnest($vm_id::VARCHAR[]) AS vm_id,
    unnest($vcpu::INTEGER[]) AS vcpu, unnest($entry_ts_ns::BIGINT[]) AS entry_ts_ns
)"""  # noqa: S608 - our own words
"""The exits of a stretch, and of every thread a row more, without an id: which vCPU it ran."""


def _near_query(query: Query) -> str:
    """Return a query on the events of a stretch alone."""
    events = [
        f"{quoted(table)} AS (SELECT * FROM main.{quoted(table)} WHERE run_id = $run_id AND {_NEAR})"  # noqa: S608 - names of our own
        for table in query.fields
    ]
    return preceded_by(query.sql, [_EXITS, *events])


class _Stretch(NamedTuple):
    """A stretch of time, and that of which events are read for it."""

    span: tuple[int, int]
    near: tuple[int, int]


class FlowReader:
    """Finds the IPIs of which both ends are in the time-line; none where they were not recorded."""

    def __init__(self, chosen: ChosenExits, manifest: Manifest, instants: InstantReader) -> None:
        self._chosen = chosen
        self._instants = instants
        self._held = Flows.none()
        self._found = 0
        self._waiting: list[_Stretch] = []
        recorded = {t.event for t in manifest.tracepoints if t.system == "kvm" and t.rows}
        if recorded.issuperset(_NEEDED) and not recorded.isdisjoint(_SENT_BY):
            self._waiting = _stretches(chosen.spans(), _edges(chosen))
            query = queries.load(_QUERY)
            self._sql, self._fields = _near_query(query), query.fields
            rows = chosen.connection.query(_THREADS, {"run_id": chosen.run_id}).rows
            columns = list(zip(*rows, strict=True))
            self._threads = {name: list(columns[n]) for n, name in enumerate(("tid", "vm_id", "vcpu", "entry_ts_ns"))}
            lines = chosen.timelines.all
            self._vcpus = {
                pair: place for place, pair in enumerate(dict.fromkeys((line.vm_id, line.vcpu) for line in lines))
            }
            self._vcpu_of = np.array([self._vcpus[line.vm_id, line.vcpu] for line in lines], np.int64)

    def of(self, span: tuple[int, int]) -> Flows:
        """Return the flows that begin or end in a stretch of time, some others too; ask for stretches in order."""
        self._held = self._held.select(np.flatnonzero(self._held.inject_ts_ns >= span[0]))
        while self._waiting and self._waiting[0].span[0] < span[1]:
            found = self._read(self._waiting.pop(0))
            self._found += len(found)
            self._held = joined([self._held, found])
        return self._held

    def _read(self, stretch: _Stretch) -> Flows:
        """Return the flows that begin in a stretch."""
        span, near = stretch
        parameters = {
            "run_id": self._chosen.run_id,
            "near_from": near[0],
            "near_to": near[1],
            **self._threads,
        }
        chain = self._chosen.connection.columns(self._sql, parameters, fields=self._fields).arrays
        # Where the exit was recorded after the IPI had left, a flow would run backwards.
        whole = ~(np.ma.getmaskarray(chain["exit_ts_ns"]) | np.ma.getmaskarray(chain["inject_ts_ns"]))
        sent_ns, inject_ns = (np.ma.getdata(chain[name]) for name in ("exit_ts_ns", "inject_ts_ns"))
        whole &= (sent_ns >= span[0]) & (sent_ns < span[1]) & (inject_ns >= sent_ns)
        rows = np.flatnonzero(whole & (inject_ns < self._chosen.to_ns))
        flows = Flows(
            self._found + 1 + np.arange(len(rows)),
            np.ma.getdata(chain["sender_exit_id"])[rows].astype(np.int64),
            inject_ns[rows].astype(np.int64),
            _targets(chain["vm_id"][rows], chain["vcpu"][rows], self._vcpus),
            np.ma.getdata(chain["vec"])[rows].astype(np.int64),
            self._vcpu_of,
        )
        sent = np.isin(flows.exit_id, self._exits(span))
        return self._written(flows.select(np.flatnonzero(sent & (flows.vcpu >= 0))), stretch)

    def _exits(self, span: tuple[int, int]) -> NDArray[np.int64]:
        """Return the chosen exits of a stretch."""
        sql = f"SELECT exit_id FROM exits WHERE {self._chosen.condition}"  # noqa: S608 - our own words
        parameters = {**self._chosen.parameters(), "from_ns": span[0], "to_ns": span[1]}
        return np.ma.getdata(self._chosen.connection.columns(sql, parameters).arrays["exit_id"])

    def _written(self, flows: Flows, stretch: _Stretch) -> Flows:
        """Return the flows whose injection is in the time-line."""
        if not len(flows):
            return flows
        found = self._instants.read(INJECTION, (stretch.span[0], min(stretch.near[1], self._chosen.to_ns)))
        return Flows.none() if found is None else flows.ending_at(found.on_timelines())


def _edges(chosen: ChosenExits) -> tuple[int, int]:
    """Return the times between which events are read for the whole window."""
    parameters = {
        "run_id": chosen.run_id,
        "from_ns": chosen.from_ns,
        "to_ns": chosen.to_ns,
        "around_ns": _AROUND_WINDOW_NS,
        "exits": exit_blocks.BLOCK_EXITS,
    }
    ((first, last),) = chosen.connection.query(_EDGES, parameters).rows
    # Where no exit is near, events may be: of threads of the VMM, before the first exit.
    return (
        chosen.from_ns - _AROUND_WINDOW_NS if first is None else first,
        chosen.to_ns + _AROUND_WINDOW_NS if last is None else last,
    )


def _stretches(spans: Sequence[tuple[int, int]], around: tuple[int, int]) -> list[_Stretch]:
    found = []
    for first in range(0, len(spans), _SPANS):
        last = min(first + _SPANS, len(spans)) - 1
        before, behind = first - _SPANS_AROUND, last + _SPANS_AROUND
        found.append(
            _Stretch(
                (spans[first][0], spans[last][1]),
                (
                    spans[before][0] if before >= 0 else around[0],
                    spans[behind][1] if behind < len(spans) else around[1],
                ),
            )
        )
    return found


def _targets(
    vm_id: np.ma.MaskedArray[tuple[int], np.dtype[np.object_]],
    vcpu: np.ma.MaskedArray[tuple[int], np.dtype[np.int32]],
    vcpus: dict[tuple[str | None, int | None], int],
) -> NDArray[np.int64]:
    if not len(vm_id):
        return np.zeros(0, np.int64)
    names, name = np.unique(
        np.where(np.ma.getmaskarray(vm_id), "", np.ma.getdata(vm_id)).astype(str), return_inverse=True
    )
    pairs, pair = np.unique(np.stack([name, np.ma.getdata(vcpu)], axis=1), axis=0, return_inverse=True)
    places = [vcpus.get((str(names[n]) or None, number), -1) for n, number in pairs.tolist()]
    return np.array(places, np.int64)[pair.reshape(-1)]
