"""Where the time of an exit went: parts that do not overlap and add up, against a count of every nanosecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import HLT, IO, NPF, KvmRecording, Row, Thread, column, pick, stored

from kvmtrace.arch.base import Role
from kvmtrace.exits.facets import NO_DETAIL, NOT_KNOWN, Facets, Inside, find_facets
from kvmtrace.exits.spans import Spans

if TYPE_CHECKING:
    from pathlib import Path

KERNEL, USERSPACE, SLEPT, POLLED = "kernel", "userspace", "slept", "polled"
PARTS = ("userspace_ns", "blocked_ns", "polled_ns", "preempted_ns")
POLL_LIMIT_NS = 7


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a thread does for a while, and where in it it has no CPU."""

    what: str
    length: int
    lost_at: int
    lost_for: int

    @property
    def preempted(self) -> range:
        start = min(self.lost_at, self.length - 1)
        return range(start, min(start + self.lost_for, self.length - 1))


STRETCHES = st.lists(
    st.builds(
        Stretch,
        st.sampled_from([KERNEL, USERSPACE, SLEPT, POLLED]),
        st.integers(3, 40),
        st.integers(0, 40),
        st.integers(0, 20),
    ),
    max_size=8,
)


def events(stretches: list[Stretch]) -> list[tuple[int, Role, int]]:
    """Return (since the exit, role, value) of all events of one exit, in the order of time."""
    rows: list[tuple[int, int, Role, int]] = []
    start = 1
    for stretch in stretches:
        end = start + stretch.length
        if stretch.what == USERSPACE:
            rows += [(start, 1, Role.USER_LEAVE, 0), (start, 2, Role.USERSPACE, 0), (end, 0, Role.USER_RETURN, 0)]
        elif stretch.what == SLEPT:
            rows.append((end, 0, Role.BLOCKED, stretch.length))
        elif stretch.what == POLLED:
            rows.append((end, 0, Role.POLLED, stretch.length))
        if lost := stretch.preempted:
            rows += [(start + lost.start, 3, Role.PREEMPTED, 0), (start + lost.stop, 3, Role.RUNNING, 0)]
        start = end + 1
    return [(since, role, value) for since, _, role, value in sorted(rows, key=lambda row: row[:2])]


def counted(stretches: list[Stretch]) -> dict[str, int]:
    """Count every nanosecond of an exit under one part."""
    parts = dict.fromkeys(PARTS, 0)
    for stretch in stretches:
        for ns in range(stretch.length):
            if ns in stretch.preempted:
                parts["preempted_ns"] += 1
            elif stretch.what == USERSPACE:
                parts["userspace_ns"] += 1
            elif stretch.what == POLLED or (stretch.what == SLEPT and ns < POLL_LIMIT_NS):
                parts["polled_ns"] += 1
            elif stretch.what == SLEPT:
                parts["blocked_ns"] += 1
    return parts


def facets_of(exits: list[list[tuple[int, Role, int]]], limit_ns: int, latency_ns: int = 10_000) -> Facets:
    rows = [(rank, *event) for rank, of_exit in enumerate(exits) for event in of_exit]
    rank, since, role, value = (np.array([row[i] for row in rows], np.int64) for i in range(4))
    inside = Inside(rank, role.astype(np.uint8), value.view(np.uint64), since, np.full(len(rows), limit_ns))
    nothing = np.full(len(exits), NO_DETAIL, np.int8)
    return find_facets(inside, nothing, np.zeros(len(exits), np.uint64), np.full(len(exits), latency_ns))


@given(st.lists(STRETCHES, min_size=1, max_size=4))
def test_the_parts_of_an_exit_are_what_a_count_of_every_nanosecond_says(exits: list[list[Stretch]]) -> None:
    facets = facets_of([events(stretches) for stretches in exits], POLL_LIMIT_NS)
    for index, stretches in enumerate(exits):
        assert {name: int(getattr(facets, name)[index]) for name in PARTS} == counted(stretches)


def test_polling_before_a_sleep_is_not_known_where_its_limit_is_not() -> None:
    facets = facets_of([[(100, Role.BLOCKED, 90)], [(100, Role.POLLED, 90)]], NOT_KNOWN)
    assert facets.blocked_ns.tolist() == [90, 0]
    assert facets.polled_ns.tolist() == [NOT_KNOWN, 90]


def test_a_sleep_whose_beginning_is_told_needs_no_limit() -> None:
    halt = [(20, Role.SLEEP, 0), (95, Role.WAKE, 0), (100, Role.BLOCKED, 90)]
    facets = facets_of([halt], NOT_KNOWN)
    assert (int(facets.blocked_ns[0]), int(facets.polled_ns[0])) == (75, 15)


def test_a_halt_is_no_longer_than_its_exit() -> None:
    facets = facets_of([[(100, Role.BLOCKED, 5_000)]], 0)
    assert (int(facets.blocked_ns[0]), int(facets.polled_ns[0])) == (100, 0)


def test_time_in_the_vmm_ends_where_a_halt_of_the_kernel_begins() -> None:
    # The VMM was interrupted and let the halted vCPU run again; arm64 has no event for the way back.
    facets = facets_of([[(50, Role.USERSPACE, 0), (400, Role.BLOCKED, 300)]], 0, latency_ns=450)
    assert (int(facets.userspace_ns[0]), int(facets.blocked_ns[0])) == (50, 300)


def test_handlers_of_hypercalls_are_added() -> None:
    calls = [(10, Role.HCALL_ENTER, 0), (30, Role.HCALL_EXIT, 0), (40, Role.HCALL_ENTER, 0), (45, Role.HCALL_EXIT, 0)]
    assert facets_of([calls], 0).hcall_ns.tolist() == [25]


def test_a_handler_that_ends_in_a_later_exit_has_no_time() -> None:
    nested = [[(10, Role.HCALL_ENTER, 0)], [(5, Role.DETAIL, 0)], [(30, Role.HCALL_EXIT, 0)]]
    assert facets_of(nested, 0).hcall_ns.tolist() == [NOT_KNOWN, 0, NOT_KNOWN]


def test_a_stretch_that_is_not_closed_in_its_exit_is_none() -> None:
    rank, since = np.array([0, 0, 1, 1]), np.array([5, 9, 2, 8])
    role = np.array([Role.RUNNING, Role.PREEMPTED, Role.RUNNING, Role.PREEMPTED], np.uint8)
    assert len(Spans.between(rank, role, since, Role.PREEMPTED, Role.RUNNING)) == 0


@pytest.mark.parametrize("limit_first", [True, False])
def test_the_polling_of_a_halt_lasts_as_the_halt_before_set_it(tmp_path: Path, *, limit_first: bool) -> None:
    made = KvmRecording("kvm_vcpu_wakeup", "kvm_halt_poll_ns")
    other = Thread(tid=102, vcpu=1)
    if limit_first:
        made.exit(100, HLT)
        made.event("kvm_halt_poll_ns", 150, grow=1, vcpu_id=0, new=200, old=0)
        made.enter(160)
    made.exit(1_000, HLT)
    made.event("kvm_halt_poll_ns", 1_890, grow=1, vcpu_id=0, new=400, old=200)  # holds from the next halt on
    made.event("kvm_vcpu_wakeup", 1_900, ns=850, waited=1, valid=1)
    made.enter(2_000)
    made.exit(3_000, HLT)
    made.event("kvm_vcpu_wakeup", 3_900, ns=850, waited=1, valid=1)
    made.enter(4_000)
    made.exit(3_500, HLT, other, cpu=1)
    made.event("kvm_vcpu_wakeup", 3_900, other, cpu=1, ns=350, waited=1, valid=1)
    made.enter(4_000, other, cpu=1)
    rows = [row for row in stored(made, tmp_path).exits() if row["exit_ts_ns"] >= 1_000]
    first = (650, 200) if limit_first else (850, None)
    assert [pick(row, "blocked_ns", "polled_ns") for row in rows] == [first, (450, 400), (350, None)]


def test_a_limit_of_polling_outside_of_any_exit_is_one_too(tmp_path: Path) -> None:
    made = KvmRecording("kvm_vcpu_wakeup", "kvm_halt_poll_ns")
    made.enter(100)
    made.event("kvm_halt_poll_ns", 150, grow=1, vcpu_id=0, new=200, old=0)
    assert not stored(made, tmp_path).exits()
    made.exit(1_000, HLT)
    made.event("kvm_vcpu_wakeup", 1_900, ns=850, waited=1, valid=1)
    made.enter(2_000)
    assert pick(stored(made, tmp_path).only_exit(), "blocked_ns", "polled_ns") == (650, 200)


def test_the_parts_and_the_kernels_rest_make_the_latency(tmp_path: Path) -> None:
    made = KvmRecording("kvm_userspace_exit", "kvm_fpu", "kvm_vcpu_wakeup", "kvm_halt_poll_ns")
    made.add_tracepoint("sched", "sched_switch")
    made.exit(1_000, IO)
    made.event("kvm_fpu", 1_100, load=0)
    made.event("kvm_userspace_exit", 1_150)
    made.event("sched_switch", 1_200, prev_state=0, prev_pid=101, next_pid=55)
    made.event("sched_switch", 1_500, Thread(tid=55, pid=55), prev_state=1, prev_pid=55, next_pid=101)
    made.event("kvm_fpu", 2_000, load=1)
    made.enter(2_100)
    made.exit(3_000, NPF)
    made.enter(3_100)
    rows = stored(made, tmp_path).exits()
    assert column(rows, "userspace_ns") == [600, 0]  # from 1,100 to 2,000 without the 300 in which it had no CPU
    assert column(rows, "preempted_ns") == [300, 0]
    assert [rest(row) for row in rows] == [200, 100]


def rest(row: Row) -> int:
    return int(row["latency_ns"]) - sum(row[name] or 0 for name in PARTS)
