"""What is kept of a made host: its settings and VMs, in the manifest, in SQL, in reports and comparisons."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from compare_samples import manifest, run, side
from made_hosts import MadeHost, three_vms

from kvmtrace.comparing import differences
from kvmtrace.recorder.environment import environment
from kvmtrace.recorder.host_files import HostFiles
from kvmtrace.recorder.witness import Witness
from kvmtrace.store.manifest import MANIFEST, read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CPU = "sys/devices/system/cpu"
SET = {
    "proc/sys/kernel/osrelease": "6.12.1\n",
    "proc/cmdline": "root=/dev/sda mitigations=off\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Made 9000\nmicrocode\t: 0x2b\n\nprocessor\t: 1\nmodel name\t: X\n",
    f"{CPU}/smt/control": "on\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    f"{CPU}/vulnerabilities/mds": "Mitigation: Clear CPU buffers; SMT vulnerable\n",
    f"{CPU}/vulnerabilities/l1tf": "Not affected\n",
    "sys/devices/system/node/node0/cpulist": "0-1\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/module/kvm/parameters/halt_poll_ns": "200000\n",
    "sys/module/kvm_intel/parameters/ept": "Y\n",
    "sys/module/kvmgt_like/parameters/x": "1\n",
}


@pytest.fixture
def host(tmp_path: Path) -> MadeHost:
    (tmp_path / "host").mkdir()
    made = three_vms(tmp_path / "host")
    made.write(SET)
    return made


def test_the_settings_of_a_host_are_kept_by_the_kernels_names(host: MadeHost) -> None:
    found = environment(host.files)
    assert found == {
        "kernel": "6.12.1", "kernel_version": None, "kernel_cmdline": "root=/dev/sda mitigations=off",
        "clocksource": None, "transparent_hugepage": "madvise", "numa_nodes": "0: CPUs 0-1", "cpu": "Made 9000",
        "microcode": "0x2b", "cpus_online": "0-3", "cpus_isolated": None, "smt": "on",
        "governor": "performance, powersave", "turbo": "off",
        "vulnerability.l1tf": "Not affected", "vulnerability.mds": "Mitigation: Clear CPU buffers; SMT vulnerable",
        "kvm.halt_poll_ns": "200000", "kvm_intel.ept": "Y",
    }  # fmt: skip


def test_what_cannot_be_read_is_not_recorded(tmp_path: Path) -> None:
    assert set(environment(HostFiles(tmp_path)).values()) == {None}


def test_a_vm_that_ended_meanwhile_is_remembered_with_its_vcpus(host: MadeHost) -> None:
    witness = Witness(host.files, {"purpose": "exits"})
    witness.look()
    shutil.rmtree(host.root / "proc/100")
    shutil.rmtree(host.root / "proc/200/task")
    witness.look()
    told = witness.tell(manifest(), None)
    assert [(vm.pid, len(vm.vcpus)) for vm in told.vms] == [(100, 2), (200, 1), (300, 1)]
    assert told.environment["purpose"] == "exits"


def test_a_manifest_keeps_it_and_one_without_is_read_as_before(tmp_path: Path, host: MadeHost) -> None:
    witness = Witness(host.files, {})
    witness.look()
    kept = witness.tell(manifest("kept"), None)
    (tmp_path / MANIFEST).write_text(kept.to_json())
    assert read_manifest(tmp_path) == kept
    older = json.loads(kept.to_json())
    del older["environment"], older["vms"]
    (tmp_path / MANIFEST).write_text(json.dumps(older))
    assert (read_manifest(tmp_path).environment, read_manifest(tmp_path).vms) == ({}, ())


def warned(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> list[str]:
    sides = [side(n, run(manifest={"environment": e})) for n, e in (("base", before), ("new", after))]
    return [text for text in differences.warnings(*sides) if "settings" in text]


def test_settings_that_move_exits_are_compared() -> None:
    before = {
        "governor": "performance",
        "kvm.halt_poll_ns": "200000",
        "vulnerability.mds": "a",
        "command": "x",
        "smt": None,
    }
    after = {"governor": "powersave", "kvm.halt_poll_ns": "0", "vulnerability.mds": "b", "smt": "on"}
    assert warned(before | {"command": "x"}, before | {"command": "y"}) == []
    (said,) = warned(before, after)
    assert said == (
        "The sides differ in settings of the host: governor (performance before, powersave after), kvm.halt_poll_ns "
        "(200000 before, 0 after), vulnerability.mds (a before, b after)."
    )
    (said,) = warned({f"kvm.p{n}": "0" for n in range(11)}, {f"kvm.p{n}": "1" for n in range(11)})
    assert said.endswith("(0 before, 1 after) and 3 more settings.")


def test_settings_of_one_side_only_are_said_once() -> None:
    assert warned({"governor": "performance"}, {}) == [
        "The settings of the host are recorded of some runs only: whether the sides differ in them is not known."
    ]
    assert warned({}, {}) == []
