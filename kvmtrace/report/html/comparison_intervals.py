"""How sure each figure is: its ratio and interval as a point and a line, beside the line of no change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmtrace.report.comparison_numbers import either_interval, level_words, scale_of, scaled, significant, times
from kvmtrace.report.comparison_tables import line_title
from kvmtrace.report.comparison_words import samples, verdict
from kvmtrace.report.html.chart_names import chart_names
from kvmtrace.report.html.interval_spec import spec
from kvmtrace.report.html.parts import Cell, Chart, DataTable, Text
from kvmtrace.report.printable import printable
from kvmtrace.report.readable import count
from kvmtrace.report.wording import listed, of
from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line
    from kvmtrace.report.html.parts import Part
    from kvmtrace.stats.estimate import Estimate

MOST = 40
"""Lines of a chart."""
_TOLD = 6
"""Lines that are named because they cannot be drawn."""


class _Named(NamedTuple):
    name: str
    line: Line


def parts(comparison: Comparison) -> Iterator[Part]:
    """Give a chart for each kind of figure, the whole first; what is not in it is said behind it."""
    if charts := [part for each in _kinds(comparison) for part in _chart(*each, comparison)]:
        yield from [_explained(comparison), *charts]


def _kinds(comparison: Comparison) -> Iterator[tuple[str, list[_Named]]]:
    whole = [_Named(" ".join(filter(None, (line.name, scale_of(line)[1]))), line) for line in comparison.headlines]
    yield "The whole", whole
    for section in comparison.sections:
        lines = [_Named(line_title(line, section), line) for line in section.lines]
        yield printable(section.title), lines


def _explained(comparison: Comparison) -> Text:
    """Say how the charts are read."""
    options = comparison.options
    every = [line.estimate for _, lines in _kinds(comparison) for _, line in lines if _has_ratio(line.estimate)]
    said = [
        f"A point is new / base: left of {times(1.0)} it is less. Colour and shape are the verdict.",
        f"The grey band is the minimum effect, ±{100 * options.minimum_effect:g}%.",
    ]
    if any(each.difference_interval for each in every):
        said.append(f"A line is its {level_words(options.level)} interval.")
    if any(each.difference_interval and not each.ratio_interval for each in every):
        said.append("Dashed: the ratio has no interval; it is that of the difference, as a share of base.")
    return Text((" ".join(said),))


def _chart(title: str, lines: Sequence[_Named], comparison: Comparison) -> Iterator[Part]:
    drawable = [each for each in lines if _has_ratio(each.line.estimate)]
    drawn = drawable[:MOST]
    if drawn:
        options = comparison.options
        names = chart_names(printable(each.name) for each in drawn)
        points = [_point(name, each) for name, each in zip(names, drawn, strict=True)]
        yield Chart(
            title,
            _description(drawn, options.level),
            spec(points, options.minimum_effect),
            _table(title, lines[:MOST], options.level),
        )
    if said := [*_beyond(len(drawable) - len(drawn)), *_undrawn(title, lines, drawn)]:
        yield Text(tuple(said))


def _has_ratio(said: Estimate) -> bool:
    """Tell whether a line has a place on an axis of ratios: neither side is 0 or not known."""
    return said.ratio is not None and math.isfinite(said.ratio) and said.ratio > 0


def _point(name: str, each: _Named) -> dict[str, Any]:
    """Return what is drawn of a line, and what is told where it is pointed at."""
    line, said = each.line, each.line.estimate
    low, high, of_ratio = _ends(said)
    base, new, ratio, interval = _figures(line)
    return {
        "figure": name,
        "name": printable(each.name),
        "ratio": said.ratio,
        "low": low,
        "high": high,
        "of": "ratio" if of_ratio else "difference",
        "verdict": verdict(line),
        "base": base,
        "new": new,
        "times": ratio,
        "interval": interval,
        "said": f"{printable(each.name)}: {ratio}, interval {interval}, {verdict(line)}",
        "n": f"{count(line.base_n)} and {count(line.new_n)}",
        "samples": said.missing or f"{samples(said)}: {_sample_counts(said)}",
        "method": said.method,
        "p": significant(said.p),
        "adjusted_p": significant(line.adjusted_p),
    }


def _ends(said: Estimate) -> tuple[float | None, float | None, bool]:
    """Return the interval as ratios, and whether it is one: else that of the difference, as a share of base.

    That is what the verdict is made of where the ratio has none.
    """
    if said.ratio_interval is not None:
        return said.ratio_interval.low, said.ratio_interval.high, True
    if said.difference_interval is None or not said.base or said.base < 0:
        return None, None, True
    return 1 + said.difference_interval.low / said.base, 1 + said.difference_interval.high / said.base, False


def _figures(line: Line) -> tuple[str, str, str, str]:
    """Return base, new, ratio and interval in words."""
    said, (scale, unit) = line.estimate, scale_of(line)
    base, new = (
        " ".join((significant(scaled(value, scale)), printable(unit))).rstrip() for value in (said.base, said.new)
    )
    return base, new, times(said.ratio), either_interval(said, scale)


def _sample_counts(said: Estimate) -> str:
    return f"{said.base_n:,} and {said.new_n:,} {said.unit_of_n}"


def _description(drawn: Sequence[_Named], level: float) -> str:
    found = [verdict(each.line) for each in drawn]
    counted = [f"{found.count(words)} {words}" for words in dict.fromkeys([*Verdict, *found]) if words in found]
    intervals = any(each.line.estimate.difference_interval for each in drawn)
    shown = f"New / base of {of(len(drawn), 'figure')}{f', with {level_words(level)} intervals' if intervals else ''}"
    return f"{shown}: {listed(counted, len(counted))}.{_furthest(drawn)}"


def _furthest(drawn: Sequence[_Named]) -> str:
    """Name the line that changed most, of those whose change is shown."""
    changed = [each for each in drawn if each.line.verdict in (Verdict.FELL, Verdict.ROSE)]
    if not changed:
        return ""
    name, line = max(changed, key=lambda each: abs(math.log(each.line.estimate.ratio or 1)))
    _, _, ratio, interval = _figures(line)
    return f" Furthest from no change: {printable(name)}, {ratio} ({interval}), {verdict(line)}."


def _table(title: str, lines: Sequence[_Named], level: float) -> DataTable:
    """Return the figures of a chart, those that could not be drawn too."""
    headings = ("figure", "base", "new", "ratio", f"{level_words(level)} interval", "verdict", "base n", "new n",
                "p", "corrected p", "samples")  # fmt: skip
    return DataTable(title, headings, tuple(_table_row(*each) for each in lines), names=1)


def _table_row(name: str, line: Line) -> tuple[Any, ...]:
    said, (scale, _) = line.estimate, scale_of(line)
    base, new, ratio, interval = _figures(line)
    low = said.ratio_interval.low if said.ratio_interval else None
    return (
        Cell(printable(name)),
        Cell(base, scaled(said.base, scale)),
        Cell(new, scaled(said.new, scale)),
        Cell(ratio, said.ratio),
        Cell(interval, low),
        Cell(verdict(line)),
        Cell(count(line.base_n), line.base_n),
        Cell(count(line.new_n), line.new_n),
        Cell(significant(said.p), said.p),
        Cell(significant(line.adjusted_p), line.adjusted_p),
        Cell(printable(said.missing or f"{samples(said)}: {_sample_counts(said)}")),
    )


def _beyond(left_out: int) -> Iterator[str]:
    if left_out:
        yield f"The chart has the first {MOST} lines; {of(left_out, 'more line')} are in the tables below."


def _undrawn(title: str, lines: Sequence[_Named], drawn: Sequence[_Named]) -> Iterator[str]:
    """Name the lines that have no ratio, with what is known of them."""
    lacking = [each for each in lines if not _has_ratio(each.line.estimate)]
    if not lacking:
        return
    told = []
    for name, line in lacking[: _TOLD + 1]:
        base, new, _, interval = _figures(line)
        sure = f", {interval}" if line.estimate.difference_interval else ""
        told.append(f"{printable(name)} ({verdict(line)}: from {base} to {new}{sure})")
    if len(lacking) > len(told):
        told += [""] * (len(lacking) - len(told))
    where = "" if drawn else f"{title}: "
    yield f"{where}Without a ratio, so not drawn: {listed(told, _TOLD)}."
