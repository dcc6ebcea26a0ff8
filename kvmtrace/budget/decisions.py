"""Holds two sides to the budgets of a file.

A budget is over, or within, where the whole interval of its figure is: a point alone decides nothing where there are
samples. Counts come first: of exits whose count is over its own budget the times are shown, but held back. Other work
takes other time, and what is to be mended is the count.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmtrace.budget.limits import Decision, both, limit
from kvmtrace.comparing.claims import Figure
from kvmtrace.comparing.differences import warnings
from kvmtrace.comparing.names import check_names
from kvmtrace.comparing.sides import alone, estimate
from kvmtrace.errors import ExitCode, InputError, UsageError
from kvmtrace.stats.estimate import Interval
from kvmtrace.stats.estimates import MIN_RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.budget.budget_file import Budget, Budgets
    from kvmtrace.comparing.sides import Side
    from kvmtrace.stats.estimate import Estimate

_NO_CHANGE = {Figure.RATIO: 1.0, Figure.DIFFERENCE: 0.0, Figure.NEW: None}
_UNDEFINED = "it has no value: a division by 0"
_STRADDLES = "the interval reaches over the limit"


@dataclass(frozen=True, slots=True)
class Decided:
    """A budget, its figure, and what is said of it. None: not recorded, or there is no such figure."""

    budget: Budget
    estimate: Estimate
    value: float | None  # of the figure that the limit is about
    interval: Interval | None
    decision: Decision
    why: str  # empty: the figures say it
    by_itself: Decision  # what was said, were it not held back
    seconds: float  # that it took to decide

    @property
    def fails(self) -> bool:
        """It does not let the change pass."""
        undecided = self.decision is Decision.UNDECIDED and not self.budget.undecided_passes
        return undecided or self.decision is Decision.OVER


@dataclass(frozen=True, slots=True)
class Checked:
    """All that a check says."""

    budgets: Budgets
    base: Side
    new: Side
    decided: tuple[Decided, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """What `kvmtrace check` ends with."""
        if any(each.decision is Decision.OVER for each in self.decided):
            return ExitCode.CHECK_FAILED
        return ExitCode.UNDECIDED if any(each.fails for each in self.decided) else ExitCode.OK

    def named(self, decision: Decision) -> list[str]:
        """Return the names of the budgets on which that was decided."""
        return [each.budget.name for each in self.decided if each.decision is decision]


def check(budgets: Budgets, base: Side, new: Side) -> Checked:
    """Hold two sides to the budgets. InputError: as of `decide`, or the same run is on both sides."""
    same = {run.manifest.run_id for run in base.runs} & {run.manifest.run_id for run in new.runs}
    if same and any(each.figure is not Figure.NEW for each in budgets.budgets):
        raise InputError(min(same), "the same run is on both sides: nothing could have changed")
    return Checked(budgets, base, new, decide(budgets, base, new), tuple(warnings(base, new)))


def decide(budgets: Budgets, base: Side, new: Side) -> tuple[Decided, ...]:
    """Decide on all budgets, in their order. InputError: a metric is about what no run of either side has."""
    for budget in budgets.budgets:
        try:
            check_names(budget.expression, base, new)
        except UsageError as error:
            raise budgets.wrong_metric(budget, error) from None
    found = [_decided(budget, base, new) for budget in budgets.budgets]
    over = [each.budget for each in found if each.decision is Decision.OVER and not each.budget.is_time]
    return tuple(_after_counts(each, over) for each in found)


def _decided(budget: Budget, base: Side, new: Side) -> Decided:
    start = time.monotonic()
    term, level = budget.expression.term, budget.confidence
    sides = (new,) if budget.figure is Figure.NEW else (base, new)
    found = (
        alone(term, new, level)
        if budget.figure is Figure.NEW
        else estimate(term, base, new, level, least_runs=MIN_RUNS)  # a gate assumes nothing of how runs spread
    )
    value, interval = _figure(budget.figure, found)
    decision, why = _decision(budget, found, value, interval, single=_are_single(sides))
    return Decided(budget, found, value, interval, decision, why, decision, time.monotonic() - start)


def _are_single(sides: Sequence[Side]) -> bool:
    """Tell whether each side is one figure without samples: one run of counters, say."""
    return all(len(side.runs) == 1 and side.runs[0].blocks == 1 for side in sides)


def _figure(figure: Figure, found: Estimate) -> tuple[float | None, Interval | None]:
    """Return what the limit is about. A ratio whose blocks have none takes that of the difference, as part of base."""
    if figure is Figure.NEW:
        return _finite(found.new), found.difference_interval
    if figure is Figure.DIFFERENCE:
        return _finite(found.difference), found.difference_interval
    ratio, interval = _finite(found.ratio), found.ratio_interval
    if interval is None and found.difference_interval is not None and ratio is not None and found.base:
        ends = sorted(1 + end / found.base for end in found.difference_interval)
        interval = Interval(ends[0], ends[1])
    return ratio, interval


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _decision(
    budget: Budget, found: Estimate, value: float | None, interval: Interval | None, *, single: bool
) -> tuple[Decision, str]:
    if budget.figure is Figure.RATIO and found.base == 0 and found.new is not None:
        return _of_none_before(budget, found, single=single)
    if value is None:
        return Decision.UNDECIDED, found.missing or _UNDEFINED
    if interval is None:
        if not (single and budget.accept_single):
            hint = "; accept_single = true takes it as it stands" if single else ""
            return Decision.UNDECIDED, (_why_none(found) if single else found.missing or "it has no interval") + hint
        interval, note = Interval(value, value), "a single figure, taken as it stands"
    else:
        note = ""
    decision, why = _beside_limits(budget, found, value, interval)
    return decision, "; ".join(filter(None, (note, why)))


def _why_none(found: Estimate) -> str:
    """Say why a figure of sides without samples has no interval."""
    known = found.missing or ""
    return known if known and not known.startswith("not recorded") else "a single figure carries no interval"


def _beside_limits(budget: Budget, found: Estimate, value: float, interval: Interval) -> tuple[Decision, str]:
    no_change = _NO_CHANGE[budget.figure]
    least = budget.minimum_effect * (abs(found.base or 0.0) if budget.figure is Figure.DIFFERENCE else 1.0)
    decisions = []
    if budget.at_most is not None:
        decisions.append(limit(budget.at_most, no_change, least).decide(value, interval))
    if budget.at_least is not None:
        upside_down = limit(-budget.at_least, None if no_change is None else -no_change, least)
        decisions.append(upside_down.decide(-value, Interval(-interval.high, -interval.low)))
    decision = both(decisions)
    if decision is Decision.UNDECIDED:
        shown = _is_beyond(budget, interval.low, interval.high)
        return decision, f"beyond the limit, but not shown to be {_counts(budget)}" if shown else _STRADDLES
    spared = decision is Decision.WITHIN and _is_beyond(budget, value, value)
    return decision, f"beyond the limit, but not {_counts(budget)}" if spared else ""


def _is_beyond(budget: Budget, low: float, high: float) -> bool:
    """Tell whether all from `low` to `high` is beyond a limit as the file states it."""
    above = budget.at_most is not None and low > budget.at_most
    return above or (budget.at_least is not None and high < budget.at_least)


def _counts(budget: Budget) -> str:
    return f"by a change that counts ({budget.minimum_effect * 100:g}% of base)"


def _of_none_before(budget: Budget, found: Estimate, *, single: bool) -> tuple[Decision, str]:
    """Decide on a ratio to 0: there is none, but what is new is more than any limit."""
    ends, new = found.difference_interval, found.new or 0.0
    # Of several runs 0 is the median: that it is 0 on both sides does not show that nothing changed.
    if ends is None and single and (budget.accept_single or new == 0):
        ends = Interval(new, new)
    if ends is None:
        return Decision.UNDECIDED, found.missing or "0 before, and what is new has no interval"
    if ends == (0, 0):
        allows_none = (budget.at_most is None or budget.at_most >= 1) and (
            budget.at_least is None or budget.at_least <= 1
        )
        why = "0 on both sides"
        return (Decision.WITHIN, f"{why}: no change") if allows_none else (Decision.UNDECIDED, f"{why}: no ratio")
    if ends.low <= 0:
        return Decision.UNDECIDED, "0 before, and not shown to be more than 0 after"
    return (Decision.OVER if budget.at_most is not None else Decision.WITHIN), "0 before: more than any ratio"


def _after_counts(decided: Decided, over: Sequence[Budget]) -> Decided:
    """Return the decision on a time as held back where a count of the same exits is over."""
    if not decided.budget.is_time:
        return decided
    counts = [budget.name for budget in over if _same_exits(budget, decided.budget)]
    if not counts:
        return decided
    why = f"of exits whose count is over ({counts[0]}); by itself it is {decided.by_itself}"
    return replace(decided, decision=Decision.HELD, why=why)


def _same_exits(count: Budget, of_time: Budget) -> bool:
    """Tell whether two budgets are about the same exits; one that names no reason is about all of them."""
    reasons = count.expression.reasons, of_time.expression.reasons
    return not all(reasons) or bool(reasons[0] & reasons[1])
