"""The latency curves of a comparison: of the reasons that take most time, both sides of each. No drawing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kvmtrace.comparing.sides import EXITS_BEYOND
from kvmtrace.comparing.tables import wants_latency
from kvmtrace.report.comparison_tables import line_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.sides import Side

    Floats = NDArray[np.float64]

_EXITS_OF_A_CURVE = 20
"""Of fewer, a curve is a few steps that say little."""


class Curve(NamedTuple):
    """The latencies of one side's exits, those of its runs together."""

    latency_ns: Floats  # of each bucket, ascending
    exits: Floats

    @property
    def n(self) -> float:
        """How many exits the curve is of."""
        return float(self.exits.sum())

    def percentile_ns(self, share: float) -> float | None:
        """Return the latency of rank ceil(share n); None: too few exits lie beyond it, as for an interval of it."""
        if self.n * min(share, 1 - share) < EXITS_BEYOND - 1e-9:
            return None
        rank = max(math.ceil(share * self.n - 1e-3), 1)
        return float(self.latency_ns[min(int((self.exits.cumsum() < rank).sum()), len(self.exits) - 1)])

    @property
    def at_most(self) -> Floats:
        """Return the part of the exits, in %, that take at most so long."""
        share: Floats = 100 * self.exits.cumsum() / self.n
        return share

    @property
    def at_least(self) -> Floats:
        """Return the part of the exits, in %, that take at least so long; above 0."""
        share: Floats = 100 * self.exits[::-1].cumsum()[::-1] / self.n
        return share


class Pair(NamedTuple):
    """A reason's curves."""

    name: str
    base: Curve
    new: Curve


class Curves(NamedTuple):
    """Those of the reasons that take most time, and how many are left out."""

    pairs: tuple[Pair, ...]
    too_few: int  # reasons of too few exits on a side
    others: int  # reasons of less time


def curves(comparison: Comparison, most: int) -> Curves:
    """Return the curves of at most `most` reasons; none where exits are told apart by more than their reason."""
    section = next((s for s in comparison.sections if s.quantity == "out_of_guest_ns"), None)
    if section is None or not wants_latency(comparison.options):
        return Curves((), 0, 0)
    keyed = [(line, line.key) for line in section.lines if line.key is not None]
    keyed.sort(key=lambda each: -((each[0].estimate.base or 0) + (each[0].estimate.new or 0)))
    found = []
    for line, key in keyed:
        where = (("reason", key.reason), ("idle", line.idle))
        base, new = (_curve(side, where) for side in (comparison.base, comparison.new))
        if base is not None and new is not None:
            found.append(Pair(line_names(line, section)[0], base, new))
    return Curves(tuple(found[:most]), len(keyed) - len(found), max(len(found) - most, 0))


def _curve(side: Side, where: tuple[tuple[str, object], ...]) -> Curve | None:
    """Return the latencies of a side's exits; None: they are too few."""
    parts = [run.histogram(where) for run in side.runs]
    latency_ns = np.concatenate([part.latency_ns for part in parts])
    exits = np.concatenate([part.counts.sum(axis=0) for part in parts])
    if exits.sum() < _EXITS_OF_A_CURVE:
        return None
    order = np.argsort(latency_ns, kind="stable")
    return Curve(latency_ns[order], exits[order])
