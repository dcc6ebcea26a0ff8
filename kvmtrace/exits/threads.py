"""Threads as small codes, and the VM and vCPU of each.

Identity rules: a VM is the VMM's process, as the recording tells it. A vCPU of the same number that runs on a second
thread of the process while the first is in the guest belongs to a second VM of that process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels
_UNKNOWN = -1
_NEVER = -2  # no vCPU number


class Threads:
    """Codes of all (pid, tid) of a recording: 0, 1, … in the order of their first event."""

    def __init__(self) -> None:
        self._codes: dict[tuple[int, int], int] = {}
        self._by_tid = np.full(1 << 10, _UNKNOWN, np.int32)  # newest code of each tid
        self.pid = np.zeros(0, np.int32)
        self.tid = np.zeros(0, np.int32)
        self.vcpu = np.zeros(0, np.int32)  # newest vCPU that the thread ran, -1: none

    def __len__(self) -> int:
        return len(self.pid)

    def codes(self, pid: NDArray[np.int32], tid: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the code of each event's thread."""
        if not len(tid):
            return np.zeros(0, np.int32)
        if int(tid.min()) < 0 or int(tid.max()) >= _PID_LIMIT:
            return self._slow_codes(pid, tid)
        self._reserve(int(tid.max()))
        codes = self._by_tid[tid]
        known = codes != _UNKNOWN
        known[known] = self.pid[codes[known]] == pid[known]
        if known.all():
            return codes
        self._slow_codes(pid[~known], tid[~known])
        codes = self._by_tid[tid]
        # A tid that two processes had within one block needs the slow way.
        return codes if (self.pid[codes] == pid).all() else self._slow_codes(pid, tid)

    def known(self, tid: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the code of the newest thread of each tid, -1 for one that had no event yet."""
        inside = (tid >= 0) & (tid < len(self._by_tid))
        return np.where(inside, self._by_tid[np.where(inside, tid, 0)], _UNKNOWN).astype(np.int32)

    def _slow_codes(self, pid: NDArray[np.int32], tid: NDArray[np.int32]) -> NDArray[np.int32]:
        keys = pid.astype(np.int64) << 32 | tid.view(np.uint32)
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        codes = np.array([self._code(int(pid[i]), int(tid[i])) for i in first.tolist()], np.int32)
        return codes[place]

    def _code(self, pid: int, tid: int) -> int:
        code = self._codes.get((pid, tid))
        if code is None:
            code = self._codes[pid, tid] = len(self.pid)
            self.pid = np.append(self.pid, np.int32(pid))
            self.tid = np.append(self.tid, np.int32(tid))
            self.vcpu = np.append(self.vcpu, np.int32(_UNKNOWN))
        if 0 <= tid < _PID_LIMIT:
            self._reserve(tid)
            self._by_tid[tid] = code
        return code

    def _reserve(self, tid: int) -> None:
        if tid >= len(self._by_tid):
            grown = np.full(min(2 * (tid + 1), _PID_LIMIT), _UNKNOWN, np.int32)
            grown[: len(self._by_tid)] = self._by_tid
            self._by_tid = grown


class VirtualMachines:
    """The VM of each (thread, vCPU)."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._vm_of: dict[tuple[int, int], int] = {}  # (thread code, vCPU) → index into names
        self._owners: dict[tuple[int, int], list[int]] = {}  # (pid, vCPU) → thread codes
        self._index: dict[str | None, int] = {}
        self._usual_vcpu = np.zeros(0, np.int32)  # by thread code: a thread runs one vCPU nearly always
        self._usual_vm = np.zeros(0, np.int32)
        self.names: list[str | None] = []
        self.split: set[int] = set()  # pids with more than one VM

    def of(self, thread: NDArray[np.int32], vcpu: NDArray[np.int32], in_guest: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Return the index of each row's VM; `in_guest`: by thread code, whether its newest boundary is an entry."""
        if len(self._usual_vcpu) < len(self._threads):
            missing = len(self._threads) - len(self._usual_vcpu)
            self._usual_vcpu = np.append(self._usual_vcpu, np.full(missing, _NEVER, np.int32))
            self._usual_vm = np.append(self._usual_vm, np.zeros(missing, np.int32))
        if (self._usual_vcpu[thread] == vcpu).all():
            return self._usual_vm[thread]
        keys = thread.astype(np.int64) << 32 | vcpu.view(np.uint32)
        unique, first, place = np.unique(keys, return_index=True, return_inverse=True)
        vms = np.zeros(len(unique), np.int32)
        for index, row in enumerate(first.tolist()):
            vms[index] = self._vm(int(thread[row]), int(vcpu[row]), in_guest)
        return vms[place]

    def _vm(self, thread: int, vcpu: int, in_guest: NDArray[np.bool_]) -> int:
        if (thread, vcpu) not in self._vm_of:
            pid = int(self._threads.pid[thread])
            owners = self._owners.setdefault((pid, vcpu), [])
            clashes = sum(bool(in_guest[other]) for other in owners)
            owners.append(thread)
            if clashes:
                self.split.add(pid)
            name = None if pid < 0 else f"{pid}" if not clashes else f"{pid}#{clashes + 1}"
            if name not in self._index:
                self._index[name] = len(self.names)
                self.names.append(name)
            self._vm_of[thread, vcpu] = self._index[name]
            self._usual_vcpu[thread], self._usual_vm[thread] = vcpu, self._index[name]
        return self._vm_of[thread, vcpu]
