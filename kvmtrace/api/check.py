"""What was decided on budgets, as a result of the library."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmtrace.api.shown import Shown
from kvmtrace.errors import ExitCode
from kvmtrace.report import budget as words

if TYPE_CHECKING:
    import polars as pl

    from kvmtrace.budget.decisions import Checked, Decided
    from kvmtrace.report.blocks import Block


@dataclass(frozen=True, repr=False)
class CheckResult(Shown):
    """What `kvmtrace check` says; `checked` has it in plain numbers."""

    checked: Checked

    @property
    def passed(self) -> bool:
        """Nothing is over its budget, and nothing undecided that may not be."""
        return self.checked.exit_code is ExitCode.OK

    @property
    def exit_code(self) -> ExitCode:
        """What `kvmtrace check` ends with: OK, CHECK_FAILED or UNDECIDED."""
        return self.checked.exit_code

    @property
    def headline(self) -> str:
        """How the check ended, in a line."""
        return words.headline(self.checked)

    @property
    def warnings(self) -> list[str]:
        """What else differs between the sides, and what is not compared."""
        return list(self.checked.warnings)

    def blocks(self) -> list[Block]:
        """Return what it says, in words."""
        return list(words.document(self.checked))

    def figures(self) -> pl.DataFrame:
        """Return a row for each budget: its figure with interval and limit, and what was decided."""
        from kvmtrace.api import frames

        return frames.of_rows(list(map(_row, self.checked.decided)))

    def to_json(self) -> str:
        """Return the decisions as JSON."""
        told = {
            "outcome": self.exit_code.name.lower(),
            "headline": self.headline,
            "warnings": self.warnings,
            "budgets": list(map(_row, self.checked.decided)),
        }
        return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _row(each: Decided) -> dict[str, Any]:
    budget, found = each.budget, each.estimate
    low, high = each.interval or (None, None)
    return {
        "decision": str(each.decision),
        "fails": each.fails,
        "budget": budget.name,
        "kind": "time" if budget.is_time else "count",
        "metric": budget.expression.text,
        "scope": str(budget.figure),
        "base": _finite(found.base),
        "new": _finite(found.new),
        "value": _finite(each.value),
        "low": _finite(low),
        "high": _finite(high),
        "at_least": budget.at_least,
        "at_most": budget.at_most,
        "level": budget.confidence,
        "method": found.method,
        "base_samples": found.base_n,
        "new_samples": found.new_n,
        "sample_unit": found.unit_of_n,
        "why": each.why or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
