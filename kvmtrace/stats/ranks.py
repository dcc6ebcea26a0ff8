"""Two groups of runs by the order of their values: the rank-sum test and the shift that it belongs to.

Mann and Whitney's test by scipy; shift and interval by Hodges and Lehmann, "Estimates of location based on rank
tests", Annals of Mathematical Statistics 34 (1963): the interval holds each shift that the test does not reject.
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_EXACT = 2_500
"""Pairs of runs up to which the exact distribution is asked for: beyond, the normal one differs by nothing shown."""

_RESAMPLES = 9_999


def p_value(base: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return the two-sided p of the rank-sum test of (m,) and (n,) values.

    Exact; where values are equal, by permutation (all of them up to 9,999, else as many at a fixed seed).
    """
    from scipy import stats  # noqa: PLC0415 - slow to load, and one run a side needs none of it

    different = len(np.unique(np.concatenate((base, new))))
    if different == 1:
        return 1.0
    if different < len(base) + len(new):
        method = stats.PermutationMethod(n_resamples=_RESAMPLES, rng=np.random.default_rng(1))
        return min(1.0, float(stats.mannwhitneyu(new, base, method=method).pvalue))
    return float(stats.mannwhitneyu(new, base, method=_method(len(base), len(new))).pvalue)


def shift(
    base: NDArray[np.float64], new: NDArray[np.float64], level: float
) -> tuple[float, tuple[float, float] | None]:
    """Return the median of all new - base, and its interval; None where so few values can show nothing at `level`."""
    pairs = np.sort(np.subtract.outer(new, base), axis=None)
    cut = _rejected(len(base), len(new), 1 - level)
    if cut == 0:
        return float(np.median(pairs)), None
    return float(np.median(pairs)), (float(pairs[cut - 1]), float(pairs[-cut]))


@cache
def _rejected(base: int, new: int, alpha: float) -> int:
    """Return how many values of U, from 0 up, the two-sided test at `alpha` rejects: found by halving."""
    low, high = 0, base * new // 2
    while low < high:
        middle = (low + high) // 2
        if _p_of(middle, base, new) <= alpha:
            low = middle + 1
        else:
            high = middle
    return low


def _p_of(pairs_won: int, base: int, new: int) -> float:
    """Return the two-sided p of U = `pairs_won` <= base * new, by samples that are made to have it."""
    from scipy import stats  # noqa: PLC0415 - slow to load, and one run a side needs none of it

    above_all, above_some = divmod(pairs_won, base)
    values = np.full(new, -1.0) - np.arange(new)
    values[:above_all] = base + np.arange(above_all)
    if above_some:
        values[above_all] = above_some - 0.5
    return float(stats.mannwhitneyu(values, np.arange(base), method=_method(base, new)).pvalue)


def _method(base: int, new: int) -> Literal["exact", "asymptotic"]:
    return "exact" if base * new <= _EXACT else "asymptotic"
