"""Flows of IPIs: from the exit in which one was sent to its injection into the vCPU that accepted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace import queries
from kvmtrace.export.instants import INJECTION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.export.exit_blocks import ChosenExits
    from kvmtrace.export.instants import InstantReader, Instants
    from kvmtrace.store.manifest import Manifest

_QUERY = "ipi-chain"
_NEEDED = ("kvm_apic_accept_irq", INJECTION)
_SENT_BY = ("kvm_apic_ipi", "kvm_hypercall", "kvm_hv_send_ipi", "kvm_hv_send_ipi_ex")


@dataclass(frozen=True, slots=True)
class Flows:
    """n flows, both of whose ends are in the time-line. The number of a flow is its place, from 1."""

    exit_id: NDArray[np.int64]  # of the sender
    inject_ts_ns: NDArray[np.int64]
    vcpu: NDArray[np.int64]  # vCPU of the target, as index into `vcpus`
    vector: NDArray[np.int64]
    vcpu_of: NDArray[np.int64]  # the same index for each timeline

    @classmethod
    def none(cls) -> Flows:
        """Return no flow."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self.exit_id)

    def select(self, rows: NDArray[np.int64]) -> Flows:
        """Return some of the flows."""
        return Flows(self.exit_id[rows], self.inject_ts_ns[rows], self.vcpu[rows], self.vector[rows], self.vcpu_of)

    def sent_in(self, exit_id: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flows that begin in exits: place of the exit, in rising order, and number of the flow."""
        if not len(self):
            return self.exit_id, self.exit_id
        order = np.argsort(exit_id)
        place = np.minimum(np.searchsorted(exit_id[order], self.exit_id), len(exit_id) - 1)
        flows = np.flatnonzero(exit_id[order][place] == self.exit_id)
        return _by_place(order[place[flows]], flows)

    def received_by(self, found: Instants) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flows that end at injections: place of the injection, in rising order, and number of the flow."""
        if not len(self) or not len(found.ts_ns):
            return self.exit_id[:0], self.exit_id[:0]
        near = np.flatnonzero((self.inject_ts_ns >= found.ts_ns.min()) & (self.inject_ts_ns <= found.ts_ns.max()))
        asked = np.stack([self.inject_ts_ns[near], self.vcpu[near], self.vector[near]], axis=1)
        there = np.stack([found.ts_ns, self.vcpu_of[found.timeline], found.vector], axis=1)
        _, first, code = np.unique(np.concatenate([there, asked]), axis=0, return_index=True, return_inverse=True)
        place = first[code.reshape(-1)[len(there) :]]
        met = np.flatnonzero(place < len(there))
        return _by_place(place[met], near[met])


def read_flows(chosen: ChosenExits, manifest: Manifest, instants: InstantReader) -> Flows:
    """Find the IPIs of which both ends are in the time-line; none where they were not recorded."""
    recorded = {t.event for t in manifest.tracepoints if t.system == "kvm" and t.rows}
    if not recorded.issuperset(_NEEDED) or recorded.isdisjoint(_SENT_BY):
        return Flows.none()
    lines = chosen.timelines.all
    vcpus = {pair: place for place, pair in enumerate(dict.fromkeys((line.vm_id, line.vcpu) for line in lines))}
    chain = queries.columns(chosen.connection, queries.load(_QUERY), {"run_id": chosen.run_id}).arrays
    # Where the exit was recorded after the IPI had left, a flow would run backwards.
    whole = ~(np.ma.getmaskarray(chain["exit_ts_ns"]) | np.ma.getmaskarray(chain["inject_ts_ns"]))
    sent_ns, inject_ns = (np.ma.getdata(chain[name]) for name in ("exit_ts_ns", "inject_ts_ns"))
    rows = np.flatnonzero(whole)
    for times in (sent_ns, inject_ns):
        rows = rows[(times[rows] >= chosen.from_ns) & (times[rows] < chosen.to_ns)]
    if not len(rows):
        return Flows.none()
    flows = Flows(
        np.ma.getdata(chain["sender_exit_id"])[rows].astype(np.int64),
        inject_ns[rows].astype(np.int64),
        _targets(chain["vm_id"][rows], chain["vcpu"][rows], vcpus),
        np.ma.getdata(chain["vec"])[rows].astype(np.int64),
        np.array([vcpus[line.vm_id, line.vcpu] for line in lines], np.int64),
    )
    sent = np.isin(flows.exit_id, _exits_among(chosen, flows.exit_id))
    return _received(flows.select(np.flatnonzero(sent & (flows.vcpu >= 0))), chosen, instants)


def _targets(
    vm_id: np.ma.MaskedArray[tuple[int], np.dtype[np.object_]],
    vcpu: np.ma.MaskedArray[tuple[int], np.dtype[np.int32]],
    vcpus: dict[tuple[str | None, int | None], int],
) -> NDArray[np.int64]:
    names, name = np.unique(
        np.where(np.ma.getmaskarray(vm_id), "", np.ma.getdata(vm_id)).astype(str), return_inverse=True
    )
    pairs, pair = np.unique(np.stack([name, np.ma.getdata(vcpu)], axis=1), axis=0, return_inverse=True)
    places = [vcpus.get((str(names[n]) or None, number), -1) for n, number in pairs.tolist()]
    return np.array(places, np.int64)[pair.reshape(-1)]


def _exits_among(chosen: ChosenExits, exit_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of some exits that are chosen."""
    sql = f"SELECT exit_id FROM exits WHERE {chosen.condition} AND exit_id IN (SELECT unnest($ids::BIGINT[]))"  # noqa: S608 - our own words
    found = chosen.connection.columns(sql, {**chosen.parameters(), "ids": np.unique(exit_id).tolist()}).arrays
    return np.ma.getdata(found["exit_id"])


def _received(flows: Flows, chosen: ChosenExits, instants: InstantReader) -> Flows:
    """Return the flows whose injection will be written."""
    met = []
    for span in chosen.spans() if len(flows) else ():
        found = instants.read(INJECTION, span)
        if found is not None:
            met.append(flows.received_by(found.on_timelines())[1] - 1)
    return flows.select(np.unique(np.concatenate(met))) if met else Flows.none()


def _by_place(place: NDArray[np.int64], flow: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(place, kind="stable")
    return place[order], flow[order] + 1
