"""Charts of where exits belong: the parts of their time out of the guest by reason, and vCPU beside reason."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmtrace.report import readable
from kvmtrace.report.html.charts import OTHERS, color_of, name_of, only_shown, shown
from kvmtrace.report.html.parts import Cell, Chart, DataTable, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmtrace.report.html.run_figures import VcpuCount
    from kvmtrace.report.summary import ExitGroup, ExitTable

_PARTS = {
    "kernel": "kernel_ns",
    "userspace": "userspace_ns",
    "blocked": "blocked_ns",
    "polled": "polled_ns",
    "preempted": "preempted_ns",
    "unclear": "unclear_ns",
}
_COLORS = {"kernel": 0, "userspace": 1, "blocked": 2, "polled": 5, "preempted": 3, "unclear": 7}
_MOST_REASONS = 16
_MOST_COLUMNS = 12
_MOST_VCPUS = 128
_DRAWN_VCPUS = 64
_ROW_HEIGHT = 26


def split_chart(exits: ExitTable) -> Chart | None:
    """Return the chart of where the time out of the guest went; None where nothing of it was recorded."""
    groups = [group for section in exits.sections for group in section.groups if group.out_of_guest_ns]
    recorded = [part for part, column in _PARTS.items() if any(getattr(group, column) is not None for group in groups)]
    if not set(recorded) - {"kernel", "unclear"}:
        return None
    drawn = groups[:_MOST_REASONS]
    values = [value for group in drawn for value in _split_values(group)]
    used = {value["part"] for value in values}
    series = tuple(Series(part, _COLORS[part]) for part in _PARTS if part in used)
    spec = {
        "data": {"values": values},
        "height": _ROW_HEIGHT * len(drawn),
        "params": [shown(series)],
        "transform": [only_shown("part")],
        "mark": {"type": "bar", "aria": False, "cornerRadius": 1},
        "encoding": {
            "y": {"field": "reason", "type": "nominal", "sort": None, "title": None},
            "x": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 100]},
                "title": "share of the reason's time out of the guest (%)",
                "axis": {"tickCount": 5},
            },
            "color": color_of("part", series),
            "order": {"field": "place"},
            "tooltip": [
                {"field": "reason", "title": "reason"},
                {"field": "part", "title": "spent"},
                {"field": "took", "title": "in all"},
                {"field": "share", "format": ".2f", "title": "share %"},
            ],
        },
    }
    left = (
        f" The {_MOST_REASONS} reasons of most time; the others are in the table." if len(groups) > len(drawn) else ""
    )
    return Chart(
        "Where the time out of the guest went",
        f"By reason, most time first, idle exits last.{left} Absolute times stand in the tables below.",
        spec,
        None,
        series,
    )


def _split_values(group: ExitGroup) -> Iterable[dict[str, Any]]:
    reason = name_of(group.key.reason if group.key else None)
    for place, (part, column) in enumerate(_PARTS.items()):
        ns = getattr(group, column)
        if ns:
            yield {
                "reason": f"{reason} (idle)" if group.idle else reason,
                "part": part,
                "share": round(ns / (group.out_of_guest_ns or 1) * 100, 4),
                "took": readable.duration(ns),
                "place": place,
            }


def vcpu_chart(counts: Sequence[VcpuCount]) -> Chart | None:
    """Return the chart and the table of exits by vCPU and reason; None where no vCPU is known."""
    if all(each.vcpu is None for each in counts):
        return None
    reasons: Counter[str] = Counter()
    vcpus: Counter[tuple[str | None, int | None]] = Counter()
    cells: Counter[tuple[tuple[str | None, int | None], str]] = Counter()
    for each in counts:
        reason = f"{name_of(each.reason)} (idle)" if each.idle else name_of(each.reason)
        reasons[reason] += each.n
        vcpus[each.vm_id, each.vcpu] += each.n
        cells[(each.vm_id, each.vcpu), reason] += each.n
    columns = [name for name, _ in reasons.most_common(_MOST_COLUMNS)]
    others = [name for name in reasons if name not in columns]
    for vcpu in vcpus:
        cells[vcpu, OTHERS] = sum(cells[vcpu, name] for name in others)
    shown_columns = [*columns, *([OTHERS] if others else [])]
    several = len({vm for vm, _ in vcpus}) > 1
    rows = list(vcpus)
    names = {vcpu: _vcpu_name(*vcpu, several=several) for vcpu in rows}
    values: list[dict[str, Any]] = [
        {"vcpu": names[vcpu], "reason": name, "exits": cells[vcpu, name]}
        for vcpu in rows[:_DRAWN_VCPUS]
        for name in shown_columns
        if cells[vcpu, name]
    ]
    most = max(value["exits"] for value in values)
    encoding = {
        "y": {"field": "vcpu", "type": "nominal", "sort": None, "title": None},
        "x": {
            "field": "reason",
            "type": "nominal",
            "sort": shown_columns,
            "title": None,
            "axis": {"orient": "top", "labelAngle": -40, "labelLimit": 180, "domain": False, "ticks": False},
        },
    }
    spec = {
        "data": {"values": values},
        "height": _ROW_HEIGHT * min(len(rows), _DRAWN_VCPUS),
        "mark": {"type": "rect", "fill": "var(--heat)", "aria": False},
        "encoding": {
            **encoding,
            "opacity": {
                "field": "exits",
                "type": "quantitative",
                "scale": {"type": "log", "domain": [1, max(most, 2)], "range": [0.12, 1]},
                "legend": None,
            },
            "tooltip": [
                {"field": "vcpu", "title": "vCPU"},
                {"field": "reason", "title": "reason"},
                {"field": "exits", "format": ",", "title": "exits"},
            ],
        },
    }
    left = f" The first {_DRAWN_VCPUS} of {len(rows)} vCPUs." if len(rows) > _DRAWN_VCPUS else ""
    return Chart(
        "Exits by vCPU and reason",
        f"The darker (on a dark page: the brighter) a cell, the more exits (log scale, up to {readable.count(most)}); "
        f"an empty one has none.{left}",
        spec,
        _vcpu_table(rows, shown_columns, cells, several=several),
    )


def _vcpu_name(vm_id: str | None, vcpu: int | None, *, several: bool) -> str:
    name = "vCPU not recorded" if vcpu is None else f"vCPU {vcpu}"
    return f"VM {name_of(vm_id)}, {name}" if several else name


def _vcpu_table(
    rows: Sequence[tuple[str | None, int | None]],
    columns: Sequence[str],
    cells: Counter[tuple[tuple[str | None, int | None], str]],
    *,
    several: bool,
) -> DataTable:
    def line(name: Cell, counts: Sequence[int]) -> tuple[Cell, ...]:
        return (name, *(Cell(readable.count(n), n) for n in (*counts, sum(counts))))

    drawn = rows[:_MOST_VCPUS]
    lines = [
        line(Cell(_vcpu_name(*vcpu, several=several), place), [cells[vcpu, name] for name in columns])
        for place, vcpu in enumerate(drawn)
    ]
    if len(rows) > len(drawn):
        rest = [sum(cells[vcpu, name] for vcpu in rows[_MOST_VCPUS:]) for name in columns]
        lines.append(line(Cell(f"the other {len(rows) - len(drawn)} vCPUs", len(drawn)), rest))
    total = line(Cell("total"), [sum(cells[vcpu, name] for vcpu in rows) for name in columns])
    return DataTable("Exits by vCPU and reason", ("vCPU", *columns, "all exits"), (*lines, total), names=1, totals=1)
