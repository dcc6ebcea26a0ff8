"""The query preempted-by: made switches, and a real recording against its exits and what perf prints of it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from perf_oracle import bundled_one, script_lines
from query_samples import SWITCH, answers, switch
from store_builder import add_run, event, exits

from kvmtrace.errors import UsageError
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings

WORKER, OTHER = (21, "kworker/0:1"), (71, "CPU 1/KVM")


def rows_of(store: Path, *switches: dict[str, object]) -> list[tuple[object, ...]]:
    vcpus = exits(*({"tid": tid, "vm_id": "7", "vcpu": tid - 70, "reason": "io"} for tid in (70, 71)))
    add_run(store, "aa", {"exits": vcpus, "events/sched/sched_switch": event(SWITCH, *switches)})
    names = ("comm", "tid", "vcpu", "times", "preempted_ns", "max_ns", "timed", "preempted_share")
    return [tuple(row[name] for name in names) for row in answers(store, "preempted-by")]


def test_a_preemption_lasts_until_the_thread_has_a_cpu_again(tmp_path: Path) -> None:
    assert rows_of(
        tmp_path,
        switch(100, 70, 0, WORKER, exit_id=0),
        switch(110, 21, 1, (99, "other")),  # somebody else runs, and the vCPU waits on
        switch(130, 99, 1, (70, "CPU 0/KVM")),
        switch(200, 70, 256, WORKER, exit_id=0),  # as newer kernels tell it
        switch(250, 21, 1, (70, "CPU 0/KVM")),
        switch(300, 70, 0, OTHER, exit_id=0),
        switch(320, 71, 0, (70, "CPU 0/KVM"), exit_id=1),  # and back
        switch(325, 70, 0, OTHER, exit_id=0),
    ) == [
        ("kworker/0:1", 21, None, 2, 80, 50, 2, pytest.approx(80 / 105, abs=1e-6)),
        ("CPU 1/KVM", 71, 1, 2, 20, 20, 1, pytest.approx(20 / 105, abs=1e-6)),
        ("CPU 0/KVM", 70, 0, 1, 5, 5, 1, pytest.approx(5 / 105, abs=1e-6)),
    ]


def test_a_thread_that_sleeps_or_is_in_the_guest_is_not_preempted_in_an_exit(tmp_path: Path) -> None:
    assert rows_of(
        tmp_path,
        switch(100, 70, 1, WORKER, exit_id=0),
        switch(110, 21, 1, (70, "CPU 0/KVM")),
        switch(200, 70, 0, WORKER),
        switch(210, 21, 1, (70, "CPU 0/KVM")),
        switch(300, 21, 0, (99, "other")),
    ) == []  # fmt: skip


def test_what_is_not_over_has_no_time(tmp_path: Path) -> None:
    assert rows_of(
        tmp_path,
        switch(100, 70, 0, WORKER, exit_id=0),
        switch(200, 70, 0, WORKER, exit_id=0),  # the switch back was lost
        switch(300, 70, 0, OTHER, exit_id=0),
    ) == [("kworker/0:1", 21, None, 2, None, None, 0, None), ("CPU 1/KVM", 71, 1, 1, None, None, 0, None)]


def test_the_rows_add_up_to_the_preempted_time_of_all_exits(ingested: IngestedRecordings) -> None:
    run_id = ingested.manifest(bundled_one("mixed-sched-irq").path).run_id
    rows = answers(ingested.store, "preempted-by", run_id=run_id)
    with StoreConnection(ingested.store) as connection:
        sql = "SELECT sum(preempted_ns)::BIGINT, count(nullif(preempted_ns, 0)) FROM exits WHERE run_id = $run_id"
        ((total_ns, preempted_exits),) = connection.query(sql, {"run_id": run_id}).rows
    assert sum(row["preempted_ns"] for row in rows) == total_ns > 0
    assert sum(row["preempted_share"] for row in rows) == pytest.approx(1, abs=1e-5 * len(rows))
    assert sum(row["times"] for row in rows) >= preempted_exits > 0


def test_the_rows_are_what_perf_script_says(ingested: IngestedRecordings) -> None:
    recorded = bundled_one("mixed-sched-irq")
    lines = script_lines(recorded.text("perf-script") or "")
    vcpus = {line.tid for line in lines if line.event == "kvm:kvm_exit"}
    out_of_guest: set[int] = set()
    lost_cpu: dict[int, tuple[tuple[str, int], int]] = {}
    expected: dict[tuple[str, int], list[int]] = defaultdict(list)
    for line in lines:
        if line.event == "kvm:kvm_exit":
            out_of_guest.add(line.tid)
        elif line.event == "kvm:kvm_entry":
            out_of_guest.discard(line.tid)
        elif line.event == "sched:sched_switch":
            state, comm, pid = re.findall(r"prev_state=(\S+) ==> next_comm=(.*) next_pid=(\d+)", line.text)[0]
            taker = (comm, int(pid))
            if int(pid) in lost_cpu:
                first_taker, since_ns = lost_cpu.pop(int(pid))
                expected[first_taker].append(line.ts_ns - since_ns)
            if line.tid in vcpus and line.tid in out_of_guest and state in {"R", "R+"}:
                lost_cpu[line.tid] = (taker, line.ts_ns)
    rows = answers(ingested.store, "preempted-by", run_id=ingested.manifest(recorded.path).run_id)
    found = {(row["comm"], row["tid"]): (row["times"], row["preempted_ns"], row["max_ns"]) for row in rows}
    assert found == {taker: (len(times), sum(times), max(times)) for taker, times in expected.items()}


def test_without_sched_switch_there_is_no_answer(ingested: IngestedRecordings) -> None:
    run_id = ingested.manifest(bundled_one("multi-vm").path).run_id
    ingested.manifest(bundled_one("mixed-sched-irq").path)  # another run of the store has it
    with pytest.raises(UsageError, match=f"sched_switch was not recorded in run {run_id}"):
        answers(ingested.store, "preempted-by", run_id=run_id)
