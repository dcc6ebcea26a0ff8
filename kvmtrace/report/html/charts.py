"""What the charts of HTML pages have in common: units on their axes, series and their colours, names that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvmtrace.report.html.parts import Series, Spec
from kvmtrace.report.key_words import NOT_RECORDED
from kvmtrace.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

OTHERS = "other reasons"
_NAMED = 7  # colours that tell apart; the eighth, grey, is for the others
_DASHES: tuple[tuple[int, ...], ...] = ((), (), (7, 3), (), (7, 3), (8, 3, 2, 3), (2, 3), (2, 3))
_LONGEST_NAME = 60

ZOOM: Spec = {
    "name": "zoom",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.ctrlKey]"},
    "bind": "scales",
}
"""The x axis is moved by dragging and zoomed by Ctrl and the wheel, which alone scrolls the page."""
ZOOM_TOLD = "Drag to move, Ctrl and the wheel to zoom, or use the buttons."


def duration_expression(value: str) -> str:
    """Return a Vega expression: the text of a time in ns, which the expression `value` gives, in a unit that suits."""
    return (
        f"({value} < 1e3 ? format({value}, '.3~r') + ' ns' : {value} < 1e6 ? format({value} / 1e3, '.3~r') + ' µs' : "
        f"{value} < 1e9 ? format({value} / 1e6, '.3~r') + ' ms' : format({value} / 1e9, ',.3~r') + ' s')"
    )


def duration_axis(axis: str, title: str) -> dict[str, Any]:
    """Return the logarithmic axis `x` or `y` of times in ns, with a label at 1, 2 and 5 of each power of ten."""
    digit = "round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"
    wide = f"domain('{axis}')[1] / domain('{axis}')[0] > 8"
    label = duration_expression("datum.value")
    return {
        "labelExpr": f"{wide} && indexof([1, 2, 5], {digit}) < 0 ? '' : {label}",
        "labelOverlap": "greedy",
        "labelSeparation": 8,
        "title": title,
    }


def name_of(reason: str | None) -> str:
    """Return the name of an exit reason as charts show it: printable, and not too long."""
    name = NOT_RECORDED if reason is None else printable(reason)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


class Reasons(NamedTuple):
    """The exit reasons that have a colour of their own in every chart of a run, and whether there are others."""

    named: tuple[str | None, ...]
    others: bool

    @classmethod
    def first_of(cls, reasons: Sequence[str | None]) -> Reasons:
        """Return the first of `reasons`, which come in order of weight."""
        return cls(tuple(reasons[:_NAMED]), len(reasons) > _NAMED)

    def series_of(self, reason: str | None) -> str:
        """Return the name of the series that an exit reason is counted in."""
        return name_of(reason) if reason in self.named else OTHERS

    @property
    def series(self) -> tuple[Series, ...]:
        """The buttons of a chart."""
        named = [Series(name_of(reason), n, _DASHES[n]) for n, reason in enumerate(self.named)]
        return (*named, Series(OTHERS, _NAMED, _DASHES[_NAMED])) if self.others else tuple(named)

    def used(self, names: Container[str], *, dashed: bool = True) -> tuple[Series, ...]:
        """Return the buttons of a chart that has only the series `names`; bars have no dashes."""
        used = (each for each in self.series if each.name in names)
        return tuple(each if dashed else Series(each.name, each.color) for each in used)


def color_of(field: str, series: Sequence[Series]) -> Spec:
    """Return the encoding of a colour by series."""
    colors = [f"var(--c{each.color})" for each in series]
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": [each.name for each in series], "range": colors},
        "legend": None,
    }


def dash_of(field: str, series: Sequence[Series]) -> Spec:
    """Return the encoding of dashes by series, which help where colours do not."""
    dashes = [list(each.dash) or [1, 0] for each in series]
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": [each.name for each in series], "range": dashes},
        "legend": None,
    }


def shown(series: Iterable[Series]) -> Spec:
    """Return the parameter that the buttons of the series set."""
    return {"name": "shown", "value": [each.name for each in series]}


def only_shown(field: str) -> Spec:
    """Return the transformation that leaves what the buttons show."""
    return {"filter": f"indexof(shown, datum.{field}) >= 0"}


def latency_scale(axis: str, lowest_ns: float, highest_ns: float) -> dict[str, Any]:
    """Return scale and axis (`x` or `y`) of latencies in ns, logarithmic."""
    return {
        "scale": {"type": "log", "domain": [max(lowest_ns, 1), max(highest_ns, lowest_ns * 2, 2)], "nice": False},
        "axis": duration_axis(axis, "time out of the guest (log scale)"),
    }
