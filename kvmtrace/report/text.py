"""Lays a report out as text: aligned columns, bars to the width of the terminal, no colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tabulate

from kvmtrace.report import histogram
from kvmtrace.report.blocks import Facts, Histogram, Sentences, Table
from kvmtrace.report.document import document
from kvmtrace.report.printable import ascii_only

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmtrace.report.blocks import Block
    from kvmtrace.report.summary import Summary

WIDTH = 100
"""Columns of a histogram where there is no terminal to ask."""


_GRID = tabulate.TableFormat(
    lineabove=None,
    linebelowheader=tabulate.Line("", "-", "  ", ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=tabulate.DataRow("", "  ", ""),
    datarow=tabulate.DataRow("", "  ", ""),
    padding=0,
    with_header_hide=None,
)


def render(summaries: Iterable[Summary], *, terminal_width: int | None = None, unicode: bool = True) -> str:
    """Return the reports as text. A terminal that is too narrow for a table gets it in two parts."""
    reports = (document(summary) for summary in summaries)
    return "\n\n".join(lay_out(report, terminal_width=terminal_width, unicode=unicode) for report in reports)


def lay_out(blocks: Iterable[Block], *, terminal_width: int | None = None, unicode: bool = True) -> str:
    """Return blocks as text, one after the other; a narrow terminal as in `render`."""
    texts = ["\n".join(_block(block, terminal_width, unicode=unicode)) for block in blocks]
    text = "\n\n".join(texts) + "\n"
    return text if unicode else ascii_only(text)


def _block(block: Block, terminal_width: int | None, *, unicode: bool) -> Iterator[str]:
    match block:
        case Facts():
            yield block.title
            widest = max(len(name) for name, _ in block.pairs)
            yield from (f"  {name.ljust(widest)}  {value}" for name, value in block.pairs)
        case Table():
            yield block.title
            yield from _table(block, terminal_width, unicode=unicode)
        case Sentences():
            yield from (f"{'warning: ' if block.warning else ''}{sentence}" for sentence in block.sentences)
        case Histogram():
            yield block.title
            yield from histogram.draw(block.bins, terminal_width or WIDTH, unicode=unicode)


def _table(table: Table, terminal_width: int | None, *, unicode: bool) -> Iterator[str]:
    lines = _grid(table, range(len(table.headings)), unicode=unicode)
    if terminal_width is None or len(lines[0]) <= terminal_width or not table.parts:
        yield from lines
        return
    first = table.names
    for size in table.parts:
        columns = [*range(table.names), *range(first, first + size)]
        yield from _grid(table, columns, unicode=unicode)
        yield from [""] if first + size < len(table.headings) else []
        first += size


def _grid(table: Table, columns: Iterable[int], *, unicode: bool) -> list[str]:
    """Return the lines of the table's `columns`."""
    columns = list(columns)
    rows = [[row[column] for column in columns] for row in (table.headings, *table.rows)]
    if not unicode:  # before the layout: what is spelled out is wider
        rows = [[ascii_only(cell) for cell in row] for row in rows]
    totals = len(rows) - table.totals
    # The headings are a row like the others: tabulate pads headers of its own by two.
    text = tabulate.tabulate(
        [rows[0], tabulate.SEPARATING_LINE, *rows[1:totals], *_ruled(rows[totals:])],
        tablefmt=_GRID,
        disable_numparse=True,
        colalign=["left" if column < table.names else "right" for column in columns],
    )
    return [line.rstrip() for line in text.splitlines()]


def _ruled(totals: list[list[str]]) -> list[list[str] | str]:
    return [tabulate.SEPARATING_LINE, *totals] if totals else []
