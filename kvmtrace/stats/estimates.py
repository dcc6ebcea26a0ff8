"""Compares a figure of two sides: single ones, blocks of time within a run each, several runs, or means of others.

Samples are runs, or blocks of time within one run; never single events, which are anything but independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvmtrace.stats import ranks, student
from kvmtrace.stats.estimate import (
    BETWEEN,
    FROM_MEANS,
    LEVEL,
    SINGLE,
    WITHIN,
    Estimate,
    Interval,
    check_level,
    interval_of,
    points,
    ratio_of,
)
from kvmtrace.stats.few_runs import of_few_runs

MIN_BLOCKS = 8
"""Independent blocks a side from which one run has an interval of its own."""

MIN_RUNS = 6
"""Runs a side from which runs are compared by their order: of 5 and 5 even the clearest difference is p = 0.008, and
Holm over ten measures makes 0.08 of it."""

FEW_RUNS = 3
"""Runs a side from which fewer are compared by their spread, where an assumption will do: docs/statistics.md says how
often equal ones are called different."""


@dataclass(frozen=True, slots=True)
class Replicated:
    """A figure of a whole run, and what it would be were the run's blocks of time drawn anew.

    replicas: (replicas,), by `blocks.draws`. blocks: independent ones, the number of bins / the length of a block.
    length: how long the run was, in any unit that both sides share.
    """

    value: float
    replicas: NDArray[np.float64]
    blocks: float
    length: float = 1.0


class Mean(NamedTuple):
    """A mean as its source printed it: with its standard error (same unit) and n, where it has them."""

    value: float
    stderr: float | None
    n: int | None


def single(base: float | None, new: float | None, level: float = LEVEL) -> Estimate:
    """Compare two figures that say nothing of their spread; None is a figure that was not recorded."""
    sides = (("base", base), ("new", new))
    absent = [name for name, value in sides if value is None or not math.isfinite(value)]
    missing = f"not recorded: {' and '.join(absent)}" if absent else "two single figures carry no interval"
    known = [None if name in absent else value for name, value in sides]
    ns = [int(value is not None) for value in known]
    return points(known[0], known[1], SINGLE, (ns[0], ns[1]), "figures", level, missing)


def within_runs(base: Replicated, new: Replicated, level: float = LEVEL) -> Estimate:
    """Compare two figures, each of one run, by the unrest within it: nothing is said of one run to the next.

    Welch's t with the errors that the replicas have, of the logarithms for the ratio (and p) and of the figures for
    the difference. The variance of k blocks counts k / (k - 1) times and has (k - 1) / 2 degrees of freedom: half of
    what k independent figures have, as a length taken from the series itself leaves blocks somewhat alike. With that,
    trials on wandering and bursty series call 5 to 7% of equal pairs different at the 5% level; without, 6 to 8%.
    Where figures or replicas are not all above 0, only the difference has an interval, and p is of it. A side that is
    0 in all replicas shows no spread of its own: it is given the other side's, as a run of its length would have it.
    """
    check_level(level)
    ns = (math.floor(base.blocks), math.floor(new.blocks))
    few = min(base.blocks, new.blocks) < MIN_BLOCKS
    if few or not (_finite(base) and _finite(new)):
        found = " and ".join(str(n) for n in ns)
        missing = f"too few blocks: need {MIN_BLOCKS} a side, found {found}" if few else "some blocks have no value"
        return points(base.value, new.value, WITHIN, ns, "blocks", level, missing)
    plain = student.compare(*_alike(base, new), level)
    ratio_interval, p = None, plain.p
    if all(side.value > 0 and side.replicas.min() > 0 for side in (base, new)):
        logs = [Replicated(math.log(side.value), np.log(side.replicas), side.blocks) for side in (base, new)]
        log = student.compare(_side(logs[0]), _side(logs[1]), level)
        ratio_interval, p = interval_of(log.difference, log.half_width, exponent=True), log.p
    return Estimate(
        base.value,
        new.value,
        ratio_of(base.value, new.value),
        ratio_interval,
        plain.difference,
        interval_of(plain.difference, plain.half_width),
        p,
        WITHIN,
        *ns,
        "blocks",
        level,
    )


def between_runs(
    base_values: Sequence[float], new_values: Sequence[float], level: float = LEVEL, *, least_runs: int = FEW_RUNS
) -> Estimate:
    """Compare one figure of each of several runs a side: from `MIN_RUNS` on, by the order of the runs.

    Fewer, from `least_runs` on: `of_few_runs`. p is Mann and Whitney's, the ratio Hodges and Lehmann's shift of the
    logarithms, the difference that of the values (`ranks`). Where values are not above 0 the ratio is that of the
    medians, and only the difference has an interval. Nothing is assumed of the runs' distribution but that runs of a
    side are independent of each other.
    """
    check_level(level)
    base, new = (np.asarray(values, dtype=np.float64) for values in (base_values, new_values))
    ns = (len(base), len(new))
    medians = [float(np.median(values)) if len(values) else None for values in (base, new)]
    if min(ns) < least_runs:
        missing = f"not enough runs: need {least_runs} a side, found {ns[0]} and {ns[1]}"
        return points(medians[0], medians[1], BETWEEN, ns, "runs", level, missing)
    if min(ns) < MIN_RUNS:
        return of_few_runs(base, new, level)
    difference, ends = ranks.shift(base, new, level)
    if ends == (0.0, 0.0) and (base.any() or new.any()):
        # So many runs are 0 that their order tells nothing of those that are not.
        ends = float(new.min() - base.max()), float(new.max() - base.min())
    ratio, ratio_ends = ratio_of(medians[0], medians[1]), None
    if base.min() > 0 and new.min() > 0:
        log_ratio, log_ends = ranks.shift(np.log(base), np.log(new), level)
        ratio = math.exp(log_ratio)
        ratio_ends = log_ends and Interval(math.exp(log_ends[0]), math.exp(log_ends[1]))
    return Estimate(
        medians[0],
        medians[1],
        ratio,
        ratio_ends,
        difference,
        ends and Interval(*ends),
        ranks.p_value(base, new),
        BETWEEN,
        *ns,
        "runs",
        level,
        None if ends else f"not enough runs: {ns[0]} and {ns[1]} cannot show anything at a level of {level:g}",
    )


def from_means(base: Mean, new: Mean, level: float = LEVEL) -> Estimate:
    """Compare two means by the standard errors and n that their source printed.

    Welch's t; the ratio's interval by Fieller's theorem, which leaves 1 out exactly where p is below 1 - level. It
    has none where base could be 0 for all its error. Means without ± or n, or of fewer than 2, are single figures.
    """
    check_level(level)
    sides = [
        student.Side(mean.value, mean.stderr, mean.n - 1)
        for mean in (base, new)
        if mean.stderr is not None and mean.n is not None and mean.n > 1
    ]
    if len(sides) < 2 or not np.isfinite(sides).all():  # noqa: PLR2004 - both of them
        bare = single(base.value, new.value, level)
        if bare.difference is None:
            return bare
        return replace(bare, missing="means without both ± and n carry no interval")
    ns = (base.n or 0, new.n or 0)
    unit = "samples as the source counted them"
    if not any(side.error for side in sides):
        return points(base.value, new.value, FROM_MEANS, ns, unit, level, "both sides' ± is 0 as printed")
    welch = student.compare(sides[0], sides[1], level)
    ends = student.fieller(sides[0], sides[1], welch.t)
    return Estimate(
        base.value,
        new.value,
        ratio_of(base.value, new.value),
        Interval(*ends) if ends else None,
        welch.difference,
        interval_of(welch.difference, welch.half_width),
        welch.p,
        FROM_MEANS,
        *ns,
        unit,
        level,
    )


def _finite(side: Replicated) -> bool:
    return math.isfinite(side.value) and bool(np.isfinite(side.replicas).all())


def _side(side: Replicated) -> student.Side:
    """Return the figure with its replicas' error, widened as the variance of k blocks round their own mean is."""
    error = float(np.std(side.replicas, ddof=1)) * math.sqrt(side.blocks / (side.blocks - 1))
    return student.Side(side.value, error, (side.blocks - 1) / 2)


def _alike(base: Replicated, new: Replicated) -> tuple[student.Side, student.Side]:
    """Give a side of nothing but 0 the error of the other, as a run of its own length would have it."""
    sides = _side(base), _side(new)
    if sides[0].value == 0 and sides[0].error == 0:
        return _lent(sides[1], new.length / base.length), sides[1]
    if sides[1].value == 0 and sides[1].error == 0:
        return sides[0], _lent(sides[0], base.length / new.length)
    return sides


def _lent(side: student.Side, times_as_long: float) -> student.Side:
    """Return 0 with the error of a side that was `times_as_long`: that of a rate goes with the root of the time."""
    return side._replace(value=0.0, error=side.error * math.sqrt(times_as_long))
