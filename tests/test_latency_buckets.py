"""Latency buckets say the same as the exits that they count."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_runs import CPUID, HLT, MSR, NPF, KvmRecording, Row, Thread, pick, stored
from reference_pairing import Event, Round, blocks, facts

from kvmtrace import schema
from kvmtrace.arch.x86 import X86
from kvmtrace.exits.buckets import LatencyBuckets
from kvmtrace.exits.builder import ExitBuilder, Exits
from kvmtrace.exits.table import dictionary_schema

if TYPE_CHECKING:
    from made_runs import StoredRun

GROUP = (
    "vm_id",
    "vcpu",
    "cpu",
    "isa",
    "reason",
    "detail_kind",
    "detail",
    "detail_name",
    "idle",
    "userspace",
    "suspect",
)
_DETAILS_KEPT = 2_048


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    """Exits of three vCPUs in two VMs with all that tells exits apart: losses, moves, details, the VMM."""
    chance = random.Random(3)  # noqa: S311 - no secret
    made = KvmRecording("kvm_msr", "kvm_userspace_exit")
    threads = [Thread(101, 100, 0), Thread(102, 100, 1), Thread(201, 200, 0)]
    now = 1_000
    for _ in range(800):
        thread, cpu = chance.choice(threads), chance.randrange(4)
        reason = chance.choice((MSR, NPF, HLT, CPUID, 0xFFFFFFFF))
        made.exit(now, reason, thread, cpu=cpu)
        if reason == MSR:
            made.event("kvm_msr", now, thread, cpu=cpu, ecx=chance.choice((0x6E0, 0x10, 0xC0012345)))
        if chance.random() < 0.3:
            made.event("kvm_userspace_exit", now, thread, cpu=cpu)
        if chance.random() < 0.05:
            made.add_lost(1, now + 1, cpu=cpu)
        now += int(chance.lognormvariate(8, 3))
        if chance.random() < 0.95:
            made.enter(now, thread, cpu=chance.choice((cpu, cpu, cpu, 3)))
        now += chance.randrange(3)
    return stored(made, tmp_path_factory.mktemp("buckets"))


def buckets(run: StoredRun) -> list[Row]:
    return run.table("latency_buckets").to_pylist()  # type: ignore[no-any-return]


def by_group(rows: list[Row]) -> dict[tuple[Any, ...], list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[pick(row, *GROUP)].append(row)
    return groups


def test_the_table_has_the_columns_of_the_schema(run: StoredRun) -> None:
    assert run.table("latency_buckets").schema.equals(dictionary_schema(schema.LATENCY_BUCKETS))


def test_buckets_hold_the_same_groups_as_the_exits(run: StoredRun) -> None:
    assert by_group(buckets(run)).keys() == by_group(run.exits()).keys()
    assert len(by_group(run.exits())) > 100


def test_sums_counts_and_extremes_of_each_group_are_those_of_its_exits(run: StoredRun) -> None:
    counted = by_group(buckets(run))
    for group, exits in by_group(run.exits()).items():
        timed = [row["latency_ns"] for row in exits if row["latency_ns"] is not None]
        filled = [row for row in counted[group] if row["bucket_low_ns"] is not None]
        assert sum(row["n"] for row in counted[group]) == len(exits)
        assert sum(row["n"] for row in filled) == len(timed)
        assert sum(row["sum_ns"] for row in filled) == sum(timed)
        assert sum(row["sum_sq_ns2"] for row in filled) == pytest.approx(sum(ns**2 for ns in timed), rel=1e-12)
        if timed:
            assert min(row["min_ns"] for row in filled) == min(timed)
            assert max(row["max_ns"] for row in filled) == max(timed)


def test_each_bucket_counts_the_exits_between_its_bounds(run: StoredRun) -> None:
    exits = by_group(run.exits())
    for bucket in buckets(run):
        low, high = bucket["bucket_low_ns"], bucket["bucket_high_ns"]
        latencies = [row["latency_ns"] for row in exits[pick(bucket, *GROUP)]]
        if low is None:
            assert pick(bucket, "bucket_high_ns", "sum_ns", "sum_sq_ns2", "min_ns", "max_ns") == (None,) * 5
            assert bucket["n"] == latencies.count(None)
            continue
        inside = [ns for ns in latencies if ns is not None and low <= ns <= high]
        assert pick(bucket, "n", "sum_ns", "min_ns", "max_ns") == (len(inside), sum(inside), min(inside), max(inside))


def test_a_bucket_is_at_most_a_64th_wide(run: StoredRun) -> None:
    bounds = {pick(row, "bucket_low_ns", "bucket_high_ns") for row in buckets(run) if row["bucket_low_ns"] is not None}
    assert all(high - low <= low / 64 for low, high in bounds)
    edges = sorted(bounds)
    assert all(first[1] < second[0] for first, second in pairwise(edges))
    assert len(bounds) > 300


def test_exits_without_a_latency_are_counted(run: StoredRun) -> None:
    untimed = [row for row in run.exits() if row["latency_ns"] is None]
    assert sum(row["n"] for row in buckets(run) if row["bucket_low_ns"] is None) == len(untimed) > 0


def latency_of(place: int) -> int:
    return 1_000 + place % 7


def exits_of_details(details: list[int]) -> list[Event]:
    """Return an exit for each detail; all their latencies lie in one bucket."""
    events = []
    for place, detail in enumerate(details):
        start = 2_000 * place
        events.append(Event(start, "kvm_exit", 0, 0, 0, 0))
        events.append(Event(start + 10, "kvm_msr", 0, 0, 0, detail))
        events.append(Event(start + latency_of(place), "kvm_entry", 0, 0, 0, 0))
    return events


def counted(events: list[Event], drain_rows: int = 1_000) -> list[Row]:
    """Return the latency buckets of events that come 200 at a time."""
    recorded = facts()
    architecture = X86(recorded)
    builder = ExitBuilder(recorded, architecture, drain_rows)
    counts = LatencyBuckets(architecture, builder)
    rounds = [Round(events[start : start + 200]) for start in range(0, len(events), 200)]
    for block in blocks(rounds):
        for part in builder.add(block):
            if isinstance(part, Exits):
                counts.add(part)
    for part in builder.finish():
        if isinstance(part, Exits):
            counts.add(part)
    return counts.table().to_pylist()  # type: ignore[no-any-return]


def total(rows: list[Row], name: str) -> int:
    return sum(row[name] for row in rows)


@pytest.mark.parametrize("drain_rows", [1, 1_000_000])
def test_details_beyond_the_first_2048_are_counted_together(drain_rows: int) -> None:
    details = [*range(5, 3_005), *range(5, 3_005), 3, 7]
    rows = counted(exits_of_details(details), drain_rows)
    kept = [row for row in rows if not row["detail_capped"]]
    capped = [row for row in rows if row["detail_capped"]]
    if drain_rows == 1:
        assert {row["detail"] for row in kept} == set(range(5, 5 + _DETAILS_KEPT))  # first come
    assert len({row["detail"] for row in kept}) == _DETAILS_KEPT
    assert {pick(row, "detail", "detail_name", "detail_kind") for row in capped} == {(None, None, "msr")}
    assert total(rows, "n") == len(details)
    assert total(rows, "sum_ns") == sum(latency_of(place) for place in range(len(details)))
    assert total(capped, "n") == len(details) - total(kept, "n") > 0


def test_exactly_2048_details_are_kept_apart() -> None:
    rows = counted(exits_of_details(list(range(_DETAILS_KEPT))))
    assert {row["detail"] for row in rows} == set(range(_DETAILS_KEPT))
    assert not any(row["detail_capped"] for row in rows)


@pytest.mark.parametrize(("name", "value"), [("_KEY_BITS", 1), ("_MERGE_ROWS", 1)])
def test_neither_wide_keys_nor_merging_change_the_counts(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    events = exits_of_details([detail % 13 for detail in range(500)])
    expected = counted(events, drain_rows=1)
    monkeypatch.setattr(f"kvmtrace.exits.buckets.{name}", value)
    assert sorted(map(str, counted(events, drain_rows=1))) == sorted(map(str, expected))
    assert [pick(row, "min_ns", "max_ns") for row in expected] == [(1_000, 1_006)] * 13


def test_cpus_and_vcpus_of_damaged_records_are_groups_of_their_own_or_unknown() -> None:
    top = (1 << 31) - 1
    events = []
    for place, (cpu, vcpu) in enumerate([(0, 0), (-5, 0), (-(1 << 31), 0), (top, 0), (0, top), (top, top), (0, 0)]):
        events.append(Event(1_000 * place, "kvm_exit", 0, cpu, vcpu, 0))
        events.append(Event(1_000 * place + 100, "kvm_entry", 0, cpu, vcpu, 0))
    rows = counted(events)
    found = {pick(row, "cpu", "vcpu"): pick(row, "n", "sum_ns") for row in rows}
    one, two = (1, 100), (2, 200)
    assert found == {(0, 0): two, (None, 0): two, (top, 0): one, (0, top): one, (top, top): one}


def test_latencies_at_the_edges_of_buckets_are_inside_them() -> None:
    latencies = [0, 1, 2, 63, 64, 65, 127, 128, 129, 130, 255, 256, 259, 260, (1 << 40) - 1, 1 << 40, (1 << 40) + 1]
    events, now = [], 0
    for latency in latencies:
        events += [Event(now, "kvm_exit", 0, 0, 0, 0), Event(now + latency, "kvm_entry", 0, 0, 0, 0)]
        now += latency + 1
    rows = counted(events)
    assert total(rows, "n") == len(latencies)
    assert all(row["bucket_low_ns"] <= row["min_ns"] <= row["max_ns"] <= row["bucket_high_ns"] for row in rows)
    low = np.array([row["bucket_low_ns"] for row in rows])
    high = np.array([row["bucket_high_ns"] for row in rows])
    assert ((high - low) * 64 <= low).all()


def test_no_exits_are_no_buckets() -> None:
    assert counted([Event(0, "kvm_entry", 0, 0, 0, 0)]) == []
