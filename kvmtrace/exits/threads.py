"""Threads as small codes, and the VM of each.

Identity rules: a VM is what the recorder says of a thread, else the VMM's process, as the recording tells it; where it
does not, all threads are one process. No VM of a process is called as the recorder calls another one.
Where two threads of a process are in the guest at the same time with the same vCPU number, the later one runs a second
VM of that process. That is looked for when a thread first exits with a vCPU number, in the events sorted by then.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.arch.base import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kvmtrace.exits.timeline import Timeline
    from kvmtrace.recording import Facts

_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels
_UNKNOWN = -1
_MAX_OWNERS = 64
"""Threads of a process that ran one vCPU number and are told apart: each is compared with all before it."""
_NEVER = -2  # no vCPU number
_FOREVER = np.iinfo(np.int64).max


class Threads:
    """Codes of all (pid, tid) of a recording: 0, 1, … in the order of their first event."""

    def __init__(self) -> None:
        self._codes: dict[tuple[int, int], int] = {}
        self._by_tid = np.full(1 << 10, _UNKNOWN, np.int32)  # newest code of each tid
        self.pid = np.zeros(0, np.int32)
        self.tid = np.zeros(0, np.int32)
        self.vcpu = np.zeros(0, np.int32)  # newest vCPU that the thread ran, -1: none
        self._lane: NDArray[np.int32] | None = None  # by code, where a lane is not a thread

    def __len__(self) -> int:
        return len(self.pid)

    def lanes(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the lane of each code: exits and entries of one lane follow each other."""
        return codes if self._lane is None else self._lane[codes]

    def add_speakers(self, threads: list[int], lanes: list[int]) -> None:
        """Add codes for what threads say of vCPUs that are not their own; the lane of each may be its own code."""
        first = len(self)
        if self._lane is None:
            self._lane = np.arange(first, dtype=np.int32)
        self._add(self.pid[threads], self.tid[threads])
        self._lane[first:] = lanes

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
        pids, tids = pid[first], tid[first]
        pairs = list(zip(pids.tolist(), tids.tolist(), strict=True))
        self._learn([pair for pair in pairs if pair not in self._codes])
        codes = np.array([self._codes[pair] for pair in pairs], np.int32)
        usual = (tids >= 0) & (tids < _PID_LIMIT)
        if usual.any():
            self._reserve(int(tids[usual].max()))
            self._by_tid[tids[usual]] = codes[usual]
        return codes[place]

    def _learn(self, pairs: list[tuple[int, int]]) -> None:
        """Give codes to unknown (pid, tid). There may be as many as events, where the recording is damaged."""
        self._codes |= {pair: code for code, pair in enumerate(pairs, len(self))}
        new = np.array(pairs, np.int32).reshape(-1, 2)
        self._add(new[:, 0], new[:, 1])

    def _add(self, pid: NDArray[np.int32], tid: NDArray[np.int32]) -> None:
        if self._lane is not None:
            self._lane = np.append(self._lane, np.arange(len(self), len(self) + len(pid), dtype=np.int32))
        self.pid = np.append(self.pid, pid)
        self.tid = np.append(self.tid, tid)
        self.vcpu = np.append(self.vcpu, np.full(len(pid), _UNKNOWN, np.int32))

    def _reserve(self, tid: int) -> None:
        if tid >= len(self._by_tid):
            grown = np.full(min(2 * (tid + 1), _PID_LIMIT), _UNKNOWN, np.int32)
            grown[: len(self._by_tid)] = self._by_tid
            self._by_tid = grown


class VirtualMachines:
    """The VM of each (thread, vCPU)."""

    def __init__(self, threads: Threads, facts: Facts) -> None:
        """Take over what the recording tells; where it tells processes, a thread without one is of no VM."""
        self._threads = threads
        self._processes = facts.has_processes
        self._told = facts.vcpu_threads
        self._told_names = {name for name, _ in facts.vcpu_threads.values()}
        self._vm_of: dict[tuple[int, int], int] = {}  # (thread code, vCPU) → index into names
        self._owners: dict[tuple[int, int], dict[int, int]] = {}  # (pid, vCPU) → thread code → number of its VM
        self._index: dict[str | None, int] = {}
        self._usual_vcpu = np.zeros(0, np.int32)  # by thread code: a thread runs one vCPU nearly always
        self._usual_vm = np.zeros(0, np.int32)
        self.names: list[str | None] = []
        self.split: set[int] = set()  # pids with more than one VM
        self.moved: set[tuple[int, int]] = set()  # (pid, vCPU) that more than one thread of a VM ran

    def of(self, thread: NDArray[np.int32], vcpu: NDArray[np.int32], stays: GuestStays) -> NDArray[np.int32]:
        """Return the index of each row's VM; thread: the code of its lane; `stays`: when lanes were in the guest."""
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
            vms[index] = self._vm(int(thread[row]), int(vcpu[row]), stays)
        return vms[place]

    def _vm(self, thread: int, vcpu: int, stays: GuestStays) -> int:
        if (thread, vcpu) not in self._vm_of:
            name = self._name(thread, vcpu, stays)
            if name not in self._index:
                self._index[name] = len(self.names)
                self.names.append(name)
            self._vm_of[thread, vcpu] = self._index[name]
            self._usual_vcpu[thread], self._usual_vm[thread] = vcpu, self._index[name]
        return self._vm_of[thread, vcpu]

    def _name(self, thread: int, vcpu: int, stays: GuestStays) -> str | None:
        told = self._told.get(int(self._threads.tid[thread]))
        if told is not None:
            return told[0]
        pid = int(self._threads.pid[thread])
        return self._process_name(pid, self._number(thread, vcpu, pid, stays))

    def _process_name(self, pid: int, number: int) -> str | None:
        """Return the name of a process's VM of that number."""
        if pid < 0:
            return None if self._processes else f"vm-{number}"
        return f"{pid}" if number == 1 else f"{pid}#{number}"

    def _numbers(self, pid: int) -> Iterator[int]:
        """Yield the numbers of a process's VMs: all from 1 whose name is not that of one that the recorder tells."""
        return (number for number in count(1) if self._process_name(pid, number) not in self._told_names)

    def _number(self, thread: int, vcpu: int, pid: int, stays: GuestStays) -> int:
        """Return the first number among the process's VMs in which no other thread runs that vCPU meanwhile."""
        owners = self._owners.setdefault((pid, vcpu), {})
        first = next(self._numbers(pid))
        if len(owners) >= _MAX_OWNERS:
            return first
        taken = {number for other, number in owners.items() if stays.together(thread, other, vcpu)}
        number = next(n for n in self._numbers(pid) if n not in taken)
        if number in owners.values() and vcpu >= 0:
            self.moved.add((pid, vcpu))
        owners[thread] = number
        if number > first:
            self.split.add(pid)
        return number


class GuestStays:
    """When the lanes of sorted rows were in the guest: from an entry to the next boundary, if there is one."""

    def __init__(self, rows: Timeline, lane: NDArray[np.int32]) -> None:
        self._rows = rows
        self._lane = lane  # of each row
        self._known: dict[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def together(self, one: int, other: int, vcpu: int) -> bool:
        """Tell whether two threads ran the vCPU number at the same time."""
        if vcpu < 0:
            return False
        entered, left = self._of(one, vcpu)
        other_entered, other_left = self._of(other, vcpu)
        if not len(entered) or not len(other_entered):
            return False
        if left[-1] <= other_entered[0] or other_left[-1] <= entered[0]:
            return False
        place = np.searchsorted(other_left, entered, side="right")  # the first stay that ends later
        inside = place < len(other_left)
        return bool((other_entered[place[inside]] < left[inside]).any())

    def _of(self, thread: int, vcpu: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when each stay of a thread with that vCPU began and ended."""
        if (thread, vcpu) not in self._known:
            self._known[thread, vcpu] = self._find(thread, vcpu)
        return self._known[thread, vcpu]

    def _find(self, thread: int, vcpu: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = self._rows
        first, behind = np.searchsorted(self._lane, np.array([thread, thread + 1], self._lane.dtype))
        bounds = first + np.flatnonzero(rows.role[first:behind] <= Role.ENTRY)
        ends = np.append(rows.ts_ns[bounds[1:]], _FOREVER)
        told = rows.vcpu[bounds]
        entries = (rows.role[bounds] == Role.ENTRY) & ((told == vcpu) | (told == _UNKNOWN))
        return rows.ts_ns[bounds[entries]], ends[: len(bounds)][entries]
