"""The chart of exits per second over the time of a recording, by reason, with the times of losses shaded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmtrace.report import readable
from kvmtrace.report.html.charts import ZOOM, ZOOM_TOLD, color_of, dash_of, only_shown, shown
from kvmtrace.report.html.parts import Cell, Chart, DataTable
from kvmtrace.report.html.run_figures import BLOCKS, BLOCKS_OF_A_ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.html.charts import Reasons
    from kvmtrace.report.html.parts import Series, Spec
    from kvmtrace.report.html.run_figures import BlockCount
    from kvmtrace.store.manifest import Lost, Manifest

_HEIGHT = 300
_MARK_HEIGHT = 7
_LISTED_LOSSES = 200


def rate_chart(counts: Sequence[BlockCount], reasons: Reasons, manifest: Manifest, *, with_idle: bool) -> Chart:
    """Return the chart of a recording; it must have a first and a later last event."""
    start_ns, length_ns = _span(manifest)
    block_s = length_ns / BLOCKS / 1e9
    exits: Counter[tuple[int, str]] = Counter()
    for each in counts:
        if with_idle or not each.idle:
            exits[each.block, reasons.series_of(each.reason)] += each.n
    series = reasons.used({name for _, name in exits})
    values = [
        {
            "s": round(block * block_s, 9),
            "reason": each.name,
            "rate": float(f"{exits[min(block, BLOCKS - 1), each.name] / block_s:.6g}"),
        }
        for each in series
        for block in range(BLOCKS + 1)  # the last one again: it ends with the recording
    ]
    layers: list[Spec] = [_rates(values, series)]
    losses = _loss_values(manifest.lost, start_ns, length_ns)
    if losses:
        layers.insert(0, _losses(losses))
    suspects = _suspect_values(counts, block_s)
    if suspects:
        layers.append(_suspects(suspects))
    spec = {
        "height": _HEIGHT,
        "params": [shown(series)],
        "layer": layers,
        "resolve": {"scale": {"color": "independent"}},
    }
    shaded = "Shaded: from the first to the last loss that was told of a CPU; rates there are too low. "
    told = shaded if losses else ""
    if not manifest.lost:
        told = "Nothing was lost, as far as the recording tells. "
    elif any(lost.first_ts_ns is None for lost in manifest.lost):
        told += "When some were lost is not recorded. "
    if suspects:
        told += "Marks at the top: exits there are suspect, as events may be missing inside. "
    which = "Exits, idle ones too," if with_idle else "Exits, without idle ones,"
    return Chart(
        "Exits per second",
        f"{which} in {BLOCKS} blocks of {readable.duration(length_ns / BLOCKS)}. {told}{ZOOM_TOLD}",
        spec,
        _rate_table(exits, series, length_ns),
        series,
    )


def _rate_table(exits: Counter[tuple[int, str]], series: Sequence[Series], length_ns: int) -> DataTable:
    """Return the rates over longer blocks than those of the chart: as many as are read."""
    rows = []
    for first in range(0, BLOCKS, BLOCKS_OF_A_ROW):
        blocks = range(first, first + BLOCKS_OF_A_ROW)
        from_s, row_s = first * length_ns / BLOCKS / 1e9, BLOCKS_OF_A_ROW * length_ns / BLOCKS / 1e9
        rates = [sum(exits[block, each.name] for block in blocks) / row_s for each in series]
        rows.append((Cell(f"{from_s:,.6f}", from_s), *(Cell(readable.fixed(rate), rate) for rate in rates)))
    title = f"Exits per second, means over {readable.duration(length_ns * BLOCKS_OF_A_ROW / BLOCKS)}"
    return DataTable(title, ("from s", *(each.name for each in series)), tuple(rows), names=1)


def _span(manifest: Manifest) -> tuple[int, int]:
    first, last = manifest.first_ts_ns or 0, manifest.last_ts_ns or 0
    return first, max(last - first, 1)


def _rates(values: list[dict[str, Any]], series: Sequence[Series]) -> Spec:
    return {
        "data": {"values": values},
        "params": [ZOOM],
        "transform": [
            only_shown("reason"),
            {"calculate": "format(datum.s, '.6~f') + ' s'", "as": "when"},
        ],
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.7, "aria": False, "clip": True},
        "encoding": {
            "x": {
                "field": "s",
                "type": "quantitative",
                "title": "time since the first event (s)",
                "scale": {"nice": False, "domain": [0, values[-1]["s"] if values else 1]},
            },
            "y": {"field": "rate", "type": "quantitative", "title": "exits per second", "axis": {"format": ",.6~f"}},
            "color": color_of("reason", series),
            "strokeDash": dash_of("reason", series),
            "tooltip": [
                {"field": "reason", "title": "reason"},
                {"field": "when", "title": "from"},
                {"field": "rate", "format": ",.6~g", "title": "exits per second"},
            ],
        },
    }


def _losses(losses: list[dict[str, Any]]) -> Spec:
    return {
        "data": {"values": losses},
        "mark": {
            "type": "rect",
            "fill": "var(--loss)",
            "fillOpacity": 0.1,
            "stroke": "var(--loss)",  # a moment is seen, too
            "strokeOpacity": 0.4,
            "clip": True,
            "aria": False,
        },
        "encoding": {
            "x": {"field": "from_s", "type": "quantitative"},
            "x2": {"field": "to_s"},
            "tooltip": [
                {"field": "what", "title": "lost"},
                {"field": "cpu", "title": "CPU"},
                {"field": "events", "format": ",", "title": "events"},
            ],
        },
    }


def _suspects(values: list[dict[str, Any]]) -> Spec:
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "fill": "var(--loss)", "clip": True, "aria": False},
        "encoding": {
            "x": {"field": "from_s", "type": "quantitative"},
            "x2": {"field": "to_s"},
            "y": {"value": 0},
            "y2": {"value": _MARK_HEIGHT},
            "tooltip": [{"field": "suspect", "format": ",", "title": "suspect exits"}],
        },
    }


def _suspect_values(counts: Sequence[BlockCount], block_s: float) -> list[dict[str, Any]]:
    suspects: Counter[int] = Counter()
    for each in counts:
        suspects[each.block] += each.suspect
    return [
        {"from_s": round(block * block_s, 9), "to_s": round((block + 1) * block_s, 9), "suspect": n}
        for block, n in sorted(suspects.items())
        if n
    ]


def _loss_values(lost: Sequence[Lost], start_ns: int, length_ns: int) -> list[dict[str, Any]]:
    end_s = length_ns / 1e9
    return [
        {
            "from_s": min(max((each.first_ts_ns - start_ns) / 1e9, 0), end_s),
            "to_s": min(max((each.last_ts_ns - start_ns) / 1e9, 0), end_s),
            "what": each.said_by,
            "cpu": "not recorded" if each.cpu is None else str(each.cpu),
            "events": each.events,
        }
        for each in lost[:_LISTED_LOSSES]
        if each.first_ts_ns is not None and each.last_ts_ns is not None
    ]


def loss_table(manifest: Manifest) -> DataTable:
    """Return the table of what was lost; something must be."""
    lost, start_ns = manifest.lost, _span(manifest)[0]

    def when(ts_ns: int | None) -> Cell:
        if ts_ns is None:
            return Cell("not recorded")
        return Cell(f"{(ts_ns - start_ns) / 1e9:,.6f}", ts_ns - start_ns)

    rows = [
        (
            Cell(each.said_by),
            Cell("not recorded") if each.cpu is None else Cell(str(each.cpu), each.cpu),
            Cell(readable.count(each.events), each.events),
            Cell(readable.count(each.records), each.records),
            when(each.first_ts_ns),
            when(each.last_ts_ns),
        )
        for each in lost[:_LISTED_LOSSES]
    ]
    left = f", the first {_LISTED_LOSSES} of {readable.count(len(lost))}" if len(lost) > _LISTED_LOSSES else ""
    headings = ("said by", "CPU", "events", "records", "from s", "to s")
    return DataTable(f"Losses by teller and CPU{left}", headings, tuple(rows), names=2)
