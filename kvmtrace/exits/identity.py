"""By which rules VMs and vCPUs of a recording were told apart, and what of it was inferred: for its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.exits.builder import ExitBuilder

_UNKNOWN = -1
_LISTED = 16  # processes or vCPUs that a rule lists by number


def identity_rules(builder: ExitBuilder) -> tuple[str, ...]:
    """Return the rules, one plain sentence each."""
    return tuple(_rules(builder))


def _rules(builder: ExitBuilder) -> Iterator[str]:
    if builder.facts.vcpu_threads:
        yield "vm_id, and vcpu where no event tells it: the thread's, as the recorder says of the session's guests"
    if builder.facts.has_processes:
        yield "vm_id: process id that the recording tells"
    else:
        yield (
            "vm_id: the recording has no process ids; threads that never ran one vCPU number at a time are inferred "
            "to be one VM (vm-1, …)"
        )
    yield from _vcpu_rules(builder)
    yield f"pairs: {builder.architecture.summary}"
    processes = builder.lanes.processes
    if processes:
        yield (
            f"pairs: a thread of {_listed(processes)} speaks for several vCPUs, "
            "so there exit and entry of one vCPU are paired"
        )
    for pid in sorted(builder.vms.split):
        yield f"{_process(pid)} ran a vCPU of one number on two threads at a time: inferred to be several VMs (#2, …)"
    moved = sorted(builder.vms.moved)
    for pid, vcpu in moved[:_LISTED]:
        yield f"vCPU {vcpu} of {_process(pid)} ran on several threads, one after the other: inferred to be one vCPU"
    if len(moved) > _LISTED:
        yield f"{len(moved) - _LISTED} more vCPUs ran on several threads"


def _vcpu_rules(builder: ExitBuilder) -> Iterator[str]:
    if builder.boundaries_tell:
        field = " or ".join(builder.vcpu_fields)
        yield f"vcpu: field {field} of the event, else of the thread's newest exit or entry that has it"
        return
    if builder.own_events:
        yield f"vcpu: field vcpu_id of the thread's own {', '.join(builder.own_events)}"
    if builder.inferred.by_name:
        yield "vcpu: number in the thread's name (CPU n/KVM, kvm-vcpu-n, …)"
    if builder.inferred.by_order:
        yield f"vcpu: inferred from the order in which the threads of {_listed(builder.inferred.by_order)} first ran"


def _listed(pids: set[int]) -> str:
    return " and ".join(_process(pid) for pid in sorted(pids)[:_LISTED])


def _process(pid: int) -> str:
    return "the recording" if pid == _UNKNOWN else f"process {pid}"
