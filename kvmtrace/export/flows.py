"""Flows of IPIs: from the exit in which one was sent to its injection into the vCPU that accepted it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kvmtrace.export.instants import Instants


@dataclass(frozen=True, slots=True)
class Flows:
    """n flows, both of whose ends are in the time-line."""

    number: NDArray[np.int64]  # of the flow, from 1
    exit_id: NDArray[np.int64]  # of the sender
    inject_ts_ns: NDArray[np.int64]
    vcpu: NDArray[np.int64]  # vCPU of the target, as index into `vcpus`
    vector: NDArray[np.int64]
    vcpu_of: NDArray[np.int64]  # the same index for each timeline

    @classmethod
    def none(cls) -> Flows:
        """Return no flow."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self.exit_id)

    def select(self, rows: NDArray[np.int64]) -> Flows:
        """Return some of the flows."""
        return Flows(
            self.number[rows],
            self.exit_id[rows],
            self.inject_ts_ns[rows],
            self.vcpu[rows],
            self.vector[rows],
            self.vcpu_of,
        )

    def sent_in(self, exit_id: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flows that begin in exits: place of the exit, in rising order, and number of the flow."""
        if not len(self) or not len(exit_id):
            return self.exit_id[:0], self.exit_id[:0]
        order = np.argsort(exit_id)
        place = np.minimum(np.searchsorted(exit_id[order], self.exit_id), len(exit_id) - 1)
        flows = np.flatnonzero(exit_id[order][place] == self.exit_id)
        return self._by_place(order[place[flows]], flows)

    def received_by(self, found: Instants) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the flows that end at injections: place of the injection, in rising order, and number of the flow."""
        place, flows = self._meeting(found)
        return self._by_place(place, flows)

    def ending_at(self, found: Instants) -> Flows:
        """Return the flows that end at some of the injections."""
        return self.select(np.unique(self._meeting(found)[1]))

    def _meeting(self, found: Instants) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if not len(self) or not len(found.ts_ns):
            return self.exit_id[:0], self.exit_id[:0]
        near = np.flatnonzero((self.inject_ts_ns >= found.ts_ns.min()) & (self.inject_ts_ns <= found.ts_ns.max()))
        asked = np.stack([self.inject_ts_ns[near], self.vcpu[near], self.vector[near]], axis=1)
        there = np.stack([found.ts_ns, self.vcpu_of[found.timeline], found.vector], axis=1)
        _, first, code = np.unique(np.concatenate([there, asked]), axis=0, return_index=True, return_inverse=True)
        place = first[code.reshape(-1)[len(there) :]]
        met = np.flatnonzero(place < len(there))
        return place[met], near[met]

    def _by_place(
        self, place: NDArray[np.int64], flow: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(place, kind="stable")
        return place[order], self.number[flow[order]]


def joined(several: Sequence[Flows]) -> Flows:
    """Return the flows of several together."""
    there = [flows for flows in several if len(flows)]
    if not there:
        return Flows.none()
    return Flows(
        np.concatenate([flows.number for flows in there]),
        np.concatenate([flows.exit_id for flows in there]),
        np.concatenate([flows.inject_ts_ns for flows in there]),
        np.concatenate([flows.vcpu for flows in there]),
        np.concatenate([flows.vector for flows in there]),
        there[0].vcpu_of,
    )
