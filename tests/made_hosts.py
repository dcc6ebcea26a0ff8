"""Made trees of /proc, /sys and tracefs: hosts with VMs of QEMU, Firecracker and crosvm, and what they are set to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.recorder.host_files import HostFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

X86 = ("kvm_exit", "kvm_entry", "kvm_msr", "kvm_pio", "kvm_inj_virq", "kvm_eoi", "kvm_userspace_exit", "kvm_set_irq")
SCHED = ("sched_switch", "sched_wakeup", "sched_stat_runtime")
IRQ = ("irq_handler_entry", "irq_handler_exit", "softirq_entry")
_STAT = "{tid} ({name}) S " + " ".join(["1"] * 36) + " {priority} {policy} 0 0 0\n"


class MadeHost:
    """A made host below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = HostFiles(root)
        (root / "proc").mkdir()

    def write(self, texts: Mapping[str, str]) -> None:
        """Write files, by their place below the root."""
        for name, text in texts.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def add_tracepoints(self, system: str, events: Iterable[str], tracefs: str = "sys/kernel/tracing") -> None:
        """Give the kernel tracepoints, all of them off."""
        self.write({f"{tracefs}/tracing_on": "1\n", f"{tracefs}/events/{system}/enable": "0\n"})
        self.write({f"{tracefs}/events/{system}/{event}/enable": "0\n" for event in events})

    def add_process(
        self,
        pid: int,
        cmdline: Sequence[str],
        threads: Mapping[int, str],
        *,
        vcpus: int | None = None,
        cgroup: str = "",
    ) -> None:
        """Add a process with threads by id; `vcpus`: how many descriptors of vCPUs it has, None: it runs no VM."""
        own = f"proc/{pid}"
        self.write(
            {
                f"{own}/cmdline": "".join(f"{word}\0" for word in cmdline),
                f"{own}/comm": f"{threads[pid]}\n",
                f"{own}/cgroup": f"0::{cgroup}\n",
            }
        )
        for tid, name in threads.items():
            self.write(
                {
                    f"{own}/task/{tid}/comm": f"{name}\n",
                    f"{own}/task/{tid}/status": f"Name:\t{name}\nCpus_allowed_list:\t0-{tid % 10}\n",
                    f"{own}/task/{tid}/stat": _STAT.format(tid=tid, name=name, priority=0, policy=0),
                }
            )
        links = ["/dev/null", "socket:[4242]"]
        if vcpus is not None:
            links += ["/dev/kvm", "anon_inode:kvm-vm", *(f"anon_inode:kvm-vcpu:{n}" for n in range(vcpus))]
        (self.root / own / "fd").mkdir()
        for number, link in enumerate(links):
            (self.root / own / "fd" / str(number)).symlink_to(link)


def three_vms(root: Path) -> MadeHost:
    """Return an x86 host with a VM of each VMM, a process that runs none, and a vhost thread of the kernel."""
    host = MadeHost(root)
    host.add_tracepoints("kvm", X86)
    host.add_tracepoints("sched", SCHED)
    host.add_tracepoints("irq", IRQ)
    qemu = ["/usr/bin/qemu-system-x86_64", "-name", "guest=web,,1,debug-threads=on", "-smp", "2"]
    threads = {100: "qemu-system-x86", 101: "CPU 0/KVM", 102: "CPU 1/KVM", 105: "worker"}
    host.add_process(100, qemu, threads, vcpus=2, cgroup="/machine.slice/web")
    host.add_process(110, [], {110: "vhost-100"})
    firecracker = ["/opt/firecracker", "--api-sock", "/run/fc/fn-7.sock", "--config-file", "vm.json"]
    host.add_process(200, firecracker, {200: "firecracker", 201: "fc_api", 202: "fc_vcpu 0"}, vcpus=1)
    crosvm = ["crosvm", "run", "--name=arc", "--cpus", "1", "bzImage"]
    host.add_process(300, crosvm, {300: "crosvm", 301: "crosvm_vcpu0"}, vcpus=1)
    host.add_process(400, ["/bin/sleep", "9"], {400: "sleep"})
    host.write(
        {
            "sys/fs/cgroup/machine.slice/web/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/machine.slice/web/cpu.weight": "100\n",
            "sys/devices/system/cpu/online": "0-3\n",
            "proc/meminfo": "MemTotal:       16384000 kB\n",
        }
    )
    return host
