"""The window at one moment → groups of exits with rates and percentiles, as a report of that stretch has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.exits.buckets import NO_BUCKET
from kvmtrace.report.grouping import Extent, percentile_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmtrace.exit_keys import Key
    from kvmtrace.watch.counts import Counts

_OTHER, _IDLE = 0, 1
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Group:
    """Exits of one key in the window. Latency figures are of `timed` exits, None where there are none."""

    key: Key | None  # None: those of keys that were too many, or a total
    idle: bool
    exits: int
    timed: int  # the rest is suspect (a loss lies inside) or has no latency
    out_of_guest_ns: int | None
    p50_ns: int | None
    p99_ns: int | None
    max_ns: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What happened from `begins_ns` to `ends_ns` of the recording's clock, both counted from its first event."""

    begins_ns: int
    ends_ns: int
    groups: tuple[Group, ...]
    totals: tuple[Group, ...]  # of exits that are not idle, and of idle ones; without a key
    events: tuple[tuple[str, int], ...]  # by tracepoint, where there are no exits
    has_exits: bool  # in the recording so far
    lost_events: int  # in the window
    waits_for: str | None = None  # why there is nothing to show yet

    @property
    def covered_ns(self) -> int:
        """How long the window is: less than asked for at the start of a recording."""
        return self.ends_ns - self.begins_ns

    def per_second(self, n: int) -> float | None:
        """Return the rate of `n` things in the window; None: it has no length."""
        return n * _NS_PER_S / self.covered_ns if self.covered_ns > 0 else None


def groups_of(rows: Counts, key_of: Callable[[tuple[int, ...]], Key]) -> tuple[Group, ...]:
    """Return the groups of exits counted by (other, idle, …, bucket); `key_of` names what stands for the dots."""
    return tuple(_groups(rows, key_of))


def totals_of(rows: Counts) -> tuple[Group, ...]:
    """Return the totals of exits that are not idle, and of idle ones, as far as there are any."""
    last = len(rows.keys) - 1
    return tuple(_groups(rows.by((_IDLE, _IDLE, last)), None))


def _groups(rows: Counts, key_of: Callable[[tuple[int, ...]], Key] | None) -> Iterator[Group]:
    if not len(rows):
        return
    names = np.stack(rows.keys[:-1])
    starts = np.flatnonzero(np.any(np.diff(names, axis=1, prepend=-1) != 0, axis=0))
    for start, stop in zip(starts.tolist(), [*starts.tolist()[1:], len(rows)], strict=True):
        other, idle, *codes = names[:, start].tolist()
        key = None if other or key_of is None else key_of(tuple(codes))
        yield _group(key, bool(idle), rows.where(slice(start, stop)))


def _group(key: Key | None, idle: bool, rows: Counts) -> Group:
    timed = rows.where(rows.keys[-1] != NO_BUCKET)
    columns = (timed.n.tolist(), timed.least_ns.tolist(), timed.most_ns.tolist())
    extents = [Extent(*row) for row in zip(*columns, strict=True)]
    return Group(
        key,
        idle,
        exits=int(rows.n.sum()),
        timed=int(timed.n.sum()),
        out_of_guest_ns=int(timed.total_ns.sum()) if extents else None,
        p50_ns=percentile_ns(extents, 500),
        p99_ns=percentile_ns(extents, 990),
        max_ns=extents[-1].max_ns if extents else None,
    )
