"""Adds latency buckets up to the groups, sections and totals of a report."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from kvmtrace.exit_keys import Key
from kvmtrace.report.summary import PARTS, ExitGroup, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    userspace_ns: int | None  # parts of the sum; None: not recorded
    blocked_ns: int | None
    polled_ns: int | None
    preempted_ns: int | None
    hcall_ns: int | None
    several_vms: bool

    @property
    def key(self) -> Key:
        """The part that tells groups apart."""
        return Key._make(self[2:10])


_LOW_NS = attrgetter("low_ns")
_EXTENT = attrgetter("n", "min_ns", "max_ns")


class Extent(NamedTuple):
    """The exits of one bucket: how many, and the shortest and longest latency of them."""

    n: int
    min_ns: int
    max_ns: int


def sections(rows: Iterable[BucketRow], *, with_idle: bool) -> tuple[Section, ...]:
    """Return the groups and totals of `rows`: idle exits in a section of their own unless `with_idle`."""
    found: dict[bool, list[BucketRow]] = {}
    for row in rows:
        found.setdefault(row.idle and not with_idle, []).append(row)
    return tuple(
        Section(
            idle_section,
            by_time(_groups(section)),
            _group(None, None if with_idle else idle_section, section),
        )
        for idle_section, section in sorted(found.items())
    )


def _groups(rows: Iterable[BucketRow]) -> Iterator[ExitGroup]:
    by_key: dict[tuple[object, ...], list[BucketRow]] = {}
    for row in rows:
        by_key.setdefault((row.idle, *row[2:10]), []).append(row)
    for group in by_key.values():
        yield _group(group[0].key, group[0].idle, group)


def _group(key: Key | None, idle: bool | None, rows: Sequence[BucketRow]) -> ExitGroup:
    timed = [row for row in rows if row.low_ns is not None and not row.suspect]
    buckets = list(_extents(timed))
    n = sum(row.n for row in timed)
    suspect = sum(row.n for row in rows if row.suspect)
    exits = sum(row.n for row in rows)
    userspace = [row.userspace for row in rows if row.userspace is not None]
    sum_ns = sum(row.sum_ns or 0 for row in timed)
    sum_sq_ns2 = sum(row.sum_sq_ns2 or 0.0 for row in timed)
    return ExitGroup(
        key,
        idle,
        exits=exits,
        timed=n,
        suspect=suspect,
        no_latency=exits - n - suspect,
        userspace=sum(userspace) if userspace else None,
        several_vms=any(row.several_vms for row in rows),
        out_of_guest_ns=sum_ns if n else None,
        sq_dev_ns2=_sq_dev_ns2(sum_ns, sum_sq_ns2, n, buckets) if n else None,
        min_ns=buckets[0].min_ns if n else None,
        max_ns=buckets[-1].max_ns if n else None,
        **{name: percentile_ns(buckets, permille) for name, permille in PERMILLES.items()},
        **{name: _part(timed, name) for name in PARTS},
    )


def _part(timed: Iterable[BucketRow], name: str) -> int | None:
    """Return the sum of one part of the latencies, None where it was not recorded."""
    known = [value for row in timed if (value := getattr(row, name)) is not None]
    return sum(known) if known else None


def _extents(timed: Iterable[BucketRow]) -> Iterator[Extent]:
    """Yield the extent of each bucket, shortest latencies first; several keys may share a bucket."""
    for _, bucket in groupby(sorted(timed, key=_LOW_NS), key=_LOW_NS):
        extents = list(map(_EXTENT, bucket))
        if len(extents) == 1:
            yield Extent._make(extents[0])
        else:
            n, min_ns, max_ns = zip(*extents, strict=True)
            yield Extent(sum(n), min(min_ns), max(max_ns))


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
