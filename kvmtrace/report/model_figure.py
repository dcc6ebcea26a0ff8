"""Draws what a model's source published beside what the model gives: a panel for each unit, two bars a figure."""

from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.report.figure_style import file_format
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from kvmtrace.store.connection import Result

_Row = dict[str, Any]
_PUBLISHED, _MODELLED = "#999999", "#0072B2"
_BAR = 0.38
_INCHES_A_FIGURE = 0.5
_INCHES_A_PANEL = 0.75
_NAME_WIDTH = 44
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "text.parse_math": False,
    "svg.hashsalt": "kvmtrace",  # the same figure is the same file
    "svg.fonttype": "none",
}


def save(title: str, figures: Result, path: Path, *, force: bool = False) -> None:
    """Draw to the file `path`. UsageError: nothing to draw, or no format of ours. StoreError: it cannot be written."""
    image = draw(title, figures, file_format(path))
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(image)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None


def draw(title: str, figures: Result, image_format: str) -> bytes:
    """Return the image of a table of checked figures. UsageError: it has none."""
    rows: list[_Row] = [dict(zip(figures.names, row, strict=True)) for row in figures.rows]
    if not rows:
        raise UsageError(f"{title} has no published figures to draw")
    panels: dict[str, list[_Row]] = {}
    for row in rows:
        panels.setdefault(_unit(row), []).append(row)
    heights = [_INCHES_A_PANEL + _INCHES_A_FIGURE * len(panel) for panel in panels.values()]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, sum(heights) + 0.6), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for each, (unit, panel) in zip(axes, panels.items(), strict=True):
            _panel(each, unit, panel)
        figure.suptitle(printable(title), fontsize=9)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        image = io.BytesIO()
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(image, format=image_format, dpi=100, metadata=metadata)
    return image.getvalue()


def _unit(row: _Row) -> str:
    """Return what a figure is in: bars of one panel are of one kind."""
    kind = {"gain": "more than the other variant", "difference": "above the other variant", "ratio": "of the other"}
    compared = f", {kind[row['compare']]}" if row["compare"] in kind and row["compare"] != row["unit"] else ""
    return f"{row['unit']}{compared}"


def _panel(axes: Axes, unit: str, rows: Sequence[_Row]) -> None:
    places = list(range(len(rows)))
    modelled = [row["modelled"] for row in rows]
    errors = [[row["modelled"] - row["lowest"] for row in rows], [row["highest"] - row["modelled"] for row in rows]]
    above, below = [place - _BAR / 2 for place in places], [place + _BAR / 2 for place in places]
    axes.barh(above, [row["published"] for row in rows], _BAR, color=_PUBLISHED, label="published")
    axes.barh(below, modelled, _BAR, color=_MODELLED, label="modelled, lowest to highest of the seeds", xerr=errors)
    axes.set_yticks(places, [_name(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(printable(unit))
    for place, row in zip(above, rows, strict=True):
        axes.annotate(
            _bar_text(row), (max(row["published"], 0), place), (3, 0), textcoords="offset points", va="center"
        )
    for place, value in zip(below, modelled, strict=True):
        axes.annotate(f"{value:.4g}", (max(value, 0), place), (3, 0), textcoords="offset points", va="center")
    axes.margins(x=0.15)


def _bar_text(row: _Row) -> str:
    bound = {"at least": "≥ ", "at most": "≤ "}.get(row["tolerance"], "")
    return f"{bound}{row['published']:g}"


def _modelled_text(row: _Row) -> str:
    return f"{row['modelled']:.4g}"


def _name(row: _Row) -> str:
    against = f" / {row['against']}" if row["against"] else ""
    name = printable(f"{row['figure']} ({row['variant']}{against})")
    return "\n".join(textwrap.wrap(name, _NAME_WIDTH)[:3])
