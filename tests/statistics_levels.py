"""How often the intervals and verdicts of kvmtrace.stats are right, by trials at fixed seeds.

test_stats_levels.py holds the rates to their bounds, and generated_statistics.py shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kvmtrace.stats.blocks import block_length, draws
from kvmtrace.stats.estimate import LEVEL, Estimate
from kvmtrace.stats.estimates import Replicated, between_runs, within_runs
from kvmtrace.stats.verdicts import Verdict, holm, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Series = Callable[[Generator, int], NDArray[np.float64]]
    Runs = Series

BINS = 256
TRIALS = 200
REPLICAS = 500
RUNS = 10


def poisson(mean: float) -> Series:
    """Events that know nothing of each other, `mean` a bin."""
    return lambda random, bins: random.poisson(mean, bins).astype(np.float64)


def autoregressive(correlation: float, mean: float = 50.0) -> Series:
    """Poisson counts whose rate wanders by a fifth, each bin's log rate `correlation` times the one before."""

    def series(random: Generator, bins: int) -> NDArray[np.float64]:
        steps = random.normal(0, np.sqrt(1 - correlation**2), bins)
        steps[0] = random.normal()
        weights = correlation ** np.arange(bins)
        wandering = np.convolve(weights, steps)[:bins]
        return random.poisson(mean * np.exp(0.2 * wandering)).astype(np.float64)

    return series


def ticks(period: float, jitter: float) -> Series:
    """A tick every `period` bins, each off its time by `jitter` periods (standard deviation)."""

    def series(random: Generator, bins: int) -> NDArray[np.float64]:
        times = (np.arange(-5, bins / period + 5) + random.random()) * period
        times += random.normal(0, jitter * period, len(times))
        return np.histogram(times, np.arange(bins + 1))[0].astype(np.float64)

    return series


def phases(busy: float, quiet: float) -> Series:
    """60 events a bin in busy phases and 5 in quiet ones, whose lengths in bins have these means (exponential)."""

    def series(random: Generator, bins: int) -> NDArray[np.float64]:
        lengths = random.exponential(np.tile([busy, quiet], 4 * bins))
        ends = np.cumsum(lengths)
        begin = ends[-1] / 2
        phase = np.searchsorted(ends, begin + np.arange(bins))
        return random.poisson(np.where(phase % 2 == 0, 60.0, 5.0)).astype(np.float64)

    return series


HELD: dict[str, Series] = {
    "Poisson, 20 a bin": poisson(20),
    "Poisson, 1 a bin": poisson(1),
    "Poisson, 1 in 10 bins": poisson(0.1),
    "AR(1) 0.3": autoregressive(0.3),
    "AR(1) 0.6": autoregressive(0.6),
    "AR(1) 0.8": autoregressive(0.8),
    "ticks every 0.4 bins": ticks(0.4, 0.1),
    "ticks every 3.3 bins": ticks(3.3, 0.1),
    "ticks every 10.3 bins": ticks(10.3, 0.3),
    "phases of 4 and 4 bins": phases(4, 4),
    "phases of 8 and 8 bins": phases(8, 8),
    "phases of 3 and 20 bins": phases(3, 20),
}
"""Series whose level holds."""

TOO_SLOW: dict[str, Series] = {
    "AR(1) 0.95": autoregressive(0.95),
    "phases of 40 and 40 bins": phases(40, 40),
}
"""Series that are too slow for their 256 bins: shown, and held to nothing."""


class Rates(NamedTuple):
    """Shares of the trials: called different at the 5% level, and without an interval."""

    different: float
    undecided: float


def replicated(a: NDArray[np.float64], b: NDArray[np.float64], seed: int) -> Replicated:
    """Return sum(a) / sum(b) of one run."""
    value = float(a.sum() / b.sum())
    length = block_length(a - b * value)
    weights = draws(len(a), length, replicas=REPLICAS, seed=seed)
    return Replicated(value, (weights @ a) / (weights @ b), len(a) / length)


def one_run_a_side(series: Series, random: Generator, bins: int, factor: float = 1.0) -> Estimate:
    """Compare a series per 40 (Poisson) of something else; `factor` leaves that share of the second side's events."""
    sides = []
    for kept in (1.0, factor):
        a = random.binomial(series(random, bins).astype(np.int64), kept).astype(np.float64)
        b = random.poisson(40, bins).astype(np.float64)
        sides.append(replicated(a, b, int(random.integers(2**31))))
    return within_runs(sides[0], sides[1])


def within_rates(
    series: Series, *, trials: int = TRIALS, bins: int = BINS, factor: float = 1.0, seed: int = 1
) -> Rates:
    """Return how often one run a side is called different."""
    random = np.random.default_rng(seed)
    found = [one_run_a_side(series, random, bins, factor).p for _ in range(trials)]
    known = [p for p in found if p is not None]
    return Rates(sum(p < 1 - LEVEL for p in known) / trials, 1 - len(known) / trials)


def between_rate(*, trials: int = TRIALS, runs: int = RUNS, variation: float = 0.03, seed: int = 1) -> float:
    """Return how often runs of one kind (log-normal, coefficient of variation `variation`) are called different."""
    random = np.random.default_rng(seed)
    found = [between_runs(*random.lognormal(5, variation, (2, runs)).tolist()).p for _ in range(trials)]
    return sum(p is not None and p < 1 - LEVEL for p in found) / trials


def _spread(variation: float) -> Runs:
    return lambda random, runs: random.lognormal(5, variation, runs)


def _with_outliers(random: Generator, runs: int) -> NDArray[np.float64]:
    """One run in ten took twice as much."""
    return random.lognormal(5, 0.03, runs) * np.where(random.random(runs) < 0.1, 2.0, 1.0)


FEW: dict[str, tuple[Runs, Runs]] = {
    "log-normal, 3%": (_spread(0.03), _spread(0.03)),
    "log-normal, 50%": (_spread(0.5), _spread(0.5)),
    "gamma, of shape 2": (lambda random, runs: random.gamma(2.0, size=runs),) * 2,
    "Poisson, 100": (lambda random, runs: random.poisson(100, runs).astype(np.float64),) * 2,
    "Poisson, 5": (lambda random, runs: random.poisson(5, runs).astype(np.float64),) * 2,
    "Poisson, 0.5": (lambda random, runs: random.poisson(0.5, runs).astype(np.float64),) * 2,
    "one of two values": (lambda random, runs: random.integers(900, 902, runs).astype(np.float64),) * 2,
    "log-normal, 3%, one in ten doubled": (_with_outliers, _with_outliers),
    "log-normal, 3% against 30%": (_spread(0.03), _spread(0.3)),
    "log-normal, 30% against 3%": (_spread(0.3), _spread(0.03)),
}
"""Distributions of few runs: equal on both sides, or of one median."""


FEW_SHAPES = ((3, 3), (4, 4), (5, 5), (3, 9))
"""Runs of base and of new."""


def few_rate(sides: tuple[Runs, Runs], runs: tuple[int, int], *, trials: int, seed: int = 1) -> float:
    """Return how often few runs a side, of one median, are called different at the 5% level."""
    random = np.random.default_rng(seed)
    values = [side(random, trials * n).reshape(trials, n) for side, n in zip(sides, runs, strict=True)]
    found = [between_runs(base, new).p for base, new in zip(*values, strict=True)]
    return sum(p is not None and p < 1 - LEVEL for p in found) / trials


def few_power(runs: tuple[int, int], *, trials: int, less: float, variation: float = 0.03, seed: int = 1) -> float:
    """Return how often a fall to `less` is found in so few runs a side, which vary by `variation`."""
    fallen: Runs = lambda random, n: less * random.lognormal(5, variation, n)  # noqa: E731 - one of a pair of its kind
    return few_rate((_spread(variation), fallen), runs, trials=trials, seed=seed)


def between_power(*, trials: int = 100, runs: int = RUNS, measures: int = 10, seed: int = 1) -> tuple[float, float]:
    """Return how often a fall of 10% in the first of `measures` is found, and how often any other is called changed.

    Runs vary by 3%; Holm over all measures; the minimum effect is the verdicts' own.
    """
    random = np.random.default_rng(seed)
    found = wrong = 0
    for _ in range(trials):
        values = random.normal(100, 3, (measures, 2, runs))
        values[0, 1] *= 0.9
        estimates = [between_runs(base, new) for base, new in values.tolist()]
        adjusted = holm([estimate.p for estimate in estimates])
        verdicts = [verdict(one, adjusted_p=p) for one, p in zip(estimates, adjusted, strict=True)]
        found += verdicts[0] is Verdict.FELL
        wrong += any(other in {Verdict.FELL, Verdict.ROSE} for other in verdicts[1:])
    return found / trials, wrong / trials
