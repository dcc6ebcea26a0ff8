"""`kvmtrace export`: a run as a time-line, a database or a table for other programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, OutputOption, StoreOption
from kvmtrace.commands.output import check_output, say
from kvmtrace.commands.stored import opened
from kvmtrace.errors import UsageError
from kvmtrace.export.output_format import ExportFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.api.exports import Exported
    from kvmtrace.export.perfetto import Written
    from kvmtrace.export.window import Window

_MANY_SLICES = 1_000_000


def export(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Id or its beginning, label, or source; none: the latest run.")
    ] = None,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="What FILE is.")] = ExportFormat.PERFETTO,
    output: OutputOption = None,
    force: ForceOption = False,
    from_time: Annotated[
        str | None, typer.Option("--from", metavar="T", help="perfetto: from that time on, as 1.5 (s) or 200ms.")
    ] = None,
    to_time: Annotated[
        str | None, typer.Option("--to", metavar="T", help="perfetto: up to that time since the start.")
    ] = None,
    vcpu: Annotated[
        list[str] | None, typer.Option("--vcpu", metavar="N", help="perfetto: a vCPU, N or VM:N; repeatable.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="parquet, csv, arrow: the table [default: exits].")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a run for other programs: a time-line for ui.perfetto.dev, a DuckDB database, or one table.

    csv goes to standard output where no FILE is given.
    """
    from kvmtrace.api import exports

    order = exports.order(export_format, from_time=from_time, to_time=to_time, vcpu=vcpu or [], table=table)
    if output is None and export_format is not ExportFormat.CSV:
        raise UsageError(f"--format {export_format} needs -o FILE", hint="only csv goes to standard output")
    check_output(output, force=force)
    with opened(store) as store_at_hand:
        manifest = store_at_hand.manifest(run)
        if run is None:
            say(f"run {manifest.run_id} ({manifest.source.title}), the latest")
        to = sys.stdout.buffer if output is None else output
        written = exports.export(store_at_hand.connection, manifest, order, to)
    for line in _lines(written):
        say(line)


def _lines(written: Exported) -> Iterator[str]:
    from kvmtrace.report.wording import of

    if written.timeline is not None:
        yield from _told(written.timeline, written.order.window)
    elif written.database is not None:
        tables, views = written.database.tables, written.database.views
        yield f"{tables:,} tables and {views:,} views of run {written.run_id}; `duckdb FILE` opens it"
    else:
        yield f"{of(written.rows or 0, 'row')} of {written.order.table}"


def _told(written: Written, window: Window) -> Iterator[str]:
    from kvmtrace.report.wording import of

    slices, instants = written.slices, written.instants
    of_exits = f"{of(slices.slices, 'slice')} of {of(slices.exits, 'exit')}"
    flows = f", {of(instants.flows, 'flow')}" if instants.flows else ""
    yield f"{of_exits}, {instants.instants:,} injections and EOIs{flows}; ui.perfetto.dev opens it"
    if slices.without_latency:
        are = "is an instant" if slices.without_latency == 1 else "are instants"
        yield f"{of(slices.without_latency, 'exit')} without a latency {are}"
    if slices.by_convention:
        yield f"of {of(slices.by_convention, 'exit')} parts are placed by convention: events tell how long, not when"
    if instants.elsewhere and not window.vcpus:
        yield f"{instants.elsewhere:,} injections and EOIs of threads that have no exits there are left out"
    if written.losses:
        yield "events were lost: see the track `lost events`; sums over it are too small"
    if slices.slices > _MANY_SLICES:
        yield "that many slices make a browser slow: --from, --to and --vcpu take a part"
