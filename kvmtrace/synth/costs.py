"""A cost's mean, minimum, maximum and standard deviation → a bounded distribution that has them.

A body of constant density around its centre, a few costs down to the minimum, and a tail to the maximum whose density
falls as x^-3/2 or, where the deviation is too large for that, not at all: a form of ours (assumed), whose four figures
are those that a source gives. Everything is computed by +, -, *, / and square roots, which IEEE 754 defines to the last
bit: the same on every machine. (Sums by fsum: what sum() gives differs between versions of Python.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kvmtrace.synth.draws import Draws

FLOOR_SHARE = 1 / 128
"""Costs that lie anywhere between the minimum and the centre."""
_HALF = 1 << 32
_STEPS = 100  # few are needed
_PRECISION = 1e-12
_CLOSE = 1e-3
_MOST_TAIL = 0.5


class CostError(ValueError):
    """No distribution of this form has these figures."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Costs of constant density between two bounds."""

    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        """The variance."""
        return (self.high - self.low) * (self.high - self.low) / 12

    def at(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the costs below which `share` of all are."""
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True, slots=True)
class Tail:
    """Costs between two bounds, 0 < low <= high, with a density that falls as x^-3/2."""

    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean: the geometric mean of the bounds."""
        return sqrt(self.low * self.high)

    @property
    def variance(self) -> float:
        """The variance."""
        between = sqrt(self.high) - sqrt(self.low)
        return self.mean * between * between / 3

    def at(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the costs below which `share` of all are."""
        root = (1 - share) / sqrt(self.low) + share / sqrt(self.high)
        return 1 / (root * root)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Costs in picoseconds: `floor` and `tail` with their shares, `body` for all others."""

    floor: Uniform
    body: Uniform
    tail: Tail | Uniform | None
    floor_share: float = 0.0
    tail_share: float = 0.0

    @property
    def _parts(self) -> list[tuple[float, Uniform | Tail]]:
        parts: list[tuple[float, Uniform | Tail]] = [(self.floor_share, self.floor)]
        parts.append((1 - self.floor_share - self.tail_share, self.body))
        return parts if self.tail is None else [*parts, (self.tail_share, self.tail)]

    @property
    def mean(self) -> float:
        """The mean."""
        return fsum(share * part.mean for share, part in self._parts)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        mean = self.mean
        squares = (share * (part.variance + (part.mean - mean) * (part.mean - mean)) for share, part in self._parts)
        return sqrt(fsum(squares))

    def drawn(self, draws: Draws, n: int) -> NDArray[np.int64]:
        """Return n costs, in whole picoseconds."""
        raw = draws.raw(n)
        place = (raw >> np.uint64(32)).astype(np.int64)
        share = (raw & np.uint64(0xFFFF_FFFF)).astype(np.float64) / _HALF
        costs = self.body.at(share)
        in_floor = place < int(self.floor_share * _HALF)
        costs[in_floor] = self.floor.at(share[in_floor])
        if self.tail is not None:
            in_tail = place >= _HALF - int(self.tail_share * _HALF)
            costs[in_tail] = self.tail.at(share[in_tail])
        return np.rint(costs).astype(np.int64)


def constant(mean: float) -> Distribution:
    """Return costs that are all the same."""
    return Distribution(Uniform(mean, mean), Uniform(mean, mean), None)


@lru_cache(maxsize=256)
def bounded(mean: float, low: float, high: float, deviation: float) -> Distribution:
    """Return costs with this mean, minimum, maximum and standard deviation. CostError: there are none."""
    if not 0 <= low <= mean <= high:
        raise CostError(f"expected min <= mean <= max, found {low:g}, {mean:g}, {high:g}")
    if deviation == 0 or low == high:
        return constant(mean)
    for tail in (Tail, Uniform):
        fitted = _fitted(_Bounds(mean, low, high, tail), deviation)
        if (
            abs(fitted.mean - mean) <= _CLOSE * _CLOSE * mean
            and abs(fitted.deviation - deviation) <= _CLOSE * deviation
        ):
            return fitted
    raise CostError(f"no costs between {low:g} and {high:g} with mean {mean:g} deviate by {deviation:g}")


@dataclass(frozen=True, slots=True)
class _Bounds:
    mean: float
    low: float
    high: float
    tail: type[Tail | Uniform]

    @property
    def most_tail(self) -> float:
        """How much tail there may be: with more of it the mean would be higher even if all else cost the minimum."""
        beyond = self.tail(self.low, self.high).mean - self.low
        return min(_MOST_TAIL, (self.mean - self.low) / beyond) if beyond > 0 else _MOST_TAIL

    def distribution(self, width: float, tail_share: float) -> Distribution:
        """Return the distribution of this mean whose body takes `width` (0 to 1) of the room around its centre."""

        def around(centre: float) -> Distribution:
            reach = width * min(centre - self.low, self.high - centre)
            body = Uniform(centre - reach, centre + reach)
            tail = self.tail(body.high, self.high) if body.high > 0 else None
            return Distribution(Uniform(self.low, body.low), body, tail, FLOOR_SHARE, tail_share)

        def mean_above(centre: float) -> float:
            """Return around(centre).mean - self.mean, without making distributions on the way."""
            reach = width * min(centre - self.low, self.high - centre)
            low, high = centre - reach, centre + reach
            tail = self.tail(high, self.high).mean if high > 0 else 0.0
            rest = 1 - FLOOR_SHARE - tail_share
            return FLOOR_SHARE * ((self.low + low) / 2) + rest * ((low + high) / 2) + tail_share * tail - self.mean

        return around(_root(mean_above, self.low, self.high))


def _fitted(bounds: _Bounds, deviation: float) -> Distribution:
    """Return the distribution nearest to a deviation: half of its variance is the tail's, as far as that can be."""
    wanted = sqrt(0.5) * deviation
    width = _root(lambda width: bounds.distribution(width, 0.0).deviation - wanted, 0.0, 1.0)
    tail = _root(lambda share: bounds.distribution(width, share).deviation - deviation, 0.0, bounds.most_tail)
    if bounds.distribution(width, tail).deviation < deviation:
        width = _root(lambda width: bounds.distribution(width, tail).deviation - deviation, width, 1.0)
    return bounds.distribution(width, tail)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is 0, or the bound that is nearest to that: regula falsi, as Illinois mends it."""
    below, above = rising(low), rising(high)
    if below >= 0:
        return low
    if above <= 0:
        return high
    near = _PRECISION * (above - below)
    kept = 0  # which bound stayed, to be given half its weight: else it might stay for ever
    for _ in range(_STEPS):
        guess = (low * above - high * below) / (above - below)
        value = rising(guess)
        if -near < value < near:
            return guess
        if value < 0:
            low, below = guess, value
            above, kept = (above / 2 if kept == 1 else above), 1
        else:
            high, above = guess, value
            below, kept = (below / 2 if kept == -1 else below), -1
    return high if above + below < 0 else low
