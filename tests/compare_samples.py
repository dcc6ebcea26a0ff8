"""Runs as comparisons see them, made by hand: each figure in them is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvmtrace.comparing.run_data import BlockOfExits, KeyedExits, RunData
from kvmtrace.comparing.sides import Side
from kvmtrace.exit_keys import Key
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import Manifest, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def manifest(name: str = "run", **facts: Any) -> Manifest:  # noqa: ANN401 - any fact of a manifest
    source = Source(f"{name}.data", "perf.data", 1, "blake3:" + "0" * 64)
    return Manifest(**{
        "run_id": name, "kind": "recording", "source": source, "ingested_at": "2026-01-01T00:00:00Z",
        "kvmtrace_version": "0", **facts,
    })  # fmt: skip


def keyed(
    reason: str | None,
    counts: ArrayLike,
    latency_ns: float | None = 1000.0,
    *,
    idle: bool = False,
    guest_ns: float | None = None,
    **key: Any,  # noqa: ANN401 - the fields of a key
) -> KeyedExits:
    """Exits of one key: so many in each block, all of one latency (None: without one)."""
    n = np.asarray(counts, np.float64)
    timed = np.full(len(n), latency_ns is not None)
    guest = None if guest_ns is None else n * guest_ns
    exits = BlockOfExits(np.arange(len(n)), timed, n, n * (latency_ns or 0.0), guest)
    return KeyedExits(Key(reason, **key), idle, exits)


def run(
    *exits: KeyedExits,
    blocks: int = 1,
    seconds: float | None = 1.0,
    events: dict[str, ArrayLike] | None = None,
    name: str = "run",
    **facts: Any,  # noqa: ANN401 - those of RunData
) -> RunData:
    of_manifest = facts.pop("manifest", {})
    counted = {event: np.asarray(counts, np.float64) for event, counts in (events or {}).items()}
    return RunData(manifest(name, **of_manifest), Label(), blocks, seconds, exits or None, counted, **facts)


def side(name: str, *runs: RunData) -> Side:
    return Side(name, runs)


def poisson(mean: float, blocks: int, seed: int) -> Sequence[float]:
    """Counts of independent events in blocks of time."""
    counts: list[float] = np.random.default_rng(seed).poisson(mean, blocks).astype(float).tolist()
    return counts
