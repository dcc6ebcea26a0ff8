"""vCPU numbers of threads whose exits and entries name none: inferred, and said to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.exits.threads import Threads
    from kvmtrace.recording import Facts

_UNKNOWN = -1
_THREAD_NAME = re.compile(r"(?:CPU (\d+)/|kvm-vcpu-(\d+)$|fc_vcpu (\d+)$|(?:crosvm_)?vcpu_?(\d+)$)", re.ASCII)
"""As QEMU, kvmtool, Firecracker, and crosvm and Cloud Hypervisor name the threads of their vCPUs."""
_LARGEST = 1 << 16


class InferredVcpus:
    """Gives a thread the vCPU that the recorder says, else its name, else the first number free in its process."""

    def __init__(self, facts: Facts, threads: Threads) -> None:
        self._facts = facts
        self._threads = threads
        self._taken: dict[int, set[int]] = {}  # by pid
        self._free: dict[int, int] = {}  # by pid: no number below it is free
        self._inferred = np.zeros(0, np.bool_)  # by lane: its number was inferred
        self.by_name = False
        self.by_order: set[int] = set()  # pids

    def holds(self, lane: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell of each lane whether its number was inferred."""
        known = lane < len(self._inferred)
        result: NDArray[np.bool_] = known & self._inferred[np.where(known, lane, 0)] if len(self._inferred) else known
        return result

    def learn(self, lanes: NDArray[np.int32]) -> None:
        """Give a number to those of the lanes that have none; they come by the time of their first exit or entry."""
        new = lanes[self._threads.vcpu[lanes] == _UNKNOWN]
        for lane in new.tolist():
            pid, tid = int(self._threads.pid[lane]), int(self._threads.tid[lane])
            taken = self._taken.setdefault(pid, set())
            number = self._named(pid, tid)
            if number == _UNKNOWN:
                number = self._first_free(pid, taken)
                self.by_order.add(pid)
            taken.add(number)
            self._threads.vcpu[lane] = number
        if len(new):
            missing = max(int(new.max()) + 1 - len(self._inferred), 0)
            self._inferred = np.append(self._inferred, np.zeros(missing, np.bool_))
            self._inferred[new] = True

    def _named(self, pid: int, tid: int) -> int:
        told = self._facts.vcpu_threads.get(tid)
        if told is not None:
            return told[1]
        named = _THREAD_NAME.match(self._facts.threads.get((pid, tid), ""))
        number = _UNKNOWN if named is None else int(next(group for group in named.groups() if group))
        if not 0 <= number < _LARGEST:
            return _UNKNOWN
        self.by_name = True
        return number

    def _first_free(self, pid: int, taken: set[int]) -> int:
        number = self._free.get(pid, 0)
        while number in taken:
            number += 1
        self._free[pid] = number
        return number
