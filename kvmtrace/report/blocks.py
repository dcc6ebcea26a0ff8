"""What a report for people is made of: facts, tables, sentences and a histogram, in words, before any layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmtrace.report.histogram import Bin
    from kvmtrace.report.summary import Row


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values under a title."""

    title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int  # so many columns from the left are names, the rest are numbers
    parts: tuple[int, ...] = ()  # columns of each part that a narrow layout may show apart, without the names
    totals: int = 0  # so many rows from the end are totals
    orders: tuple[tuple[float | None, ...], ...] = ()  # what each cell is sorted by, where a layout sorts


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences, one a line; warnings are to be read before the figures."""

    sentences: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins whose bars are drawn to the width of the layout."""

    title: str
    bins: tuple[Bin, ...]


Block = Facts | Table | Sentences | Histogram


class Column(NamedTuple):
    """A heading, and what a row shows under it."""

    heading: str
    cell: Callable[[Row], str]
    order: str | None = None  # which number of the row it is sorted by; None: by what it shows


def table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], *, names: int, parts: tuple[int, ...] = ()
) -> Table:
    """Return the table of `rows`; `names` and `parts` as in `Table`."""
    cells = tuple(tuple(column.cell(row) for column in columns) for row in rows)
    orders = tuple(tuple(_order(row, column.order) for column in columns) for row in rows)
    return Table(title, tuple(column.heading for column in columns), cells, names, parts, orders=orders)


def _order(row: Row, name: str | None) -> float | None:
    value = None if name is None else row[name]
    return value if isinstance(value, int | float) else None


def number(heading: str, name: str, readable_number: Callable[[Any], str]) -> Column:
    """Return the column of one number of the rows."""
    return Column(heading, lambda row: readable_number(row[name]), name)
