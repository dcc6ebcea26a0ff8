"""Which VM and which vCPU an exit is of: processes, threads that come and go, numbers that several VMs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_runs import MSR, SVM, KvmRecording, Thread, column, pick, stored
from reference_pairing import Event, Round, blocks, facts

from benchmarks.recording_builder import format_text
from kvmtrace.arch.x86 import X86
from kvmtrace.exits.builder import ExitBuilder, Exits
from kvmtrace.exits.identity import identity_rules

if TYPE_CHECKING:
    from pathlib import Path

PID_LIMIT = 1 << 22


def pair(made: KvmRecording, thread: Thread, exit_ts_ns: int, *, cpu: int = 0, latency_ns: int = 100) -> None:
    made.exit(exit_ts_ns, thread=thread, cpu=cpu)
    made.enter(exit_ts_ns + latency_ns, thread, cpu=cpu)


def test_a_vm_is_the_process_that_perf_recorded(tmp_path: Path) -> None:
    made = KvmRecording()
    pair(made, Thread(tid=101, pid=100, vcpu=0), 1_000)
    pair(made, Thread(tid=102, pid=100, vcpu=1), 1_010, cpu=1)
    pair(made, Thread(tid=201, pid=200, vcpu=0), 1_020, cpu=2)
    run = stored(made, tmp_path)
    assert [pick(row, "vm_id", "vcpu", "tid") for row in run.exits()] == [
        ("100", 0, 101),
        ("100", 1, 102),
        ("200", 0, 201),
    ]
    assert run.manifest.identity == (
        "vm_id: process id that the recording tells",
        "vcpu: field vcpu_id of the event, else of the thread's newest exit or entry that has it",
        "pairs: kvm_exit and next kvm_entry of one thread",
    )


def test_one_process_with_two_vms_is_told_from_vcpus_that_run_at_the_same_time(tmp_path: Path) -> None:
    made = KvmRecording()
    first, second = Thread(tid=101, vcpu=0), Thread(tid=102, vcpu=0)
    pair(made, first, 1_000)
    pair(made, second, 1_050, cpu=1)  # both are in the guest from 1,150 on
    pair(made, first, 2_000)
    pair(made, second, 2_000, cpu=1)
    run = stored(made, tmp_path)
    assert {pick(row, "vm_id", "tid") for row in run.exits()} == {("100", 101), ("100#2", 102)}
    assert run.manifest.identity[-1] == (
        "process 100 ran a vCPU of one number on two threads at a time: inferred to be several VMs (#2, …)"
    )


def test_vcpus_of_one_vm_are_of_the_vm_that_its_threads_began(tmp_path: Path) -> None:
    made = KvmRecording()
    threads = [Thread(tid=tid, vcpu=vcpu) for tid, vcpu in ((101, 0), (102, 1), (103, 0), (104, 1), (105, 0))]
    for turn in range(3):
        for place, thread in enumerate(threads):
            pair(made, thread, 1_000 * (turn + 1) + 10 * place, cpu=place % 4)
    run = stored(made, tmp_path)
    assert {pick(row, "tid", "vm_id") for row in run.exits()} == {
        (101, "100"),
        (102, "100"),
        (103, "100#2"),
        (104, "100#2"),
        (105, "100#3"),
    }


def test_the_place_of_a_thread_that_left_is_taken_by_the_next_one(tmp_path: Path) -> None:
    made = KvmRecording()
    first, second, third = (Thread(tid=tid, vcpu=0) for tid in (101, 102, 103))
    pair(made, first, 1_000)
    pair(made, second, 1_050, cpu=1)
    made.exit(2_000, thread=first)  # unplugged
    pair(made, third, 3_000)
    run = stored(made, tmp_path)
    assert {pick(row, "tid", "vm_id") for row in run.exits()} == {(101, "100"), (102, "100#2"), (103, "100")}


@pytest.mark.parametrize(("left_first", "vm"), [(False, "400#2"), (True, "400")])
def test_two_vms_of_a_process_are_told_apart_whenever_the_second_one_begins(left_first: bool, vm: str) -> None:
    steps = [
        ("kvm_exit", 0),
        ("kvm_entry", 0),
        *([("kvm_exit", 0)] if left_first else []),
        ("kvm_exit", 1),
        ("kvm_entry", 1),
    ]
    rounds = [Round([Event(10 * n, kind, thread, 0, 0, 0)]) for n, (kind, thread) in enumerate(steps)]
    recorded = facts()
    builder = ExitBuilder(recorded, X86(recorded), drain_rows=1)
    settled = [*(part for block in blocks(rounds) for part in builder.add(block)), *builder.finish()]
    found = {
        (tid, builder.vms.names[index])
        for part in settled
        if isinstance(part, Exits)
        for tid, index in zip(part.tid.tolist(), part.vm.tolist(), strict=True)
    }
    assert found == {(500, "400"), (501, vm)}
    assert builder.vms.split == (set() if vm == "400" else {400})


def test_what_the_recorder_says_of_a_thread_counts_more_than_what_can_be_inferred() -> None:
    steps = [(kind, thread) for thread in (0, 1) for kind in ("kvm_exit", "kvm_entry")]
    rounds = [Round([Event(10 * n, kind, thread, 0, 0, 0)]) for n, (kind, thread) in enumerate(steps)]
    recorded = facts()
    recorded.vcpu_threads = {500: ("debian", 0)}
    builder = ExitBuilder(recorded, X86(recorded))
    settled = [*(part for block in blocks(rounds) for part in builder.add(block)), *builder.finish()]
    found = {
        (tid, builder.vms.names[index])
        for part in settled
        if isinstance(part, Exits)
        for tid, index in zip(part.tid.tolist(), part.vm.tolist(), strict=True)
    }
    assert found == {(500, "debian"), (501, "400")}
    assert identity_rules(builder)[0].endswith("as the recorder says of the session's guests")


def test_a_vcpu_that_goes_on_in_another_thread_stays_in_its_vm(tmp_path: Path) -> None:
    made = KvmRecording()
    old, new = Thread(tid=101, vcpu=3), Thread(tid=150, vcpu=3)
    pair(made, old, 1_000)
    made.exit(2_000, thread=old)  # unplugged
    pair(made, new, 3_000)
    pair(made, new, 4_000)
    run = stored(made, tmp_path)
    assert set(column(run.exits(), "vm_id")) == {"100"}
    assert set(column(run.exits(), "vcpu")) == {3}


def test_a_thread_id_of_another_process_is_another_thread(tmp_path: Path) -> None:
    made = KvmRecording()
    first, second = Thread(tid=101, pid=100, vcpu=0), Thread(tid=101, pid=900, vcpu=2)
    pair(made, first, 1_000)
    made.exit(2_000, thread=first)  # the process ends; its thread id is given again
    pair(made, second, 3_000)
    rows = stored(made, tmp_path).exits()
    assert [pick(row, "vm_id", "vcpu", "tid", "closed_by", "guest_ns") for row in rows] == [
        ("100", 0, 101, "entry", None),
        ("100", 0, 101, "end", 900),
        ("900", 2, 101, "entry", None),
    ]


def test_thread_ids_beyond_those_of_linux_are_told_apart(tmp_path: Path) -> None:
    made = KvmRecording()
    threads = [Thread(tid=tid, vcpu=vcpu) for vcpu, tid in enumerate((PID_LIMIT - 1, PID_LIMIT, (1 << 31) - 1))]
    for thread in threads:
        made.exit(1_000 + thread.vcpu, thread=thread)
    for thread in threads:
        made.enter(2_000 + 100 * thread.vcpu, thread)
    run = stored(made, tmp_path)
    assert [pick(row, "tid", "vcpu", "latency_ns") for row in run.exits()] == [
        (PID_LIMIT - 1, 0, 1_000),
        (PID_LIMIT, 1, 1_099),
        ((1 << 31) - 1, 2, 1_198),
    ]


def test_a_process_that_perf_did_not_know_is_no_vm(tmp_path: Path) -> None:
    made = KvmRecording()
    unknown = Thread(tid=0xFFFFFFFF, pid=0xFFFFFFFF)  # perf writes -1 for a thread that is ending
    pair(made, unknown, 1_000)
    pair(made, Thread(), 1_020, cpu=1)
    run = stored(made, tmp_path)
    assert [pick(row, "vm_id", "latency_ns") for row in run.exits()] == [(None, 100), ("100", 100)]


def test_a_vcpu_is_learned_from_kvm_entry_where_kvm_exit_does_not_tell(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr", exits=False, kernel="5.2.0")
    made.add_tracepoint("kvm", "kvm_exit", exit_format_before_5_4())
    made.add_tracepoint("kvm", "kvm_entry")
    first, second = Thread(tid=101, vcpu=0), Thread(tid=102, vcpu=7)
    for thread in (second, first):
        made.add_sample("kvm_exit", 1_000, tid=thread.tid, fields={"exit_reason": MSR, "isa": SVM})
        made.event("kvm_msr", 1_010, thread, ecx=0x10)
        made.enter(1_100, thread)
        made.add_sample("kvm_exit", 2_000, tid=thread.tid, fields={"exit_reason": MSR, "isa": SVM})
    run = stored(made, tmp_path)
    assert [pick(row, "tid", "vcpu", "closed_by", "latency_ns", "reason") for row in run.exits()] == [
        (102, 7, "entry", 100, "msr"),
        (102, 7, "end", None, "msr"),
        (101, 0, "entry", 100, "msr"),
        (101, 0, "end", None, "msr"),
    ]
    assert column(run.events("kvm_msr"), "vcpu") == [7, 0]
    assert column(run.events("kvm_exit"), "vcpu") == [7, 7, 0, 0]


def test_a_thread_that_ran_no_vcpu_has_none(tmp_path: Path) -> None:
    made = KvmRecording("kvm_inj_virq")
    pair(made, Thread(), 1_000)
    made.event("kvm_inj_virq", 1_050, Thread(tid=190, pid=190), vector=9)
    made.event("kvm_inj_virq", 1_060, Thread(), vector=8)
    run = stored(made, tmp_path)
    assert [pick(row, "vector", "vcpu", "tid") for row in run.events("kvm_inj_virq")] == [(9, None, 190), (8, 0, 101)]


def exit_format_before_5_4() -> str:
    """Return the format text of kvm_exit as kernels before 5.4 have it: no vcpu_id, no intr_info, no error_code."""
    text = format_text("kvm", "kvm_exit")
    head, print_fmt = text.split("print fmt: ")
    kept = [
        line
        for line in head.splitlines()
        if not any(f" {name};" in line for name in ("intr_info", "error_code", "vcpu_id"))
    ]
    template, arguments = print_fmt.split('", REC->vcpu_id, ', 1)
    assert template.startswith('"vcpu %u reason %s%s%s rip')
    shown = arguments[: arguments.index(", REC->intr_info")]
    return "\n".join(kept) + f'\n\nprint fmt: "reason %s%s%s rip 0x%lx info %llx %llx", {shown}\n'
