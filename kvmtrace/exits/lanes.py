"""Which exits and entries follow each other: those of one lane.

A lane is a thread, for a thread runs one vCPU at a time. Where a thread of a process is seen to speak for several vCPUs
(the runner of a POWER8 core), the lanes of that process are its vCPUs from there on; a vCPU then keeps the lane of the
thread that named it first, so that an exit already open there finds its entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.exits.threads import Threads

_UNKNOWN = -1


class Lanes:
    """Gives the events of a thread that speaks for several vCPUs thread codes of their own, one for each vCPU."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._named = np.zeros(0, np.int32)  # by thread code: the first vCPU that the thread spoke for
        self._own = np.zeros(0, np.int32)  # by thread code: the vCPU that it runs itself
        self._speaker: dict[tuple[int, int], int] = {}  # (thread code, vCPU) → code
        self._lane: dict[tuple[int, int], int] = {}  # (pid, vCPU) → lane
        self.processes: set[int] = set()  # pids whose threads speak for several vCPUs

    def codes(self, thread: NDArray[np.int32], vcpu: NDArray[np.int32], own: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the code of each event's thread and vCPU (-1: the event names none).

        own: whether the vCPU is the one that the thread runs itself.
        """
        if not len(thread):
            return thread
        self._reserve(int(thread.max()) + 1)
        self._own[thread[own]] = vcpu[own]
        usual = (vcpu == _UNKNOWN) | (self._named[thread] == vcpu)
        if usual.all() and not self.processes:
            return thread
        keys = thread.astype(np.int64) << 32 | vcpu.view(np.uint32)
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        pairs = [(int(thread[row]), int(vcpu[row])) for row in first[np.argsort(first)].tolist()]
        for who, named in pairs:
            self._name(who, named)
        new: list[tuple[int, int]] = []  # thread and lane of each new code
        codes = [self._code(int(thread[row]), int(vcpu[row]), new) for row in first.tolist()]
        if new:
            self._threads.add_speakers(*(list(column) for column in zip(*new, strict=True)))
        return np.array(codes, np.int32)[place]

    def _name(self, thread: int, vcpu: int) -> None:
        """Take over that a thread spoke for a vCPU."""
        if vcpu == _UNKNOWN:
            return
        pid = int(self._threads.pid[thread])
        if self._named[thread] == _UNKNOWN:
            self._named[thread] = vcpu
            self._lane.setdefault((pid, vcpu), thread)
        elif self._named[thread] != vcpu:
            self.processes.add(pid)

    def _code(self, thread: int, vcpu: int, new: list[tuple[int, int]]) -> int:
        pid = int(self._threads.pid[thread])
        if pid not in self.processes:
            return thread
        speaks_for = int(self._own[thread]) if vcpu == _UNKNOWN else vcpu
        lane = self._lane.get((pid, speaks_for), _UNKNOWN)
        if lane == thread and speaks_for == self._named[thread]:
            return thread
        if (thread, speaks_for) not in self._speaker:
            code = len(self._threads) + len(new)
            new.append((thread, code if lane == _UNKNOWN else lane))
            self._speaker[thread, speaks_for] = code
            if speaks_for != _UNKNOWN:
                self._lane.setdefault((pid, speaks_for), code)
        return self._speaker[thread, speaks_for]

    def _reserve(self, threads: int) -> None:
        missing = threads - len(self._named)
        if missing > 0:
            self._named = np.append(self._named, np.full(missing, _UNKNOWN, np.int32))
            self._own = np.append(self._own, np.full(missing, _UNKNOWN, np.int32))
