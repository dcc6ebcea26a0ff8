"""What a figure was before and after, how sure that is, and by which method: one `Estimate` for a measure.

Where there is no interval, `Estimate.missing` says why. A figure that was not recorded is None, never 0.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from kvmtrace.errors import UsageError

LEVEL = 0.95
"""Of 100 intervals at this level 95 hold what they are about."""

WITHIN = "moving-block bootstrap within one run a side"
BETWEEN = "Mann-Whitney, Hodges-Lehmann"
FEW = "Welch's t of few runs"
ALL_EQUAL = "few runs, all of a side equal"
FROM_MEANS = "Welch's t from mean, ± and n"
SINGLE = "single figures: no interval"


class Interval(NamedTuple):
    """Both ends of an interval, in the unit of what it is about."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure on both sides.

    base, new: the figures, in the measure's unit; None is not recorded. Of several runs, the median.
    ratio: new / base; None where base is 0 or either is missing. Of several runs, Hodges and Lehmann's estimate, or
        of few the mean logarithms', so that it lies within its interval (it may differ from the ratio of the medians).
    difference: new - base in the measure's unit, likewise.
    p: two-sided, of no difference.
    base_n, new_n: how many `unit_of_n` each side has; of blocks, how many whole ones.
    level: of both intervals.
    missing: why there is no interval, where there is none.
    """

    base: float | None
    new: float | None
    ratio: float | None
    ratio_interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    p: float | None
    method: str
    base_n: int
    new_n: int
    unit_of_n: str
    level: float
    missing: str | None = None


def points(
    base: float | None, new: float | None, method: str, ns: tuple[int, int], unit: str, level: float, missing: str
) -> Estimate:
    """Return the figures alone, without an interval; `missing` says why."""
    difference = None if base is None or new is None else new - base
    ratio = ratio_of(base, new)
    return Estimate(base, new, ratio, None, difference, None, None, method, *ns, unit, level, missing)


def ratio_of(base: float | None, new: float | None) -> float | None:
    """Return new / base; None where there is none."""
    return None if new is None or not base else new / base


def interval_of(middle: float, half_width: float, *, exponent: bool = False) -> Interval:
    """Return the interval about `middle`; `exponent`: of logarithms, as what they are logarithms of."""
    ends = middle - half_width, middle + half_width
    return Interval(*map(math.exp, ends)) if exponent else Interval(*ends)


def check_level(level: float) -> None:
    """UsageError: no level of confidence."""
    if not 0 < level < 1:
        raise UsageError(f"a confidence level of {level:g}", hint="give one between 0 and 1, such as 0.95")
