"""The blocks of time that a recording is cut into: the samples within one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest, Tracepoint

BLOCK = "least(floor(least(greatest(({ts}::DOUBLE - $first_ts_ns) / $length_ns, 0), 1) * $blocks)::BIGINT, $blocks - 1)"
"""SQL for the block, from 0, of a time `{ts}`: in doubles, as a damaged recording has times that overflow integers."""


def span(manifest: Manifest, blocks: int) -> dict[str, object]:
    """Return the parameters of `BLOCK` for a run."""
    first, last = manifest.first_ts_ns or 0, manifest.last_ts_ns or 0
    return {"first_ts_ns": float(first), "length_ns": float(max(last - first, 1)), "blocks": blocks}


def event_blocks(
    connection: StoreConnection, manifest: Manifest, tracepoint: Tracepoint, blocks: int
) -> NDArray[np.float64]:
    """Return how often a tracepoint fired in each block, (blocks,); one that was sampled, as often as it stands for."""
    series = np.zeros(blocks)
    if blocks == 1 or not tracepoint.rows:
        series[0] = tracepoint.samples * tracepoint.period if blocks == 1 else 0
        return series
    view = connection.views.find(f"{tracepoint.system}__{tracepoint.event}")
    name = quoted(view.name if view is not None else tracepoint.event)
    counted = connection.query(
        f"SELECT {BLOCK.format(ts='ts_ns')} AS block, count(*) AS n FROM {name} "  # noqa: S608 - a quoted name of a table of the store
        "WHERE run_id = $run_id GROUP BY block ORDER BY block",
        {**span(manifest, blocks), "run_id": manifest.run_id},
    )
    for block, n in counted.rows:
        series[block] = n * tracepoint.period
    return series
