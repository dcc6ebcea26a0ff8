"""The queries behind the charts of HTML reports: what they answer, figure by figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from query_samples import make_store, turned
from store_builder import add_run, exits, fixed_table

from kvmtrace import queries
from kvmtrace.store.connection import StoreConnection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa


def rows(store: Path, name: str, **parameters: object) -> list[tuple[object, ...]]:
    with StoreConnection(store) as connection:
        return queries.run(connection, queries.load(f"report/{name}"), parameters).rows


@pytest.fixture(scope="module", params=[lambda table: table, turned], ids=["as made", "backwards"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arranged: Callable[[pa.Table], pa.Table] = request.param
    return make_store(tmp_path_factory.mktemp("html") / "store", arranged)


def test_exits_are_counted_by_block_of_time_and_reason(store: Path) -> None:
    assert rows(store, "exits_by_time", run_id="off", blocks=3) == [
        (0, False, "npf", 2, 0),
        (1, False, "io", 2, 0),
        (1, True, "hlt", 1, 0),
        (2, False, "hypercall", 1, 0),
        (2, False, "msr", 2, 1),
        (2, True, "hlt", 1, 0),
    ]


def test_latencies_are_counted_by_block_of_time_and_half_doubling(store: Path) -> None:
    # 1 and 3 µs; 100 and 50 µs; 7 µs and 0, which is counted with 1 ns. The suspect and the open exit are left out.
    expected = [(0, 19, 1), (0, 23, 1), (1, 31, 1), (1, 33, 1), (2, 0, 1), (2, 25, 1)]
    assert rows(store, "latencies_by_time", run_id="off", blocks=3, with_idle=False) == expected
    idle = (1, 41, 1)
    with_idle = rows(store, "latencies_by_time", run_id="off", blocks=3, with_idle=True)
    assert with_idle == sorted([*expected, idle])


def test_times_outside_the_recording_fall_into_its_first_and_last_block(tmp_path: Path) -> None:
    made = exits(*({"reason": "io", "exit_ts_ns": ts, "latency_ns": 5} for ts in (-(2**62), 5, 2**62)))
    add_run(tmp_path, "aa", {"exits": made}, first_ts_ns=0, last_ts_ns=10)
    assert [row[0] for row in rows(tmp_path, "exits_by_time", blocks=2)] == [0, 1]
    assert rows(tmp_path, "latencies_by_time", blocks=2, with_idle=False) == [(0, 4, 1), (1, 4, 2)]


def test_exits_are_counted_by_vm_vcpu_and_reason(tmp_path: Path) -> None:
    told = {"detail_capped": False, "bucket_low_ns": 10, "vm_id": "7", "vcpu": 1, "reason": "io"}
    buckets = [
        {**told, "idle": False, "suspect": False, "n": 3, "sum_ns": 30, "cpu": 0},
        {**told, "idle": False, "suspect": False, "n": 2, "sum_ns": 25, "cpu": 1},
        {**told, "idle": False, "suspect": True, "n": 1, "sum_ns": 900},
        {**told, "idle": True, "suspect": True, "n": 4, "sum_ns": 900, "reason": "hlt"},
        {**told, "idle": False, "suspect": False, "n": 1, "sum_ns": 1, "vm_id": None, "vcpu": None, "reason": None},
    ]
    add_run(tmp_path, "aa", {"latency_buckets": fixed_table("latency_buckets", buckets)})
    assert rows(tmp_path, "exits_by_vcpu_and_reason") == [
        ("7", 1, "io", False, 6, 55),
        ("7", 1, "hlt", True, 4, None),
        (None, None, None, False, 1, 1),
    ]
