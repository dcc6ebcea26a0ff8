"""The VMs of made hosts: what they are called, their vCPUs, and who is no VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_hosts import MadeHost, three_vms

from kvmtrace.errors import UsageError
from kvmtrace.recorder.rights import find_vm
from kvmtrace.recorder.vms import find_vms, kernel_threads, vm_name, vm_of

if TYPE_CHECKING:
    from pathlib import Path


def test_vms_are_known_by_their_descriptors_and_named_by_their_command_lines(tmp_path: Path) -> None:
    vms = find_vms(three_vms(tmp_path).files)
    assert [(vm.pid, vm.name, vm.vmm) for vm in vms] == [
        (100, "web,1", "qemu-system-x86_64"), (200, "fn-7", "firecracker"), (300, "arc", "crosvm"),
    ]  # fmt: skip
    assert [[(v.vcpu, v.tid, v.name) for v in vm.vcpus] for vm in vms] == [
        [(0, 101, "CPU 0/KVM"), (1, 102, "CPU 1/KVM")], [(0, 202, "fc_vcpu 0")], [(0, 301, "crosvm_vcpu0")],
    ]  # fmt: skip
    assert (vms[0].cgroup, vms[0].cpu_max, vms[0].cpu_weight) == ("/machine.slice/web", "50000 100000", "100")
    assert (vms[1].cpu_max, vms[0].threads) == (None, (100, 101, 102, 105))


def test_a_vcpu_thread_tells_where_and_how_it_may_run(tmp_path: Path) -> None:
    host = three_vms(tmp_path)
    fifo = "101 (CPU 0/KVM) S " + " ".join(["1"] * 36) + " 50 1 0 0 0\n"
    host.write({"proc/100/task/101/stat": fifo})
    vm = vm_of(100, host.files)
    assert vm is not None
    assert (vm.vcpus[0].policy, vm.vcpus[0].priority, vm.vcpus[0].cpus_allowed) == ("fifo", 50, "0-1")
    assert (vm.vcpus[1].policy, vm.vcpus[1].priority) == ("other", 0)


@pytest.mark.parametrize(
    ("cmdline", "name"),
    [
        (["/usr/libexec/qemu-kvm", "-name", "plain"], "plain"),
        (["qemu-system-aarch64", "-name", "debug-threads=on"], None),
        (["qemu-system-x86_64", "-name", "guest=a=b,process=x"], "a=b"),
        (["qemu-system-x86_64"], None),
        (["firecracker", "--id=7f", "--api-sock", "/x.sock"], "7f"),
        (["firecracker-v1.7", "--id", "7f"], "7f"),
        (["crosvm", "run", "--name", "arc"], "arc"),
        (["crosvm", "run", "--", "--name", "not-ours"], None),
        (["cloud-hypervisor", "--name", "unknown"], None),
        ([], None),
    ],
)
def test_a_command_line_names_its_vm(cmdline: list[str], name: str | None) -> None:
    assert vm_name(cmdline) == name


def test_a_vmm_without_named_threads_has_a_vcpu_where_it_has_but_one_thread(tmp_path: Path) -> None:
    host = MadeHost(tmp_path)
    host.add_process(7, ["./tiny"], {7: "tiny"}, vcpus=1)
    host.add_process(8, ["./two"], {8: "two", 9: "two"}, vcpus=2)
    host.add_process(9, ["./new"], {9: "new", 10: "kvm-nx-lpage-re"}, vcpus=1)  # the kernel's own, Linux 6.4
    tiny, two, new = find_vms(host.files)
    assert [(v.vcpu, v.tid) for v in new.vcpus] == [(0, 9)]
    assert [(v.vcpu, v.tid) for v in tiny.vcpus] == [(0, 7)]
    assert (tiny.name, two.vcpus) == ("tiny", ())


def test_a_vm_of_another_user_is_known_by_the_names_of_its_threads(tmp_path: Path) -> None:
    host = three_vms(tmp_path)
    for link in (tmp_path / "proc/200/fd").iterdir():
        link.unlink()
    vm = vm_of(200, host.files)
    assert vm is not None
    assert vm.vcpus[0].tid == 202


def test_the_kernels_threads_of_a_vm_are_found_by_its_process(tmp_path: Path) -> None:
    assert kernel_threads(100, three_vms(tmp_path).files) == [110]


def test_a_vm_is_named_by_process_or_name_and_others_are_listed(tmp_path: Path) -> None:
    files = three_vms(tmp_path).files
    assert find_vm("100", files).name == find_vm("web,1", files).name == "web,1"
    for wrong, said in (
        ("999", "there is no process 999"),
        ("400", r"process 400 \(sleep\) runs no VM"),
        ("wbe", "no VM"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            find_vm(wrong, files)
        assert caught.value.hint == "VMs: 100 (web,1), 200 (fn-7), 300 (arc)"
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no process 1") as caught:
        find_vm("1", MadeHost(tmp_path / "none").files)
    assert caught.value.hint == "no VM is running, as far as this user can see"
