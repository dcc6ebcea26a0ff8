"""LOST records → losses with the stretch of time in which the events were lost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.formats.perf_data.abi import RecordType
from kvmtrace.formats.perf_data.side_records import loss
from kvmtrace.recording import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.formats.perf_data.attributes import AttributeTable

_MAX_CPU = 1 << 16
_BLOCKS_KEPT = 64  # a ring that is silent for longer may have lost events all that time


class LossFinder:
    """Knows the newest event of each CPU's ring, behind which a loss begins."""

    def __init__(self, order: str, attributes: AttributeTable) -> None:
        self._order = order
        self._attributes = attributes
        self._newest = np.full(_MAX_CPU, np.iinfo(np.int64).min, np.int64)
        self._recent: deque[tuple[NDArray[np.int64], NDArray[np.int32]]] = deque(maxlen=_BLOCKS_KEPT)

    def remember(self, ts_ns: NDArray[np.int64], cpu: NDArray[np.int32]) -> None:
        """Keep a block's times for the next loss; most recordings have none, so nothing is worked out yet."""
        self._recent.append((ts_ns, cpu))

    def _fold(self) -> None:
        """Take over the newest time of each CPU from the blocks kept."""
        while self._recent:
            ts_ns, cpu = self._recent.popleft()
            known = np.flatnonzero((cpu >= 0) & (cpu < _MAX_CPU))
            self._newest[cpu[known]] = ts_ns[known]  # a ring is in order: the last of equal indexes stands

    def find(
        self, kind: int, record: bytes, ts_before: NDArray[np.int64], cpu_before: NDArray[np.int32]
    ) -> Iterator[Loss]:
        """Yield the loss that a LOST or LOST_SAMPLES record tells of; the events before it in its block are given.

        LOST stands in its CPU's ring where events are missing: between the event before it and its own time.
        LOST_SAMPLES says how many, and nothing of when.
        """
        said = loss(kind, record, self._order, self._attributes)
        if said is None or said.events == 0:
            return
        if kind == RecordType.LOST_SAMPLES or said.ts_ns is None:
            # perf record writes LOST_SAMPLES at its end with an empty trailer: no time, and no CPU either.
            yield Loss(RecordType(kind).name, said.events, said.cpu if said.ts_ns else None, None, None)
            return
        yield Loss("LOST", said.events, said.cpu, self._before(said.cpu, said.ts_ns, ts_before, cpu_before), said.ts_ns)

    def _before(
        self, cpu: int | None, until_ns: int, ts_before: NDArray[np.int64], cpu_before: NDArray[np.int32]
    ) -> int:
        if cpu is None:
            return min(until_ns, int(ts_before[-1])) if len(ts_before) else until_ns
        self._fold()
        same_ring = np.flatnonzero(cpu_before == cpu)
        if len(same_ring):
            return int(ts_before[same_ring[-1]])
        return int(self._newest[cpu]) if 0 <= cpu < _MAX_CPU else int(self._newest.min())
