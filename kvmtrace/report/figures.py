"""Draws the latency of exits: a histogram of all of them, and the cumulative share by reason. One row for each run."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from kvmtrace.errors import UsageError
from kvmtrace.report.colors import COLORS, OTHER_COLOR
from kvmtrace.report.figure_style import STYLE, file_format, image_of, latency_axis, write_image
from kvmtrace.report.key_words import NOT_RECORDED
from kvmtrace.report.printable import short
from kvmtrace.report.readable import count, duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from matplotlib.lines import Line2D

    from kvmtrace.report.summary import Bucket, ExitGroup, Summary

# Line styles help where prints are grey.
_STYLES = tuple(zip(COLORS, ("-", "-", "--", "-", "--", "-.", ":"), strict=True))
_OTHER = (OTHER_COLOR, ":")
_BINS_PER_OCTAVE = 4
_LONGEST_NAME = 28


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    exits: Counter[int]  # highest latency of a bucket → exits in it
    style: tuple[str, str]  # colour and line


def save(summaries: Sequence[Summary], path: Path, *, force: bool = False) -> None:
    """Draw to the file `path`. UsageError: as `draw` and `file_format`. StoreError: it cannot be written."""
    image = draw(summaries, file_format(path))
    write_image(image, path, force=force)


def draw(summaries: Sequence[Summary], image_format: str) -> bytes:
    """Return an image of the latency distributions of runs. UsageError: a run has no exits with a latency."""
    for summary in summaries:
        if not summary.distribution:
            only_idle = summary.exits and any(section.idle for section in summary.exits.sections)
            raise UsageError(
                f"run {summary.manifest.run_id} has no exits with a latency to draw",
                hint="--with-idle draws idle ones" if only_idle else None,
            )
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may have letters that the font lacks: boxes will do
        figure = Figure(figsize=(12, 4.4 * len(summaries)), layout="constrained")
        rows = figure.subfigures(len(summaries), 1, squeeze=False)[:, 0]
        everything = [bucket for summary in summaries for bucket in summary.distribution]
        for row, summary in zip(rows, summaries, strict=True):
            _row(row, summary, everything)
        return image_of(figure, image_format)


def _row(row: SubFigure, summary: Summary, everything: Sequence[Bucket]) -> None:
    """Draw one run; axes, reasons and colours are those of all runs, so that rows compare at a glance."""
    row.suptitle(_title(summary), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    left, right = row.subplots(1, 2, width_ratios=(1, 1.25))
    lowest = min(max(bucket.low_ns, 1) for bucket in everything)
    highest = max(bucket.high_ns for bucket in everything) + 1
    for axes in (left, right):
        latency_axis(axes, lowest, highest)
    _histogram(left, summary)
    _cumulative(right, summary.distribution, _reasons(everything))


def _title(summary: Summary) -> str:
    manifest, table = summary.manifest, summary.exits
    name = short(summary.label.label or manifest.source.title, 60)
    n = count(sum(bucket.n for bucket in summary.distribution))
    idle = sum(section.total.exits for section in table.sections if section.idle) if table else 0
    which = "idle ones too" if table and table.with_idle else f"{count(idle)} idle ones left out" if idle else ""
    return f"{name} (run {short(manifest.run_id, 20)}): latency of {n} exits{', ' if which else ''}{which}"


def _histogram(axes: Axes, summary: Summary) -> None:
    exits: defaultdict[int, int] = defaultdict(int)
    for bucket in summary.distribution:
        exits[_bin((bucket.low_ns + bucket.high_ns) / 2)] += bucket.n
    bins = range(min(exits), max(exits) + 1)
    edges = [2 ** (b / _BINS_PER_OCTAVE) for b in (*bins, bins[-1] + 1)]
    axes.set_yscale("log")
    axes.stairs([exits[b] for b in bins], edges, baseline=0.5, fill=True, color="#56B4E9")
    axes.stairs([exits[b] for b in bins], edges, baseline=0.5, color="#0072B2", linewidth=0.8)
    axes.set_ylim(0.5, max(exits.values()) * 4)  # room for the names of the percentiles
    axes.set_ylabel("exits (log scale)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda n, _: count(n) if n >= 1 else ""))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"Histogram, {_BINS_PER_OCTAVE} bars for each doubling", loc="left", fontsize=9)
    table = summary.exits
    drawn = next((section.total for section in table.sections if not section.idle), None) if table else None
    if drawn:
        _percentiles(axes, drawn)


def _bin(ns: float) -> int:
    return math.floor(math.log2(max(ns, 1)) * _BINS_PER_OCTAVE)


def _percentiles(axes: Axes, total: ExitGroup) -> None:
    for place, (name, ns) in enumerate((("p50", total.p50_ns), ("p99", total.p99_ns))):
        if ns:
            axes.axvline(ns, color="#333333", linewidth=0.9, linestyle=(0, (3, 2)))
            axes.annotate(
                f"{name} {duration(ns)}",
                (ns, 0.97 - 0.07 * place),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=8,
                annotation_clip=True,
            )


def _cumulative(axes: Axes, distribution: Sequence[Bucket], reasons: Sequence[str | None]) -> None:
    curves = _curves(distribution, reasons)
    right_end = axes.get_xlim()[1]
    lines: list[Line2D] = []
    for curve in curves:
        highs = sorted(curve.exits)
        shares = accumulate((curve.exits[high] / curve.exits.total() * 100 for high in highs), initial=0.0)
        color, style = curve.style
        lines += axes.step([highs[0], *highs, right_end], [*shares, 100], where="post", color=color, linestyle=style)
    axes.set_ylim(0, 102)
    axes.set_ylabel("share of exits at most so long (%)")
    axes.set_title("Cumulative share by reason, most time out of the guest first", loc="left", fontsize=9)
    names = [f"{short(curve.name, _LONGEST_NAME)} ({count(curve.exits.total())})" for curve in curves]
    legend = axes.legend(lines, ["-"] * len(lines), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    legend.set_title("reason (exits)")
    legend.set_alignment("left")
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # given to legend(), a name with a leading underscore would be left out


def _reasons(distribution: Sequence[Bucket]) -> list[str | None]:
    """Return the reasons that have a curve of their own: those that take most time out of the guest."""
    time_ns: Counter[str | None] = Counter()
    for bucket in distribution:
        time_ns[bucket.reason] += bucket.sum_ns
    reasons = sorted(time_ns, key=lambda reason: (-time_ns[reason], reason or ""))
    return reasons if len(reasons) <= len(_STYLES) else reasons[: len(_STYLES) - 1]


def _curves(distribution: Sequence[Bucket], reasons: Sequence[str | None]) -> list[_Curve]:
    """Return a curve for each of `reasons` that there is, and one for the others together."""
    exits: defaultdict[str | None, Counter[int]] = defaultdict(Counter)
    for bucket in distribution:
        exits[bucket.reason][bucket.high_ns] += bucket.n
    curves = [
        _Curve(NOT_RECORDED if reason is None else reason, exits.pop(reason), style)
        for reason, style in zip(reasons, _STYLES, strict=False)
        if reason in exits
    ]
    if exits:
        curves.append(_Curve("other reasons", sum(exits.values(), Counter()), _OTHER))
    return curves
