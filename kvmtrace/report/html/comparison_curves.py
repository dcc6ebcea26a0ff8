"""Latency curves of both sides over each other: which part of a reason's exits takes at most, or at least, so long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kvmtrace.report.comparison_curves import curves
from kvmtrace.report.html import curve_spec
from kvmtrace.report.html.chart_names import chart_names
from kvmtrace.report.html.charts import ZOOM_TOLD
from kvmtrace.report.html.parts import Cell, Chart, DataTable, Series, Text
from kvmtrace.report.readable import count, microseconds
from kvmtrace.report.wording import listed, of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.report.comparison_curves import Curve, Curves, Pair
    from kvmtrace.report.html.parts import Part, Spec

    Floats = NDArray[np.float64]

MOST = 6
"""Reasons: more colours are not told apart."""
MOST_POINTS = 150
"""Of a curve: the eye sees no more."""
_SHARES = (0.1, 0.5, 0.9, 0.99, 0.999)
_LONGEST_NAME = 34
_MARGIN = 1.15


def parts(comparison: Comparison) -> Iterator[Part]:
    """Give the curve that every percentile is read from and the one that shows tails; nothing without latencies."""
    found = curves(comparison, MOST)
    if not found.pairs:
        return
    names = chart_names((pair.name for pair in found.pairs), _LONGEST_NAME)
    series = tuple(Series(name, color) for color, name in enumerate(names))
    yield Chart(
        "Latency: part of the exits that takes at most so long",
        f"Cumulative. {_description(found.pairs)}",
        _spec(found.pairs, series, tail=False),
        _table(found.pairs),
        series,
    )
    yield Chart(
        "Latency: part of the exits that takes at least so long",
        f"The tail, on a log scale: 1% is p99. {_description(found.pairs)}",
        _spec(found.pairs, series, tail=True),
        series=series,
    )
    if said := _left_out(found):
        yield Text((said,))


def _description(pairs: Sequence[Pair]) -> str:
    told = [f"{pair.name} ({count(pair.base.n)} and {count(pair.new.n)})" for pair in pairs]
    return f"Base is drawn through, new dashed. {ZOOM_TOLD} Exits of base and new: {listed(told, MOST)}."


def _left_out(found: Curves) -> str:
    said = []
    if found.others:
        said.append(f"{of(found.others, 'reason')} of less time")
    if found.too_few:
        said.append(f"{of(found.too_few, 'reason')} of too few exits on a side")
    return f"Without a curve: {listed(said)}." if said else ""


def _table(pairs: Sequence[Pair]) -> DataTable:
    headings = ("reason", "side", "exits", *(f"p{100 * share:g} µs" for share in _SHARES))
    rows = tuple(
        (
            Cell(pair.name),
            Cell(side),
            Cell(count(curve.n), curve.n),
            *(Cell(microseconds(ns), ns) for ns in map(curve.percentile_ns, _SHARES)),
        )
        for pair in pairs
        for side, curve in (("base", pair.base), ("new", pair.new))
    )
    return DataTable("Percentiles of the latency, all runs of a side together", headings, rows, names=2)


def _spec(pairs: Sequence[Pair], series: Sequence[Series], *, tail: bool) -> Spec:
    every = [curve for _, *pair in pairs for curve in pair]
    ends = (
        max(float(min(curve.latency_ns[0] for curve in every)), 1.0) / _MARGIN,
        max(float(max(curve.latency_ns[-1] for curve in every)), 1.0) * _MARGIN,
    )
    rarest = min(float(curve.at_least[-1]) for curve in every) / 1.5 if tail else None
    values = [
        {"reason": each.name, "side": side, "ns": ns, "share": share}
        for (_, base, new), each in zip(pairs, series, strict=True)
        for side, curve in (("base", base), ("new", new))
        for ns, share in _points(curve, ends, rarest)
    ]
    return curve_spec.spec(values, series, ends, rarest)


def _points(curve: Curve, ends: tuple[float, float], rarest: float | None) -> Iterator[tuple[float, float]]:
    """Give the points of a curve from the left edge on; what takes less than 1 ns is drawn at 1."""
    x = np.maximum(curve.latency_ns, 1.0)
    if rarest is None:
        y, first, last = curve.at_most, 0.0, (ends[1], 100.0)
        kept = thinned(np.log(x), y)
    else:
        y, first, last = curve.at_least, 100.0, (float(x[-1]), rarest)
        kept = thinned(np.log(x), np.log(y))
    yield ends[0], first
    for ns, share in zip(x[kept], y[kept], strict=True):
        yield float(f"{ns:.6g}"), float(f"{share:.6g}")
    yield last


def thinned(x: Floats, y: Floats, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Return which of a curve's points, (n,), to draw: at most `most`, equally far from each other along the curve.

    The first and the last are always there.
    """
    if len(x) <= most:
        return np.arange(len(x))
    steps = [np.diff(each) / (np.ptp(each) or 1.0) for each in (x, y)]
    way = np.concatenate([[0.0], np.abs(steps).sum(axis=0).cumsum()])
    return np.unique(np.searchsorted(way, np.linspace(0, way[-1], most)).clip(max=len(x) - 1))
