"""Intervals of a prediction: how its figures vary over blocks of the one recording's time.

What the recording does not vary, an interval cannot hold: another run, another host, a wrong condition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.predicting.result import Measures
from kvmtrace.stats import blocks, one_side
from kvmtrace.stats.estimate import Interval
from kvmtrace.stats.estimates import Replicated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.stats.estimate import Estimate

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """Sums over equally long blocks of a run's time, each (blocks,)."""

    sums: dict[str, Floats]  # by the names of statement.SUMS
    injections: Floats | None  # injected interrupts; None: not recorded
    time_ns: int | None
    vcpus: int | None  # None: not told of every exit
    not_below_0: frozenset[str] = frozenset()  # sums that cannot be, whatever the interval

    def measures(self) -> Measures:
        """Return the figures of the whole run with their intervals."""
        s = self.sums
        seconds = self.time_ns / 1e9 if self.time_ns else None
        left = s["exits"] - s["gone"]
        per_s = None if seconds is None else np.full(len(left), seconds / len(left))
        vcpu_ns = None if per_s is None or self.vcpus is None else per_s * 1e9 * self.vcpus
        gone, saved = (_ratio(s[name], per_s) for name in ("gone", "saved_ns"))
        return Measures(
            _not_negative(gone) if "gone" in self.not_below_0 else gone,
            _not_negative(saved) if "saved_ns" in self.not_below_0 else saved,
            _ratio(s["saved_ns"] + np.nan_to_num(s["outside_ns"]), per_s),
            _not_negative(_ratio(left, per_s)),
            _not_negative(_ratio(s["out_ns"] - s["saved_ns"], vcpu_ns)),
            _not_negative(_ratio(left, self.injections)),
        )


def _not_negative(estimate: Estimate | None) -> Estimate | None:
    """Return the estimate of what cannot be below 0."""
    if estimate is None or estimate.difference_interval is None:
        return estimate
    low, high = estimate.difference_interval
    return replace(estimate, difference_interval=Interval(max(low, 0.0), max(high, 0.0)))


def _ratio(above: Floats, below: Floats | None) -> Estimate | None:
    """Return sum(above) / sum(below) with its interval; None: one of them is not known, or there is nothing below."""
    if below is None or not np.isfinite(above).all() or below.sum() <= 0:
        return None
    value = float(above.sum() / below.sum())
    length = blocks.block_length(above - value * below)
    draws = _drawn(len(above), length) @ np.stack([above, below], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of_run says so where a draw has nothing below
        replicas = draws[:, 0] / draws[:, 1]
    estimate = one_side.of_run(Replicated(value, replicas, len(above) / length))
    return estimate if estimate.new is not None else replace(estimate, new=value, difference=value)


@lru_cache(maxsize=8)
def _drawn(bins: int, length: int) -> Floats:
    return blocks.draws(bins, length)
