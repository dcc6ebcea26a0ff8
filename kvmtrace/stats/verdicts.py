"""From an estimate to a word: what was shown, and what was not."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from kvmtrace.errors import UsageError
from kvmtrace.stats.estimate import LEVEL, Estimate, Interval

MINIMUM_EFFECT = 0.01
"""The least change that counts, as a share of base."""


class Verdict(StrEnum):
    """What an estimate shows, for a column of a table."""

    FELL = "fell"
    """Significant, and at least the minimum effect below base."""
    ROSE = "rose"
    """Significant, and at least the minimum effect above base."""
    SAME = "same"
    """The whole interval lies within the minimum effect on both sides of base, significant or not."""
    SMALL = "slight"
    """Significant, but the estimate itself is below the minimum effect; the interval reaches over it."""
    UNDECIDED = "not shown"
    """Not significant, and the interval reaches over the minimum effect: there may be a change or none."""
    NEW = "new"
    """0 in base, significantly more in new."""
    GONE = "gone"
    """0 in new, significantly more in base."""
    NO_INTERVAL = "no interval"
    """`Estimate.missing` says why."""
    NOT_RECORDED = "not recorded"
    """On one side or both."""


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return `p_values` adjusted for being so many, in their order: below alpha as often as one test would be.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979): the
    smallest of m counts m times, the next m - 1 times, …; none below the one before, none above 1. None is no test:
    it stays None and is not counted.
    """
    at = [index for index, p in enumerate(p_values) if p is not None]
    known = np.array([p_values[index] for index in at], dtype=np.float64)
    order = np.argsort(known, kind="stable")
    stepped = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, index in enumerate(order):
        adjusted[at[index]] = min(1.0, float(stepped[rank]))
    return adjusted


def verdict(
    estimate: Estimate,
    *,
    adjusted_p: float | None,
    minimum_effect: float = MINIMUM_EFFECT,
    level: float = LEVEL,
) -> Verdict:
    """Say what `estimate` shows, of magnitude and significance both.

    Significant is a p of at most 1 - `level`: `adjusted_p` (of `holm`) or, where that is None (the one primary
    measure), the estimate's own. Magnitude is the estimate's: the ratio's distance from 1, or, where there is no ratio
    with an interval, the difference as a share of base. The intervals are each measure's own, not adjusted for their
    number.
    The first that holds is said:

    1. a side is None: NOT_RECORDED
    2. no p or no interval: NO_INTERVAL
    3. base is 0: NEW where significant; SAME where new and its interval are 0 too; else UNDECIDED
    4. new is 0 and significant: GONE
    5. the interval is within ±`minimum_effect`: SAME
    6. not significant: UNDECIDED
    7. the magnitude is below `minimum_effect`: SMALL
    8. FELL or ROSE
    """
    if not minimum_effect >= 0:
        raise UsageError(f"a minimum effect of {minimum_effect:g}", hint="give a share of base, such as 0.01 for 1%")
    if estimate.base is None or estimate.new is None:
        return Verdict.NOT_RECORDED
    p = estimate.p if adjusted_p is None else adjusted_p
    if p is None or estimate.p is None or estimate.difference is None or estimate.difference_interval is None:
        return Verdict.NO_INTERVAL
    significant = 1 - p >= level
    if estimate.base == 0:
        if significant:
            return Verdict.NEW
        return Verdict.SAME if estimate.new == 0 and not any(estimate.difference_interval) else Verdict.UNDECIDED
    if estimate.new == 0 and significant:
        return Verdict.GONE
    return _of_change(*_change(estimate, estimate.base), significant, minimum_effect)


def _of_change(change: float, interval: Interval, significant: bool, minimum_effect: float) -> Verdict:
    """Return the verdict on a change, as a share of base, with its interval."""
    if -minimum_effect <= interval.low and interval.high <= minimum_effect:
        return Verdict.SAME
    if not significant:
        return Verdict.UNDECIDED
    if abs(change) < minimum_effect:
        return Verdict.SMALL
    return Verdict.ROSE if change > 0 else Verdict.FELL


def _change(estimate: Estimate, base: float) -> tuple[float, Interval]:
    """Return the change as a share of base, and its interval."""
    if estimate.ratio is not None and estimate.ratio_interval is not None:
        return estimate.ratio - 1, Interval(*(end - 1 for end in estimate.ratio_interval))
    difference, interval = estimate.difference, estimate.difference_interval
    if difference is None or interval is None:
        raise ValueError("an estimate without an interval has no change to judge")
    return difference / abs(base), Interval(*(end / abs(base) for end in interval))
