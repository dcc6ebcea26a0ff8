"""Where an interval lies beside a limit, and what a change that does not count makes of it."""

from __future__ import annotations

import pytest

from kvmtrace.budget.limits import Decision, Limit, both, limit
from kvmtrace.stats.estimate import Interval

WITHIN, OVER, UNDECIDED = Decision.WITHIN, Decision.OVER, Decision.UNDECIDED


@pytest.mark.parametrize(
    ("stated", "in_effect"),
    [(1.0, 1.01), (1.005, 1.01), (1.05, 1.05), (0.999, 0.999), (0.55, 0.55)],
)
def test_a_ratio_may_change_by_what_does_not_count_unless_an_improvement_is_asked(
    stated: float, in_effect: float
) -> None:
    assert limit(stated, 1.0, 0.01) == Limit(stated, in_effect)


def test_a_limit_of_a_value_is_as_it_stands() -> None:
    assert limit(60, None, 0.01) == Limit(60, 60)


@pytest.mark.parametrize(
    ("stated", "value", "interval", "decision"),
    [
        (1.05, 1.10, (1.06, 1.14), OVER),
        (1.05, 1.10, (1.04, 1.16), UNDECIDED),  # straddles it
        (1.05, 1.02, (0.99, 1.05), WITHIN),  # at the limit is within it
        (1.00, 1.02, (1.004, 1.036), OVER),  # beyond no change, by an estimate that counts
        (1.00, 1.004, (1.002, 1.006), WITHIN),  # beyond no change, and shown not to count
        (1.00, 1.008, (1.002, 1.014), UNDECIDED),  # beyond no change; whether it counts is not shown
        (1.00, 1.001, (0.997, 1.005), WITHIN),  # nothing that counts, either way
        (1.00, 1.01, (1.01, 1.01), OVER),  # the least change that counts does count
        (0.55, 0.999, (0.998, 1.0), OVER),  # an improvement that did not come
        (0.55, 0.553, (0.551, 0.555), OVER),  # or not all of it
        (0.55, 0.55, (0.55, 0.55), WITHIN),
    ],
)
def test_a_limit_decides_by_the_whole_interval(
    stated: float, value: float, interval: tuple[float, float], decision: Decision
) -> None:
    assert limit(stated, 1.0, 0.01).decide(value, Interval(*interval)) is decision


def test_of_two_limits_the_worse_is_said() -> None:
    assert both([WITHIN, OVER]) is OVER
    assert both([UNDECIDED, OVER]) is OVER
    assert both([WITHIN, UNDECIDED]) is UNDECIDED
    assert both([WITHIN, WITHIN]) is WITHIN
