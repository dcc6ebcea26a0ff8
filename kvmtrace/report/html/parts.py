"""What an HTML page is made of, before any layout: sections of sentences, tables and charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification without its width, colours of the page and `$schema`, which the page adds."""


@dataclass(frozen=True, slots=True)
class Text:
    """Sentences, a paragraph each; warnings are to be read before the figures."""

    sentences: tuple[str, ...]
    warning: bool = False


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
class Chart:
    """A chart, and in words what it shows, for those who do not see it."""

    title: str
    description: str
    spec: Spec
    table: DataTable | None = None  # the same figures as a table, folded in below


Part = Text | DataTable | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading, which the contents at its top lead to."""

    name: str  # of the anchor: letters, digits and hyphens
    heading: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page. Every text is as people read it; the layout escapes it."""

    title: str
    sections: tuple[Section, ...]
