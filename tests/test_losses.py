"""Events that the recorder lost: what becomes doubtful, what does not, and how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_runs import MSR, VMX, VMX_MSR_WRITE, KvmRecording, Thread, column, pick, stored

from kvmtrace.store.manifest import Lost

if TYPE_CHECKING:
    from pathlib import Path

OTHER = Thread(tid=102, vcpu=1)


@pytest.mark.parametrize(
    ("lost_on", "suspect"),
    [(0, True), (1, True), (2, False)],
    ids=["the CPU of the exit", "the CPU of the entry", "another CPU"],
)
def test_a_pair_is_suspect_where_its_cpus_lost_events_inside(tmp_path: Path, lost_on: int, *, suspect: bool) -> None:
    made = KvmRecording()
    for cpu in (0, 1, 2):
        made.exit(100 + 20 * cpu, thread=OTHER, cpu=cpu)
        made.enter(110 + 20 * cpu, OTHER, cpu=cpu)
    made.exit(1_000, cpu=0)
    made.add_lost(7, 1_500, cpu=lost_on)
    made.enter(2_000, cpu=1)
    run = stored(made, tmp_path)
    row = run.exits()[-1]
    assert pick(row, "closed_by", "latency_ns", "suspect") == ("entry", 1_000, suspect)
    assert run.manifest.exits["suspect"] == suspect
    assert run.manifest.lost == (Lost("LOST", lost_on, 7, 1, 1_500, 1_500),)


def test_a_pair_before_or_behind_the_loss_is_not_suspect(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    made.enter(1_500)
    made.add_lost(7, 2_000)
    made.exit(2_000)
    made.enter(2_600)
    made.exit(3_000)
    made.enter(3_100)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "suspect") == [False, False, False]
    assert column(rows, "latency_ns") == [500, 600, 100]


def test_a_time_in_the_guest_across_a_loss_is_not_known(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    made.enter(1_500)
    made.add_lost(2, 2_000)  # perhaps an exit and an entry
    made.exit(2_100)
    made.enter(2_600)
    made.exit(3_000)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "guest_ns") == [None, None, 400]


@pytest.mark.parametrize("lost_on", [0, 1])
def test_a_time_in_the_guest_is_not_known_where_the_cpu_of_either_end_lost_events(tmp_path: Path, lost_on: int) -> None:
    made = KvmRecording()
    for cpu in (0, 1):
        made.exit(100 + 20 * cpu, thread=OTHER, cpu=cpu)
        made.enter(110 + 20 * cpu, OTHER, cpu=cpu)
    made.enter(1_500, cpu=0)
    made.add_lost(2, 2_000, cpu=lost_on)  # perhaps an exit on CPU 0, an entry on CPU 1
    made.exit(2_100, cpu=1)
    last = stored(made, tmp_path).exits()[-1]
    assert pick(last, "exit_ts_ns", "guest_ns") == (2_100, None)


def test_a_time_in_the_guest_across_a_loss_on_another_cpu_is_known(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(900, thread=OTHER, cpu=1)
    made.enter(1_500)
    made.add_lost(2, 2_000, cpu=1)
    made.exit(2_100)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "guest_ns") == [None, 600]


def test_a_loss_reaches_back_to_the_event_before_it_on_its_cpu(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, cpu=0)
    made.enter(1_400, cpu=0)
    made.exit(1_600, cpu=0)
    made.enter(1_700, cpu=1)
    made.exit(1_800, cpu=0)
    made.add_lost(1, 9_000, cpu=0)  # lost between 1,800 and 9,000
    made.enter(9_500, cpu=0)
    assert column(stored(made, tmp_path).exits(), "suspect") == [False, False, True]


def test_events_lost_before_the_first_one_of_a_cpu_touch_all_that_came_before(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, cpu=0)
    made.add_lost(3, 1_500, cpu=3)
    made.enter(2_000, cpu=3)
    made.exit(3_000, cpu=0)
    made.enter(3_500, cpu=0)
    assert column(stored(made, tmp_path).exits(), "suspect") == [True, False]


def test_an_open_exit_is_suspect_where_its_cpu_lost_events_later(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(900, thread=OTHER, cpu=1)
    made.exit(1_000, cpu=0)
    made.add_lost(3, 1_500, cpu=0)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "closed_by") == ["end", "end"]
    assert column(rows, "suspect") == [False, True]


@pytest.mark.parametrize("kernel", ["5.10.0", "6.1.0"])
def test_two_exits_in_a_row_with_a_loss_between_are_a_hole(tmp_path: Path, kernel: str) -> None:
    made = KvmRecording(isa=VMX, kernel=kernel)
    made.exit(1_000, VMX_MSR_WRITE)
    made.add_lost(1, 1_500)
    made.exit(2_000, VMX_MSR_WRITE)
    made.enter(2_300)
    run = stored(made, tmp_path)
    first, second = run.exits()
    assert pick(first, "closed_by", "latency_ns", "entry_ts_ns", "suspect") == ("hole", None, None, True)
    assert pick(second, "closed_by", "latency_ns", "suspect") == ("entry", 300, False)
    assert run.closed_by() == {"entry": 1, "hole": 1}


def test_what_a_suspect_exit_does_not_show_is_not_known_and_what_it_shows_is(tmp_path: Path) -> None:
    made = KvmRecording("kvm_userspace_exit", "kvm_eoi", "kvm_vcpu_wakeup")
    made.exit(1_000)
    made.event("kvm_eoi", 1_100)
    made.add_lost(1, 1_500)
    made.enter(2_000)
    made.exit(3_000)
    made.enter(4_000)
    lossy, whole = stored(made, tmp_path).exits()
    names = ("eoi", "userspace", "userspace_ns", "blocked_ns", "polled_ns")
    assert pick(lossy, *names) == (True, None, None, None, None)
    assert pick(whole, *names) == (False, False, 0, 0, 0)


def test_lost_samples_have_no_time_and_make_nothing_suspect(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000, MSR)
    made.add_lost_samples(40, 1_500, cpu=0)
    made.enter(2_000)
    made.add_lost_samples(2, 2_500, cpu=0)
    run = stored(made, tmp_path)
    assert pick(run.only_exit(), "latency_ns", "suspect") == (1_000, False)
    assert run.manifest.lost == (Lost("LOST_SAMPLES", 0, 42, 2, None, None),)
    assert run.manifest.exits["suspect"] == 0


def test_losses_are_counted_by_teller_and_cpu(tmp_path: Path) -> None:
    made = KvmRecording()
    made.exit(1_000)
    made.add_lost(5, 2_000, cpu=1)
    made.add_lost(6, 3_000, cpu=1)
    made.add_lost(7, 2_500, cpu=0)
    made.add_lost_samples(9, 4_000, cpu=0)
    run = stored(made, tmp_path)
    assert run.manifest.lost == (
        Lost("LOST", 0, 7, 1, 2_500, 2_500),
        Lost("LOST", 1, 11, 2, 2_000, 3_000),
        Lost("LOST_SAMPLES", 0, 9, 1, None, None),
    )
    assert run.manifest.records["LOST"] == 3
    assert run.manifest.records["LOST_SAMPLES"] == 1
