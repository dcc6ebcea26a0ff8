"""Exits and entries of one thread make pairs; every event knows the exit in which it fell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import (
    MSR,
    NPF,
    ONE,
    SVM,
    VMX,
    VMX_EPT_VIOLATION,
    VMX_MSR_WRITE,
    VMX_PREEMPTION_TIMER,
    KvmRecording,
    StoredRun,
    Thread,
    column,
    ingested,
    pick,
    stored,
)
from reference_pairing import Event, Exit, Round, blocks, facts, pair_slowly, timelines

from kvmtrace.arch.x86 import X86
from kvmtrace.exits.builder import ClosedBy, ExitBuilder, Exits
from kvmtrace.formats.perf_data import PerfDataRecording
from kvmtrace.ingesting import intake

if TYPE_CHECKING:
    from pathlib import Path

TWO = Thread(tid=102, vcpu=1)


def times(run: StoredRun) -> list[tuple[Any, ...]]:
    """Return exit time, latency and guest time of each exit, ns."""
    return [pick(row, "exit_ts_ns", "latency_ns", "guest_ns") for row in run.exits()]


def test_an_exit_lasts_until_the_next_entry_and_guest_time_until_the_next_exit(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    made.enter(1_800)
    made.exit(5_000)
    made.enter(5_050)
    run = stored(made, tmp_path)
    assert times(run) == [(1_000, 800, None), (5_000, 50, 3_200)]
    assert column(run.exits(), "entry_ts_ns") == [1_800, 5_050]
    assert run.closed_by() == {"entry": 2}
    assert run.manifest.exits["suspect"] == 0


def test_a_vcpu_may_enter_on_another_cpu_than_it_left(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, cpu=0)
    made.enter(1_800, cpu=3)
    row = stored(made, tmp_path).only_exit()
    assert pick(row, "cpu", "entry_cpu", "latency_ns", "suspect") == (0, 3, 800, False)


def test_interleaved_vcpus_are_paired_thread_by_thread(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, thread=ONE)
    made.exit(1_100, thread=TWO, cpu=1)
    made.enter(1_500, thread=TWO, cpu=1)
    made.exit(1_600, thread=TWO, cpu=1)
    made.enter(2_000, thread=ONE)
    made.enter(2_600, thread=TWO, cpu=1)
    rows = stored(made, tmp_path).exits()
    found = [pick(row, "vcpu", "tid", "latency_ns") for row in rows]
    assert found == [(0, 101, 1_000), (1, 102, 400), (1, 102, 1_000)]


def test_records_that_stand_cpu_by_cpu_are_put_in_order_of_time(tmp_path: Path) -> None:
    made = KvmRecording()
    made.enter(2_000, cpu=1)  # ring of CPU 1: the vCPU came here from CPU 0
    made.exit(3_000, cpu=1)
    made.exit(1_000, cpu=0)
    made.add_round()
    made.enter(4_500, cpu=2)
    made.exit(4_000, cpu=0)  # older than the newest of this round, newer than that of the round before
    made.enter(3_500, cpu=0)
    made.add_round()
    made.add_round()
    run = stored(made, tmp_path)
    rows = sorted(run.exits(), key=lambda row: row["exit_ts_ns"])
    assert [(row["exit_ts_ns"], row["latency_ns"], row["entry_cpu"]) for row in rows] == [
        (1_000, 1_000, 1),
        (3_000, 500, 0),
        (4_000, 500, 2),
    ]
    assert run.manifest.exits["late_events"] == 0


def test_exit_ids_count_exit_events_in_the_order_of_the_recording(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(3_000, thread=ONE)
    made.exit(1_000, thread=TWO, cpu=1)
    made.enter(4_000, thread=ONE)
    made.enter(2_000, thread=TWO, cpu=1)
    run = stored(made, tmp_path)
    assert column(run.exits(), "exit_ts_ns") == [3_000, 1_000]
    assert column(run.events("kvm_exit"), "exit_id") == [0, 1]


def test_events_of_equal_time_keep_the_order_of_the_recording(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr")
    made.exit(1_000, MSR)
    made.event("kvm_msr", 1_000, ecx=0x10)
    made.enter(1_000)
    made.exit(1_000, MSR)
    made.event("kvm_msr", 1_000, ecx=0x6E0)
    made.enter(1_000)
    run = stored(made, tmp_path)
    assert times(run) == [(1_000, 0, None), (1_000, 0, 0)]
    assert column(run.exits(), "detail") == [0x10, 0x6E0]
    assert column(run.events("kvm_msr"), "exit_id") == [0, 1]


def test_an_event_belongs_to_the_exit_of_its_own_thread_and_to_none_in_the_guest(tmp_path: Path) -> None:
    made = KvmRecording("kvm_inj_virq")
    vhost = Thread(tid=190, pid=190)
    made.event("kvm_inj_virq", 900, vector=1)  # before the first exit
    made.exit(1_000)
    made.event("kvm_inj_virq", 1_100, vector=2)
    made.event("kvm_inj_virq", 1_200, thread=vhost, vector=3)  # meanwhile, on a thread that is no vCPU
    made.event("kvm_inj_virq", 1_300, thread=TWO, vector=4)  # a vCPU in the guest
    made.enter(1_800)
    made.event("kvm_inj_virq", 1_900, vector=5)  # behind the entry
    run = stored(made, tmp_path)
    found = {row["vector"]: row["exit_id"] for row in run.events("kvm_inj_virq")}
    assert found == {1: None, 2: 0, 3: None, 4: None, 5: None}
    assert column(run.events("kvm_exit"), "exit_id") == [0]
    assert column(run.events("kvm_entry"), "exit_id") == [None]


def test_the_first_exit_of_a_thread_is_kept_without_a_guest_time(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    made.enter(1_400)
    row = stored(made, tmp_path).only_exit()
    found = pick(row, "guest_ns", "latency_ns", "vcpu", "closed_by", "suspect")
    assert found == (None, 400, 0, "entry", False)


def test_an_exit_that_is_open_at_the_end_has_no_latency(tmp_path: Path) -> None:
    made = KvmRecording("kvm_msr")
    made.enter(400)
    made.exit(1_000, MSR)
    made.event("kvm_msr", 1_100, ecx=0x10)
    run = stored(made, tmp_path)
    row = run.only_exit()
    assert pick(row, "closed_by", "latency_ns", "entry_ts_ns", "entry_cpu") == ("end", None, None, None)
    assert pick(row, "guest_ns", "detail", "suspect") == (600, 0x10, False)
    assert run.closed_by() == {"end": 1}
    assert column(run.events("kvm_msr"), "exit_id") == [0]


@pytest.mark.parametrize("reason", [VMX_MSR_WRITE, VMX_PREEMPTION_TIMER])
@pytest.mark.parametrize("kernel", ["5.8.0", "5.10.0-28-amd64", "5.11.22"])
def test_two_exits_in_a_row_are_normal_where_the_fastpath_enters_without_an_event(
    tmp_path: Path, kernel: str, reason: int
) -> None:
    made = KvmRecording(isa=VMX, kernel=kernel)
    made.exit(1_000, reason)
    made.exit(2_000, VMX_EPT_VIOLATION)
    made.enter(2_700)
    first, second = stored(made, tmp_path).exits()
    assert pick(first, "closed_by", "latency_ns", "entry_ts_ns", "suspect") == ("next_exit", None, None, False)
    assert pick(second, "closed_by", "latency_ns", "guest_ns", "suspect") == ("entry", 700, None, False)


@pytest.mark.parametrize(
    ("isa", "kernel", "reason"),
    [
        (VMX, "5.12.19", VMX_MSR_WRITE),
        (VMX, "5.12.0", VMX_MSR_WRITE),
        (VMX, "6.1.0-40-amd64", VMX_PREEMPTION_TIMER),
        (VMX, "5.10.0", VMX_EPT_VIOLATION),
        (SVM, "5.10.0", MSR),
        (VMX, "", VMX_MSR_WRITE),
    ],
)
def test_two_exits_in_a_row_are_suspect_elsewhere(tmp_path: Path, isa: int, kernel: str, reason: int) -> None:
    made = KvmRecording(isa=isa, kernel=kernel)
    made.exit(1_000, reason)
    made.exit(2_000, reason)
    made.enter(2_700)
    first, second = stored(made, tmp_path).exits()
    assert pick(first, "closed_by", "latency_ns", "suspect") == ("next_exit", None, True)
    assert pick(second, "closed_by", "latency_ns", "suspect") == ("entry", 700, False)


def test_the_entry_of_another_vcpu_of_the_thread_does_not_close_an_exit(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, thread=Thread(vcpu=0))
    made.enter(1_500, thread=Thread(vcpu=1))
    row = stored(made, tmp_path).only_exit()
    assert pick(row, "vcpu", "closed_by", "latency_ns", "suspect") == (0, "hole", None, True)


def test_two_entries_in_a_row_are_counted(tmp_path: Path) -> None:
    made = KvmRecording()
    made.enter(1_000)
    made.enter(1_100)
    made.enter(1_200)
    made.exit(2_000)
    made.enter(2_500)
    run = stored(made, tmp_path)
    assert run.manifest.exits["entries_without_exit"] == 2
    assert times(run) == [(2_000, 500, 800)]


def test_a_recording_without_kvm_entry_keeps_its_exits_without_doubt_or_latency(tmp_path: Path) -> None:
    made = KvmRecording("kvm_exit", exits=False)
    made.exit(1_000)
    made.exit(2_000)
    run = stored(made, tmp_path)
    assert times(run) == [(1_000, None, None), (2_000, None, None)]
    assert column(run.exits(), "suspect") == [False, False]
    assert column(run.exits(), "closed_by") == ["next_exit", "end"]


def test_a_recording_without_kvm_exit_has_no_exits_and_its_entries(tmp_path: Path) -> None:
    made = KvmRecording("kvm_entry", exits=False)
    made.enter(1_000)
    made.enter(2_000)
    run = stored(made, tmp_path)
    assert run.exits() == []
    assert len(run.events("kvm_entry")) == 2
    assert run.manifest.exits["rows"] == 0


def test_sampled_exits_are_all_suspect(tmp_path: Path) -> None:
    made = KvmRecording(exits=False)
    made.add_tracepoint("kvm", "kvm_exit", period=10)
    made.add_tracepoint("kvm", "kvm_entry", period=10)
    for start in (1_000, 3_000):
        made.exit(start)
        made.enter(start + 500)
    run = stored(made, tmp_path)
    assert column(run.exits(), "suspect") == [True, True]
    assert run.manifest.exits["suspect"] == 2
    assert [tracepoint.period for tracepoint in run.manifest.tracepoints] == [10, 10]


@pytest.mark.parametrize("form", ["pipe", "zstd", "zstd2"])
def test_the_form_of_the_recording_does_not_change_its_exits(tmp_path: Path, form: str) -> None:
    made = KvmRecording("kvm_msr")
    for start in range(1_000, 60_000, 1_000):
        made.exit(start, MSR if start % 2_000 else NPF, cpu=start // 1_000 % 4)
        if start % 2_000:
            made.event("kvm_msr", start + 100, ecx=start, cpu=start // 1_000 % 4)
        made.enter(start + 700, cpu=start // 1_000 % 3)
    (tmp_path / "file").mkdir()
    expected = stored(made, tmp_path / "file")
    run = stored(made, tmp_path, form)
    assert run.exits() == expected.exits()
    assert run.events("kvm_msr") == expected.events("kvm_msr")


def pair_in_columns(rounds: list[Round], drain_rows: int) -> tuple[list[Exit], list[int | None], int]:
    """Return what the builder makes of a time line, in the reference's words."""
    recorded = facts()
    builder = ExitBuilder(recorded, X86(recorded), drain_rows)
    events = [event for each in rounds for event in each.events]
    exit_events = [event for event in events if event.kind == "kvm_exit"]
    settled = [part for block in blocks(rounds) for part in builder.add(block)]
    settled += builder.finish()
    exits: list[Exit] = []
    exit_ids: list[int | None] = []
    for part in settled:
        if isinstance(part, Exits):
            exits += _exits(part, exit_events)
        else:
            exit_ids += [None if exit_id < 0 else exit_id for exit_id in part.exit_id.tolist()]
    assert builder.tally.late_events == 0
    assert builder.tally.exits == len(exits)
    assert builder.tally.suspect == sum(each.suspect for each in exits)
    assert int(builder.tally.closed_by.sum()) == len(exits)
    return sorted(exits, key=lambda each: each.exit_id), exit_ids, builder.tally.entries_without_exit


def _exits(part: Exits, exit_events: list[Event]) -> list[Exit]:
    exits = []
    for row, exit_id in enumerate(part.exit_id.tolist()):
        event = exit_events[exit_id]
        closed_by = ClosedBy(part.closed_by[row]).name.lower()
        assert (part.tid[row], part.cpu[row], part.vcpu[row]) == (500 + event.thread, event.cpu, event.vcpu)
        assert part.exit_ts_ns[row] == event.ts_ns
        assert (part.latency_ns[row] >= 0) == (part.entry_ts_ns[row] >= 0) == (closed_by == "entry")
        if closed_by == "entry":
            assert part.latency_ns[row] == part.entry_ts_ns[row] - event.ts_ns
        detail = int(part.facets.detail[row]) if part.facets.detail_rule[row] >= 0 else None
        guest_ns = None if part.guest_ns[row] < 0 else int(part.guest_ns[row])
        userspace, suspect = bool(part.facets.userspace[row]), bool(part.suspect[row])
        entry = (int(part.entry_ts_ns[row]), int(part.entry_cpu[row])) if closed_by == "entry" else None
        exits.append(Exit(exit_id, event, guest_ns, closed_by, entry, detail, userspace, suspect))
    return exits


@settings(max_examples=200, deadline=None)
@given(rounds=timelines(), drain_rows=st.sampled_from((1, 3, 10, 1_000)))
def test_pairing_in_columns_agrees_with_pairing_one_by_one(rounds: list[Round], drain_rows: int) -> None:
    expected = pair_slowly(rounds)
    exits, exit_ids, entries_without_exit = pair_in_columns(rounds, drain_rows)
    assert exits == expected.exits
    assert exit_ids == expected.exit_ids
    assert entries_without_exit == expected.entries_without_exit


@settings(max_examples=60, deadline=None)
@given(rounds=timelines())
def test_a_recording_that_tells_no_rounds_is_paired_as_its_time_goes_on(rounds: list[Round]) -> None:
    events = sorted((event for each in rounds for event in each.events), key=lambda event: event.ts_ns)
    unrounded = [Round([event]) for event in events]
    expected = pair_slowly(unrounded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvmtrace.exits.builder._HOLD_ROWS", 7)
        exits, exit_ids, _ = pair_in_columns(unrounded, drain_rows=1_000)
    assert exits == expected.exits
    assert exit_ids == expected.exit_ids


def test_events_of_the_very_time_up_to_which_all_is_settled_are_not_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmtrace.exits.builder._HOLD_ROWS", 1)
    steps = ["kvm_exit", "kvm_msr", "kvm_entry"] * 3
    rounds = [Round([Event(5, kind, 0, 0, 0, place)]) for place, kind in enumerate(steps)]
    exits, exit_ids, _ = pair_in_columns(rounds, drain_rows=1_000)
    assert [(each.detail, each.entry) for each in exits] == [(1, (5, 0)), (4, (5, 0)), (7, (5, 0))]
    assert exit_ids == [0, 0, None, 1, 1, None, 2, 2, None]


def test_neither_the_size_of_blocks_nor_of_drains_changes_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = KvmRecording("kvm_msr")
    for place in range(300):
        cpu, thread = place % 3, (ONE, TWO)[place % 2]
        made.exit(1_000 * place, (MSR, NPF)[place % 2], thread, cpu=cpu)
        made.event("kvm_msr", 1_000 * place + 10, thread, cpu=cpu, ecx=place)
        if place % 40 == 9:
            made.add_lost(1, 1_000 * place + 20, cpu=cpu)
        made.enter(1_000 * place + 1_500, thread, cpu=(place + place // 7) % 3)
        if place % 10 == 0:
            made.add_round()
    path = made.write(tmp_path / "made.data")
    whole = ingested(path, tmp_path / "whole")
    monkeypatch.setattr(intake, "ExitBuilder", partial(ExitBuilder, drain_rows=1))
    monkeypatch.setattr("kvmtrace.formats.perf_file.PerfDataRecording", partial(PerfDataRecording, block_bytes=4_096))
    pieces = ingested(path, tmp_path / "pieces")
    assert pieces.exits() == whole.exits()
    assert pieces.events("kvm_msr") == whole.events("kvm_msr")
    assert pieces.manifest.exits == whole.manifest.exits
    assert pieces.manifest.lost == whole.manifest.lost
    buckets = [sorted(map(str, run.table("latency_buckets").to_pylist())) for run in (pieces, whole)]
    assert buckets[0] == buckets[1]
