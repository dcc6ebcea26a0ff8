"""Adds latency buckets up to the groups, sections and totals of a report."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.report.summary import ExitGroup, Key, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PERMILLES = {"p50_ns": 500, "p90_ns": 900, "p99_ns": 990, "p99_9_ns": 999}
"""The percentiles of a group, in thousandths: ranks are worked out in whole numbers."""


class BucketRow(NamedTuple):
    """Exits of one key and one bucket of latency, as the query `report/exits_by_bucket` gives them."""

    idle: bool
    suspect: bool
    reason: str | None
    detail_kind: str | None
    detail: int | None
    detail_name: str | None
    detail_capped: bool
    vm_id: str | None
    vcpu: int | None
    cpu: int | None
    low_ns: int | None  # None: outside the latency figures, and so are the sums and extremes
    high_ns: int | None
    n: int
    userspace: int | None
    sum_ns: int | None
    sum_sq_ns2: float | None
    min_ns: int | None
    max_ns: int | None
    several_vms: bool

    @property
    def key(self) -> Key:
        """The part that tells groups apart."""
        return Key._make(self[2:10])


class Extent(NamedTuple):
    """The exits of one bucket: how many, and the shortest and longest latency of them."""

    n: int
    min_ns: int
    max_ns: int


@dataclass(slots=True)
class _Sum:
    exits: int = 0
    suspect: int = 0
    no_latency: int = 0
    userspace: int | None = None
    several_vms: bool = False
    sum_ns: int = 0
    sum_sq_ns2: float = 0.0
    buckets: dict[int, Extent] = field(default_factory=dict)  # by lowest latency

    def add(self, row: BucketRow) -> None:
        self.exits += row.n
        self.several_vms |= row.several_vms
        if row.userspace is not None:
            self.userspace = (self.userspace or 0) + row.userspace
        if row.suspect:
            self.suspect += row.n
        elif row.low_ns is None or row.min_ns is None or row.max_ns is None:
            self.no_latency += row.n
        else:
            self.sum_ns += row.sum_ns or 0
            self.sum_sq_ns2 += row.sum_sq_ns2 or 0.0
            n, min_ns, max_ns = self.buckets.get(row.low_ns) or Extent(0, row.min_ns, row.max_ns)
            self.buckets[row.low_ns] = Extent(n + row.n, min(min_ns, row.min_ns), max(max_ns, row.max_ns))

    def group(self, key: Key | None, *, idle: bool | None) -> ExitGroup:
        buckets = [extent for _, extent in sorted(self.buckets.items())]
        timed = sum(extent.n for extent in buckets)
        return ExitGroup(
            key,
            idle,
            exits=self.exits,
            timed=timed,
            suspect=self.suspect,
            no_latency=self.no_latency,
            userspace=self.userspace,
            several_vms=self.several_vms,
            out_of_guest_ns=self.sum_ns if timed else None,
            sq_dev_ns2=_sq_dev_ns2(self.sum_ns, self.sum_sq_ns2, timed, buckets) if timed else None,
            min_ns=buckets[0].min_ns if timed else None,
            max_ns=buckets[-1].max_ns if timed else None,
            **{name: percentile_ns(buckets, permille) for name, permille in PERMILLES.items()},
        )


def sections(rows: Iterable[BucketRow], *, with_idle: bool) -> tuple[Section, ...]:
    """Return the groups and totals of `rows`: idle exits in a section of their own unless `with_idle`."""
    groups: defaultdict[tuple[bool, Key], _Sum] = defaultdict(_Sum)
    totals: defaultdict[bool, _Sum] = defaultdict(_Sum)
    for row in rows:
        groups[row.idle, row.key].add(row)
        totals[row.idle and not with_idle].add(row)
    return tuple(
        Section(
            idle_section,
            by_time(
                group.group(key, idle=idle)
                for (idle, key), group in groups.items()
                if with_idle or idle == idle_section
            ),
            totals[idle_section].group(None, idle=None if with_idle else idle_section),
        )
        for idle_section in sorted(totals)
    )


def by_time(groups: Iterable[ExitGroup]) -> tuple[ExitGroup, ...]:
    """Return groups with most time out of the guest first; then most exits, then by name, what has none last."""

    def order(group: ExitGroup) -> tuple[object, ...]:
        key = [(part is None, part if part is not None else 0) for part in group.key or ()]
        return -(group.out_of_guest_ns or 0), -group.exits, *key, group.idle

    return tuple(sorted(groups, key=order))


def percentile_ns(buckets: Sequence[Extent], permille: int) -> int | None:
    """Return the latency of rank ceil(permille / 1000 * n) of the n exits in `buckets`, which come in order.

    Within 1% of the exact one where the extremes of a bucket are within 2% of each other: the bucket's own minimum or
    maximum where the rank falls on them; else between the two in proportion, no further than 1% from either.
    """
    rank = -(-sum(extent.n for extent in buckets) * permille // 1000)
    for n, min_ns, max_ns in buckets:
        if rank == 1:
            return min_ns
        if rank == n:
            return max_ns
        if rank < n:
            between = min_ns + (max_ns - min_ns) * (rank - 1) / (n - 1)
            return round(min(max(between, 0.99 * max_ns), 1.01 * min_ns))
        rank -= n
    return None


def _sq_dev_ns2(sum_ns: int, sum_sq_ns2: float, n: int, buckets: Sequence[Extent]) -> float:
    """Return the sum of squared deviations from the mean.

    A difference of large sums: by rounding it can fall below 0, or above what the range of the values allows.
    """
    most = n * (buckets[-1].max_ns - buckets[0].min_ns) ** 2 / 4
    return min(max(sum_sq_ns2 - sum_ns**2 / n, 0.0), most)
