"""The figures of a comparison: what the user asks for, and the lines and tables that answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace.comparing.denominators import PER_SECOND, Denominator
from kvmtrace.exit_keys import By
from kvmtrace.stats.estimate import LEVEL
from kvmtrace.stats.verdicts import MINIMUM_EFFECT, Verdict

if TYPE_CHECKING:
    from kvmtrace.exit_keys import Key
    from kvmtrace.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asks of a comparison."""

    by: tuple[By, ...] = (By.REASON,)
    per: Denominator = PER_SECOND
    with_idle: bool = False
    events: bool = False  # every tracepoint, too
    minimum_effect: float = MINIMUM_EFFECT
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class Line:
    """One figure on both sides."""

    name: str  # of the whole ("all exits"), of an event or a figure; of a key: empty
    unit: str
    estimate: Estimate
    key: Key | None = None
    idle: bool = False
    base_n: float | None = None  # how many there were on each side, all runs together; None: not recorded
    new_n: float | None = None
    adjusted_p: float | None = None  # None: of the one primary figure, or there is no p
    verdict: Verdict = Verdict.NO_INTERVAL
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Lines of one kind of figure."""

    title: str
    quantity: str  # "exits", "time", "mean", "p50" …: a word for programs
    unit: str
    by: tuple[By, ...]  # what keys are told apart by; none: lines are named
    lines: tuple[Line, ...]
