"""vCPU numbers of threads whose exits and entries name none: inferred, and said to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kvmtrace.exits.threads import Threads
    from kvmtrace.recording import Facts

_UNKNOWN = -1
_THREAD_NAME = re.compile(r"(?:CPU (\d+)/|kvm-vcpu-(\d+)$|fc_vcpu (\d+)$|(?:crosvm_)?vcpu_?(\d+)$)", re.ASCII)
"""As QEMU, kvmtool, Firecracker, and crosvm and Cloud Hypervisor name the threads of their vCPUs."""
_LARGEST = 1 << 16


class InferredVcpus:
    """Gives a thread the vCPU that its name says, else the first number that no thread of its process has."""

    def __init__(self, facts: Facts, threads: Threads) -> None:
        self._facts = facts
        self._threads = threads
        self._taken: dict[int, set[int]] = {}  # by pid
        self.lanes: set[int] = set()  # those whose number was inferred
        self.by_name = False
        self.by_order: set[int] = set()  # pids

    def learn(self, lanes: NDArray[np.int32]) -> None:
        """Give a number to those of the lanes that have none; they come by the time of their first exit or entry."""
        for lane in lanes[self._threads.vcpu[lanes] == _UNKNOWN].tolist():
            pid, tid = int(self._threads.pid[lane]), int(self._threads.tid[lane])
            taken = self._taken.setdefault(pid, set())
            named = _THREAD_NAME.match(self._facts.threads.get((pid, tid), ""))
            number = _UNKNOWN if named is None else int(next(group for group in named.groups() if group))
            if 0 <= number < _LARGEST:
                self.by_name = True
            else:
                number = next(n for n in range(len(taken) + 1) if n not in taken)
                self.by_order.add(pid)
            taken.add(number)
            self.lanes.add(lane)
            self._threads.vcpu[lane] = number
