"""Times of a recording are counted into its blocks, whatever damage made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_builder import add_run, event, exits

from kvmtrace.predicting.statement import sums
from kvmtrace.store.connection import StoreConnection
from kvmtrace.time_blocks import event_blocks

if TYPE_CHECKING:
    from pathlib import Path

FAR = 2**62


@pytest.mark.parametrize(
    ("times", "blocks", "counted"),
    [
        ([0, 24, 25, 99, 100], 4, [2, 1, 0, 2]),
        ([-FAR, 50, FAR], 4, [1, 0, 1, 1]),
        ([5, 5], 1, [2]),
        ([], 3, [0, 0, 0]),
    ],
)
def test_each_event_is_in_the_block_of_its_time(
    tmp_path: Path, times: list[int], blocks: int, counted: list[int]
) -> None:
    table = event({}, *({"ts_ns": ts} for ts in times))
    manifest = add_run(tmp_path, "aa", {"events/kvm/kvm_inj_virq": table}, first_ts_ns=0, last_ts_ns=100)
    with StoreConnection(tmp_path) as connection:
        assert event_blocks(connection, manifest, manifest.tracepoints[0], blocks).tolist() == counted


def test_exits_of_a_prediction_are_in_the_blocks_of_their_times(tmp_path: Path) -> None:
    table = exits(*({"exit_ts_ns": ts} for ts in (-FAR, 10, 60, FAR)))
    manifest = add_run(tmp_path, "aa", {"exits": table}, first_ts_ns=0, last_ts_ns=100)
    with StoreConnection(tmp_path) as connection:
        found = sums(connection, manifest, [], 2)
    block, n = found.names.index("block"), found.names.index("exits")
    assert {row[block]: row[n] for row in found.rows if row[block] is not None} == {0: 2, 1: 2}
