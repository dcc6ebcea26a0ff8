"""Losses → which stretches of time on which CPU cannot be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.recording import Loss

_ANY_CPU = -1


class Holes:
    """The stretches of time, by CPU, in which events were lost.

    A loss is told by the next event of its CPU. Where that CPU is silent for two rounds of the recorder, pairs that
    began there and ended on another CPU have gone out before, without a doubt; the loss itself is counted all the same.
    """

    def __init__(self) -> None:
        self._holes: dict[int, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return sum(len(holes) for holes in self._holes.values())

    def add(self, loss: Loss) -> None:
        """Take over a loss; one whose time is not recorded makes no hole."""
        if loss.after_ns is not None and loss.until_ns is not None:
            cpu = _ANY_CPU if loss.cpu is None else loss.cpu
            self._holes.setdefault(cpu, []).append((loss.after_ns, loss.until_ns))

    def within(self, cpu: NDArray[np.int32], from_ns: NDArray[np.int64], to_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each stretch of time on its CPU whether a hole overlaps it."""
        doubtful = np.zeros(len(cpu), np.bool_)
        for hole_cpu, holes in self._holes.items():
            # Holes of one ring come in order and do not overlap, so the first that ends late enough decides.
            after, until = np.array(sorted(holes), np.int64).T
            rows = np.arange(len(cpu)) if hole_cpu == _ANY_CPU else np.flatnonzero(cpu == hole_cpu)
            place = np.searchsorted(until, from_ns[rows], side="right")
            inside = place < len(until)
            doubtful[rows[inside]] |= after[place[inside]] < to_ns[rows[inside]]
        return doubtful

    def forget(self, before_ns: int) -> None:
        """Drop holes that end before a time that no later stretch begins before."""
        for cpu, holes in self._holes.items():
            self._holes[cpu] = [hole for hole in holes if hole[1] >= before_ns]
        self._holes = {cpu: holes for cpu, holes in self._holes.items() if holes}
