"""What a figure of one side is, and how sure that is: an `Estimate` without a base, its difference being that to 0."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from kvmtrace.stats.estimate import LEVEL, Estimate, Interval
from kvmtrace.stats.estimates import MIN_BLOCKS, MIN_RUNS, Mean, Replicated

WITHIN = "moving-block bootstrap within one run"
BETWEEN = "sign test, median"
_ALL_ZERO = "0 in every block of time: nothing tells how far from 0 it may be"
FROM_MEAN = "Student's t from mean, ± and n"


def of_run(side: Replicated, level: float = LEVEL) -> Estimate:
    """Return the figure of one run with the interval of its own unrest; nothing is said of one run to the next."""
    n = math.floor(side.blocks)
    if side.blocks < MIN_BLOCKS:
        return _point(side.value, WITHIN, n, "blocks", level, f"too few blocks: need {MIN_BLOCKS}, found {n}")
    if not (math.isfinite(side.value) and np.isfinite(side.replicas).all()):
        return _point(None, WITHIN, n, "blocks", level, "some blocks have no value")
    if side.value == 0 and not side.replicas.any():
        return _point(
            0.0, WITHIN, 1, "figures", level, "0 in every block of time: nothing tells how far from 0 it may be"
        )
    error = float(np.std(side.replicas, ddof=1)) * math.sqrt(side.blocks / (side.blocks - 1))
    return _by_t(side.value, error, (side.blocks - 1) / 2, WITHIN, n, "blocks", level)


def of_runs(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return the median of several runs, with the interval of order statistics: nothing is assumed of their spread."""
    from scipy import stats  # noqa: PLC0415 - slow to load, and one run a side needs none of it

    sorted_values, n = sorted(values), len(values)
    median = float(np.median(sorted_values)) if n else None
    # The k-th lowest and the k-th highest run hold the median between them but for 2 P(X < k), X of n coins.
    cut = int(stats.binom.ppf((1 - level) / 2, n, 0.5)) if n else 0
    if n < MIN_RUNS or cut == 0:
        return _point(median, BETWEEN, n, "runs", level, f"not enough runs: need {_runs_for(level)}, found {n}")
    ends = Interval(sorted_values[cut - 1], sorted_values[n - cut])
    return Estimate(None, median, None, None, median, ends, None, BETWEEN, 0, n, "runs", level)


def _runs_for(level: float) -> int:
    """Return the fewest runs whose lowest and highest hold the median between them at a level: 2 / 2^n < 1 - level."""
    return max(MIN_RUNS, math.floor(math.log2(2 / (1 - level))) + 1)


def of_mean(mean: Mean, level: float = LEVEL) -> Estimate:
    """Return a mean with the interval of the standard error and n that its source printed."""
    unit = "samples as the source counted them"
    if mean.stderr is None or mean.n is None or mean.n < 2:  # noqa: PLR2004 - n - 1 degrees of freedom
        return _point(mean.value, FROM_MEAN, mean.n or 1, unit, level, "a single figure carries no interval")
    return _by_t(mean.value, mean.stderr, mean.n - 1, FROM_MEAN, mean.n, unit, level)


def _by_t(value: float, error: float, freedom: float, method: str, n: int, unit: str, level: float) -> Estimate:
    half_width = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    ends = Interval(value - half_width, value + half_width)
    return Estimate(None, value, None, None, value, ends, None, method, 0, n, unit, level)


def _point(value: float | None, method: str, n: int, unit: str, level: float, missing: str) -> Estimate:
    return Estimate(None, value, None, None, value, None, None, method, 0, n, unit, level, missing)
