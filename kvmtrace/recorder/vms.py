"""The VMs of a machine: what they are called, which threads run their vCPUs, where these may run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.recorder.host_files import HostFiles

# What VMMs call the threads of their vCPUs: QEMU (debug-threads=on), Firecracker, crosvm, cloud-hypervisor.
_VCPU_THREAD = re.compile(r"(?:CPU (\d+)/KVM|fc_vcpu ?(\d+)|crosvm_vcpu(\d+)|vcpu(\d+))")
_VCPU_FD = re.compile(r"anon_inode:kvm-vcpu:(\d+)")
_KERNELS_THREAD = re.compile(r"kvm-nx-lpage|vhost-\d")  # that it adds to a VMM's own: vhost_task_create, Linux 6.4
_VM_FD = "anon_inode:kvm-vm"
# Fields of /proc/PID/stat behind the name, counted from 0: proc(5).
_POLICY = 38
_RT_PRIORITY = 37
_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A thread that runs a vCPU; what cannot be read is None."""

    vcpu: int | None
    tid: int
    name: str | None
    cpus_allowed: str | None  # as the kernel lists CPUs: 0-3,8
    policy: str | None  # of the scheduler: other, fifo, …
    priority: int | None  # of the policies fifo and rr


@dataclass(frozen=True, slots=True)
class Vm:
    """A process that runs a VM."""

    pid: int
    name: str | None  # as its command line says, else that of the process
    vmm: str | None  # the program
    vcpus: tuple[Vcpu, ...]
    threads: tuple[int, ...]  # all of the process
    cgroup: str | None
    cpu_max: str | None  # cgroup's cpu.max: quota and period in µs, or max
    cpu_weight: str | None

    @property
    def title(self) -> str:
        """Its process and name, for messages."""
        return f"{self.pid} ({self.name})" if self.name else str(self.pid)


def find_vms(files: HostFiles) -> list[Vm]:
    """Return the VMs whose processes this user may look into."""
    return [vm for pid in files.pids() if (vm := vm_of(pid, files)) is not None]


def vm_of(pid: int, files: HostFiles) -> Vm | None:
    """Return the VM of a process; None: it is gone, runs none, or may not be looked into."""
    links = [files.link(f"proc/{pid}/fd/{fd}") or "" for fd in files.names(f"proc/{pid}/fd")]
    numbers = sorted(int(match[1]) for link in links if (match := _VCPU_FD.match(link)))
    threads = tuple(int(name) for name in files.names(f"proc/{pid}/task") if name.isdigit())
    vcpus = tuple(sorted(_named_vcpus(pid, threads, files), key=lambda vcpu: (vcpu.vcpu or 0, vcpu.tid)))
    if not links and vcpus:  # another user's: the names of its threads can be read
        return _vm(pid, vcpus, threads, files)
    if not numbers and _VM_FD not in links:
        return None
    if not vcpus and len(numbers) == 1:
        own = [tid for tid in threads if not _KERNELS_THREAD.match(files.text(f"proc/{pid}/task/{tid}/comm") or "")]
        vcpus = (_vcpu(numbers[0], pid, own[0], files),) if len(own) == 1 else ()
    return _vm(pid, vcpus, threads, files)


def vm_name(words: Sequence[str]) -> str | None:
    """Return what a VMM's command line calls its VM; None: nothing, or a VMM that is not known.

    QEMU: -name guest=NAME,… or -name NAME,…; Firecracker: --id NAME, else the file of --api-sock; crosvm: --name NAME.
    """
    if not words:
        return None
    program = PurePosixPath(words[0]).name
    options = dict(_options(words[1:]))
    if "qemu" in program or program == "kvm":
        return _qemu_name(options.get("name"))
    if program.startswith("firecracker"):
        socket = options.get("api-sock")
        return options.get("id") or (PurePosixPath(socket).stem if socket else None)
    if program.startswith("crosvm"):
        return options.get("name")
    return None


def kernel_threads(pid: int, files: HostFiles) -> list[int]:
    """Return the kernel's threads that work for the VM of a process and name it: vhost (before 6.4), the timer chip."""
    names = {f"vhost-{pid}", f"kvm-pit/{pid}"}
    return [other for other in files.pids() if files.text(f"proc/{other}/comm") in names]


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options and their values: --id a, --id=a, -name a."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--":
            return
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            yield (name, value) if equals else (name, following)


def _qemu_name(text: str | None) -> str | None:
    """Return the guest of -name: keys stand between commas, a comma within a value is doubled."""
    if not text:
        return None
    parts = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    keyed = dict(part.split("=", 1) for part in parts if "=" in part)
    return keyed.get("guest") or (parts[0] if "=" not in parts[0] else None)


def _vm(pid: int, vcpus: tuple[Vcpu, ...], threads: tuple[int, ...], files: HostFiles) -> Vm:
    words = files.words(f"proc/{pid}/cmdline")
    comm = files.text(f"proc/{pid}/comm")
    cgroup = _cgroup(files.text(f"proc/{pid}/cgroup"))
    of_group = f"sys/fs/cgroup{cgroup}" if cgroup else None
    return Vm(
        pid,
        vm_name(words) or comm,
        PurePosixPath(words[0]).name if words else comm,
        vcpus,
        threads,
        cgroup,
        files.text(f"{of_group}/cpu.max") if of_group else None,
        files.text(f"{of_group}/cpu.weight") if of_group else None,
    )


def _named_vcpus(pid: int, threads: Sequence[int], files: HostFiles) -> Iterator[Vcpu]:
    for tid in threads:
        match = _VCPU_THREAD.fullmatch(files.text(f"proc/{pid}/task/{tid}/comm") or "")
        if match:
            yield _vcpu(int(next(filter(None, match.groups()))), pid, tid, files)


def _vcpu(number: int | None, pid: int, tid: int, files: HostFiles) -> Vcpu:
    task = f"proc/{pid}/task/{tid}"
    allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", files.text(f"{task}/status") or "", re.MULTILINE)
    behind_name = (files.text(f"{task}/stat") or "").rpartition(")")[2].split()
    policy, priority = None, None
    if len(behind_name) > _POLICY:
        policy = _POLICIES.get(int(behind_name[_POLICY]), behind_name[_POLICY])
        priority = int(behind_name[_RT_PRIORITY])
    return Vcpu(number, tid, files.text(f"{task}/comm"), allowed[1] if allowed else None, policy, priority)


def _cgroup(text: str | None) -> str | None:
    """Return the group of the unified hierarchy (0::/path), cgroups(7)."""
    groups = [line.removeprefix("0::") for line in (text or "").splitlines() if line.startswith("0::")]
    return groups[0] if groups else None
