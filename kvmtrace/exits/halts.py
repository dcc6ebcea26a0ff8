"""How long a halted vCPU is polled for before it sleeps, as the kernel adapts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.arch.base import Role
from kvmtrace.exits.facets import NOT_KNOWN
from kvmtrace.exits.pairing import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.exits.pairing import Pairs
    from kvmtrace.exits.timeline import Timeline


class PollLimits:
    """The newest limit of each vCPU's polling. kvm_halt_poll_ns tells it at the end of a halt, for the next one."""

    def __init__(self) -> None:
        self._newest = np.zeros(0, np.int64)  # by lane

    def at(self, rows: Timeline, lane: NDArray[np.int32], pairs: Pairs, asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the limit, ns, that held in the exit of each of the rows `asked`, all inside exits; else NOT_KNOWN."""
        if not len(asked):
            return np.zeros(0, np.int64)
        self._reserve(int(lane.max()) + 1)
        told = np.flatnonzero(rows.role == Role.POLL_LIMIT)
        exit_row = pairs.exits[pairs.exit_rank[asked]]
        before = np.searchsorted(told, exit_row) - 1  # the newest one that an earlier exit told
        row = told[np.maximum(before, 0)] if len(told) else np.zeros(len(asked), np.int64)
        here = (before >= 0) & (lane[row] == lane[asked])
        return np.where(here, rows.value[row].view(np.int64), self._newest[lane[asked]])

    def learn(self, rows: Timeline, lane: NDArray[np.int32], pairs: Pairs) -> None:
        """Keep the newest limit that a finished exit told, for the rows that come next."""
        told = np.flatnonzero(rows.role == Role.POLL_LIMIT)
        if not len(told):
            return
        self._reserve(int(lane.max()) + 1)
        finished = np.append(pairs.closer != NONE, True)  # a rank of NONE is the last: the event fell into no exit
        told = told[finished[pairs.exit_rank[told]]]
        self._newest[lane[told]] = rows.value[told].view(np.int64)  # of equal lanes the last stands

    def _reserve(self, lanes: int) -> None:
        if lanes > len(self._newest):
            missing = np.full(max(lanes, 2 * len(self._newest)) - len(self._newest), NOT_KNOWN, np.int64)
            self._newest = np.append(self._newest, missing)
