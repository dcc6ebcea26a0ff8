"""What a purpose records on made hosts, and the commands that do it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from made_hosts import MadeHost, three_vms

from kvmtrace.recorder.perf import perf_arguments, shell_line
from kvmtrace.recorder.plan import Event, Plan, plan
from kvmtrace.recorder.purposes import Purpose, needs
from kvmtrace.recorder.trace_cmd import trace_cmd_arguments
from kvmtrace.recorder.vms import vm_of

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.recorder.vms import Vm


@pytest.fixture
def host(tmp_path: Path) -> MadeHost:
    return three_vms(tmp_path)


def web(host: MadeHost) -> Vm:
    vm = vm_of(100, host.files)
    assert vm is not None
    return vm


def events(host: MadeHost, purpose: Purpose, machine: str = "x86_64") -> set[str]:
    return set(needs(purpose, machine, host.files).events)


def test_a_purpose_records_what_it_needs_of_what_this_kernel_has(host: MadeHost) -> None:
    bare = {"kvm:kvm_exit", "kvm:kvm_entry", "kvm:kvm_userspace_exit"}
    assert events(host, Purpose.EXITS) == bare | {"kvm:kvm_msr", "kvm:kvm_pio", "kvm:kvm_inj_virq", "kvm:kvm_eoi"}
    assert events(host, Purpose.INTERRUPTS) == bare | {f"kvm:kvm_{e}" for e in ("inj_virq", "eoi", "set_irq", "msr")}
    assert events(host, Purpose.SCHEDULING) == bare | {"sched:sched_switch", "sched:sched_wakeup"}
    every = events(host, Purpose.EVERYTHING)
    assert every == {"kvm:*", "sched:sched_switch", "sched:sched_wakeup", *IRQ_EVENTS}


IRQ_EVENTS = {"irq:irq_handler_entry", "irq:irq_handler_exit"}


@pytest.mark.parametrize(
    ("machine", "system", "there", "found"),
    [
        ("ppc64le", "kvm_hv", ["kvm_guest_exit", "kvm_guest_enter", "kvm_hcall_enter"], 3),
        ("aarch64", "kvm", ["kvm_exit", "kvm_entry", "kvm_handle_sys_reg", "kvm_msr"], 3),
        ("riscv64", "kvm", ["kvm_exit", "kvm_entry"], 2),
        ("s390x", "kvm", ["kvm_s390_sie_exit", "kvm_s390_sie_enter", "kvm_s390_handle_diag"], 3),
        ("loongarch64", "kvm", ["kvm_exit", "kvm_enter", "kvm_reenter", "kvm_iocsr"], 4),
    ],
)
def test_each_architecture_has_its_own_tracepoints(
    tmp_path: Path, machine: str, system: str, there: list[str], found: int
) -> None:
    made = MadeHost(tmp_path)
    made.add_tracepoints("kvm", ["kvm_mmio"])
    made.add_tracepoints(system, there)
    wanted = events(made, Purpose.EXITS, machine)
    assert len(wanted) == found + 1
    assert wanted <= {"kvm:kvm_mmio", *(f"{system}:{event}" for event in there)}


def test_an_unknown_machine_records_all_of_kvm_and_no_kvm_records_nothing(tmp_path: Path, host: MadeHost) -> None:
    assert events(host, Purpose.EXITS, "vax") == {"kvm:*"}
    (tmp_path / "none").mkdir()
    assert events(MadeHost(tmp_path / "none"), Purpose.SCHEDULING) == set()


def test_one_vm_is_followed_by_its_process_and_the_kernels_threads_of_it(host: MadeHost) -> None:
    made = plan(Purpose.EXITS, "x86_64", host.files, web(host))
    assert (made.pids, made.tids) == ((100, 110), (100, 101, 102, 105, 110))
    arguments = perf_arguments(made)
    assert arguments[arguments.index("-p") + 1] == "100,110"
    assert "-a" not in arguments
    assert trace_cmd_arguments(made, "x.dat").count("-P") == 5


def test_scheduling_of_one_vm_is_recorded_on_all_cpus_and_filtered(host: MadeHost) -> None:
    made = plan(Purpose.SCHEDULING, "x86_64", host.files, web(host))
    filters = {event.name: event.filter for event in made.events}
    vcpus = "({0}>=101&&{0}<=102)"
    assert filters["sched:sched_switch"] == f"{vcpus.format('prev_pid')}||{vcpus.format('next_pid')}"
    assert filters["sched:sched_wakeup"] == vcpus.format("pid")
    assert filters["kvm:kvm_exit"] == "(common_pid>=100&&common_pid<=102)||common_pid==105"
    assert (made.pids, len(made.notes)) == ((), 1)
    assert "all CPUs" in made.notes[0]


def test_a_filter_that_is_too_long_is_left_out_and_said(host: MadeHost) -> None:
    threads = {1000: "qemu-system-x86", **{1000 + 2 * n: f"CPU {n}/KVM" for n in range(1, 400)}}
    host.add_process(1000, ["qemu-kvm"], threads, vcpus=399)
    vm = vm_of(1000, host.files)
    made = plan(Purpose.SCHEDULING, "x86_64", host.files, vm)
    assert all(event.filter is None for event in made.events)
    assert "not filtered" in made.notes[1]


def test_buffers_take_an_eighth_of_the_memory_at_most(host: MadeHost) -> None:
    sizes = []
    for kib in (16 << 20, 1 << 20, 1 << 10):
        host.write({"proc/meminfo": f"MemTotal: {kib} kB\n", "sys/devices/system/cpu/online": "0-31,40"})
        sizes.append(plan(Purpose.EVERYTHING, "x86_64", host.files).buffer_bytes >> 10)
    assert sizes == [16384, 2048, 512]


def test_commands_are_lines_that_a_shell_takes_for_the_same() -> None:
    made = Plan(
        Purpose.EXITS, (Event("kvm:kvm_exit"), Event("sched:sched_switch", "prev_pid==1||next_pid==1")), 4 << 20
    )
    command = ["./bench", "it's; $HOME"]
    perf = perf_arguments(made, command=command)
    assert shlex.split(shell_line(perf)) == perf
    assert perf[-3:] == ["--", *command]
    assert perf[: perf.index("-a")] == [
        "perf", "record", "-e", "kvm:kvm_exit", "-e", "sched:sched_switch", "--filter", "prev_pid==1||next_pid==1",
    ]  # fmt: skip
    assert perf[perf.index("-m") + 1] == "4096K"
    trace_cmd = trace_cmd_arguments(made, "a b.dat", command)
    assert trace_cmd == [
        "trace-cmd", "record", "-e", "kvm:kvm_exit", "-e", "sched:sched_switch", "-f", "prev_pid==1||next_pid==1",
        "-b", "4096", "-o", "a b.dat", *command,
    ]  # fmt: skip


def test_all_of_a_system_is_its_name_for_trace_cmd() -> None:
    assert trace_cmd_arguments(Plan(Purpose.EVERYTHING, (Event("kvm:*"),), 1 << 20), "f")[2:4] == ["-e", "kvm"]
