"""What stands below the figures of a comparison: by which methods they were made, what they leave out. Plain text."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kvmtrace.comparing.tables import wants_latency
from kvmtrace.report.comparison_numbers import level_words
from kvmtrace.report.comparison_words import NO_SECOND_RUN, TOO_FEW_EXITS, least_p, short
from kvmtrace.report.wording import listed
from kvmtrace.stats.estimate import ALL_EQUAL, BETWEEN, FEW, FROM_MEANS, WITHIN
from kvmtrace.stats.estimates import MIN_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.stats.estimate import Estimate


def footnotes(comparison: Comparison) -> list[str]:
    """Say by which methods the figures were made, and what they leave out."""
    return [*_methods(comparison), *_verdicts(comparison), *_meaning(comparison)]


def _estimates(comparison: Comparison) -> list[Estimate]:
    lines = [*comparison.headlines, *(line for section in comparison.sections for line in section.lines)]
    return [line.estimate for line in lines]


def _methods(comparison: Comparison) -> Iterator[str]:
    found = _estimates(comparison)
    level = level_words(comparison.options.level)
    within = [e for e in found if e.method == WITHIN and e.difference_interval is not None]
    if within:
        counts = [min(e.base_n, e.new_n) for e in within]
        blocks = f"{min(counts)} to {max(counts)}" if min(counts) != max(counts) else str(counts[0])
        yield (
            f"{level} intervals: moving-block bootstrap over {blocks} independent blocks of time a side, as long as "
            f"each figure's own memory asks for; {NO_SECOND_RUN}."
        )
    if runs := [e for e in found if e.method == BETWEEN]:
        n = f"{runs[0].base_n} and {runs[0].new_n} runs"
        sure = f"; ratio and difference: Hodges-Lehmann with {level} intervals; p: Mann-Whitney"
        yield f"Base and new: medians of {n}, each run one sample{sure if any(e.p is not None for e in runs) else ''}."
    if few := [e for e in found if e.method == FEW]:
        n = f"{few[0].base_n} and {few[0].new_n} runs"
        yield (
            f"Base and new: medians of {n}, each run one sample; {level} intervals: Welch's t, which rests on the "
            f"assumption that runs are log-normal. So few cannot show whether they are: from {MIN_RUNS} a side on "
            "nothing is assumed, and `kvmtrace check` decides on fewer not at all."
        )
    if equal := [e for e in found if e.method == ALL_EQUAL]:
        n = f"{equal[0].base_n} and {equal[0].new_n} runs"
        yield (
            f"Intervals that are a point: all of {n} of a side came out equal, so there is no spread to tell chance "
            "by. The change is as sure as that the next run comes out equal, too."
        )
    if any(e.method == FROM_MEANS for e in found):
        yield (
            f"{level} intervals of means come of the ± and n that their source prints (Welch, Fieller): they take "
            "its samples for independent, so they are too narrow."
        )
    if runs:
        yield from _enough_runs(comparison, runs[0])
    missing = {e.missing for e in found if e.missing and e.base is not None and e.new is not None}
    yield from _absent(found)
    if any(short(each) == TOO_FEW_EXITS for each in missing):
        yield f"{TOO_FEW_EXITS}: some blocks of time hold none, or fewer lie beyond a percentile than it needs."
    if others := sorted(each for each in missing if short(each) != TOO_FEW_EXITS):
        yield f"No interval: {listed(others, 3)}."


def _absent(found: Sequence[Estimate]) -> Iterator[str]:
    """Say what is not recorded on each side, each thing once."""
    said = dict.fromkeys(part for e in found if e.missing for part in e.missing.split("; "))
    for side in ("base", "new"):
        ending = f" was not recorded on the {side} side"
        names = [part.removesuffix(ending) for part in said if part.endswith(ending)]
        if names:
            yield f"Not recorded on the {side} side, so not compared: {listed(names)}."


def _enough_runs(comparison: Comparison, said: Estimate) -> Iterator[str]:
    """Say that so few runs cannot show one of so many figures, however clear it is; and how many could."""
    alpha, tested = 1 - comparison.options.level, comparison.tested
    if said.p is not None and tested * least_p(said.base_n, said.new_n) > alpha:
        needed = next(n for n in itertools.count(said.base_n) if tested * least_p(n, n) <= alpha)
        yield (
            f"Beside the primary figure, {said.base_n} and {said.new_n} runs cannot show any of {tested} figures, "
            f"however clear: need {needed} a side."
        )


def _verdicts(comparison: Comparison) -> Iterator[str]:
    if not any(e.p is not None for e in _estimates(comparison)):
        return
    level, least = comparison.options.level, f"{100 * comparison.options.minimum_effect:g}"
    first = comparison.headlines[0] if comparison.headlines else None
    primary = f" ({first.name} {first.unit}: as it is, the primary figure; the other" if first else " (all"
    yield (
        f"fell, rose: p below {round(100 * (1 - level), 6):g}%{primary} {comparison.tested}: Holm's "
        f"correction for being so many) and a change of at least {least}%; slight: less than that; same: the whole "
        f"interval within ±{least}%; not shown: there may be a change or none."
    )


def _meaning(comparison: Comparison) -> Iterator[str]:
    quantities = {section.quantity for section in comparison.sections}
    if "exits" not in quantities:
        return
    options = comparison.options
    lines = [line for section in comparison.sections for line in section.lines]
    if options.with_idle:
        yield "Idle exits (the guest waited) are counted with the others, their time too."
    elif any(line.idle for line in lines):
        yield "Idle exits (the guest waited: no cost) are counted, their time is not; --with-idle counts it in."
    yield "Time out of the guest: from an exit to the next entry of its vCPU."
    if wants_latency(options) and quantities & {"p50_ns", "p99_ns"}:
        yield "p50, p99: within 1%."
