"""What an HTML page is made of, before any layout: sections of sentences, tables and charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification without its width, colours of the page and `$schema`, which the page adds.

Colours are the page's own, light and dark: `"scale": {"range": "category"}` takes the eight of `page.css` in order (the
last one, grey, is for the others together), and a mark's colour is one of them by name: `"var(--c0)"` to
`"var(--c7)"`, `"var(--ink)"`, `"var(--quiet)"`, `"var(--loss)"`.
A parameter `{"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales"}` is zoomed by
buttons too. With `Chart.series`, `{"name": "shown", "value": [names]}` holds the names whose buttons are pressed.
"""


@dataclass(frozen=True, slots=True)
class Text:
    """Sentences, a paragraph each; warnings are to be read before the figures."""

    sentences: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, a line each."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is shown, and what it is sorted by; None: by its text, or last in a column of numbers."""

    text: str
    order: float | None = None


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table that sorts and filters."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    names: int  # so many columns from the left are names, the rest are numbers
    totals: int = 0  # so many rows from the end are totals, which stay where they are


@dataclass(frozen=True, slots=True)
class Series:
    """A button that shows or hides what bears its name: a colour of the page, and a line's dashes where it has some."""

    name: str
    color: int  # 0 to 7, as in `Spec`
    dash: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and in words what it shows, for those who do not see it."""

    title: str
    description: str
    spec: Spec
    table: DataTable | None = None  # the same figures as a table, folded in below
    series: tuple[Series, ...] = ()  # instead of a legend


@dataclass(frozen=True, slots=True)
class Fold:
    """Parts that are hidden until the reader opens them."""

    title: str
    parts: tuple[Part, ...]


Part = Text | Facts | DataTable | Chart | Fold


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading, which the contents at its top lead to."""

    name: str  # of the anchor: letters, digits and hyphens
    heading: str
    parts: tuple[Part, ...]
    sections: tuple[Section, ...] = ()  # with headings of the next level


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page. Every text is as people read it; the layout escapes it."""

    title: str
    sections: tuple[Section, ...]
