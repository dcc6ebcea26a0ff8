"""What a report says of runs, as a result of the library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmtrace.api.options import keys
from kvmtrace.api.shown import Shown
from kvmtrace.report.document import document
from kvmtrace.report.reading import Choice, read_summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from kvmtrace.api.kept import Connections
    from kvmtrace.report.blocks import Block
    from kvmtrace.report.summary import Summary
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """What `kvmtrace report` says of runs; `summaries` has it in plain numbers, one for each run."""

    summaries: tuple[Summary, ...]
    _connections: Connections = field(compare=False)  # to where a page reads what the summaries do not say
    _asked: Choice = field(compare=False)

    @property
    def warnings(self) -> list[str]:
        """What is to be read before the figures: losses above all."""
        from kvmtrace.report import wording

        return [text for summary in self.summaries for text in wording.warnings(summary)]

    def blocks(self) -> list[Block]:
        """Return what it says, in words, run after run."""
        return [block for summary in self.summaries for block in document(summary)]

    def figures(self) -> pl.DataFrame:
        """Return a row for each group of exits and each total (`row` tells them apart), or each counter or figure.

        UsageError: the runs are of different kinds, whose columns differ.
        """
        from kvmtrace.api import frames
        from kvmtrace.report import machine

        return frames.of_rows(machine.rows(self.summaries))

    def to_json(self) -> str:
        """Return a list of the reports as JSON."""
        from kvmtrace.report import machine

        return machine.to_json(self.summaries)

    def to_page(self) -> str:
        """Return it as an HTML page, one file that asks no network for anything, as `--format html` writes it.

        It reads further in the store: exits over time, by vCPU, and the slowest with their events. StoreError: a run
        is there no more.
        """
        from kvmtrace.report.html import report as html_report
        from kvmtrace.report.html.page import render
        from kvmtrace.report.html.run_figures import read_figures

        connection = self._connections.current()
        return render(html_report.page([read_figures(connection, each, self._asked) for each in self.summaries]))


def choice(by: str | Sequence[str], *, with_idle: bool, exact: bool, distribution_by_reason: bool) -> Choice:
    """Return what is asked of a report. UsageError: exits are not told apart by that."""
    return Choice(keys(by), with_idle=with_idle, exact=exact, distribution_by_reason=distribution_by_reason)


def report(connections: Connections, manifests: Sequence[Manifest], asked: Choice) -> Report:
    """Return the report of runs."""
    connection = connections.current()
    label = connection.catalogue.label
    summaries = tuple(read_summary(connection, each, label(each.run_id), asked) for each in manifests)
    return Report(summaries, connections, asked)
