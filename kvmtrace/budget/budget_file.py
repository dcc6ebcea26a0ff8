"""A budget file → what is to be held to which limit, or one line that says what is wrong, where, and what was meant.

undecided = "fail"            for every budget that does not say otherwise: "fail" (exit 4) or "pass"
confidence = 0.95
minimum_effect = 0.01
[[budget]]
name = "exits per interrupt"
metric = "exits() / kvm_inj_virq"
scope = "ratio"               what the limit is about: "ratio" (new over base), "difference" (new less base), "new"
at_most = 1.05                and at_least: one of them, or both
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from kvmtrace import checked_toml
from kvmtrace.budget import metrics
from kvmtrace.checked_toml import Strict, wrong
from kvmtrace.comparing.claims import Figure
from kvmtrace.comparing.expressions import Expression
from kvmtrace.errors import InputError, UsageError
from kvmtrace.stats.estimate import LEVEL
from kvmtrace.stats.verdicts import MINIMUM_EFFECT

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.checked_toml import TomlFile

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0.5, le=0.9999)]
Effect = Annotated[float, Field(ge=0, lt=1)]
Undecided = Literal["fail", "pass"]
_HINT = "docs/gating-ci.md shows a budget file that is right"
_NO_CLAIM = 'a metric is a figure of one side, such as "exits()": `scope` says ratio or difference, `at_most` the limit'


class Entry(Strict):
    """A [[budget]] as it stands in the file."""

    name: Line
    metric: Line
    scope: Literal["ratio", "difference", "new"]
    at_most: Number | None = None
    at_least: Number | None = None
    minimum_effect: Effect | None = None
    confidence: Confidence | None = None
    undecided: Undecided | None = None
    accept_single: bool = False

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise wrong("expected a limit: at_most, at_least or both")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise wrong("at_least is above at_most: nothing could be within", "at_least")
        if self.scope == "new" and self.minimum_effect is not None:
            raise wrong('minimum_effect is about a change, and scope = "new" about none', "minimum_effect")
        return self


class File(Strict):
    """The file."""

    undecided: Undecided = "fail"
    confidence: Confidence = LEVEL
    minimum_effect: Effect = MINIMUM_EFFECT
    budget: list[Entry] = Field(default_factory=list)

    @model_validator(mode="after")
    def _holds_something_to_a_limit(self) -> Self:
        if not self.budget:
            raise wrong("expected at least one [[budget]], found none: nothing would be checked")
        names: set[str] = set()
        for index, entry in enumerate(self.budget):
            if entry.name in names:
                raise wrong(f"there are two budgets {entry.name!r}", "budget", str(index), "name")
            names.add(entry.name)
        return self


@dataclass(frozen=True, slots=True)
class Budget:
    """What one metric is held to."""

    name: str
    expression: Expression
    figure: Figure  # of the metric, that the limits are about
    at_most: float | None
    at_least: float | None
    minimum_effect: float  # share of base
    confidence: float
    undecided_passes: bool
    accept_single: bool
    is_time: bool  # a latency or a time out of the guest, or made of one: counts come before it
    line: int | None  # of the file


@dataclass(frozen=True, slots=True)
class Budgets:
    """All of a file: counts first, else in its order."""

    path: str
    budgets: tuple[Budget, ...]
    file: TomlFile

    def wrong_metric(self, budget: Budget, error: UsageError) -> InputError:
        """Return the error about the metric of a budget."""
        return InputError(self.path, error.message, where=budget.line, hint=error.hint or self.file.hint)


def read(path: Path) -> Budgets:
    """Read a budget file. InputError: it cannot be read, or is none."""
    return parse(checked_toml.read_text(path, "a budget file"), path)


def parse(text: str, path: Path) -> Budgets:
    """Return the budgets that a text holds; `path` is its name in errors. InputError: it is no budget file."""
    file = checked_toml.parse(text, path, "the budget file", _HINT)
    said = file.checked(File, file.raw)
    budgets = [_budget(entry, said, file, index) for index, entry in enumerate(said.budget)]
    return Budgets(str(path), tuple(sorted(budgets, key=lambda each: each.is_time)), file)


def _budget(entry: Entry, said: File, file: TomlFile, index: int) -> Budget:
    line = file.line(("budget", str(index), "metric"))
    try:
        expression = Expression(entry.metric)
    except UsageError as error:
        of_scope = entry.metric.lstrip().startswith(("ratio(", "difference("))
        hint = _NO_CLAIM if of_scope else error.hint or _NO_CLAIM
        raise InputError(file.path, f"metric {error.message}", where=line, hint=hint) from None
    if not metrics.asks(expression.term):
        raise file.error(f"metric {entry.metric!r}: it asks nothing of a recording", line)
    return Budget(
        entry.name,
        expression,
        Figure(entry.scope),
        entry.at_most,
        entry.at_least,
        said.minimum_effect if entry.minimum_effect is None else entry.minimum_effect,
        entry.confidence or said.confidence,
        (entry.undecided or said.undecided) == "pass",
        entry.accept_single,
        metrics.is_time(expression.term),
        line,
    )
