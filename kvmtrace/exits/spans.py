"""Stretches of time inside exits: from one event to another, and how much of some lies in others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Spans:
    """n stretches by exit and time; those of one exit do not overlap. Times are ns since the exit."""

    rank: NDArray[np.int64]  # index of the exit
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    @classmethod
    def between(
        cls, rank: NDArray[np.int64], role: NDArray[np.uint8], since: NDArray[np.int64], opens: int, closes: int
    ) -> Spans:
        """Return the stretches from each event that opens one to the next event, where that closes it.

        rank, role, since: the events inside exits, by exit and time. An event that opens none is passed over.
        """
        marks = np.flatnonzero((role == opens) | (role == closes))
        first, second = marks[:-1], marks[1:]
        whole = (rank[first] == rank[second]) & (role[first] == opens) & (role[second] == closes)
        return cls(rank[first[whole]], since[first[whole]], since[second[whole]])

    def __len__(self) -> int:
        return len(self.rank)

    def select(self, chosen: NDArray[np.bool_]) -> Spans:
        """Return some of the stretches."""
        return Spans(self.rank[chosen], self.start[chosen], self.end[chosen])

    def add_to(self, times: NDArray[np.int64]) -> None:
        """Add the length of each stretch to the time of its exit, ns."""
        np.add.at(times, self.rank, self.end - self.start)

    def less(self, taken: Spans) -> NDArray[np.int64]:
        """Return the length of each stretch without what of it lies in `taken`, ns."""
        length = self.end - self.start
        if not len(taken) or not len(self):
            return length
        line = _Line(self, taken)
        before_end, before_start = (line.taken_before(self.rank, times) for times in (self.end, self.start))
        return length - (before_end - before_start)


class _Line:
    """All exits laid behind each other on one line, and on it the stretches that are taken."""

    def __init__(self, asked: Spans, taken: Spans) -> None:
        exits = int(max(asked.rank.max(), taken.rank.max())) + 1
        room = np.zeros(exits, np.int64)
        for spans in (asked, taken):
            np.maximum.at(room, spans.rank, spans.end + 1)
        self._base = np.cumsum(room) - room
        self._starts = self._base[taken.rank] + taken.start
        self._ends = self._base[taken.rank] + taken.end
        self._sum = np.concatenate([[0], np.cumsum(taken.end - taken.start)])

    def taken_before(self, rank: NDArray[np.int64], since: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how much is taken before each place on the line."""
        place = self._base[rank] + since
        begun = np.searchsorted(self._starts, place, side="right")
        last_end = np.where(begun > 0, self._ends[np.maximum(begun - 1, 0)], 0)
        result: NDArray[np.int64] = self._sum[begun] - np.maximum(last_end - place, 0) * (begun > 0)
        return result
