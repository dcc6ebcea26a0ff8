"""Draws a comparison: rates of both sides, latency curves over each other, and the steps of the change."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from kvmtrace.errors import UsageError
from kvmtrace.report import comparison_curves, comparison_waterfall
from kvmtrace.report.colors import BASE, COLORS, LESS, MORE, NEW, OTHER_COLOR
from kvmtrace.report.comparison import title
from kvmtrace.report.comparison_numbers import level_words, times
from kvmtrace.report.comparison_tables import line_title
from kvmtrace.report.comparison_words import verdict
from kvmtrace.report.figure_style import STYLE, file_format, image_of, latency_axis, write_image
from kvmtrace.report.printable import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line, Section
    from kvmtrace.report.comparison_curves import Pair

    Floats = NDArray[np.float64]
    _Panel = tuple[float, Callable[[Axes], None]]
    """Height in inches, and what draws it."""

_LINES: dict[str, Literal["-", "--"]] = {"base": "-", "new": "--"}
_BAR = 0.38
_BARS = 10
_CURVES = 5
_STEPS = 10
_LONGEST_NAME = 34
_INCHES_A_BAR = 0.28
_INCHES_A_PANEL = 0.9
_INCHES_OF_CURVES = 3.4


def save(comparison: Comparison, path: Path, *, force: bool = False) -> None:
    """Draw to the file `path`. UsageError: as `draw`, or no format of ours. StoreError: it cannot be written."""
    write_image(draw(comparison, file_format(path)), path, force=force)


def draw(comparison: Comparison, image_format: str) -> bytes:
    """Return an image of a comparison. UsageError: both sides have nothing in common to draw."""
    panels = list(_panels(comparison))
    if not panels:
        raise UsageError("nothing is recorded on both sides that could be drawn")
    heights = [height for height, _ in panels]
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may have letters that the font lacks: boxes will do
        figure = Figure(figsize=(10, sum(heights) + 0.4), layout="constrained")
        figure.suptitle(title(comparison), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for each, (_, paint) in zip(axes, panels, strict=True):
            paint(each)
        return image_of(figure, image_format)


def _panels(comparison: Comparison) -> Iterator[_Panel]:
    section = next((s for s in comparison.sections if any(map(_drawable, s.lines))), None)
    if section is not None:
        drawn = [line for line in section.lines if _drawable(line)][:_BARS]
        yield _INCHES_A_PANEL + 1.4 * _INCHES_A_BAR * len(drawn), lambda axes: _bars(axes, section, drawn, comparison)
    curves = comparison_curves.curves(comparison, _CURVES).pairs
    if curves:
        yield _INCHES_OF_CURVES, lambda axes: _latencies(axes, curves)
    if comparison.waterfall is not None and comparison.waterfall.steps:
        rows = comparison_waterfall.rows(comparison.waterfall, _STEPS)
        yield _INCHES_A_PANEL + _INCHES_A_BAR * (len(rows) + 2), lambda axes: _bridge(axes, rows, comparison)


def _drawable(line: Line) -> bool:
    return line.estimate.base is not None and line.estimate.new is not None


def _bars(axes: Axes, section: Section, lines: Sequence[Line], comparison: Comparison) -> None:
    places = np.arange(len(lines))
    base = np.array([line.estimate.base for line in lines], np.float64)
    new = np.array([line.estimate.new for line in lines], np.float64)
    ends = np.array([_ends(line) for line in lines])
    known = ~np.isnan(ends[:, 0])
    axes.barh(places - _BAR / 2, base, _BAR, color=BASE, label="base")
    axes.barh(places + _BAR / 2, new, _BAR, color=NEW, label="new")
    if known.any():
        label = f"{level_words(comparison.options.level)} interval of the change, from base"
        axes.hlines(places[known] + _BAR / 2, ends[known, 0], ends[known, 1], color="#000000", linewidth=1, label=label)
    for place, line, value in zip(places, lines, np.fmax(np.fmax(base, new), ends[:, 1]), strict=True):
        ratio = line.estimate.ratio
        said = ", ".join([*([] if ratio is None else [times(ratio)]), verdict(line)])
        axes.annotate(said, (max(value, 0), place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [short(line_title(line, section), _LONGEST_NAME) for line in lines])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(0, max(float(np.nanmax([base, new, ends[:, 1]])), 1e-12) * 1.25)
    axes.set_title(section.title, loc="left", fontsize=9)
    axes.legend(loc="lower right", frameon=False, fontsize=8)


def _ends(line: Line) -> tuple[float, float]:
    """Return where new lies by the interval of the change, were base exact; NaN: there is no interval."""
    said = line.estimate
    if said.base is None:
        return np.nan, np.nan
    if said.ratio_interval is not None:
        return said.base * said.ratio_interval.low, said.base * said.ratio_interval.high
    if said.difference_interval is not None:
        return max(said.base + said.difference_interval.low, 0.0), max(said.base + said.difference_interval.high, 0.0)
    return np.nan, np.nan


def _latencies(axes: Axes, curves: Sequence[Pair]) -> None:
    every = np.concatenate([curve.latency_ns for _, *pair in curves for curve in pair])
    latency_axis(axes, max(float(every.min()), 1), max(float(every.max()), 1) + 1)
    right = axes.get_xlim()[1]
    handles = []
    for (name, *pair), color in zip(curves, COLORS, strict=False):
        for curve, style in zip(pair, _LINES.values(), strict=True):
            places, shares = [curve.latency_ns[0], *curve.latency_ns, right], [0, *curve.at_most, 100]
            axes.step(places, shares, where="post", color=color, linestyle=style, linewidth=1.4)
        handles.append(Line2D([], [], color=color, label=short(name, _LONGEST_NAME)))
    handles += [Line2D([], [], color="#333333", linestyle=style, label=side) for side, style in _LINES.items()]
    axes.set_ylim(0, 102)
    axes.set_ylabel("exits at most so long (%)")
    axes.set_title("Latency, cumulative, of the reasons that take most time", loc="left", fontsize=9)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _bridge(axes: Axes, rows: Sequence[comparison_waterfall.Sum], comparison: Comparison) -> None:
    """Draw each step from where the one before it ends, between the whole of base and that of new."""
    waterfall = comparison.waterfall
    if waterfall is None:
        return
    timed = any(row.time_ns for row in rows)
    bars = comparison_waterfall.bridge(waterfall, rows, timed=timed)
    places = range(len(bars))
    axes.barh(places, [bar.change for bar in bars], 0.6, left=[bar.start for bar in bars], color=_colors(bars))
    edges = [bar.end for bar in bars[:-1]]
    axes.vlines(edges, places[:-1], places[1:], color=OTHER_COLOR, linewidth=0.7)
    tops = [max(bar.start, bar.end) for bar in bars]
    for place, bar, top in zip(places, bars, tops, strict=True):
        axes.annotate(bar.words, (top, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [short(bar.name, _LONGEST_NAME + 10) for bar in bars])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(min(0.0, *edges), max(*tops, 1e-12) * 1.15)
    what = "time out of the guest, µs" if timed else "exits"
    axes.set_title(f"What made the change: {what} per {comparison.options.per.words}", loc="left", fontsize=9)


def _colors(bars: Sequence[comparison_waterfall.Bar]) -> list[str]:
    """Return grey for base, blue for new, and of the steps between what is less and what is more."""
    return [BASE, *(LESS if bar.change < 0 else MORE for bar in bars[1:-1]), NEW]
