"""Histograms of bars, and the labels and numbers that people read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmtrace.report import readable
from kvmtrace.report.histogram import Bin, bins, draw
from kvmtrace.report.summary import Bucket


def buckets(*latencies: int) -> list[Bucket]:
    return [Bucket(None, latency, latency, 1, latency) for latency in latencies]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_every_exit_is_in_the_one_bin_that_holds_its_latency(latencies: list[int]) -> None:
    drawn = bins(buckets(*latencies))
    assert [b.n for b in drawn] == [sum(b.low_ns <= latency < b.high_ns for latency in latencies) for b in drawn]
    assert sum(b.n for b in drawn) == len(latencies)
    assert drawn[0].n
    assert drawn[-1].n
    assert all(first.high_ns == second.low_ns for first, second in pairwise(drawn))


def test_no_exits_make_no_histogram() -> None:
    assert bins([]) == ()
    assert draw((), 80) == []


def test_bars_are_in_proportion_and_the_longest_fills_the_width() -> None:
    lines = draw((Bin(1024, 2048, 1000), Bin(2048, 4096, 500), Bin(4096, 8192, 0), Bin(8192, 16384, 1)), 60)
    assert lines == [
        "   from    below  exits      %",
        "1.02 µs  2.05 µs  1,000  66.62  ████████████████████████████",
        "2.05 µs   4.1 µs    500  33.31  ██████████████",
        " 4.1 µs  8.19 µs      0   0.00",
        "8.19 µs  16.4 µs      1   0.07  ▏",
    ]
    assert max(map(len, lines)) == 60


def test_bars_without_unicode_are_of_signs_that_every_terminal_has() -> None:
    lines = draw((Bin(1, 2, 4), Bin(2, 4, 1)), 60, unicode=False)
    assert [line.count("#") for line in lines] == [0, 33, 8]


def test_a_terminal_that_is_too_narrow_still_gets_the_numbers() -> None:
    assert [line.split()[-2] for line in draw((Bin(1, 2, 4),), 1)][1] == "100.00"


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0 ns"), (1, "1 ns"), (512, "512 ns"), (999, "999 ns"), (999.9, "1 µs"), (1000, "1 µs"), (1024, "1.02 µs"),
        (999_600, "1 ms"), (1 << 20, "1.05 ms"), (5e8, "500 ms"), (999_999_999, "1 s"), (1 << 40, "1,100 s"),
    ],
)  # fmt: skip
def test_a_duration_has_three_figures_and_the_unit_that_suits_it(ns: float, shown: str) -> None:
    assert readable.duration(ns) == shown


def test_what_is_above_0_never_reads_as_0_and_what_is_not_known_reads_as_a_dash() -> None:
    assert [readable.percent(share) for share in (0, 1e-9, 0.5, None)] == ["0.00", "<0.01", "50.00", "-"]
    assert [readable.ratio(value) for value in (0, 1e-9, 2.3611, None)] == ["0.000", "<0.001", "2.361", "-"]
    assert [readable.count(n) for n in (0, 1_234_567, 12.5, None)] == ["0", "1,234,567", "12.50", "-"]
    assert [readable.microseconds(ns) for ns in (0, 1234, None)] == ["0.00", "1.23", "-"]
