"""Runs that are too few for their order to show anything, compared by how far they spread."""

import math

import numpy as np
from numpy.typing import NDArray

from kvmtrace.stats import student
from kvmtrace.stats.estimate import ALL_EQUAL, FEW, Estimate, interval_of, ratio_of


def of_few_runs(base: NDArray[np.float64], new: NDArray[np.float64], level: float) -> Estimate:
    """Compare runs that are too few for their order to show anything, by how far they spread.

    Welch's t, of the logarithms for the ratio (and p) and of the values for the difference: runs are taken to be
    spread as the normal or log-normal distribution is. Where values are not all above 0 only the difference has an
    interval. A side without any spread is given the other's: where figures take few values, equal ones are common.

    Two sides whose runs are all equal (`ALL_EQUAL`), as counts of a program that does the same again, show no spread to
    go by: p is 0 or 1 and the interval a point, which is as sure as that the next run is equal, too. Two sides of 3
    runs of one distribution, whichever it is, come out so and different at most once in 32 times: 2 p³(1-p)³.
    """
    ns = (len(base), len(new))
    medians = float(np.median(base)), float(np.median(new))
    plain = student.compare(*_spreads(base, new), level)
    ratio, ratio_interval, p = ratio_of(*medians), None, plain.p
    if base.min() > 0 and new.min() > 0:
        log = student.compare(*_spreads(np.log(base), np.log(new)), level)
        ratio, p = math.exp(log.difference), log.p
        ratio_interval = interval_of(log.difference, log.half_width, exponent=True)
    ends = interval_of(plain.difference, plain.half_width)
    method = FEW if np.ptp(base) or np.ptp(new) else ALL_EQUAL
    return Estimate(*medians, ratio, ratio_interval, plain.difference, ends, p, method, *ns, "runs", level)


def _spreads(base: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[student.Side, student.Side]:
    """Return means with their errors. Where one side has no spread all of the error stands with the other, its own."""
    sides = [student.Side(float(each.mean()), float(each.std(ddof=1)), len(each) - 1) for each in (base, new)]
    part = math.sqrt(1 / len(base) + 1 / len(new))
    parts = [part if np.ptp(other) == 0 else 1 / math.sqrt(len(each)) for each, other in ((base, new), (new, base))]
    first, second = (side._replace(error=side.error * share) for side, share in zip(sides, parts, strict=True))
    return first, second
