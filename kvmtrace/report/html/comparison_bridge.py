"""The steps from base to new as floating bars, in exits and in time out of the guest, with the whole at both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmtrace.report import comparison_waterfall
from kvmtrace.report.comparison_numbers import significant
from kvmtrace.report.html.chart_names import chart_names
from kvmtrace.report.html.parts import Cell, Chart, DataTable
from kvmtrace.report.printable import printable
from kvmtrace.report.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.report.comparison_waterfall import Bar
    from kvmtrace.report.html.parts import Spec

_COLORS = {"base": "var(--c7)", "less": "var(--c2)", "more": "var(--c1)", "new": "var(--c0)"}
_ROOM_FOR_WORDS = 1.3
_STEP_PX = 26
_NAMED = 2
_LABEL_LIMIT = {"expr": "windowSize()[0] < 700 ? 150 : 360"}


def charts(comparison: Comparison) -> Iterator[Chart]:
    """Give a chart of exits and one of time; none where no step changes either."""
    waterfall = comparison.waterfall
    if waterfall is None:
        return
    rows = comparison_waterfall.rows(waterfall)
    per = printable(comparison.options.per.words)
    for timed, unit in ((False, f"exits per {per}"), (True, f"time out of the guest, µs per {per}")):
        bars = comparison_waterfall.bridge(waterfall, rows, timed=timed)
        if len(bars) > 2:  # noqa: PLR2004 - more than both sides
            yield _chart(bars, unit)


def _chart(bars: Sequence[Bar], unit: str) -> Chart:
    title = f"From base to new: {unit}"
    rows = tuple(
        (Cell(bar.name), Cell(bar.words, bar.change), Cell(significant(bar.end), bar.end)) for bar in bars
    )  # fmt: skip
    table = DataTable(title, ("step", "change", "reached"), rows, names=1)
    return Chart(title, _description(bars), _spec(bars, unit), table)


def _description(bars: Sequence[Bar]) -> str:
    largest = sorted(bars[1:-1], key=lambda bar: -abs(bar.change))[:_NAMED]
    steps = listed([f"{bar.name} ({bar.words})" for bar in largest])
    return (
        f"Each bar begins where the one above it ends: from {bars[0].words} in base to {bars[-1].words} in new. "
        f"The largest of {len(bars) - 2} steps: {steps}."
    )


def _spec(bars: Sequence[Bar], unit: str) -> Spec:
    edges = [edge for bar in bars for edge in (bar.start, bar.end)]
    y = {"field": "step", "type": "nominal", "sort": None, "title": None,
         "axis": {"labelLimit": _LABEL_LIMIT, "ticks": False, "domain": False}}  # fmt: skip
    scale = {"domain": [min(0.0, *edges), max(*edges, 1e-12) * _ROOM_FOR_WORDS], "nice": False}
    x = {
        "type": "quantitative",
        "title": unit,
        "scale": scale,
        "axis": {"tickCount": 6, "format": ",~r", "labelOverlap": True},
    }
    kinds = {"field": "kind", "type": "nominal", "title": None,
             "scale": {"domain": list(_COLORS), "range": list(_COLORS.values())}}  # fmt: skip
    told = [{"field": "step", "title": "step"}, {"field": "words", "title": "change"},
            {"field": "reached", "title": "reached"}]  # fmt: skip
    return {
        "data": {"values": _values(bars)},
        "height": _STEP_PX * len(bars),
        "encoding": {"y": y},
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.next)"}],
                "mark": {"type": "rule", "color": "var(--c7)", "aria": False},
                "encoding": {"x": {"field": "end", **x}, "y2": {"field": "next"}},
            },
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {
                    "x": {"field": "start", **x},
                    "x2": {"field": "end"},
                    "color": {**kinds, "legend": {"orient": "bottom", "symbolType": "square"}},
                    "tooltip": told,
                    "description": {"field": "said"},
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "aria": False},
                "encoding": {"x": {"field": "top", **x}, "text": {"field": "words"}},
            },
        ],
    }


def _values(bars: Sequence[Bar]) -> list[dict[str, Any]]:
    names = chart_names(bar.name for bar in bars)
    followers = [*names[1:], None]
    return [
        {
            "step": name,
            "next": follower,
            "start": bar.start,
            "end": bar.end,
            "top": max(bar.start, bar.end),
            "words": bar.words,
            "said": f"{bar.name}: {bar.words}",
            "reached": significant(bar.end),
            "kind": bar.name if bar.row is None else "less" if bar.change < 0 else "more",
        }
        for bar, name, follower in zip(bars, names, followers, strict=True)
    ]
