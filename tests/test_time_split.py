"""The query time-split: its parts are those of the exits, they add up, and nothing unrecorded is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from perf_oracle import Recorded, bundled, bundled_one
from query_samples import answers, make_store
from store_builder import add_run, exits

if TYPE_CHECKING:
    from pathlib import Path

    from ingested import IngestedRecordings

Row = dict[str, Any]

PARTS = ("kernel_ns", "userspace_ns", "blocked_ns", "polled_ns", "preempted_ns", "unclear_ns")


def split(store: Path, *rows: Row) -> list[Row]:
    add_run(store, "aa", {"exits": exits(*rows)})
    return answers(store, "time-split")


def parts(row: Row) -> list[int | None]:
    return [row[part] for part in PARTS]


def test_the_kernel_has_what_the_other_parts_leave(tmp_path: Path) -> None:
    known = {"userspace_ns": 0, "blocked_ns": 0, "polled_ns": 0, "preempted_ns": 0}
    (io, hlt) = split(
        tmp_path,
        {**known, "reason": "io", "latency_ns": 1000, "userspace_ns": 600, "preempted_ns": 100},
        {**known, "reason": "io", "latency_ns": 200},
        {**known, "reason": "hlt", "idle": True, "latency_ns": 1000, "blocked_ns": 700, "polled_ns": 200},
        {**known, "reason": "hlt", "idle": True, "latency_ns": 1000, "blocked_ns": 900, "polled_ns": None},
    )
    assert (io["exits"], io["out_of_guest_ns"], parts(io)) == (2, 1200, [500, 600, 0, 0, 100, 0])
    assert (hlt["exits"], hlt["out_of_guest_ns"], parts(hlt)) == (2, 2000, [200, 0, 1600, 200, 0, 0])
    shares = ("kernel_share", "userspace_share", "preempted_share", "unclear_share")
    assert [io[share] for share in shares] == pytest.approx([500 / 1200, 600 / 1200, 100 / 1200, 0], abs=1e-6)


def test_an_exit_with_a_part_that_was_not_recorded_is_unclear(tmp_path: Path) -> None:
    whole = {"reason": "io", "latency_ns": 100, "userspace_ns": 60, "preempted_ns": 10}
    rows = split(
        tmp_path,
        whole,
        {**whole, "userspace_ns": None},
        {**whole, "preempted_ns": None},
        {**whole, "reason": "hlt", "idle": True},  # halts were not recorded, and an idle exit halts
        {"reason": "msr", "latency_ns": 50},
    )
    assert {row["reason"]: parts(row) for row in rows} == {
        "io": [30, 120, None, None, 20, 130],
        "hlt": [None, 60, None, None, 10, 30],
        "msr": [None, None, None, None, None, 50],
    }


def test_only_exits_with_a_certain_latency_count(tmp_path: Path) -> None:
    (row,) = split(
        tmp_path,
        {"reason": "io", "latency_ns": 100},
        {"reason": "io", "latency_ns": 1000, "suspect": True},
        {"reason": "io", "latency_ns": None, "userspace_ns": 7},
    )
    assert (row["exits"], row["out_of_guest_ns"], row["userspace_ns"], row["unclear_share"]) == (1, 100, None, 1.0)


def test_an_exit_of_no_time_has_no_shares(tmp_path: Path) -> None:
    (row,) = split(tmp_path, {"reason": "io", "latency_ns": 0})
    assert (row["unclear_ns"], row["unclear_share"]) == (0, None)


def test_idle_exits_come_last(tmp_path: Path) -> None:
    rows = answers(make_store(tmp_path / "store", lambda table: table), "time-split", run_id="off")
    assert [(row["reason"], row["idle"]) for row in rows][-1] == ("hlt", True)
    assert [row["idle"] for row in rows].count(True) == 1


@pytest.mark.parametrize("recorded", bundled(), ids=lambda recorded: recorded.name)
def test_the_parts_of_a_recording_add_up_to_its_time_out_of_the_guest(
    ingested: IngestedRecordings, recorded: Recorded
) -> None:
    run_id = ingested.manifest(recorded.path).run_id
    rows = answers(ingested.store, "time-split", run_id=run_id)
    for row in rows:
        told = [part for part in parts(row) if part is not None]
        assert min(told) >= 0
        assert sum(told) == row["out_of_guest_ns"]
    by_reason = answers(ingested.store, "exits-by-reason", run_id=run_id)
    timed = {row["reason"]: (row["timed"], row["out_of_guest_ns"]) for row in by_reason if row["timed"]}
    assert {row["reason"]: (row["exits"], row["out_of_guest_ns"]) for row in rows} == timed


def test_the_kernel_s_time_is_claimed_where_all_was_recorded(ingested: IngestedRecordings) -> None:
    for name, whole in (("mixed-sched-irq", True), ("multi-vm", False)):  # of which one has sched_switch
        run_id = ingested.manifest(bundled_one(name).path).run_id
        rows = answers(ingested.store, "time-split", run_id=run_id)
        assert {row["kernel_ns"] is not None for row in rows} == {whole}
        assert {row["preempted_ns"] is not None for row in rows} == {whole}
        assert {row["unclear_ns"] == 0 for row in rows} == {whole}
