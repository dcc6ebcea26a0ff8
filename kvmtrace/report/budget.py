"""What a check of budgets says, in words: a table for people, and annotations for GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.budget.limits import Decision
from kvmtrace.comparing.claims import Figure
from kvmtrace.report.blocks import Facts, Sentences, Table
from kvmtrace.report.printable import printable
from kvmtrace.report.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.budget.decisions import Checked, Decided
    from kvmtrace.comparing.sides import Side
    from kvmtrace.report.blocks import Block
    from kvmtrace.stats.estimate import Interval

_HEADINGS = ("decision", "budget", "kind", "metric", "base", "new", "limit", "value", "interval", "why")
_IN_MESSAGE = {ord("%"): "%25", ord("\r"): "%0D", ord("\n"): "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {ord(":"): "%3A", ord(","): "%2C"}
_DIGITS = (4, 6, 9, 12)


def headline(checked: Checked) -> str:
    """Say how the check ended, in a line."""
    total = len(checked.decided)
    if over := checked.named(Decision.OVER):
        return f"over budget, {len(over)} of {total}: {listed(over)}"
    failing = [each.budget.name for each in checked.decided if each.fails]
    if failing:
        return f"could not be decided from what was recorded, {len(failing)} of {total}: {listed(failing)}"
    if passed := checked.named(Decision.UNDECIDED):
        return f"not over budget; not decided, and allowed to pass, {len(passed)} of {total}: {listed(passed)}"
    return f"within budget: {'all ' if total > 1 else ''}{total} of {total}"


def document(checked: Checked) -> Iterator[Block]:
    """Return what is said of a check, for a layout."""
    facts = (
        ("budget file", printable(checked.budgets.path)),
        ("base", _titles(checked.base)),
        ("new", _titles(checked.new)),
    )
    yield Facts(f"kvmtrace check: {printable(headline(checked))}", facts)
    if checked.warnings:
        yield Sentences(tuple(map(printable, checked.warnings)), warning=True)
    rows = tuple(_row(each) for each in checked.decided)
    yield Table("Budgets, counts before times", _HEADINGS, rows, names=len(_HEADINGS))
    yield Sentences(tuple(footnotes(checked)))


def of_bad_input(message: str, hint: str | None) -> Iterator[Block]:
    """Return what is said where nothing could be checked."""
    told = (("error", printable(message)), *((("hint", printable(hint)),) if hint else ()))
    yield Facts("kvmtrace check: nothing was checked", told)


def footnotes(checked: Checked) -> Iterator[str]:
    """Say by which methods, and of what the samples are."""
    for method in dict.fromkeys(each.estimate.method for each in checked.decided if each.interval is not None):
        ns = {samples(each) for each in checked.decided if each.estimate.method == method and each.interval is not None}
        yield f"Intervals: {method} (n: {'; '.join(sorted(ns))})."
    units = {each.estimate.unit_of_n for each in checked.decided}
    if len(checked.base.runs) == len(checked.new.runs) == 1:
        of = "within-run only, which says" if "blocks" in units else "its figures say"
        yield f"One run a side: {of} nothing of run-to-run variation."
    if checked.named(Decision.HELD):
        yield "Held back: the times of exits whose count is over its own budget. Mend the count first."
    yield "Each budget is decided for itself: intervals are not adjusted for how many there are."


def samples(decided: Decided) -> str:
    """Say how many samples the figure of a budget has on each side."""
    found = decided.estimate
    sides = f"{found.new_n}" if decided.budget.figure is Figure.NEW else f"{found.base_n} and {found.new_n}"
    return f"{sides} {found.unit_of_n}"


def limit_told(decided: Decided) -> str:
    """Return the limit of a budget as text: ratio <= 1.05."""
    budget = decided.budget
    parts = [f">= {budget.at_least:.12g}"] if budget.at_least is not None else []
    parts += [f"<= {budget.at_most:.12g}"] if budget.at_most is not None else []
    return f"{budget.figure} {' and '.join(parts)}"


def value_told(decided: Decided) -> str:
    """Return the figure that the limit is about."""
    return "-" if decided.value is None else _beside(decided.value, decided)


def interval_told(decided: Decided) -> str:
    """Return the interval, with its level."""
    interval: Interval | None = decided.interval
    if interval is None:
        return "-"
    low, high = (_beside(end, decided) for end in interval)
    return f"{low} to {high} ({decided.budget.confidence * 100:.6g}%)"


def sentence(decided: Decided) -> str:
    """Say what was decided of a budget, and why, in a line."""
    figures = f"{decided.budget.expression.text}: {value_told(decided)}"
    figures += f", interval {interval_told(decided)}" if decided.interval is not None else ""
    why = f"; {decided.why}" if decided.why else ""
    return printable(f"{decided.decision}: {figures}, limit {limit_told(decided)}{why}")


def github_commands(checked: Checked) -> Iterator[str]:
    """Return the workflow commands that make GitHub show what is said beside the line of the budget file.

    An error for what fails the job; a warning for what does not and is not within, and for what else differs between
    the sides; a notice for the whole.
    """
    passes = "notice" if not checked.exit_code else "error"
    yield command(passes, headline(checked), {"title": "kvmtrace check"})
    for each in checked.decided:
        if each.decision is not Decision.WITHIN:
            place = {"file": checked.budgets.path, "line": str(each.budget.line or 1), "title": each.budget.name}
            yield command("error" if each.fails else "warning", sentence(each), place)
    for text in checked.warnings:
        yield command("warning", text, {"title": "kvmtrace check"})


def command(kind: str, message: str, properties: dict[str, str]) -> str:
    """Return a workflow command of GitHub: one line, with what would end it, or a property, escaped.

    Escapes: "Workflow commands for GitHub Actions", and toCommandValue/escapeProperty of its toolkit.
    """
    told = ",".join(f"{name}={_escaped(value, of_property=True)}" for name, value in properties.items())
    return f"::{kind} {told}::{_escaped(message)}"


def _escaped(text: str, *, of_property: bool = False) -> str:
    return printable(text.translate(_IN_PROPERTY if of_property else _IN_MESSAGE))


def _row(each: Decided) -> tuple[str, ...]:
    kind = "time" if each.budget.is_time else "count"
    cells = (
        each.decision, each.budget.name, kind, each.budget.expression.text, _number(each.estimate.base),
        _number(each.estimate.new), limit_told(each), value_told(each), interval_told(each), each.why,
    )  # fmt: skip
    return tuple(printable(str(cell)) for cell in cells)


def _number(value: float | None, digits: int = 4) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "-"
    whole = abs(value) >= 10 ** (digits - 1)
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"


def _beside(value: float, decided: Decided) -> str:
    """Return a number with as many digits as tell it from the limits."""
    limits = [each for each in (decided.budget.at_most, decided.budget.at_least) if each is not None and each != value]
    for digits in _DIGITS:
        text = _number(value, digits)
        if text not in {_number(each, digits) for each in limits}:
            break
    return text


def _titles(side: Side) -> str:
    titles = [printable(run.title) for run in side.runs]
    return listed(titles) + (f" ({len(titles)} runs)" if len(titles) > 1 else "")
