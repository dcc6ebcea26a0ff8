"""What recording needs and this user or machine does not have: said before anything is started."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from kvmtrace.errors import RecordingError, UsageError
from kvmtrace.recorder.vms import find_vms, vm_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.vms import Vm

_CAP_PERFMON, _CAP_SYS_ADMIN = 38, 21  # bits of CapEff: linux/capability.h
_PARANOID = "proc/sys/kernel/perf_event_paranoid"
_PACKAGES = {"perf": "linux-perf (Debian), linux-tools-generic (Ubuntu) or perf (Fedora)", "trace-cmd": "trace-cmd"}
_LISTED = 8


def check_program(program: str) -> None:
    """RecordingError: `program` (perf, trace-cmd) is not installed."""
    if shutil.which(program) is None:
        raise RecordingError(f"{program} is not installed", hint=f"it is in the package {_PACKAGES[program]}")


def check_tracepoints(files: HostFiles) -> None:
    """RecordingError: the kernel's tracepoints of KVM cannot be seen, and why."""
    if files.tracefs() is None:
        place = files.path("sys/kernel/tracing")
        try:
            there = list(place.iterdir())
        except PermissionError:
            raise RecordingError(
                f"tracefs is not readable: {place}",
                hint="run as root, or let a group read it: mount -o remount,mode=750,gid=GROUP /sys/kernel/tracing",
            ) from None
        except OSError:
            there = []
        if there:
            raise RecordingError(f"the events of tracefs are not readable: {place}/events", hint="run as root")
        raise RecordingError(
            f"tracefs is not mounted at {place}", hint="mount -t tracefs nodev /sys/kernel/tracing (as root)"
        )
    if not files.tracepoints("kvm"):
        raise RecordingError(
            "this kernel has no tracepoints of KVM: its kvm module is not loaded, or it was built without",
            hint="modprobe kvm_intel, kvm_amd or kvm_hv (as root)" if _has_kvm_module(files) else None,
        )


def check_perf_rights(files: HostFiles) -> None:
    """RecordingError: this user may not record tracepoints of the kernel with perf."""
    paranoid = files.text(_PARANOID)
    if paranoid is None:
        raise RecordingError(f"{files.path(_PARANOID)} is not there: this kernel has no perf events")
    if (
        not _has_capability(files, _CAP_PERFMON, _CAP_SYS_ADMIN)
        and paranoid.lstrip("-").isdigit()
        and int(paranoid) > -1
    ):
        raise RecordingError(
            f"the right to record the kernel's tracepoints is missing: perf_event_paranoid is {paranoid}, "
            "and this process has no CAP_PERFMON",
            hint="run as root, give perf the capability (setcap cap_perfmon,cap_ipc_lock+ep on its file), or: "
            "sysctl kernel.perf_event_paranoid=-1",
        )


def check_tracefs_rights(files: HostFiles) -> None:
    """RecordingError: this user may not switch tracing on, which trace-cmd does through tracefs."""
    switch = files.path(f"{files.tracefs()}/tracing_on")
    if not os.access(switch, os.W_OK):
        raise RecordingError(f"tracefs is not writable: {switch}", hint="trace-cmd needs root")


def find_vm(name: str, files: HostFiles) -> Vm:
    """Return the VM of a process id, or of that name. UsageError: there is none, and which ones there are."""
    if name.isdigit():
        if files.text(f"proc/{name}/comm") is None:
            raise UsageError(f"--vm {name}: there is no process {name}", hint=_told(find_vms(files)))
        vm = vm_of(int(name), files)
        if vm is None:
            raise UsageError(f"--vm {name}: {_no_vm(int(name), files)}", hint=_told(find_vms(files)))
        return vm
    vms = find_vms(files)
    found = [vm for vm in vms if vm.name == name]
    if len(found) != 1:
        what = f"{len(found)} VMs have that name" if found else "no VM has that name"
        raise UsageError(f"--vm {name}: {what}", hint=_told(found or vms))
    return found[0]


def _no_vm(pid: int, files: HostFiles) -> str:
    comm = files.text(f"proc/{pid}/comm")
    if not files.names(f"proc/{pid}/fd"):
        return f"process {pid} ({comm}) may not be looked into by this user, and none of its threads is called a vCPU's"
    return f"process {pid} ({comm}) runs no VM"


def _told(vms: Sequence[Vm]) -> str:
    if not vms:
        return "no VM is running, as far as this user can see"
    more = f" and {len(vms) - _LISTED} more" if len(vms) > _LISTED else ""
    return f"VMs: {', '.join(vm.title for vm in vms[:_LISTED])}{more}"


def _has_capability(files: HostFiles, *bits: int) -> bool:
    status = files.text("proc/self/status") or ""
    held = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return any(int(held, 16) >> bit & 1 for bit in bits)


def _has_kvm_module(files: HostFiles) -> bool:
    """Tell whether modules can be loaded at all."""
    return files.path("proc/modules").exists()
