"""Turns the blocks of a report for people into parts of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmtrace.report.blocks import Facts, Histogram, Sentences, Table
from kvmtrace.report.html import parts
from kvmtrace.report.html.parts import Cell, DataTable, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmtrace.report.blocks import Block
    from kvmtrace.report.html.parts import Part

MOST_ROWS = 200


def from_blocks(blocks: Iterable[Block]) -> Iterator[Part]:
    """Yield the part of each block; a histogram is left to charts."""
    for block in blocks:
        match block:
            case Facts():
                yield parts.Facts(block.pairs)
            case Table():
                yield from_table(block)
            case Sentences():
                yield Text(block.sentences, warning=block.warning)
            case Histogram():
                pass


def from_table(table: Table) -> DataTable:
    """Return a table that sorts by its numbers. Of very many rows the first ones are left, which its title says."""
    orders = table.orders or tuple((None,) * len(row) for row in table.rows)
    rows = [tuple(map(Cell, *pair)) for pair in zip(table.rows, orders, strict=True)]
    end = len(rows) - table.totals
    kept, totals = rows[:end][:MOST_ROWS], rows[end:]
    left = f" (the first {len(kept):,} of {end:,} rows)" if len(kept) < end else ""
    return DataTable(f"{table.title}{left}", table.headings, (*kept, *totals), table.names, len(totals))
