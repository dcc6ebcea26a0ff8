"""The tracks of a time-line and their names: VMs, vCPUs, counters, losses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.export.perfetto_fields import PACKET, Counter, Packet, Process, Thread, Track
from kvmtrace.export.protobuf_columns import message, number, text
from kvmtrace.export.slices import track_of
from kvmtrace.export.track_events import SEQUENCE

if TYPE_CHECKING:
    from kvmtrace.export.counters import Rates
    from kvmtrace.export.losses import Loss
    from kvmtrace.export.timelines import Timeline, Timelines

_PID = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_LOST = "lost events"


@dataclass(slots=True)
class Tracks:
    """Gives tracks their numbers, and keeps the packets that describe them."""

    timelines: Timelines
    packets: list[bytes] = field(default_factory=list)
    _of_vm: dict[str | None, int] = field(default_factory=dict)
    _last: int = 0

    def __post_init__(self) -> None:
        self._last = int(track_of(np.array([len(self.timelines.all)]))[0])
        vms = dict.fromkeys(line.vm_id for line in self.timelines.all)
        for vm_id in vms:
            self._of_vm[vm_id] = self._described(self._vm(vm_id))
        threads: set[int] = set()
        for place, line in enumerate(self.timelines.all):
            uuid = int(track_of(np.array([place]))[0])
            self._describe(uuid, number(Track.PARENT_UUID, self._of_vm[line.vm_id]) + _vcpu(line, threads))

    def counters(self, rates: Rates) -> list[int]:
        """Return the track of each counter."""
        step = f"mean over {rates.step_ns / 1e6:g} ms"
        found = []
        for counter in rates.counters:
            name = "exits per second" if counter.reason is None else f"exits per second: {counter.reason}"
            parent = number(Track.PARENT_UUID, self._of_vm[counter.vm_id])
            unit = message(Track.COUNTER, text(Counter.UNIT_NAME, f"exits/s, {step}"))
            found.append(self._described(parent + text(Track.NAME, name) + unit))
        return found

    def losses(self, losses: list[Loss]) -> list[int]:
        """Return the track of each loss."""
        if not losses:
            return []
        parent = number(Track.PARENT_UUID, self._described(text(Track.NAME, _LOST)))
        return [self._described(parent + text(Track.NAME, loss.track_name)) for loss in losses]

    def _vm(self, vm_id: str | None) -> bytes:
        """Return the description of a VM: the process where it is known to be that VM's, else a track of its own."""
        if vm_id is None:
            return text(Track.NAME, "VM not recorded")
        if not _PID.fullmatch(vm_id):
            return text(Track.NAME, f"VM {vm_id}")
        pid = int(vm_id)
        name = self.timelines.process_names.get(pid)
        title = f"VM {pid}" if name is None else f"VM {pid}: {name}"
        return message(Track.PROCESS, number(Process.PID, pid) + text(Process.NAME, title))

    def _described(self, description: bytes) -> int:
        self._last += 1
        self._describe(self._last, description)
        return self._last

    def _describe(self, uuid: int, description: bytes) -> None:
        descriptor = message(Packet.TRACK_DESCRIPTOR, number(Track.UUID, uuid) + description)
        self.packets.append(message(PACKET, SEQUENCE + descriptor))


def _vcpu(line: Timeline, threads: set[int]) -> bytes:
    """Return the description of a timeline: a thread, unless the thread has a track already."""
    vcpu = "vCPU not recorded" if line.vcpu is None else f"vCPU {line.vcpu}"
    title = vcpu if not line.thread_name else f"{vcpu}: {line.thread_name}"
    is_process = line.vm_id is not None and _PID.fullmatch(line.vm_id)
    if line.tid is None or line.tid <= 0 or line.tid in threads or not is_process:
        return text(Track.NAME, title if line.tid is None else f"{title} (thread {line.tid})")
    threads.add(line.tid)
    of_thread = number(Thread.PID, int(line.vm_id or 0)) + number(Thread.TID, line.tid) + text(Thread.NAME, title)
    return message(Track.THREAD, of_thread)
