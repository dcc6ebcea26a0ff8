"""Charts of latencies: how many exits took how long by reason, which share took at most so long, and when."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from kvmtrace.report import histogram, readable
from kvmtrace.report.html.charts import (
    ZOOM,
    ZOOM_TOLD,
    color_of,
    dash_of,
    duration_expression,
    latency_scale,
    only_shown,
    shown,
)
from kvmtrace.report.html.parts import Cell, Chart, DataTable
from kvmtrace.report.html.run_figures import BLOCKS, BLOCKS_OF_A_ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.html.charts import Reasons
    from kvmtrace.report.html.run_figures import BandCount
    from kvmtrace.report.summary import Bucket

_BARS_PER_OCTAVE = 4
_STEPS_PER_OCTAVE = 8
_HEIGHT = 300


def counts_chart(distribution: Sequence[Bucket], reasons: Reasons, which: str) -> Chart:
    """Return the chart of how many exits took how long, a colour for each reason; `which` says which exits."""
    exits: Counter[tuple[int, str]] = Counter()
    for bucket in distribution:
        exits[_step((bucket.low_ns + bucket.high_ns) / 2, _BARS_PER_OCTAVE), reasons.series_of(bucket.reason)] += (
            bucket.n
        )
    series = reasons.used({name for _, name in exits}, dashed=False)
    places = {each.name: n for n, each in enumerate(series)}
    values = [_bar(bar, n) | {"reason": name, "place": places[name]} for (bar, name), n in sorted(exits.items())]
    axis = latency_scale("x", values[0]["low"], values[-1]["high"])
    spec = {
        "data": {"values": values},
        "height": _HEIGHT,
        "params": [shown(series), ZOOM],
        "transform": [only_shown("reason")],
        "mark": {"type": "bar", "aria": False, "clip": True, "binSpacing": 0.5},
        "encoding": {
            "x": {"field": "low", "type": "quantitative", **axis, "bin": {"binned": True}},
            "x2": {"field": "high"},
            "y": {"field": "exits", "type": "quantitative", "stack": "zero", "title": "exits"},
            "color": color_of("reason", series),
            "order": {"field": "place"},
            "tooltip": [
                {"field": "reason", "title": "reason"},
                {"field": "took", "title": "latency"},
                {"field": "exits", "format": ",", "title": "exits"},
            ],
        },
    }
    return Chart(
        "How many exits took how long",
        f"Time out of the guest of {which}; each bar spans a quarter of a doubling. {ZOOM_TOLD}",
        spec,
        _bins_table(distribution),
        series,
    )


def _bar(bar: int, n: int) -> dict[str, Any]:
    low, high = _edge(bar, _BARS_PER_OCTAVE), _edge(bar + 1, _BARS_PER_OCTAVE)
    return {
        "low": low,
        "high": high,
        "exits": n,
        "took": f"{readable.duration(low)} to {readable.duration(high)}",
    }


def _bins_table(distribution: Sequence[Bucket]) -> DataTable:
    bins = histogram.bins(distribution)
    total = sum(each.n for each in bins)
    rows = [
        (
            Cell(readable.duration(each.low_ns), each.low_ns),
            Cell(readable.duration(each.high_ns), each.high_ns),
            Cell(readable.count(each.n), each.n),
            Cell(readable.percent(each.n / total), each.n),
        )
        for each in bins
    ]
    return DataTable("Exits by latency", ("from", "below", "exits", "exits %"), tuple(rows), names=2)


def share_chart(distribution: Sequence[Bucket], reasons: Reasons, which: str) -> Chart:
    """Return the chart of the share of each reason's exits that took at most so long."""
    exits: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for bucket in distribution:
        exits[reasons.series_of(bucket.reason)][_step(bucket.high_ns, _STEPS_PER_OCTAVE) + 1] += bucket.n
    series = reasons.used(exits)
    lowest = _edge(min(min(steps) for steps in exits.values()) - 1, _STEPS_PER_OCTAVE)
    highest = _edge(max(max(steps) for steps in exits.values()), _STEPS_PER_OCTAVE)
    values = []
    for name, steps in exits.items():
        edges = sorted(steps)
        total = steps.total()
        shares = [n / total * 100 for n in accumulate((steps[edge] for edge in edges), initial=0)]
        points = [_edge(edges[0] - 1, _STEPS_PER_OCTAVE), *(_edge(edge, _STEPS_PER_OCTAVE) for edge in edges)]
        values += [
            {"ns": ns, "share": round(share, 4), "reason": name} for ns, share in zip(points, shares, strict=True)
        ]
        values.append({"ns": highest, "share": 100, "reason": name})
    spec = {
        "data": {"values": values},
        "height": _HEIGHT,
        "params": [shown(series), ZOOM],
        "transform": [only_shown("reason"), {"calculate": duration_expression("datum.ns"), "as": "took"}],
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "aria": False, "clip": True},
        "encoding": {
            "x": {"field": "ns", "type": "quantitative", **latency_scale("x", lowest, highest)},
            "y": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 100]},
                "title": "share of the reason's exits (%)",
            },
            "color": color_of("reason", series),
            "strokeDash": dash_of("reason", series),
            "tooltip": [
                {"field": "reason", "title": "reason"},
                {"field": "took", "title": "at most"},
                {"field": "share", "format": ".2f", "title": "share %"},
            ],
        },
    }
    return Chart(
        "Which share took at most so long",
        f"Of {which}, by reason; the further to the right a line rises, the slower its exits. Percentiles stand in the "
        f"tables. {ZOOM_TOLD}",
        spec,
        None,
        series,
    )


def heat_chart(bands: Sequence[BandCount], length_ns: int, which: str) -> Chart:
    """Return the map of when exits took how long; `length_ns` is the length of the recording."""
    block_s = length_ns / BLOCKS / 1e9
    # There may be thousands of cells: the page works out what follows from their place.
    values = [{"block": each.block, "band": each.band, "exits": each.n} for each in bands]
    lowest, highest = min(each.band for each in bands), max(each.band for each in bands)
    scale = latency_scale("y", 2 ** (lowest / 2), 2 ** ((highest + 1) / 2))
    took = f"{duration_expression('datum.low')} + ' to ' + {duration_expression('datum.high')}"
    spec = {
        "data": {"values": values},
        "height": _HEIGHT,
        "transform": [
            {"calculate": f"datum.block * {block_s!r}", "as": "from_s"},
            {"calculate": f"(datum.block + 1) * {block_s!r}", "as": "to_s"},
            {"calculate": "pow(2, datum.band / 2)", "as": "low"},
            {"calculate": "pow(2, (datum.band + 1) / 2)", "as": "high"},
            {"calculate": took, "as": "took"},
            {"calculate": "format(datum.from_s, '.6~f') + ' s to ' + format(datum.to_s, '.6~f') + ' s'", "as": "when"},
        ],
        "params": [ZOOM],
        "mark": {"type": "rect", "aria": False, "clip": True, "fill": "var(--heat)"},
        "encoding": {
            "x": {
                "field": "from_s",
                "type": "quantitative",
                "title": "time since the first event (s)",
                "scale": {"domain": [0, length_ns / 1e9], "nice": False},
            },
            "x2": {"field": "to_s"},
            "y": {"field": "low", "type": "quantitative", **scale},
            "y2": {"field": "high"},
            "opacity": {
                "field": "exits",
                "type": "quantitative",
                "scale": {"type": "log", "range": [0.15, 1], "domain": [1, max(2, *(each.n for each in bands))]},
                "legend": {
                    "title": "exits in a cell",
                    "values": _powers_of_ten(max(each.n for each in bands)),
                    "format": ",",
                    "symbolType": "square",
                    "symbolFillColor": "var(--heat)",
                    "symbolStrokeWidth": 0,
                    "orient": "top",
                },
            },
            "tooltip": [
                {"field": "when", "title": "time"},
                {"field": "took", "title": "latency"},
                {"field": "exits", "format": ",", "title": "exits"},
            ],
        },
    }
    return Chart(
        "When exits took how long",
        f"{which[0].upper()}{which[1:]}: the darker (on a dark page: the brighter) a cell, the more exits; "
        f"{BLOCKS} blocks of {readable.duration(length_ns / BLOCKS)}. Exits that a loss may lie inside are left out. "
        f"{ZOOM_TOLD}",
        spec,
        _heat_table(bands, length_ns),
    )


def _heat_table(bands: Sequence[BandCount], length_ns: int) -> DataTable:
    """Return what half, 99% and all of the exits of longer blocks took at most, as far as bands tell."""
    found: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for each in bands:
        found[each.block // BLOCKS_OF_A_ROW][each.band] += each.n
    rows = []
    for row, of_row in sorted(found.items()):
        from_s = row * BLOCKS_OF_A_ROW * length_ns / BLOCKS / 1e9
        ends = [_band_end(of_row, share) for share in (0.5, 0.99, 1.0)]
        told = (Cell(readable.duration(end), end) for end in ends)
        rows.append((Cell(f"{from_s:,.6f}", from_s), Cell(readable.count(of_row.total()), of_row.total()), *told))
    title = f"Latencies over time, blocks of {readable.duration(length_ns * BLOCKS_OF_A_ROW / BLOCKS)}"
    return DataTable(title, ("from s", "exits", "half below", "99% below", "all below"), tuple(rows), names=1)


def _band_end(exits: Counter[int], share: float) -> float:
    """Return the end in ns of the band in which the exit of that rank lies."""
    bands = sorted(exits)
    reached = accumulate(exits[band] for band in bands)
    wanted = math.ceil(share * exits.total())
    band = next(band for band, n in zip(bands, reached, strict=True) if n >= wanted)
    return float(2 ** ((band + 1) / 2))


def _powers_of_ten(most: int) -> list[int]:
    return [10**power for power in range(len(str(most)))]


def _step(ns: float, per_octave: int) -> int:
    return math.floor(math.log2(max(ns, 1)) * per_octave)


def _edge(step: int, per_octave: int) -> float:
    return round(2 ** (step / per_octave), 1)
