"""The runs of a side, and what a term is on two sides, with the interval that their samples allow.

One run a side: samples are blocks of time within it, which says nothing of how runs differ from each other. Several
runs on either side: each run is one sample, however long it is. Figures that somebody else worked out are taken with
the ± and the n that stand beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.comparing.run_data import NotRecordedError, RunData, drawn
from kvmtrace.comparing.terms import Events, Exits, Figure, Operation, Percentile, Seconds, percentiles_of
from kvmtrace.stats import estimates, one_side
from kvmtrace.stats.blocks import block_length
from kvmtrace.stats.estimate import BETWEEN, LEVEL, WITHIN, Estimate
from kvmtrace.stats.estimates import Mean, Replicated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.comparing.terms import Term

EXITS_BEYOND = 5
"""Exits that must lie on either side of a percentile before it has an interval."""
_SEEDS = {"base": 1, "new": 2}
"""Of the draws: those of the two sides must not move together."""


@dataclass(frozen=True, slots=True)
class Side:
    """One or many runs."""

    name: str  # base or new
    runs: tuple[RunData, ...]

    def value(self, term: Term) -> float | None:
        """Return the median of a term over the runs. NotRecordedError: a run does not tell it."""
        values = self.values(term)
        return float(np.median(values)) if np.isfinite(values).all() else None

    def values(self, term: Term) -> list[float]:
        """Return a term on each run. NotRecordedError: a run does not tell it."""
        return [float(term.value(run, run.whole)[0]) for run in self.runs]

    def replicated(self, term: Term) -> Replicated:
        """Return a term on the only run, and on draws of its blocks."""
        (run,) = self.runs
        length = _power_of_two(_block_length(term, run), run.blocks)
        replicas = term.value(run, drawn(run.blocks, length, _SEEDS[self.name]))
        value = float(term.value(run, run.whole)[0])
        return Replicated(value, replicas, run.blocks / length, run.seconds or 1.0)

    def tells(self, term: Term) -> str | None:
        """Return what of a term is not recorded on this side; None: everything is."""
        try:
            self.values(term)
        except NotRecordedError as error:
            return error.what
        return None


def _block_length(term: Term, run: RunData) -> int:
    """Return how many blocks of time make one of the bootstrap's: as many as the term's own memory asks for.

    What each block adds to the term is the series; a percentile hardly moves when one block goes, so of it the exits
    below it are, which the block adds to those that its share would be.
    """
    lengths = [block_length(each.influence(run)) for each in percentiles_of(term)]
    if not isinstance(term, Percentile):
        without = term.value(run, run.without_each)
        lengths.append(block_length(without) if np.isfinite(without).all() else 1)
    return max(lengths)


def _power_of_two(length: int, blocks: int) -> int:
    """Return a length that few others need, so that draws serve many terms: never a shorter one."""
    longer = 1 << (length - 1).bit_length()
    return longer if longer * estimates.MIN_BLOCKS <= blocks else length


def estimate(
    term: Term, base: Side, new: Side, level: float = LEVEL, *, least_runs: int = estimates.FEW_RUNS
) -> Estimate:
    """Return what a term is on two sides, and how sure its change is; `least_runs`: that several must be a side."""
    lacking = {side.name: what for side in (base, new) if (what := side.tells(term)) is not None}
    if lacking:
        return _not_recorded(term, base, new, lacking, level)
    if len(base.runs) > 1 or len(new.runs) > 1:
        return _of_runs(term, base, new, level, least_runs)
    return _of_one_run_each(term, base, new, level)


def _of_runs(term: Term, base: Side, new: Side, level: float, least_runs: int) -> Estimate:
    values = [base.values(term), new.values(term)]
    finite = [[value for value in each if np.isfinite(value)] for each in values]
    lacking = sum(map(len, values)) - sum(map(len, finite))
    if not lacking:
        return estimates.between_runs(values[0], values[1], level, least_runs=least_runs)
    medians = [float(np.median(each)) if each else None for each in finite]
    why = f"{lacking} of {sum(map(len, values))} runs have no value: a division by 0"
    points = estimates.single(medians[0], medians[1], level)
    ns = len(values[0]), len(values[1])
    return replace(points, missing=why, base_n=ns[0], new_n=ns[1], unit_of_n="runs", method=BETWEEN)


def _of_one_run_each(term: Term, base: Side, new: Side, level: float) -> Estimate:
    if few := _too_few_exits(term, (base, new)):
        return replace(_single(term, base, new, level), missing=few, unit_of_n="blocks", method=WITHIN)
    if not all(np.isfinite(side.values(term)[0]) for side in (base, new)):
        return replace(_single(term, base, new, level), missing="a division by 0")
    means = [_mean(term, side.runs[0]) for side in (base, new)]
    if all(mean is not None and mean.stderr is not None for mean in means):
        return estimates.from_means(means[0], means[1], level)  # type: ignore[arg-type] # none of them is None
    if min(base.runs[0].blocks, new.runs[0].blocks) > 1:
        return estimates.within_runs(base.replicated(term), new.replicated(term), level)
    return _single(term, base, new, level)


def alone(term: Term, side: Side, level: float = LEVEL) -> Estimate:
    """Return what a term is on one side: its value and interval stand as those of `new`, and of the difference to 0."""
    what = side.tells(term)
    if what is not None:
        return _not_recorded(term, side, side, {side.name: what}, level)
    if len(side.runs) > 1:
        values = side.values(term)
        finite = [value for value in values if np.isfinite(value)]
        found = one_side.of_runs(finite, level)
        return found if len(finite) == len(values) else _without_some(found, values)
    if few := _too_few_exits(term, (side,)):
        return replace(_one_figure(term, side, level), missing=few, unit_of_n="blocks", method=one_side.WITHIN)
    mean = _mean(term, side.runs[0])
    if mean is not None and mean.stderr is not None:
        return one_side.of_mean(mean, level)
    if side.runs[0].blocks > 1:
        return one_side.of_run(side.replicated(term), level)
    return replace(_one_figure(term, side, level), missing="a single figure")


def _without_some(found: Estimate, values: list[float]) -> Estimate:
    lacking = sum(not np.isfinite(value) for value in values)
    why = f"{lacking} of {len(values)} runs have no value: a division by 0"
    return replace(found, difference_interval=None, new_n=len(values), missing=why)


def _single(term: Term, base: Side, new: Side, level: float) -> Estimate:
    return estimates.single(_only(base.values(term)[0]), _only(new.values(term)[0]), level)


def _one_figure(term: Term, side: Side, level: float) -> Estimate:
    value = side.values(term)[0]
    if not np.isfinite(value):
        return replace(estimates.single(None, None, level), missing="a division by 0")
    return one_side.of_mean(Mean(value, None, None), level)


def _too_few_exits(term: Term, sides: Sequence[Side]) -> str | None:
    """Say that a percentile has too few exits beyond it to be more than the latency of a few; None: it has enough."""
    for each in percentiles_of(term):
        needed = math.ceil(EXITS_BEYOND / min(each.share, 1 - each.share) - 1e-9)
        found = [round(side.values(Exits("timed", each.where))[0]) for side in sides]
        if min(found) < needed:
            which = " and ".join(f"{n:,}" for n in found)
            return f"too few exits for p{each.share * 100:g}: need {needed:,}, found {which}"
    return None


def _only(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _not_recorded(term: Term, base: Side, new: Side, lacking: dict[str, str], level: float) -> Estimate:
    values = [None if side.name in lacking else side.value(term) for side in (base, new)]
    missing = "; ".join(f"{what} was not recorded on the {name} side" for name, what in lacking.items())
    return Estimate(
        values[0],
        values[1],
        None,
        None,
        None,
        None,
        None,
        "none",
        len(base.runs),
        len(new.runs),
        "runs",
        level,
        missing,
    )


def _mean(term: Term, run: RunData) -> Mean | None:
    """Return a figure with the ± that its source gives; None: the term is no such figure."""
    match term:
        case Figure(name):
            return run.figures.get(name)
        case Operation("/", Events(name), Seconds()) if run.seconds:
            # The ± of repeats is of the count; the time of a repeat stands beside it without one.
            mean = run.figures.get(name)
            stderr = None if mean is None or mean.stderr is None else mean.stderr / run.seconds
            return None if mean is None else Mean(mean.value / run.seconds, stderr, mean.n)
    return None
