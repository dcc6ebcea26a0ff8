"""What may make one recording differ from another beside what is compared: the host's kernel, processor and settings.

Names are those of the kernel's own files, so that a reader finds them: a module's parameter is `kvm.halt_poll_ns`, a
mitigation `vulnerability.spectre_v2`. What cannot be read is None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.recorder.host_files import HostFiles

_CPU = "sys/devices/system/cpu"
_MODEL = ("model name", "cpu model", "cpu", "CPU part", "uarch")  # of x86, LoongArch, POWER, arm64, RISC-V
_CHOSEN = re.compile(r"\[(\w+)\]")  # how sysfs marks one of several


def environment(files: HostFiles) -> dict[str, str | None]:
    """Return the facts of a host, by name."""
    return {**_kernel(files), **_processor(files), **dict(_vulnerabilities(files)), **dict(_parameters(files))}


def _kernel(files: HostFiles) -> dict[str, str | None]:
    return {
        "kernel": files.text("proc/sys/kernel/osrelease"),
        "kernel_version": files.text("proc/sys/kernel/version"),
        "kernel_cmdline": files.text("proc/cmdline"),
        "clocksource": files.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "transparent_hugepage": _chosen(files.text("sys/kernel/mm/transparent_hugepage/enabled")),
        "numa_nodes": _numa(files),
    }


def _processor(files: HostFiles) -> dict[str, str | None]:
    fields = _cpuinfo(files.text("proc/cpuinfo") or "")
    return {
        "cpu": next((fields[name] for name in _MODEL if name in fields), None),
        "microcode": fields.get("microcode"),
        "cpus_online": files.text(f"{_CPU}/online"),
        "cpus_isolated": files.text(f"{_CPU}/isolated"),
        "smt": files.text(f"{_CPU}/smt/control"),
        "governor": _governor(files),
        "turbo": _turbo(files),
    }


def _cpuinfo(text: str) -> dict[str, str]:
    """Return the first value of each field: processors of one machine differ in what is of no use here."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _chosen(text: str | None) -> str | None:
    match = _CHOSEN.search(text or "")
    return match[1] if match else text


def _governor(files: HostFiles) -> str | None:
    """Return the frequency governors of all CPUs, most of them one."""
    cpus = [name for name in files.names(_CPU) if re.fullmatch(r"cpu\d+", name)]
    told = {files.text(f"{_CPU}/{cpu}/cpufreq/scaling_governor") for cpu in cpus} - {None}
    return ", ".join(sorted(map(str, told))) or None


def _turbo(files: HostFiles) -> str | None:
    off = files.text(f"{_CPU}/intel_pstate/no_turbo")
    boost = files.text(f"{_CPU}/cpufreq/boost")
    if off is not None:
        return "off" if off == "1" else "on"
    return None if boost is None else ("on" if boost == "1" else "off")


def _numa(files: HostFiles) -> str | None:
    folder = "sys/devices/system/node"
    nodes = [name for name in files.names(folder) if re.fullmatch(r"node\d+", name)]
    told = [f"{name[4:]}: CPUs {files.text(f'{folder}/{name}/cpulist') or 'none'}" for name in nodes]
    return "; ".join(told) or None


def _vulnerabilities(files: HostFiles) -> Iterator[tuple[str, str | None]]:
    for name in files.names(f"{_CPU}/vulnerabilities"):
        yield f"vulnerability.{name}", files.text(f"{_CPU}/vulnerabilities/{name}")


def _parameters(files: HostFiles) -> Iterator[tuple[str, str | None]]:
    for module in files.names("sys/module"):
        if module == "kvm" or module.startswith("kvm_"):
            for name in files.names(f"sys/module/{module}/parameters"):
                yield f"{module}.{name}", files.text(f"sys/module/{module}/parameters/{name}")
