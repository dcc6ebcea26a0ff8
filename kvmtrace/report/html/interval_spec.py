"""The Vega-Lite specification of intervals: points and lines on a log axis of ratios, verdicts by colour and shape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kvmtrace.stats.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.html.parts import Spec

_LOOKS = {
    Verdict.FELL: ("var(--c2)", "triangle-down"),
    Verdict.ROSE: ("var(--c1)", "triangle-up"),
    Verdict.SAME: ("var(--c0)", "square"),
    Verdict.SMALL: ("var(--c5)", "diamond"),
    Verdict.UNDECIDED: ("var(--c7)", "circle"),
}
_NO_INTERVAL = ("var(--quiet)", "cross")
"""Of the other verdicts, which all say that nothing is known of the error."""
_STEP_PX = 24
_MARGIN = 1.08
_FARTHEST = 10.0
"""How many times as far as the points an interval is drawn; beyond, it leaves the chart."""
_TICKS = 8
_NEAR, _FAR = 8.0, 1000.0
"""Of the ends of the axis to each other: below, ticks are evenly spaced; from there on, powers of ten."""
_TOOLTIP = {
    "name": "figure", "base": "base", "new": "new", "times": "ratio", "interval": "interval", "verdict": "verdict",
    "n": "n", "samples": "samples", "method": "method", "p": "p", "adjusted_p": "corrected p",
}  # fmt: skip
_LABEL_LIMIT = {"expr": "windowSize()[0] < 700 ? 150 : 360"}


def spec(points: Sequence[dict[str, Any]], minimum_effect: float) -> Spec:
    """Return the chart of `points`: figure, ratio (> 0), low, high (None: no interval), of, verdict, words to tell."""
    low, high = _domain(points, minimum_effect)
    x_axis = {"labelExpr": "'\N{MULTIPLICATION SIGN}' + format(datum.value, '~g')", "labelOverlap": True,
              "values": _ticks(low, high)}  # fmt: skip
    x = {
        "type": "quantitative", "title": "new / base (log scale)",
        "scale": {"type": "log", "domain": [low, high], "nice": False}, "axis": x_axis,
    }  # fmt: skip
    y = {
        "field": "figure", "type": "nominal", "sort": None, "title": None,
        "axis": {"grid": True, "ticks": False, "domain": False, "labelLimit": _LABEL_LIMIT},
    }  # fmt: skip
    drawn = [_clipped(point, low, high) for point in points]
    return {"height": _STEP_PX * len(points), "layer": [*_backdrop(x, minimum_effect), *_marks(drawn, x, y)]}


def _domain(points: Sequence[dict[str, Any]], minimum_effect: float) -> tuple[float, float]:
    """Return the ends of the axis: no change is on it, the points are, and their intervals as far as they are near."""
    ratios = [1.0, *(point["ratio"] for point in points)]
    least, most = min(ratios) / _FARTHEST, max(ratios) * _FARTHEST
    ends = [point[end] for point in points for end in ("low", "high") if point[end] is not None and point[end] > 0]
    ends += [*ratios, 1 + 2 * minimum_effect, 1 / (1 + 2 * minimum_effect)]
    return max(min(ends), least) / _MARGIN, min(max(ends), most) * _MARGIN


def _ticks(low: float, high: float) -> list[float]:
    """Return round ratios from `low` to `high`, no change among them."""
    if high / low < _NEAR:
        step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if (high - low) / step <= _TICKS)
        return [round(n * step, 3) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    firsts = (1, 2, 5) if high / low < _FAR else (1,)
    ticks = [first * 10.0**decade for decade in decades for first in firsts]
    return [float(f"{tick:g}") for tick in ticks if low <= tick <= high]


def _clipped(point: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    """Return a point whose interval ends where the axis does: the log of what is not above 0 is nowhere."""
    if point["low"] is None:
        return point
    return point | {"low": min(max(point["low"], low), high), "high": min(max(point["high"], low), high)}


def _backdrop(x: dict[str, Any], minimum_effect: float) -> list[dict[str, Any]]:
    band = {"low": max(1 - minimum_effect, 1e-9), "high": 1 + minimum_effect}
    return [
        {
            "data": {"values": [band]},
            "mark": {"type": "rect", "color": "var(--c7)", "opacity": 0.25, "clip": True, "aria": False},
            "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}},
        },
        {
            "data": {"values": [{"one": 1}]},
            "mark": {"type": "rule", "color": "var(--ink)", "aria": False},
            "encoding": {"x": {"field": "one", **x}},
        },
    ]


def _marks(points: Sequence[dict[str, Any]], x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
    shown = [words for words in dict.fromkeys([*Verdict, *(point["verdict"] for point in points)])
             if any(point["verdict"] == words for point in points)]  # fmt: skip
    looks = [_LOOKS.get(words, _NO_INTERVAL) for words in shown]
    verdicts = {"field": "verdict", "type": "nominal", "title": None}
    color = {**verdicts, "scale": {"domain": shown, "range": [color for color, _ in looks]}}
    shape = {**verdicts, "scale": {"domain": shown, "range": [shape for _, shape in looks]}}
    legend = {"orient": "bottom", "columns": {"expr": "windowSize()[0] < 700 ? 2 : 5"}}
    tooltip = [{"field": field, "title": title} for field, title in _TOOLTIP.items()]
    dash = {"condition": {"test": "datum.of === 'difference'", "value": [4, 3]}, "value": [1, 0]}
    return [
        {
            "data": {"values": points},
            "transform": [{"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "strokeWidth": 2.2, "clip": True, "aria": False},
            "encoding": {
                "x": {"field": "low", **x}, "x2": {"field": "high"}, "y": y, "color": color, "strokeDash": dash,
                "tooltip": tooltip,
            },
        },
        {
            "data": {"values": points},
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 95},
            "encoding": {
                "x": {"field": "ratio", **x}, "y": y, "color": {**color, "legend": legend},
                "shape": {**shape, "legend": legend}, "tooltip": tooltip, "description": {"field": "said"},
            },
        },
    ]  # fmt: skip
