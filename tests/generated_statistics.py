"""docs/statistics.md: how often intervals and verdicts are right, by trials at fixed seeds.

`python -m tests.generated_statistics [PART...]` works it out again, half an hour for the whole, and writes the page;
test_stats_levels.py and test_statistics_recordings.py hold the same trials to their bounds.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from doc_commands import ROOT
from statistics_levels import (
    FEW,
    FEW_SHAPES,
    HELD,
    RUNS,
    TOO_SLOW,
    TRIALS,
    between_power,
    between_rate,
    few_power,
    few_rate,
    within_rates,
)
from statistics_recordings import MODEL, VARIANT, power, seeds, stretches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGE = ROOT / "docs" / "statistics.md"
_PER = {"second": "exits per second", "kvm_inj_virq": "exits per injected interrupt"}

_PART = re.compile(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->", re.DOTALL)
_HEAD = """\
# How often intervals are right

A comparison that calls equal things different one time in twenty is right at the 5% level. Whether it is was counted:
in trials at fixed seeds, with no minimum effect, so that the smallest difference counts. `make test-statistics` holds
the trials to at most 9% of 200 pairs; a few of them are in `make test`. `python -m tests.generated_statistics` wrote
this page.
"""
_SERIES = """\
## One run a side: blocks of time

Ratio of a series to another (Poisson, 40 a bin), 256 bins a side, {trials} pairs each. *10% less* is how often a fall
of 10% is found, with so much in so few bins: what is restless needs a longer recording.

| series | equal, called different | 10% less, found |
|---|---|---|
"""
_SLOW = """
Slower than their recording, so that its blocks cannot hold their memory: the level does **not** hold there. A
recording should be some dozen times longer than what comes and goes in it.

| series | equal, called different | 10% less, found |
|---|---|---|
"""
_RECORDINGS = """
## Recordings

Equal pairs through the whole way, from the store to the verdict: random stretches (3 to 6 s) of one recording of
1,200 s, and runs of 2 s of one model that differ in their seed ({model}, {variant}). *Any figure* is any of some forty
that one comparison tells, after Holm's correction.

| pairs | figure | pairs | first figure called different | any figure |
|---|---|---|---|---|
"""
_FEW = """
## 3 to 5 runs a side

Welch's t of the logarithms, which takes runs for log-normal, on runs that are that and on others: {trials} pairs each
of one distribution, called different at the 5% level. Where one side spreads more than the other they have one median.

| runs | {shapes} |
|---|{rules}|
"""
_TRIALS_OF_FEW = 2000
_RUNS = """
## Many runs a side

| trial | result |
|---|---|
"""


def series() -> Iterator[str]:
    """Give the rates of series made of random numbers."""
    yield _SERIES.format(trials=TRIALS)
    for held in (HELD, TOO_SLOW):
        if held is TOO_SLOW:
            yield _SLOW
        for name, made in held.items():
            null = within_rates(made, trials=TRIALS)
            fell = within_rates(made, trials=TRIALS, factor=0.9, seed=2)
            yield f"| {name} | {null.different:.1%} | {fell.different:.1%} |\n"


def recordings() -> Iterator[str]:
    """Give the rates of pairs of recordings."""
    yield _RECORDINGS.format(model=MODEL, variant=VARIANT)
    for per, figure in _PER.items():
        every = per == "second"
        for words, trial in (("stretches of one recording", stretches), ("seeds of one model", seeds)):
            calls = trial(TRIALS, per=per, every_figure=every)
            any_figure = f"{calls.any_figure / calls.pairs:.1%}" if every else "not looked at"
            yield f"| {words} | {figure} | {calls.pairs} | {calls.primary / calls.pairs:.1%} | {any_figure} |\n"


def runs() -> Iterator[str]:
    """Give the rates of sides of many runs."""
    yield _RUNS
    yield f"| {RUNS} equal runs a side, called different | {between_rate(trials=TRIALS):.1%} |\n"
    found, wrong = between_power()
    yield f"| one of 10 figures 10% less, run to run 3%, {RUNS} runs a side: found | {found:.0%} |\n"
    yield f"| another of the 10 called changed | {wrong:.0%} |\n"
    through = power(TRIALS // 2)
    yield (
        f"| the same of exits by reason, with every figure of a comparison: found | {through.found} of "
        f"{through.trials} |\n| another reason called changed | {through.wrong} of {through.trials} |\n"
    )


def few() -> Iterator[str]:
    """Give the rates of sides of few runs."""
    yield _FEW.format(
        trials=_TRIALS_OF_FEW,
        shapes=" | ".join(f"{base} and {new} runs" for base, new in FEW_SHAPES),
        rules="|".join(["---"] * len(FEW_SHAPES)),
    )
    for name, sides in FEW.items():
        rates = [few_rate(sides, shape, trials=_TRIALS_OF_FEW) for shape in FEW_SHAPES]
        yield f"| {name} | {' | '.join(f'{rate:.1%}' for rate in rates)} |\n"
    for less in (0.95, 0.9, 0.8):
        found = [few_power(shape, trials=TRIALS, less=less) for shape in FEW_SHAPES]
        yield f"| log-normal, 3%, and {1 - less:.0%} less: found | {' | '.join(f'{rate:.0%}' for rate in found)} |\n"


PARTS: dict[str, Callable[[], Iterator[str]]] = {"series": series, "recordings": recordings, "runs": runs, "few": few}


def main(names: Sequence[str]) -> None:
    """Write the page: the parts asked for (all), the others as they are."""
    text = PAGE.read_text() if PAGE.exists() else ""
    parts = {name: part.strip("\n") for name, part in _PART.findall(text)}
    for name in names or PARTS:
        parts[name] = "".join(PARTS[name]()).strip("\n")
    marked = [f"<!-- begin {name} -->\n{parts[name]}\n<!-- end {name} -->\n" for name in PARTS]
    PAGE.write_text("\n".join([_HEAD, *marked]))


if __name__ == "__main__":
    main(sys.argv[1:])
