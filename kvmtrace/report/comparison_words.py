"""The sentences of a comparison: what changed, how sure that is, what was claimed. Plain text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kvmtrace.comparing.claims import Figure, Outcome
from kvmtrace.report.comparison_numbers import (
    interval,
    level_words,
    scale_of,
    scaled,
    signed_interval,
    significant,
    times,
)
from kvmtrace.stats.estimate import ALL_EQUAL, BETWEEN, FEW, FROM_MEANS, WITHIN
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from kvmtrace.comparing.claims import Claimed
    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line
    from kvmtrace.stats.estimate import Estimate

_FELL = (
    (0.095, "less than a tenth is left"), (0.105, "a tenth is left"), (0.24, "less than a quarter is left"),
    (0.26, "a quarter is left"), (0.32, "less than a third is left"), (0.345, "a third is left"),
    (0.48, "less than half is left"), (0.52, "halved"), (0.6, "nearly halved"),
)  # fmt: skip
"""Below each ratio, what people call it."""
_ROSE = ((1.9, 2.0, "nearly doubled"), (2.0, 2.1, "doubled"))
_TIMES_FROM = 2.1
TOO_FEW_EXITS = "too few exits"
_SHORT = {
    "not enough runs": "too few runs",
    "too few blocks": "too few blocks",
    "some blocks": TOO_FEW_EXITS,
    "too few exits": TOO_FEW_EXITS,
}
"""What stands in a column, by how `Estimate.missing` begins."""
_HAPPENED = {
    Verdict.FELL: " fell",
    Verdict.ROSE: " rose",
    Verdict.SAME: " stayed the same,",
    Verdict.SMALL: " changed slightly,",
    Verdict.UNDECIDED: ": no change is shown,",
    Verdict.NEW: ": new,",
    Verdict.GONE: ": gone,",
    Verdict.NO_INTERVAL: ":",
}
_MEANING = {Verdict.NEW: ": none before", Verdict.GONE: ": none after", Verdict.SMALL: ": less than the minimum effect"}
NOT_RECORDED = "not recorded"
NO_SECOND_RUN = "within-run only: says nothing of run-to-run variation"


def headlines(comparison: Comparison) -> list[str]:
    """Say what happened to the whole: the primary figure first, then how much one run a side can tell."""
    said = [headline(line) for line in comparison.headlines]
    if comparison.headlines and comparison.within_one_run:
        said.append(f"One run a side, so {NO_SECOND_RUN}.")
    if any("port I/O" in line.name for line in comparison.headlines):
        said.append("Port I/O is the guest's own work: what is changed on the host cannot save it.")
    return said


def headline(line: Line) -> str:
    """Say what happened to one figure of the whole."""
    scale, unit = scale_of(line)
    said = line.estimate
    name = " ".join(filter(None, (line.name, unit)))
    if line.verdict is Verdict.NOT_RECORDED or not _finite(said):
        return f"{name}: {_without_value(line)}"
    base, new = (significant(scaled(value, scale)) for value in (said.base, said.new))
    sure = _without_interval(said) if line.verdict is Verdict.NO_INTERVAL else _sure(said, scale)
    what = f"{name}{_HAPPENED[line.verdict]} from {base} to {new} ({sure})"
    return f"{what}{_MEANING.get(line.verdict) or _magnitude(line) or _by_chance(line)}"


def _finite(said: Estimate) -> bool:
    return all(value is not None and math.isfinite(value) for value in (said.base, said.new))


def _without_value(line: Line) -> str:
    """Say why a figure has no value on a side: not recorded, or divided by what did not happen."""
    missing = line.estimate.missing or ""
    if NOT_RECORDED in missing:
        return f"{NOT_RECORDED}: {missing}"
    return "no value on both sides: what it is divided by did not happen on one of them"


def _by_chance(line: Line) -> str:
    """Explain an interval that leaves no change out, where the verdict does not."""
    said = line.estimate
    if line.verdict is not Verdict.UNDECIDED or said.p is None or 1 - said.p < said.level:
        return ""
    if said.method == BETWEEN and 1 - least_p(said.base_n, said.new_n) >= said.level:
        return ": as one of so many figures it takes more runs to be shown"
    return ": shown if it were the only figure; as one of many it may be chance"


def least_p(base_runs: int, new_runs: int) -> float:
    """Return the least p that so many runs can have: all of one side are above all of the other."""
    return 2 / math.comb(base_runs + new_runs, base_runs)


def _without_interval(said: Estimate) -> str:
    ratio = [times(said.ratio)] if said.ratio is not None else []
    return "; ".join([*ratio, said.missing or "no interval"])


def _sure(said: Estimate, scale: float) -> str:
    parts = [times(said.ratio)] if said.ratio is not None else []
    level = level_words(said.level)
    if said.method == ALL_EQUAL:
        pass  # what has no width would be taken for a measured one
    elif said.ratio_interval is not None:
        parts.append(f"{level} interval {interval(said.ratio_interval)}")
    elif said.difference_interval is not None:
        parts.append(f"{level} interval of the difference {signed_interval(said.difference_interval, scale)}")
    return ", ".join([*parts, samples(said)])


def samples(said: Estimate) -> str:
    """Say what the samples of an interval are."""
    match said.method:
        case _ if said.method == WITHIN:
            return "within one run a side"
        case _ if said.method in (BETWEEN, FEW):
            return f"{said.base_n} and {said.new_n} runs"
        case _ if said.method == ALL_EQUAL:
            return f"all {said.base_n} and {said.new_n} runs equal on each side"
        case _ if said.method == FROM_MEANS:
            return f"n = {said.base_n:,} and {said.new_n:,} as the source counted them"
    return said.method


def _magnitude(line: Line) -> str:
    ratio = line.estimate.ratio
    if ratio is None or line.verdict not in (Verdict.FELL, Verdict.ROSE):
        return ""
    if ratio < 1:
        words = next((words for below, words in _FELL if ratio < below), f"{100 * (1 - ratio):.2g}% less")
    elif ratio > _TIMES_FROM:
        words = f"{significant(ratio)} times as much"
    else:
        near = (words for low, high, words in _ROSE if low <= ratio <= high)
        words = next(near, f"{100 * (ratio - 1):.2g}% more")
    return f": {words}"


def verdict(line: Line) -> str:
    """Return the verdict on a line as a column shows it: where there is no interval, why."""
    missing = line.estimate.missing
    if line.verdict is Verdict.NOT_RECORDED and NOT_RECORDED not in (missing or ""):
        return "no exits" if line.key else "no value"
    if line.verdict is not Verdict.NO_INTERVAL or missing is None:
        return str(line.verdict)
    return short(missing) or str(line.verdict)


def short(missing: str) -> str | None:
    """Return why there is no interval, as short as a column needs it; None: there is no shorter word."""
    return next((words for begin, words in _SHORT.items() if missing.startswith(begin)), None)


def claim(claimed: Claimed) -> str:
    """Say what the data say of a claim, and why."""
    said = f"claim {claimed.claim.text}: {claimed.outcome}"
    if claimed.value is None:
        return f"{said}: {claimed.why}"
    scale_free = significant(claimed.value)
    if claimed.interval is None:
        taken = "" if claimed.outcome is Outcome.UNDECIDED else ": taken as it stands"
        return f"{said}: {scale_free} ({claimed.why}{taken})"
    ends = (
        interval(claimed.interval)
        if claimed.claim.figure is Figure.RATIO
        else f"{significant(claimed.interval.low)} to {significant(claimed.interval.high)}"
    )
    level = level_words(claimed.estimate.level)
    reaches = " reaches over the limit" if claimed.outcome is Outcome.UNDECIDED else ""
    return f"{said}: {scale_free}, {level} interval {ends}{reaches}, {samples_of_one(claimed)}"


def samples_of_one(claimed: Claimed) -> str:
    """Say what the samples of a claim's interval are; a claim about the new side has those of one side."""
    said = claimed.estimate
    if claimed.claim.figure is Figure.NEW:
        return f"{said.new_n:,} {said.unit_of_n} of the new side"
    return samples(said)
