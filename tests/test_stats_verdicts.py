from __future__ import annotations

import pytest

from kvmtrace.errors import UsageError
from kvmtrace.stats.estimate import WITHIN, Estimate, Interval
from kvmtrace.stats.estimates import between_runs, single
from kvmtrace.stats.verdicts import Verdict, holm, verdict


def estimate(ratio: float, low: float, high: float, p: float) -> Estimate:
    """Return an estimate of a base of 100."""
    differences = Interval(100 * low - 100, 100 * high - 100)
    return Estimate(
        100, 100 * ratio, ratio, Interval(low, high), 100 * ratio - 100, differences, p, WITHIN, 64, 64, "blocks", 0.95
    )


def from_zero(base: float, new: float, interval: Interval, p: float) -> Estimate:
    ratio = new / base if base else None
    return Estimate(base, new, ratio, None, new - base, interval, p, WITHIN, 64, 64, "blocks", 0.95)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_order_and_counts_no_missing_test() -> None:
    assert holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("ratio", "low", "high", "p", "said"),
    [
        (0.90, 0.85, 0.95, 0.001, Verdict.FELL),
        (1.10, 1.02, 1.19, 0.01, Verdict.ROSE),
        (0.98, 0.90, 1.07, 0.6, Verdict.UNDECIDED),
        (1.00, 0.995, 1.006, 0.9, Verdict.SAME),
        (1.005, 1.002, 1.008, 0.001, Verdict.SAME),
        (1.008, 1.002, 1.014, 0.01, Verdict.SMALL),
        (0.50, 0.20, 1.25, 0.13, Verdict.UNDECIDED),
    ],
)
def test_a_verdict_asks_for_magnitude_and_significance(
    ratio: float, low: float, high: float, p: float, said: Verdict
) -> None:
    assert verdict(estimate(ratio, low, high, p), adjusted_p=None) is said


def test_the_adjusted_p_is_the_one_that_counts() -> None:
    one = estimate(0.9, 0.85, 0.95, 0.01)
    assert verdict(one, adjusted_p=0.04) is Verdict.FELL
    assert verdict(one, adjusted_p=0.05) is Verdict.FELL
    assert verdict(one, adjusted_p=0.051) is Verdict.UNDECIDED
    assert verdict(one, adjusted_p=0.04, level=0.99) is Verdict.UNDECIDED


def test_the_minimum_effect_is_the_users() -> None:
    one = estimate(0.9, 0.85, 0.95, 0.001)
    assert verdict(one, adjusted_p=None, minimum_effect=0.12) is Verdict.SMALL
    assert verdict(one, adjusted_p=None, minimum_effect=0.2) is Verdict.SAME
    assert verdict(one, adjusted_p=None, minimum_effect=0.0) is Verdict.FELL


def test_what_begins_or_ends_is_new_or_gone() -> None:
    assert verdict(from_zero(0, 50, Interval(40, 60), 0.001), adjusted_p=None) is Verdict.NEW
    assert verdict(from_zero(0, 3, Interval(-1, 7), 0.2), adjusted_p=None) is Verdict.UNDECIDED
    assert verdict(from_zero(50, 0, Interval(-60, -40), 0.001), adjusted_p=None) is Verdict.GONE
    assert verdict(from_zero(3, 0, Interval(-7, 1), 0.2), adjusted_p=None) is Verdict.UNDECIDED
    assert verdict(from_zero(0, 0, Interval(0, 0), 1.0), adjusted_p=None) is Verdict.SAME


def test_without_a_ratio_the_difference_is_judged() -> None:
    assert verdict(from_zero(10, 20, Interval(4, 16), 0.01), adjusted_p=None) is Verdict.ROSE
    assert verdict(from_zero(-10, -20, Interval(-16, -4), 0.01), adjusted_p=None) is Verdict.FELL


def test_no_interval_and_not_recorded_are_no_verdict() -> None:
    assert verdict(single(10, 20), adjusted_p=None) is Verdict.NO_INTERVAL
    assert verdict(single(10, 20), adjusted_p=0.001) is Verdict.NO_INTERVAL
    assert verdict(single(None, 20), adjusted_p=None) is Verdict.NOT_RECORDED


def test_a_negative_minimum_effect_is_refused() -> None:
    with pytest.raises(UsageError, match="minimum effect"):
        verdict(single(1, 2), adjusted_p=None, minimum_effect=-0.1)


def test_one_run_in_seven_that_is_not_0_is_not_the_same_as_none() -> None:
    found = between_runs([0.0] * 7, [0.0] * 6 + [1e6])
    assert (found.base, found.new) == (0, 0)
    assert verdict(found, adjusted_p=None) is Verdict.UNDECIDED
    assert verdict(between_runs([0.0] * 7, [0.0] * 7), adjusted_p=None) is Verdict.SAME
