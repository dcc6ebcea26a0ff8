"""Pages before which events are missing → losses with the stretch of time in which they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.recording import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MISSED = "missed events"
MISSED_UNCOUNTED = "missed events, not counted"
DAMAGE = "damage of the file"


class CpuLosses:
    """Knows the newest event of one CPU, behind which a loss begins."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu
        self._newest_ns: int | None = None
        self._damaged = False  # the pages before the next one

    def find(
        self,
        first_row: int,
        missed: NDArray[np.bool_],
        missed_events: NDArray[np.int64],
        damaged: NDArray[np.bool_],
        broken: NDArray[np.bool_],
        page: NDArray[np.int64],
        ts_ns: NDArray[np.int64],
    ) -> Iterator[Loss]:
        """Yield the losses before and between some pages of the CPU, of which `first_row` is the first in its batch.

        By page: events are missing before it, how many (-1: not counted), pages before it are damaged, it is damaged
        itself. `page` and `ts_ns` are those of their events.
        """
        before_damage = damaged | np.concatenate([[self._damaged], broken[:-1]])
        self._damaged = bool(broken[-1])
        for row in np.flatnonzero(missed | before_damage).tolist():
            place = int(np.searchsorted(page, first_row + row))
            after = int(ts_ns[place - 1]) if place else self._newest_ns
            until = int(ts_ns[place]) if place < len(ts_ns) else after
            if after is not None and until is not None:
                after, until = min(after, until), max(after, until)
            if missed[row]:
                count = int(missed_events[row])
                said_by = MISSED_UNCOUNTED if count < 0 else MISSED
                yield Loss(said_by, max(count, 0), self._cpu, after, until)
            if before_damage[row]:
                yield Loss(DAMAGE, 0, self._cpu, after, until)
        if len(ts_ns):
            self._newest_ns = int(ts_ns[-1])
