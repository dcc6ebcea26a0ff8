"""What the events inside an exit say of it: what it was about, and where its time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from made_runs import CPUID, HLT, IO, MSR, NPF, SVM, VMX, KvmRecording, Row, Thread, column, pick, stored

if TYPE_CHECKING:
    from pathlib import Path

PF_EXCEPTION, CR0_WRITE, HYPERCALL = 0x4E, 0x10, 0x81  # SVM
DETAIL = ("detail_kind", "detail", "detail_name", "detail_from")
OTHER = Thread(tid=102, vcpu=1)


def exit_with(
    folder: Path,
    reason: int,
    *events: tuple[int, str, dict[str, int]],
    enabled: tuple[str, ...] = (),
    isa: int = SVM,
) -> Row:
    """Return the exit from 1,000 to 9,000 ns with some events inside; they and `enabled` ones are recorded."""
    made = KvmRecording(*dict.fromkeys([*(name for _, name, _ in events), *enabled]), isa=isa)
    made.exit(1_000, reason)
    for ts_ns, name, fields in events:
        made.add_sample(name, ts_ns, fields=fields)
    made.enter(9_000)
    return stored(made, folder).only_exit()


@pytest.mark.parametrize(
    ("reason", "event", "fields", "expected"),
    [
        (MSR, "kvm_msr", {"ecx": 0x6E0}, ("msr", 0x6E0, "IA32_TSC_DEADLINE", "kvm_msr.ecx")),
        (MSR, "kvm_msr", {"ecx": 0xC0012345}, ("msr", 0xC0012345, None, "kvm_msr.ecx")),
        (IO, "kvm_pio", {"port": 0x3F8}, ("port", 0x3F8, "COM1 data", "kvm_pio.port")),
        (IO, "kvm_pio", {"port": 0xFFFF}, ("port", 0xFFFF, None, "kvm_pio.port")),
        (CR0_WRITE, "kvm_cr", {"cr": 4}, ("cr", 4, "CR4", "kvm_cr.cr")),
        (CPUID, "kvm_cpuid", {"function": 0xD}, ("cpuid", 0xD, "XSAVE", "kvm_cpuid.function")),
        (HYPERCALL, "kvm_hypercall", {"nr": 5}, ("hypercall", 5, "KVM_HC_KICK_CPU", "kvm_hypercall.nr")),
        (HYPERCALL, "kvm_hypercall", {"nr": 77}, ("hypercall", 77, None, "kvm_hypercall.nr")),
        (NPF, "kvm_mmio", {"gpa": 0xFEE000B0}, ("gpa", 0xFEE000B0, "APIC_EOI", "kvm_mmio.gpa")),
        (NPF, "kvm_fast_mmio", {"gpa": 0xFE000000}, ("gpa", 0xFE000000, None, "kvm_fast_mmio.gpa")),
        (
            NPF,
            "kvm_page_fault",
            {"fault_address": 0xFFFF888012345000},
            ("gpa", 0xFFFF888012345000, None, "kvm_page_fault.fault_address"),
        ),
    ],
)
def test_an_exit_is_about_what_its_event_says(
    tmp_path: Path, reason: int, event: str, fields: dict[str, int], expected: tuple[Any, ...]
) -> None:
    row = exit_with(tmp_path, reason, (1_500, event, fields))
    assert pick(row, *DETAIL) == expected


def test_the_access_to_a_device_counts_before_the_page_fault_that_found_it(tmp_path: Path) -> None:
    fault = (1_100, "kvm_page_fault", {"fault_address": 0xFEC00000})
    access = (1_200, "kvm_mmio", {"gpa": 0xFEC00010})
    assert pick(exit_with(tmp_path, NPF, fault, access), *DETAIL)[::3] == ("gpa", "kvm_mmio.gpa")


def test_the_first_of_several_equal_events_counts(tmp_path: Path) -> None:
    row = exit_with(tmp_path, IO, (1_100, "kvm_pio", {"port": 0x60}), (1_200, "kvm_pio", {"port": 0x64}))
    assert row["detail"] == 0x60


@pytest.mark.parametrize(("isa", "reason"), [(SVM, PF_EXCEPTION), (VMX, 0)])
def test_with_shadow_paging_a_faulting_address_is_a_guest_virtual_one(tmp_path: Path, isa: int, reason: int) -> None:
    row = exit_with(tmp_path, reason, (1_100, "kvm_page_fault", {"fault_address": 0x7F0012345000}), isa=isa)
    assert pick(row, *DETAIL) == ("gva", 0x7F0012345000, None, "kvm_page_fault.fault_address")


def test_with_shadow_paging_a_device_access_stays_a_guest_physical_address(tmp_path: Path) -> None:
    row = exit_with(tmp_path, PF_EXCEPTION, (1_100, "kvm_mmio", {"gpa": 0xFEE00300}))
    assert pick(row, "detail_kind", "detail") == ("gpa", 0xFEE00300)


def test_an_exit_without_such_an_event_is_about_nothing_known(tmp_path: Path) -> None:
    assert pick(exit_with(tmp_path, MSR, enabled=("kvm_msr",)), *DETAIL) == (None, None, None, None)


def test_events_of_other_threads_and_behind_the_entry_say_nothing_of_an_exit(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr", "kvm_eoi", "kvm_userspace_exit")
    made.exit(1_000, MSR)
    made.event("kvm_msr", 1_100, OTHER, ecx=0x10)
    made.event("kvm_userspace_exit", 1_200, OTHER)
    made.enter(2_000)
    made.event("kvm_eoi", 2_100)
    made.event("kvm_msr", 2_200, ecx=0x10)
    row = stored(made, tmp_path).only_exit()
    assert pick(row, "detail", "userspace", "eoi") == (None, False, False)


def test_what_was_not_recorded_is_null(tmp_path: Path) -> None:
    row = exit_with(tmp_path, HLT)
    names = ("userspace", "userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "hcall_ns", "eoi", "nested")
    assert pick(row, *names) == (None,) * len(names)


def test_what_was_recorded_and_did_not_happen_is_zero_or_false(tmp_path: Path) -> None:
    enabled = ("kvm_userspace_exit", "kvm_vcpu_wakeup", "kvm_eoi", "kvm_nested_vmexit")
    row = exit_with(tmp_path, MSR, enabled=enabled)
    names = ("userspace", "userspace_ns", "blocked_ns", "polled_ns", "eoi", "nested")
    assert pick(row, *names) == (False, 0, 0, 0, False, 1)


def test_time_in_the_vmm_lasts_from_unload_to_load_of_the_fpu(tmp_path: Path) -> None:
    events = [
        (1_300, "kvm_userspace_exit", {"reason": 2}),
        (1_400, "kvm_fpu", {"load": 0}),
        (7_000, "kvm_fpu", {"load": 1}),
    ]
    assert pick(exit_with(tmp_path, IO, *events), "userspace", "userspace_ns") == (True, 5_600)


def test_several_stays_in_the_vmm_are_added(tmp_path: Path) -> None:
    events = [
        (1_300, "kvm_userspace_exit", {}),
        (1_400, "kvm_fpu", {"load": 0}),
        (2_000, "kvm_fpu", {"load": 1}),
        (3_000, "kvm_userspace_exit", {}),
        (3_100, "kvm_fpu", {"load": 0}),
        (3_200, "kvm_fpu", {"load": 1}),
    ]
    assert pick(exit_with(tmp_path, IO, *events), "userspace", "userspace_ns") == (True, 700)


UNLOAD, LOAD = (1_400, "kvm_fpu", {"load": 0}), (7_000, "kvm_fpu", {"load": 1})


@pytest.mark.parametrize(
    ("fpu", "userspace_ns"),
    [
        ([], 7_700),
        ([UNLOAD], 7_700),
        ([LOAD], 5_700),  # the way back is told
        ([UNLOAD, LOAD, LOAD], 5_700),
        ([UNLOAD, UNLOAD, LOAD], 5_700),
    ],
)
def test_time_in_the_vmm_lasts_from_the_userspace_exit_to_the_way_back_or_the_entry_where_the_fpu_does_not_tell(
    tmp_path: Path, fpu: list[tuple[int, str, dict[str, int]]], userspace_ns: int
) -> None:
    row = exit_with(tmp_path, IO, (1_300, "kvm_userspace_exit", {}), *fpu)
    assert pick(row, "userspace", "userspace_ns") == (True, userspace_ns)


def test_time_in_the_vmm_is_not_known_of_an_exit_that_is_open(tmp_path: Path) -> None:
    made = KvmRecording("kvm_userspace_exit")
    made.exit(1_000, IO)
    made.event("kvm_userspace_exit", 1_300)
    assert pick(stored(made, tmp_path).only_exit(), "userspace", "userspace_ns") == (True, None)


def test_a_halt_that_slept_was_blocked_and_one_that_did_not_was_polled(tmp_path: Path) -> None:
    made = KvmRecording("kvm_vcpu_wakeup")
    made.exit(1_000, HLT)
    made.event("kvm_vcpu_wakeup", 5_000, ns=3_900, waited=1, valid=1)
    made.enter(5_100)
    made.exit(6_000, HLT)
    made.event("kvm_vcpu_wakeup", 6_400, ns=350, waited=0, valid=1)
    made.enter(6_500)
    made.exit(7_000, MSR)
    made.enter(7_100)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "blocked_ns") == [3_900, 0, 0]
    assert column(rows, "polled_ns") == [None, 350, 0]  # how long was polled for before the sleep is not recorded


def test_an_exit_that_ended_an_interrupt_says_so(tmp_path: Path) -> None:
    assert exit_with(tmp_path, MSR, (1_100, "kvm_eoi", {"vector": 236}))["eoi"] is True


def test_an_exit_of_a_guests_guest_is_of_level_two(tmp_path: Path) -> None:
    assert exit_with(tmp_path, NPF, (1_100, "kvm_nested_vmexit", {}))["nested"] == 2


def test_time_without_a_cpu_lasts_from_losing_it_to_having_one_again(tmp_path: Path) -> None:
    made = KvmRecording()
    made.add_tracepoint("sched", "sched_switch")
    made.exit(1_000, NPF)
    made.event("sched_switch", 1_200, prev_state=0, prev_pid=101, next_pid=55)
    made.event("sched_switch", 1_900, Thread(tid=55, pid=55), cpu=1, prev_state=1, prev_pid=55, next_pid=101)
    made.enter(2_000, cpu=1)
    made.exit(3_000, HLT)
    made.event("sched_switch", 3_100, prev_state=1, prev_pid=101, next_pid=0)  # sleeps: not preempted
    made.event("sched_switch", 3_800, Thread(tid=0, pid=0), prev_state=0, prev_pid=0, next_pid=101)
    made.enter(4_000)
    assert column(stored(made, tmp_path).exits(), "preempted_ns") == [700, 0]
