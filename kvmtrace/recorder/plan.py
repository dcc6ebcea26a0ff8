"""A purpose on this machine → which events are recorded, with which filters and room, and of whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from kvmtrace.recorder.purposes import Purpose, needs
from kvmtrace.recorder.vms import kernel_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.vms import Vm

_LONGEST_FILTER = 4000  # the kernel takes one page: kernel/trace/trace_events_filter.c
_LEAST_BUFFER = 512 << 10
_PART_OF_MEMORY = 8
# The fields of an event that name threads beside the one that it happens in.
_THREAD_FIELDS = {
    "sched:sched_switch": ("prev_pid", "next_pid"),
    "sched:sched_wakeup": ("pid",),
    "sched:sched_wakeup_new": ("pid",),
    "sched:sched_migrate_task": ("pid",),
}


@dataclass(frozen=True, slots=True)
class Event:
    """A tracepoint, or all of a system (kvm:*), with a filter in the kernel's own words."""

    name: str
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is recorded."""

    purpose: Purpose
    events: tuple[Event, ...]
    buffer_bytes: int  # for each CPU, a power of two
    pids: tuple[int, ...] = ()  # whose threads, and those that they start, are followed; none: all CPUs
    tids: tuple[int, ...] = ()  # the threads that these processes have now
    notes: tuple[str, ...] = ()  # what is done that a user may not expect

    def with_buffer(self, mib: int | None) -> Plan:
        """Return the plan with so much room for each CPU, rounded up to a power of two; None: as it is."""
        return self if mib is None else replace(self, buffer_bytes=1 << ((mib << 20) - 1).bit_length())


def plan(purpose: Purpose, machine: str, files: HostFiles, vm: Vm | None = None) -> Plan:
    """Return what is recorded for `purpose`; no events: this kernel has no tracepoints of KVM at present.

    `machine`: as `uname -m` names it. `vm`: the only one that is wanted; None: all.
    """
    wanted = needs(purpose, machine, files)
    buffer_bytes = _within_memory(wanted.buffer_bytes, files)
    events = tuple(map(Event, wanted.events))
    if vm is None:
        return Plan(purpose, events, buffer_bytes)
    if not wanted.of_scheduler:
        helpers = kernel_threads(vm.pid, files)
        return Plan(purpose, events, buffer_bytes, (vm.pid, *helpers), (*vm.threads, *helpers))
    filtered = tuple(Event(name, _of_threads(name, vm)) for name in wanted.events)
    threads = f"the {len(vm.threads)} threads" if len(vm.threads) > 1 else "the only thread"
    note = (
        f"who takes a CPU from VM {vm.title} is seen on all CPUs only: recorded there, filtered to {threads} that it "
        "has now"
    )
    unfiltered = [event.name for event in filtered if event.filter is None]
    beside = [f"not filtered, so of the whole host: {', '.join(unfiltered)}"] if unfiltered else []
    return Plan(purpose, filtered, buffer_bytes, notes=(note, *beside))


def _of_threads(event: str, vm: Vm) -> str | None:
    """Return the filter that leaves an event's occurrences of a VM alone; None: there is none, or it is too long."""
    if event.startswith("irq:"):  # interrupts of devices are handled in whatever thread runs
        return None
    is_of_vcpus = event in _THREAD_FIELDS and vm.vcpus
    tids = [vcpu.tid for vcpu in vm.vcpus] if is_of_vcpus else vm.threads
    stretches = list(_stretches(tids))
    text = "||".join(
        f"{field}=={first}" if first == last else f"({field}>={first}&&{field}<={last})"
        for field in _THREAD_FIELDS.get(event, ("common_pid",))
        for first, last in stretches
    )
    return text if 0 < len(text) <= _LONGEST_FILTER else None


def _stretches(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Yield the first and last of each stretch of numbers without a gap."""
    for _, group in groupby(enumerate(sorted(set(numbers))), key=lambda place: place[1] - place[0]):
        stretch = [number for _, number in group]
        yield stretch[0], stretch[-1]


def _within_memory(buffer_bytes: int, files: HostFiles) -> int:
    """Halve the room of each CPU until that of all is an eighth of the memory at most: it is locked."""
    memory = _kib((files.text("proc/meminfo") or "").partition("MemTotal:")[2])
    cpus = _count((files.text("sys/devices/system/cpu/online") or "0").split(","))
    while memory and buffer_bytes > _LEAST_BUFFER and buffer_bytes * cpus > (memory << 10) // _PART_OF_MEMORY:
        buffer_bytes //= 2
    return buffer_bytes


def _kib(text: str) -> int:
    number = text.split()[:1]
    return int(number[0]) if number and number[0].isdigit() else 0


def _count(stretches: list[str]) -> int:
    """Return how many CPUs a list such as 0-3,8 names."""
    ends = [stretch.partition("-") for stretch in stretches]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends if first.isdigit()) or 1
