"""What can be asked of a run: formulas of sums, so that a draw of its blocks gives the same formula another value."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kvmtrace.comparing.run_data import NotRecordedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kvmtrace.comparing.run_data import Column, RunData, Where

    Floats = NDArray[np.float64]


class Term(Protocol):
    """A figure of a run."""

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the figure, (m,), with each of m ways to weigh the blocks of the run, (m, blocks).

        NotRecordedError: the run does not tell it. NaN or infinite: a division by 0.
        """


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    number: float

    def value(self, run: RunData, weights: Floats) -> Floats:  # noqa: ARG002 - as every term
        """Return the constant."""
        return np.full(len(weights), self.number)


@dataclass(frozen=True, slots=True)
class Exits:
    """A sum over exits: how many, how many with a latency, their time out of the guest, the time in the guest."""

    column: Column = "n"
    where: Where = ()

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the sum."""
        return weights @ run.block_exits(self.column, self.where)


@dataclass(frozen=True, slots=True)
class Events:
    """How often a tracepoint or a counter fired."""

    name: str

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the count."""
        return weights @ run.block_events(self.name)


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long was recorded."""

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the time in s."""
        return weights @ run.block_seconds()


@dataclass(frozen=True, slots=True)
class Vcpus:
    """How many vCPUs exited."""

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the number."""
        if run.vcpus is None:
            raise NotRecordedError("vCPUs")
        return np.full(len(weights), float(run.vcpus))


@dataclass(frozen=True, slots=True)
class Work:
    """How much work the run did, as the user said: that is one number for the whole of it."""

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the units of work; a draw of blocks did its share."""
        if run.work is None:
            raise NotRecordedError("work")
        share: Floats = weights.sum(axis=1) / run.blocks
        return run.work * share


@dataclass(frozen=True, slots=True)
class Percentile:
    """The latency of rank ceil(share n) of n exits, in ns, within 1%."""

    share: float
    where: Where = ()

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the latency; NaN where there is no exit with one."""
        counts, latency_ns = run.histogram(self.where)
        if not len(latency_ns):
            return np.full(len(weights), np.nan)
        below = (weights.astype(np.float32) @ counts.astype(np.float32)).cumsum(axis=1)
        rank = np.maximum(np.ceil(below[:, -1] * self.share - 1e-3), 1)
        found = latency_ns[np.minimum((below < rank[:, None]).sum(axis=1), len(latency_ns) - 1)]
        return np.where(below[:, -1] > 0, found, np.nan)

    def influence(self, run: RunData) -> Floats:
        """Return, of each block, the exits up to the percentile less those that its share would be."""
        counts, latency_ns = run.histogram(self.where)
        value = self.value(run, run.whole)[0]
        series: Floats = counts[:, latency_ns <= value].sum(axis=1) - self.share * counts.sum(axis=1)
        return series


@dataclass(frozen=True, slots=True)
class Figure:
    """What a benchmark or a table of somebody else says."""

    name: str

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the figure."""
        if self.name not in run.figures:
            raise NotRecordedError(self.name)
        return np.full(len(weights), run.figures[self.name].value)


OPERATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """Two terms and one of `OPERATORS` between them."""

    sign: str
    left: Term
    right: Term

    def value(self, run: RunData, weights: Floats) -> Floats:
        """Return the result."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return OPERATORS[self.sign](self.left.value(run, weights), self.right.value(run, weights))


def over(left: Term, right: Term) -> Term:
    """Return the ratio of two terms."""
    return Operation("/", left, right)


def percentiles_of(term: Term) -> list[Percentile]:
    """Return the percentiles that a term is made of."""
    match term:
        case Percentile():
            return [term]
        case Operation(_, left, right):
            return [*percentiles_of(left), *percentiles_of(right)]
    return []
