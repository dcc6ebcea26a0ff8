"""How latency buckets add up to groups and totals, and how near percentiles of them are."""

from __future__ import annotations

import math
import statistics
from itertools import groupby

import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from kvmtrace.exit_keys import Key
from kvmtrace.report.grouping import PERMILLES, BucketRow, Extent, percentile_ns, sections

LATENCIES = st.lists(
    st.one_of(
        st.integers(0, 300),
        st.integers(4096, 4160),  # one bucket, so that where in it a rank lies matters
        st.integers(0, 10**11),
        st.sampled_from([1000, 1010, 1015]),
    ),
    min_size=1,
    max_size=400,
)


def bucket_low(latency_ns: int) -> int:
    """Return the lowest latency that agrees in its power of two and in the next six bits."""
    dropped = max(latency_ns.bit_length() - 7, 0)
    return latency_ns >> dropped << dropped


def extents(latencies: list[int]) -> list[Extent]:
    buckets = [list(group) for _, group in groupby(sorted(latencies), key=bucket_low)]
    return [Extent(len(bucket), bucket[0], bucket[-1]) for bucket in buckets]


def rows(key: Key, latencies: list[int]) -> list[BucketRow]:
    buckets = groupby(sorted(latencies), key=bucket_low)
    return [samples.bucket_row(key, list(group))._replace(low_ns=low) for low, group in buckets]


@given(LATENCIES)
def test_a_percentile_of_buckets_is_within_1_percent_of_the_latency_of_its_rank(latencies: list[int]) -> None:
    ordered = sorted(latencies)
    for permille in (1, *PERMILLES.values(), 1000):
        exact = ordered[math.ceil(len(ordered) * permille / 1000) - 1]
        found = percentile_ns(extents(latencies), permille)
        assert found is not None
        assert abs(found - exact) <= 0.01 * exact + 0.5  # whole nanoseconds


@given(LATENCIES)
def test_the_first_and_the_last_percentile_are_exact(latencies: list[int]) -> None:
    assert percentile_ns(extents(latencies), 1000) == max(latencies)
    assert percentile_ns(extents(latencies)[:1], 1) == min(latencies)


def test_no_exits_have_no_percentile() -> None:
    assert percentile_ns([], 500) is None


@given(LATENCIES)
def test_sums_minima_maxima_and_the_standard_error_are_exact(latencies: list[int]) -> None:
    [section] = sections(rows(Key("msr"), latencies), with_idle=False)
    [group] = section.groups
    assert (group.exits, group.timed, group.out_of_guest_ns) == (len(latencies), len(latencies), sum(latencies))
    assert (group.min_ns, group.max_ns) == (min(latencies), max(latencies))
    assert group.avg_ns == pytest.approx(statistics.fmean(latencies))
    if len(latencies) == 1:
        assert group.stderr_ns is None
    else:
        scale = max(*latencies, 1) * 1e-6  # squares of latencies lose what is far below the longest of them
        expected = statistics.stdev(latencies) / math.sqrt(len(latencies))
        assert group.stderr_ns == pytest.approx(expected, rel=1e-6, abs=scale)


def test_equal_latencies_have_no_standard_error_however_their_squares_round() -> None:
    row = samples.bucket_row(Key("hlt"), [3_333_333_333] * 7)
    assert row.sum_sq_ns2 is not None
    for rounded in (1 - 1e-12, 1 + 1e-12):
        [section] = sections([row._replace(sum_sq_ns2=row.sum_sq_ns2 * rounded)], with_idle=False)
        assert section.total.stderr_ns == 0


@given(st.lists(LATENCIES, min_size=1, max_size=4))
def test_a_total_is_that_of_all_exits_as_if_nothing_told_them_apart(parts: list[list[int]]) -> None:
    apart = [row for number, part in enumerate(parts) for row in rows(Key(str(number)), part)]
    together = rows(Key("any"), [latency for part in parts for latency in part])
    [several], [one] = (sections(each, with_idle=False) for each in (apart, together))
    for figure in ("exits", "timed", "out_of_guest_ns", "min_ns", "max_ns", *PERMILLES):
        assert getattr(several.total, figure) == getattr(one.total, figure)
    assert several.total.sq_dev_ns2 == pytest.approx(one.total.sq_dev_ns2, rel=1e-6, abs=1e12)


def test_idle_exits_are_a_section_of_their_own_unless_they_are_asked_for() -> None:
    busy, idle = sections(samples.ROWS, with_idle=False)
    assert (busy.idle, busy.total.exits, [group.key for group in idle.groups]) == (False, 119 - 3, [samples.HALT])
    [everything] = sections(samples.ROWS, with_idle=True)
    assert (everything.total.exits, everything.total.idle) == (119, None)
    assert [group.idle for group in everything.groups if group.key == samples.HALT] == [True]


def test_suspect_exits_and_exits_without_a_latency_are_counted_outside_the_latency_figures() -> None:
    busy, idle = sections(samples.ROWS, with_idle=False)
    assert (busy.total.exits, busy.total.timed, busy.total.suspect, busy.total.no_latency) == (116, 104, 12, 0)
    assert (idle.total.exits, idle.total.timed, idle.total.suspect, idle.total.no_latency) == (3, 2, 0, 1)


def test_groups_of_exits_without_any_latency_have_no_latency_figures() -> None:
    [section] = sections([samples.bucket_row(Key("npf"), [], suspect=True, n=5)], with_idle=False)
    total = section.total
    assert (total.exits, total.out_of_guest_ns, total.avg_ns, total.p50_ns, total.stderr_ns) == (5, *[None] * 4)


def test_groups_come_with_most_time_out_of_the_guest_first_and_ties_by_name() -> None:
    each = [
        samples.bucket_row(Key("b", vcpu=10), [1000]),
        samples.bucket_row(Key("b", vcpu=9), [1000]),
        samples.bucket_row(Key("a"), [1000]),
        samples.bucket_row(Key(None), [1000]),
        samples.bucket_row(Key("z"), [500, 600]),
        samples.bucket_row(Key("untimed"), [], suspect=True, n=9),
    ]
    [section] = sections(each, with_idle=False)
    order = [(group.key.reason, group.key.vcpu) for group in section.groups if group.key]
    assert order == [("z", None), ("a", None), ("b", 9), ("b", 10), (None, None), ("untimed", None)]


def test_userspace_is_unknown_only_where_no_row_tells() -> None:
    for told, expected in (([None, None], None), ([None, 0], 0), ([2, None], 2), ([2, 3], 5)):
        each = [samples.bucket_row(Key("io"), [1000 + n], userspace=value) for n, value in enumerate(told)]
        assert sections(each, with_idle=False)[0].total.userspace == expected
