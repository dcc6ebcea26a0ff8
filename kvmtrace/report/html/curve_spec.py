"""The Vega-Lite specification of latency curves: a colour for each reason, base drawn through and new dashed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmtrace.report.html.charts import ZOOM, color_of, duration_expression, latency_scale, only_shown, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.html.parts import Series, Spec

_HEIGHT_PX = 320
_DASHES = {"base": [1, 0], "new": [6, 4]}
_CURVES = "curves"
_TOLD = {"reason": "reason", "side": "side", "latency": "latency", "share": "exits (%)"}


def spec(
    values: Sequence[dict[str, Any]], series: Sequence[Series], ends_ns: tuple[float, float], rarest: float | None
) -> Spec:
    """Return the chart of curves: points with reason (the name of one of `series`), side, ns, share in %.

    rarest: shares are of what takes at least so long, on a log scale that begins there, and each curve ends with a
    drop to it; None: of what takes at most so long.
    """
    tail = rarest is not None
    title = f"exits at {'least' if tail else 'most'} so long (%)"
    y: Spec = {"scale": {"domain": [0, 100]}, "axis": {"tickCount": 6}}
    if tail:
        y = {"scale": {"type": "log", "domain": [rarest, 100], "nice": False}, "axis": {"format": "~g", "tickCount": 6}}
    return {
        "data": {"values": values},
        "params": [shown(series), ZOOM | {"views": [_CURVES]}],
        "transform": [only_shown("reason")],
        "height": _HEIGHT_PX,
        "encoding": {
            "x": {"field": "ns", "type": "quantitative", **latency_scale("x", *ends_ns)},
            "y": {
                "field": "share", "type": "quantitative", "title": title, **y,
            },
            "color": color_of("reason", series),
        },
        "layer": [_lines("step-before" if tail else "step-after"), _points(rarest or 0.0)],
    }  # fmt: skip


def _lines(interpolate: str) -> dict[str, Any]:
    dashes = {
        "field": "side", "type": "nominal", "title": None,
        "scale": {"domain": list(_DASHES), "range": list(_DASHES.values())},
        "legend": {"orient": "bottom", "symbolType": "stroke", "symbolSize": 600, "symbolStrokeWidth": 2},
    }  # fmt: skip
    return {
        "name": _CURVES,
        "mark": {"type": "line", "interpolate": interpolate, "strokeWidth": 1.8, "clip": True, "aria": False},
        "encoding": {"strokeDash": dashes, "detail": {"field": "side"}},
    }


def _points(above: float) -> dict[str, Any]:
    """Return marks that nobody sees, to be pointed at: those above where the axis begins."""
    tooltip: list[dict[str, Any]] = [{"field": field, "title": title} for field, title in _TOLD.items()]
    tooltip[-1] |= {"type": "quantitative", "format": ".4~g"}
    return {
        "transform": [
            {"filter": f"datum.share > {above!r}"},
            {"calculate": duration_expression("datum.ns"), "as": "latency"},
        ],
        "mark": {"type": "point", "size": 80, "opacity": 0, "filled": True, "clip": True, "aria": False},
        "encoding": {"tooltip": tooltip},
    }
