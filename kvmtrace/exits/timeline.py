"""The narrow rows of all events, held until no earlier event can come."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """What pairing needs of n events. Rows of equal time keep the order of the source."""

    ts_ns: NDArray[np.int64]
    thread: NDArray[np.int32]  # thread code (threads.Threads)
    role: NDArray[np.uint8]  # arch.base.Role
    cpu: NDArray[np.int32]
    vcpu: NDArray[np.int32]  # -1: the event does not tell
    value: NDArray[np.uint64]  # exit_id of an exit, else what the role says
    reason: NDArray[np.int32]  # reason code of an exit
    detail: NDArray[np.uint64]  # what an exit says of itself
    target: NDArray[np.int64]  # place where the row's exit_id is wanted, -1: nowhere

    def __len__(self) -> int:
        return len(self.ts_ns)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the given rows."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def concat(cls, parts: list[Timeline]) -> Timeline:
        """Return the rows of all parts behind each other."""
        if len(parts) == 1:
            return parts[0]
        return Timeline(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def empty(cls) -> Timeline:
        """Return no rows."""
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.uint8),
            np.zeros(0, np.int32),
            np.zeros(0, np.int32),
            np.zeros(0, np.uint64),
            np.zeros(0, np.int32),
            np.zeros(0, np.uint64),
            np.zeros(0, np.int64),
        )

    def order(
        self, rows: NDArray[np.int64], lanes: Callable[[NDArray[np.int32]], NDArray[np.int32]]
    ) -> NDArray[np.int64]:
        """Return the given rows by lane and, within a lane, by time. lanes: thread codes → lanes."""
        by_time = rows[np.argsort(self.ts_ns[rows], kind="stable")]  # rising runs: timsort takes them as they are
        lane = lanes(self.thread[by_time])
        if len(lane) and int(lane.max()) < 1 << 16:
            lane = lane.astype(np.uint16)  # for a radix sort
        return by_time[np.argsort(lane, kind="stable")]
