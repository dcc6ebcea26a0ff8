"""What somebody claims, put to the test: `ratio(kvm_exit / kvm_inj_virq) <= 0.55`.

`ratio(…)` is new over base, `difference(…)` new less base, anything else the new side's own value. Data support a claim
where the whole interval does, contradict it where the whole interval does, and else cannot decide it. Figures without
an interval are taken as they stand, and that is said.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmtrace.comparing.expressions import Expression, finite, parsed
from kvmtrace.comparing.names import check_names
from kvmtrace.comparing.sides import Side, alone, estimate
from kvmtrace.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmtrace.stats.estimate import Estimate, Interval


class Outcome(StrEnum):
    """What the data say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "cannot decide"


class Figure(StrEnum):
    """Which figure of an estimate a claim is about."""

    RATIO = "ratio"
    DIFFERENCE = "difference"
    NEW = "new"


_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.LtE: ("<=", operator.le),
    ast.Lt: ("<", operator.lt),
    ast.GtE: (">=", operator.ge),
    ast.Gt: (">", operator.gt),
}
_FORM = 'expected a figure, one of < <= >= > and a number: "ratio(kvm_exit / kvm_inj_virq) <= 0.55"'


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was read: which figure of which expression is to be on which side of a limit."""

    text: str
    figure: Figure
    expression: Expression
    sign: str
    limit: float
    holds: Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim and what the data say of it; `interval` None: the figures carry none, or something is not recorded."""

    claim: Claim
    estimate: Estimate
    value: float | None
    interval: Interval | None
    outcome: Outcome

    @property
    def why(self) -> str | None:
        """Why there is no interval; None: there is one."""
        if self.interval:
            return None
        of_nothing = self.claim.figure is Figure.RATIO and self.estimate.base == 0
        return self.estimate.missing or ("there is no ratio to a base of 0" if of_nothing else "it has no interval")


def claim(text: str) -> Claim:
    """Read a claim. UsageError: it cannot be read."""
    node = parsed(text)
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            sign, holds = _COMPARISONS[type(op)]
            figure, inner = _figure(left)
            return Claim(text, figure, Expression(ast.unparse(inner)), sign, _number(right, text), holds)
    raise UsageError(f"--claim {text!r}: {_FORM}")


def _figure(node: ast.expr) -> tuple[Figure, ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id="ratio" | "difference" as name), args=[inner], keywords=[]):
            return Figure(name), inner
    return Figure.NEW, node


def _number(node: ast.expr, text: str) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return finite(number, text)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -finite(number, text)
    raise UsageError(f"--claim {text!r}: {_FORM}")


def check(said: Claim, base: Side, new: Side, level: float) -> Claimed:
    """Hold the data to a claim. UsageError: it is about exits or events that no run has."""
    check_names(said.expression, base, new)
    if said.figure is Figure.NEW:
        found = alone(said.expression.term, new, level)
        value, interval = found.new, found.difference_interval
    else:
        found = estimate(said.expression.term, base, new, level)
        of_ratio = said.figure is Figure.RATIO
        value = found.ratio if of_ratio else found.difference
        interval = found.ratio_interval if of_ratio else found.difference_interval
    return Claimed(said, found, value, interval, _outcome(said, value, interval, found))


def _outcome(said: Claim, value: float | None, interval: Interval | None, found: Estimate) -> Outcome:
    if value is None:
        return Outcome.UNDECIDED
    if interval is None and found.unit_of_n in ("runs", "blocks"):
        return Outcome.UNDECIDED  # there are samples, and too few of them: their middle decides nothing
    held = {said.holds(end, said.limit) for end in (interval or (value, value))}
    if len(held) > 1:
        return Outcome.UNDECIDED
    return Outcome.SUPPORTED if held.pop() else Outcome.CONTRADICTED
