"""Lays a report out as GitHub-flavoured Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tabulate

from kvmtrace.report import histogram
from kvmtrace.report.blocks import Facts, Histogram, Sentences, Table
from kvmtrace.report.document import document
from kvmtrace.report.printable import ascii_only, markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmtrace.report.blocks import Block
    from kvmtrace.report.summary import Summary

_WIDTH = 90  # of a histogram: what GitHub shows without scrolling


def render(summaries: Iterable[Summary], *, unicode: bool = True) -> str:
    """Return the reports as Markdown."""
    return lay_out((block for summary in summaries for block in document(summary)), unicode=unicode)


def lay_out(blocks: Iterable[Block], *, unicode: bool = True) -> str:
    """Return blocks as Markdown, one after the other."""
    lines = (line for block in blocks for line in (*_block(block, unicode), ""))
    text = "\n".join(lines)
    return text if unicode else ascii_only(text)


def _block(block: Block, unicode: bool) -> Iterator[str]:
    match block:
        case Facts():
            yield from (f"## {markdown(block.title)}", "")
            yield from (f"- {name}: {markdown(value)}" for name, value in block.pairs)
        case Table():
            yield from (f"### {block.title}", "")
            yield from _table(block)
        case Sentences(warning=True):
            yield from _quoted(block.sentences)
        case Sentences():
            yield from (f"- {markdown(sentence)}" for sentence in block.sentences)
        case Histogram():
            yield from (
                f"### {block.title}",
                "",
                "```text",
                *histogram.draw(block.bins, _WIDTH, unicode=unicode),
                "```",
            )


def _quoted(sentences: Iterable[str]) -> Iterator[str]:
    for number, sentence in enumerate(sentences):
        yield from [">"] if number else []
        yield f"> **Warning:** {markdown(sentence)}"


def _table(table: Table) -> list[str]:
    return tabulate.tabulate(
        [[markdown(cell) for cell in row] for row in table.rows],
        headers=table.headings,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column < table.names else "right" for column in range(len(table.headings))],
    ).splitlines()
