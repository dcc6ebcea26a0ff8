"""Where a figure with its interval lies beside a limit: within, over, or both.

A change of less than the minimum effect is none. So an `at_most` that allows for no change or more (a ratio of 1, a
difference of 0) is in effect never below that of the minimum effect, and a figure beyond the limit as it stands is
over only if it is beyond the limit in effect, too. A limit that asks for an improvement counts as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmtrace.stats.estimate import Interval


class Decision(StrEnum):
    """What is said of a budget."""

    WITHIN = "within"
    OVER = "over"
    UNDECIDED = "undecided"
    HELD = "held back"
    """A time, of exits whose count is over its own budget."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit from above; one from below is that of the negative figure.

    stated: as the file says it. in_effect: what a figure must be beyond, too, to be over; never less.
    """

    stated: float
    in_effect: float

    def decide(self, value: float, interval: Interval) -> Decision:
        """Decide by the whole interval. A figure without any is an interval of no width."""
        if interval.low > self.stated and self._beyond(value):
            return Decision.OVER
        return Decision.UNDECIDED if self._beyond(interval.high) else Decision.WITHIN

    def _beyond(self, value: float) -> bool:
        # The least change that counts does count; what is at a limit is within it.
        return value > self.stated and value >= self.in_effect


def limit(stated: float, no_change: float | None, least_change: float) -> Limit:
    """Return a limit from above. `no_change`: the figure where nothing changed (1, 0; None: it is about no change)."""
    if no_change is None or stated < no_change:
        return Limit(stated, stated)
    return Limit(stated, max(stated, no_change + least_change))


def both(decisions: list[Decision]) -> Decision:
    """Return the decision on a budget of several limits."""
    for worst in (Decision.OVER, Decision.UNDECIDED):
        if worst in decisions:
            return worst
    return Decision.WITHIN
