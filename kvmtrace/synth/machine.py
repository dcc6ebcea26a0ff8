"""The threads of a model's VMs, and what a recording says of their host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.recording import EventKind, Facts
from kvmtrace.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.synth.engine import Run
    from kvmtrace.synth.model import Platform

FORMAT = "model"
"""Format of a run that a model made, as manifests name it."""

_PIDS_OF_VM = 10_000
_FIRST_VCPU = 10  # threads of the VMM before those of its vCPUs
_FIRST_WORKER = 5_000  # vhost threads
_COMMS = {"x86_64": "qemu-system-x86", "ppc64le": "qemu-system-ppc", "ppc64": "qemu-system-ppc"}


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a VMM: one that runs a vCPU, or a worker beside it (vCPU -1)."""

    pid: int
    tid: int
    comm: str
    vm: int
    vcpu: int
    cpu: int  # that it is bound to


def vcpu_threads(platform: Platform) -> list[Thread]:
    """Return the thread of each vCPU, VM by VM; vCPUs are spread over the CPUs one after the other."""
    return [
        Thread(
            _pid(vm),
            _pid(vm) + _FIRST_VCPU + vcpu,
            f"CPU {vcpu}/KVM",
            vm,
            vcpu,
            (vm * platform.vcpus + vcpu) % platform.cpus,
        )
        for vm in range(platform.vms)
        for vcpu in range(platform.vcpus)
    ]


def worker_thread(platform: Platform, vm: int, number: int = 0) -> Thread:
    """Return a kernel thread that works for a VM, on the last CPU."""
    pid = _pid(vm) + _FIRST_WORKER + number
    return Thread(pid, pid, f"vhost-{_pid(vm)}", vm, -1, platform.cpus - 1)


def _pid(vm: int) -> int:
    return _PIDS_OF_VM * (vm + 1)


def facts(run: Run, events: Sequence[EventKind], threads: Sequence[Thread]) -> Facts:
    """Return what a recording of a run says of itself; threads are named, and so are the VMMs."""
    platform = run.setting.platform
    names = {(thread.pid, thread.tid): thread.comm for thread in threads}
    names |= {(_pid(vm), _pid(vm)): _COMMS[platform.arch] for vm in range(platform.vms)}
    return Facts(
        FORMAT,
        events=list(events),
        host=host(platform),
        tool=tool(run),
        clock="model",
        threads=names,
    )


def host(platform: Platform) -> dict[str, str | int]:
    """Return what is known of the machine."""
    said: dict[str, str | int] = {
        "hostname": "model",
        "kernel": platform.kernel,
        "arch": platform.arch,
        "cpu": platform.cpu,
        "cpus_online": platform.cpus,
        "cpus_available": platform.cpus,
    }
    return {**said, "cpuid": platform.cpuid} if platform.cpuid else said


def tool(run: Run) -> dict[str, str]:
    """Return what made the run."""
    return {"version": __version__, "cmdline": run.command}


def byte_order(arch: str) -> str:
    """Return the byte order of an architecture, as numpy and struct write it."""
    return ">" if arch == "ppc64" else "<"
