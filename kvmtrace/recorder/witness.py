"""What is seen of the host while something is recorded: its settings once, its VMs now and then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmtrace.recorder.environment import environment
from kvmtrace.recorder.vms import find_vms
from kvmtrace.store.manifest import RecordedVm, VcpuThread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmtrace.recorder.host_files import HostFiles
    from kvmtrace.recorder.vms import Vm
    from kvmtrace.store.manifest import Manifest


class Witness:
    """Looks at the host of one recording."""

    def __init__(self, files: HostFiles, own: Mapping[str, str | None]) -> None:
        """Look at the settings; `own` are facts of the recording itself."""
        self._files = files
        self._facts = {**own, **environment(files)}
        self._vms: dict[int, Vm] = {}

    def look(self) -> None:
        """Look which VMs there are. One that has ended since is remembered as it was when it had most vCPUs."""
        for vm in find_vms(self._files):
            before = self._vms.get(vm.pid)
            if before is None or len(vm.vcpus) >= len(before.vcpus):
                self._vms[vm.pid] = vm

    @property
    def vms(self) -> tuple[Vm, ...]:
        """The VMs that were seen, by process."""
        return tuple(self._vms[pid] for pid in sorted(self._vms))

    def tell(self, manifest: Manifest, enabled_ns: int | None) -> Manifest:
        """Return a manifest with what was seen, and how long events were enabled, at least from the first to the last.

        Rates are of that time: a VM that ran for a moment of it has few exits a second.
        """
        if enabled_ns is not None:
            enabled_ns = max(enabled_ns, manifest.elapsed_ns or 0)
        return replace(manifest, enabled_ns=enabled_ns, environment=self._facts, vms=_recorded(self.vms))


def _recorded(vms: Iterable[Vm]) -> tuple[RecordedVm, ...]:
    return tuple(
        RecordedVm(
            vm.pid, vm.name, vm.vmm, vm.cgroup, vm.cpu_max, vm.cpu_weight,
            tuple(VcpuThread(v.tid, v.vcpu, v.name, v.cpus_allowed, v.policy, v.priority) for v in vm.vcpus),
        )
        for vm in vms
    )  # fmt: skip
