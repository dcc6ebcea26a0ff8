"""Draws a comparison: rates of both sides, latency curves over each other, and the steps of the change."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from kvmtrace.compare.tables import wants_latency
from kvmtrace.errors import UsageError
from kvmtrace.report import comparison_waterfall
from kvmtrace.report.comparison_numbers import level_words, signed, significant, times
from kvmtrace.report.comparison_tables import line_names
from kvmtrace.report.comparison_words import verdict
from kvmtrace.report.figure_style import (
    COLORS,
    OTHER_COLOR,
    STYLE,
    file_format,
    image_of,
    latency_axis,
    short,
    write_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from kvmtrace.compare.comparison import Comparison
    from kvmtrace.compare.lines import Line, Section
    from kvmtrace.compare.sides import Side

    Floats = NDArray[np.float64]
    _Panel = tuple[float, Callable[[Axes], None]]
    """Height in inches, and what draws it."""

_LINES: dict[str, Literal["-", "--"]] = {"base": "-", "new": "--"}
_BASE, _NEW = "#999999", "#0072B2"
_LESS, _MORE = "#009E73", "#D55E00"
_BAR = 0.38
_BARS = 10
_CURVES = 5
_EXITS_OF_A_CURVE = 20
"""Of fewer, a curve is a few steps that say little."""
_STEPS = 10
_LONGEST_NAME = 34
_INCHES_A_BAR = 0.28
_INCHES_A_PANEL = 0.9
_INCHES_OF_CURVES = 3.4


class _Curve(NamedTuple):
    latency_ns: Floats
    share: Floats  # percent, at most so long


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
        figure.suptitle(_title(comparison), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for each, (_, paint) in zip(axes, panels, strict=True):
            paint(each)
        return image_of(figure, image_format)


def _title(comparison: Comparison) -> str:
    base, new = (short(_side_name(side), 50) for side in (comparison.base, comparison.new))
    return f"{base} against {new}"


def _side_name(side: Side) -> str:
    return side.runs[0].title if len(side.runs) == 1 else f"{len(side.runs)} runs ({side.runs[0].title}, …)"


def _panels(comparison: Comparison) -> Iterator[_Panel]:
    section = next((s for s in comparison.sections if any(map(_drawable, s.lines))), None)
    if section is not None:
        drawn = [line for line in section.lines if _drawable(line)][:_BARS]
        yield _INCHES_A_PANEL + 1.4 * _INCHES_A_BAR * len(drawn), lambda axes: _bars(axes, section, drawn, comparison)
    curves = _curves(comparison)
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
    axes.barh(places - _BAR / 2, base, _BAR, color=_BASE, label="base")
    axes.barh(places + _BAR / 2, new, _BAR, color=_NEW, label="new")
    if known.any():
        label = f"{level_words(comparison.options.level)} interval of the change, from base"
        axes.hlines(places[known] + _BAR / 2, ends[known, 0], ends[known, 1], color="#000000", linewidth=1, label=label)
    for place, line, value in zip(places, lines, np.fmax(np.fmax(base, new), ends[:, 1]), strict=True):
        ratio = line.estimate.ratio
        said = ", ".join([*([] if ratio is None else [times(ratio)]), verdict(line)])
        axes.annotate(said, (max(value, 0), place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [short(" ".join(filter(None, line_names(line, section))), _LONGEST_NAME) for line in lines])
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


def _curves(comparison: Comparison) -> list[tuple[str, str, tuple[_Curve, _Curve]]]:
    """Return the name, colour and latencies on both sides of the reasons that take most time."""
    if not wants_latency(comparison.options):
        return []
    section = next((s for s in comparison.sections if s.quantity == "out_of_guest_ns"), None)
    keyed = [line for line in section.lines if line.key is not None] if section else []
    keyed.sort(key=lambda line: -((line.estimate.base or 0) + (line.estimate.new or 0)))
    found: list[tuple[str, str, tuple[_Curve, _Curve]]] = []
    for line in keyed:
        where = (("reason", line.key.reason if line.key else None), ("idle", line.idle))
        curves = [_curve(side, where) for side in (comparison.base, comparison.new)]
        if section is not None and curves[0] is not None and curves[1] is not None:
            found.append((line_names(line, section)[0], COLORS[len(found)], (curves[0], curves[1])))
        if len(found) == _CURVES:
            break
    return found


def _curve(side: Side, where: tuple[tuple[str, object], ...]) -> _Curve | None:
    """Return the latencies of a side's exits, those of its runs together; None: they are too few."""
    parts = [run.histogram(where) for run in side.runs]
    latency_ns = np.concatenate([part.latency_ns for part in parts])
    counts = np.concatenate([part.counts.sum(axis=0) for part in parts])
    if counts.sum() < _EXITS_OF_A_CURVE:
        return None
    order = np.argsort(latency_ns, kind="stable")
    share = 100 * counts[order].cumsum() / counts.sum()
    return _Curve(latency_ns[order], share)


def _latencies(axes: Axes, curves: Sequence[tuple[str, str, tuple[_Curve, _Curve]]]) -> None:
    every = np.concatenate([curve.latency_ns for _, _, pair in curves for curve in pair])
    latency_axis(axes, max(float(every.min()), 1), max(float(every.max()), 1) + 1)
    right = axes.get_xlim()[1]
    handles = []
    for name, color, pair in curves:
        for curve, style in zip(pair, _LINES.values(), strict=True):
            places, shares = [curve.latency_ns[0], *curve.latency_ns, right], [0, *curve.share, 100]
            axes.step(places, shares, where="post", color=color, linestyle=style, linewidth=1.4)
        handles.append(Line2D([], [], color=color, label=short(name, _LONGEST_NAME)))
    handles += [Line2D([], [], color="#333333", linestyle=style, label=side) for side, style in _LINES.items()]
    axes.set_ylim(0, 102)
    axes.set_ylabel("exits at most so long (%)")
    axes.set_title("Latency, cumulative, of the reasons that take most time", loc="left", fontsize=9)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _step_name(row: comparison_waterfall.Sum) -> str:
    """Return what a step is, its change first: that is not to be cut off."""
    cause = row.detail if row.detail.startswith(f"{row.reason} ") else f"{row.reason} {row.detail}".rstrip()
    return short(f"{row.change}: {cause}" if row.change else cause, _LONGEST_NAME + 10)


def _bridge(axes: Axes, rows: Sequence[comparison_waterfall.Sum], comparison: Comparison) -> None:
    """Draw each step from where the one before it ends, between the whole of base and that of new."""
    waterfall = comparison.waterfall
    if waterfall is None:
        return
    timed = any(row.time_ns for row in rows)
    first, last = (
        (waterfall.base_time_ns / 1e3, waterfall.new_time_ns / 1e3) if timed
        else (waterfall.base_exits, waterfall.new_exits)
    )  # fmt: skip
    steps = np.array([row.time_ns / 1e3 if timed else row.exits for row in rows])
    rows = [row for row, step in zip(rows, steps, strict=True) if step]
    steps = steps[steps != 0]
    starts = first + np.concatenate([[0.0], steps.cumsum()[:-1]]) if len(steps) else steps
    places = np.arange(len(steps)) + 1
    axes.barh([0, len(steps) + 1], [first, last], 0.6, color=[_BASE, _NEW])
    axes.barh(places, steps, 0.6, left=starts, color=[_LESS if step < 0 else _MORE for step in steps])
    edges = np.concatenate([[first], starts + steps])
    axes.vlines(edges, np.arange(len(edges)), np.arange(len(edges)) + 1, color=OTHER_COLOR, linewidth=0.7)
    tops = [first, *np.maximum(starts, starts + steps), last]
    said = [significant(first), *map(signed, steps), significant(last)]
    for place, (top, words) in enumerate(zip(tops, said, strict=True)):
        axes.annotate(words, (top, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    names = [_step_name(row) for row in rows]
    axes.set_yticks(range(len(steps) + 2), ["base", *names, "new"])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(min(0.0, float(edges.min())), max(*tops, 1e-12) * 1.15)
    what = "time out of the guest, µs" if timed else "exits"
    axes.set_title(f"What made the change: {what} per {comparison.options.per.words}", loc="left", fontsize=9)
