from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kvmtrace.errors import UsageError
from kvmtrace.stats import ranks, student
from kvmtrace.stats.estimate import ALL_EQUAL, BETWEEN, FEW, FROM_MEANS, SINGLE, WITHIN
from kvmtrace.stats.estimates import MIN_RUNS, Mean, Replicated, between_runs, from_means, single, within_runs
from kvmtrace.stats.verdicts import Verdict, verdict

ABOVE = [101.0, 103.0, 99.0, 100.5, 98.0, 102.0, 104.0, 97.5]
BELOW = [90.0, 92.5, 88.0, 91.0, 89.5, 93.0, 87.0, 90.5]


def replicated(value: float, error: float, blocks: float = 64.0) -> Replicated:
    """Return a figure whose replicas are normal with exactly this standard error."""
    normal = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    return Replicated(value, value + error * normal / normal.std(ddof=1), blocks)


def test_single_figures_carry_no_interval() -> None:
    estimate = single(9587, 5754)
    assert estimate.ratio == pytest.approx(0.600, abs=5e-4)
    assert estimate.difference == -3833
    assert (estimate.p, estimate.ratio_interval, estimate.difference_interval) == (None, None, None)
    assert estimate.method == SINGLE
    assert estimate.missing == "two single figures carry no interval"


def test_what_was_not_recorded_is_no_zero() -> None:
    estimate = single(None, 3.0)
    assert (estimate.base, estimate.new, estimate.ratio, estimate.difference) == (None, 3.0, None, None)
    assert estimate.missing == "not recorded: base"
    assert single(math.nan, None).missing == "not recorded: base and new"
    assert single(0.0, 3.0).ratio is None
    assert single(0.0, 3.0).difference == 3


def test_within_runs_is_welch_on_the_logarithms() -> None:
    base, new = replicated(100, 1.0), replicated(90, 1.0)
    estimate = within_runs(base, new)
    assert estimate.ratio == pytest.approx(0.9)
    assert estimate.difference == pytest.approx(-10)
    assert estimate.ratio_interval is not None
    assert estimate.difference_interval is not None
    # Errors of 1/100 and 1/90 with 31.5 degrees of freedom each, 64/63 of the variance.
    error = math.sqrt((1 / 100) ** 2 + (1 / 90) ** 2) * math.sqrt(64 / 63)
    freedom = 31.5 * ((1 / 100) ** 2 + (1 / 90) ** 2) ** 2 / ((1 / 100) ** 4 + (1 / 90) ** 4)
    half = stats.t.ppf(0.975, freedom) * error
    assert estimate.ratio_interval.low == pytest.approx(0.9 * math.exp(-half), rel=1e-4)
    assert estimate.ratio_interval.high == pytest.approx(0.9 * math.exp(half), rel=1e-4)
    assert estimate.p == pytest.approx(2 * stats.t.sf(-math.log(0.9) / error, freedom), rel=0.01)
    assert estimate.difference_interval.low < -10 < estimate.difference_interval.high < 0
    assert (estimate.method, estimate.base_n, estimate.unit_of_n, estimate.missing) == (WITHIN, 64, "blocks", None)


def test_a_higher_level_and_fewer_blocks_widen_the_interval() -> None:
    def width(level: float, blocks: float) -> float:
        interval = within_runs(replicated(100, 1, blocks), replicated(90, 1, blocks), level).ratio_interval
        assert interval is not None
        return interval.high - interval.low

    assert width(0.95, 64) < width(0.95, 8)
    assert width(0.95, 64) < width(0.99, 64)


def test_too_few_blocks_have_no_interval_and_say_so() -> None:
    estimate = within_runs(replicated(100, 1, 7.9), replicated(90, 1, 40))
    assert estimate.missing == "too few blocks: need 8 a side, found 7 and 40"
    assert estimate.ratio == pytest.approx(0.9)
    assert (estimate.p, estimate.ratio_interval, estimate.difference_interval) == (None, None, None)


def test_replicas_without_a_value_have_no_interval() -> None:
    broken = Replicated(5.0, np.array([5.0, math.nan, 5.0]), 64)
    assert within_runs(broken, replicated(5, 1)).missing == "some blocks have no value"


def test_a_side_of_zero_has_a_difference_only() -> None:
    nothing = Replicated(0.0, np.zeros(2000), 256)
    few = within_runs(nothing, replicated(4, 2.0, 256))
    assert (few.ratio, few.ratio_interval) == (None, None)
    assert few.difference_interval is not None
    # Four events against none (Poisson) are p = 0.125: without the other side's error they would be p = 0.047.
    assert few.p is not None
    assert 0.1 < few.p < 0.2
    many = within_runs(replicated(100, 10.0, 256), nothing)
    assert many.p is not None
    assert many.p < 1e-6
    assert many.ratio == 0
    assert within_runs(nothing, nothing).p == 1


def test_replicas_that_reach_zero_have_a_difference_only() -> None:
    estimate = within_runs(replicated(2, 1.5), replicated(4, 2.0))
    assert estimate.ratio == 2
    assert estimate.ratio_interval is None
    assert estimate.difference_interval is not None


def test_figures_without_any_spread_differ_or_do_not() -> None:
    ten, eleven = (Replicated(value, np.full(2000, value), 256) for value in (10.0, 11.0))
    assert within_runs(ten, ten).p == 1
    certain = within_runs(ten, eleven)
    assert certain.p == 0
    assert certain.ratio_interval == pytest.approx((1.1, 1.1))


def test_runs_are_compared_from_three_a_side_and_by_their_order_from_six() -> None:
    estimate = between_runs(ABOVE[:2], BELOW[:4])
    assert estimate.missing == "not enough runs: need 3 a side, found 2 and 4"
    assert (estimate.base, estimate.new) == (102, 90.5)
    assert (estimate.base_n, estimate.new_n, estimate.p, estimate.ratio_interval) == (2, 4, None, None)
    assert between_runs([], [1.0]).base is None
    assert between_runs(ABOVE[:3], BELOW[:4]).method == FEW
    assert between_runs(ABOVE[:MIN_RUNS], BELOW[:5]).method == FEW
    assert between_runs(ABOVE[:MIN_RUNS], BELOW[:MIN_RUNS]).p == pytest.approx(2 / 924)


def test_few_runs_are_compared_by_welchs_t_of_their_logarithms() -> None:
    base, new = [100.0, 104.0, 97.0], [55.0, 50.0, 52.0, 53.0]
    found = between_runs(base, new)
    expected = stats.ttest_ind(np.log(new), np.log(base), equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ratio_interval == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert found.ratio is not None
    assert found.ratio_interval is not None
    assert found.ratio_interval.low < found.ratio < found.ratio_interval.high
    plain = stats.ttest_ind(new, base, equal_var=False).confidence_interval(0.95)
    assert found.difference_interval == pytest.approx((plain.low, plain.high))
    assert (found.base, found.new, found.base_n, found.new_n, found.missing) == (100, 52.5, 3, 4, None)


def test_few_runs_that_hold_zeros_have_an_interval_of_the_difference_alone() -> None:
    found = between_runs([0.0, 0.0, 0.0], [9.0, 10.0, 11.0])
    assert found.ratio is None
    assert found.ratio_interval is None
    assert found.difference_interval == pytest.approx((10 - 3.513, 10 + 3.513), abs=0.001)
    assert found.p is not None
    assert found.p < 0.01


def test_few_runs_without_any_spread_differ_or_do_not() -> None:
    found = between_runs([500.0] * 3, [3000.0] * 3)
    assert (found.p, found.difference_interval, found.missing) == (0, (2500, 2500), None)
    assert found.ratio_interval == pytest.approx((6, 6))
    assert found.method == ALL_EQUAL
    same = between_runs([500.0] * 3, [500.0] * 3)
    assert (same.p, verdict(same, adjusted_p=None)) == (1, Verdict.SAME)
    assert between_runs([0.0] * 3, [0.0] * 3).difference_interval == (0, 0)


def test_few_runs_of_which_one_side_is_all_equal_are_given_the_others_spread() -> None:
    found = between_runs([900.0, 900.0, 900.0], [300.0, 310.0, 320.0])
    assert found.method == FEW
    error = 10 * math.sqrt(2 / 3)
    half = stats.t.ppf(0.975, 2) * error
    assert found.difference_interval == pytest.approx((-590 - half, -590 + half))
    one_of_two_values = between_runs([900.0] * 3, [900.0, 901.0, 901.0, 901.0, 900.0, 901.0, 901.0])
    assert one_of_two_values.p is not None
    assert one_of_two_values.p > 0.05


def test_so_few_runs_are_compared_only_where_that_will_do() -> None:
    found = between_runs(ABOVE[:5], BELOW[:5], least_runs=MIN_RUNS)
    assert (found.p, found.missing) == (None, "not enough runs: need 6 a side, found 5 and 5")


def test_between_runs_is_the_rank_sum_test_with_its_shift() -> None:
    estimate = between_runs(ABOVE, BELOW)
    assert estimate.p == pytest.approx(2 / math.comb(16, 8))
    pairs = np.subtract.outer(BELOW, ABOVE)
    assert estimate.difference == np.median(pairs)
    assert estimate.ratio == pytest.approx(math.exp(np.median(np.subtract.outer(np.log(BELOW), np.log(ABOVE)))))
    # For 8 and 8 values U up to 13 is significant at 5% (tables of Mann and Whitney's U): the 14th from both ends.
    assert estimate.difference_interval == (np.sort(pairs, axis=None)[13], np.sort(pairs, axis=None)[-14])
    assert estimate.ratio_interval is not None
    assert estimate.ratio is not None
    assert estimate.ratio_interval.low < estimate.ratio < estimate.ratio_interval.high < 1
    assert (estimate.base, estimate.method, estimate.unit_of_n) == (np.median(ABOVE), BETWEEN, "runs")


@pytest.mark.parametrize("shift", [0.0, 2.0, 4.0, 6.0])
def test_the_interval_leaves_zero_out_exactly_where_the_test_rejects(shift: float) -> None:
    random = np.random.default_rng(2)
    for _ in range(10):
        estimate = between_runs(random.normal(100, 3, 7).tolist(), random.normal(100 + shift, 3, 9).tolist())
        assert estimate.p is not None
        assert estimate.difference_interval is not None
        outside = not estimate.difference_interval.low <= 0 <= estimate.difference_interval.high
        assert outside == (estimate.p <= 0.05)


@pytest.mark.parametrize(("runs", "critical"), [((6, 6), 5), ((10, 10), 23), ((6, 9), 10), ((9, 6), 10)])
def test_the_interval_is_cut_where_the_tables_say(runs: tuple[int, int], critical: int) -> None:
    base, new = np.linspace(0, 1000, runs[0]), np.linspace(1, 7, runs[1])
    ends = ranks.shift(base, new, 0.95)[1]
    assert ends is not None
    assert ends[0] == np.sort(np.subtract.outer(new, base), axis=None)[critical]


def test_equal_values_are_tested_by_permutation() -> None:
    estimate = between_runs([1, 1, 2, 2, 2, 3], [2, 3, 3, 3, 4, 4])
    exact = stats.permutation_test(
        ([1, 1, 2, 2, 2, 3], [2, 3, 3, 3, 4, 4]), lambda x, y: stats.rankdata([*x, *y])[:6].sum() - len(y) * 6.5
    )
    assert estimate.p == pytest.approx(float(exact.pvalue))
    same = between_runs([5] * 6, [5] * 6)
    assert (same.p, same.ratio_interval) == (1, (1, 1))


def test_values_of_zero_leave_the_ratio_of_the_medians_and_an_interval_of_the_difference() -> None:
    estimate = between_runs([0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15])
    assert (estimate.ratio, estimate.ratio_interval) == (5, None)
    assert estimate.difference == 10
    assert estimate.difference_interval is not None


def test_a_level_that_six_runs_cannot_show_says_so() -> None:
    estimate = between_runs(ABOVE[:6], BELOW[:6], level=0.999)
    assert (estimate.ratio_interval, estimate.difference_interval) == (None, None)
    assert estimate.missing == "not enough runs: 6 and 6 cannot show anything at a level of 0.999"


def test_means_are_compared_by_welch() -> None:
    estimate = from_means(Mean(100, 1.0, 10), Mean(95, 1.5, 12))
    welch = stats.ttest_ind_from_stats(95, 1.5 * math.sqrt(12), 12, 100, math.sqrt(10), 10, equal_var=False)
    assert estimate.p == pytest.approx(float(welch.pvalue))
    assert (estimate.ratio, estimate.difference, estimate.method) == (0.95, -5, FROM_MEANS)
    assert (estimate.base_n, estimate.new_n) == (10, 12)


@pytest.mark.parametrize("new", [93.0, 95.0, 95.9, 96.3, 98.0, 104.0, 105.0])
def test_fieller_and_welch_agree(new: float) -> None:
    estimate = from_means(Mean(100, 1.0, 10), Mean(new, 1.5, 12))
    assert estimate.p is not None
    assert estimate.ratio_interval is not None
    assert (not estimate.ratio_interval.low < 1 < estimate.ratio_interval.high) == (estimate.p <= 0.05)


def test_a_base_that_could_be_zero_has_no_ratio_interval() -> None:
    estimate = from_means(Mean(1, 0.6, 10), Mean(3, 0.5, 10))
    assert estimate.ratio_interval is None
    assert estimate.difference_interval is not None
    assert student.fieller(student.Side(0, 0, 9), student.Side(3, 0.5, 9), 2.0) is None


@pytest.mark.parametrize("bare", [Mean(95, None, 10), Mean(95, 1.0, None), Mean(95, 1.0, 1), Mean(95, math.nan, 9)])
def test_means_without_error_or_n_are_single_figures(bare: Mean) -> None:
    estimate = from_means(Mean(100, 1.0, 10), bare)
    assert estimate.method == SINGLE
    assert (estimate.ratio, estimate.p) == (0.95, None)
    assert estimate.missing == "means without both ± and n carry no interval"


def test_errors_printed_as_zero_are_not_taken_for_certain() -> None:
    estimate = from_means(Mean(100, 0.0, 10), Mean(99, 0.0, 10))
    assert (estimate.p, estimate.missing) == (None, "both sides' ± is 0 as printed")


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_is_between_zero_and_one(level: float) -> None:
    with pytest.raises(UsageError, match="confidence level"):
        between_runs(ABOVE, BELOW, level)
