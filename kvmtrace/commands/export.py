"""`kvmtrace export`: a run as a time-line, a database or a table for other programs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer looks at it
from typing import TYPE_CHECKING, Annotated

import typer

from kvmtrace.commands.options import DEFAULT_STORE, ForceOption, OutputOption, StoreOption
from kvmtrace.commands.output import check_output, say, warn
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.export.output_format import ExportFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.export.perfetto import Written
    from kvmtrace.export.window import Window
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

_MANY_SLICES = 1_000_000
_DEFAULT_TABLE = "exits"


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
    from kvmtrace.export.window import parse_window
    from kvmtrace.store.connection import StoreConnection

    window = parse_window(from_time, to_time, vcpu or [])
    _check_options(export_format, output, window, table)
    check_output(output, force=force)
    with StoreConnection(store) as connection:
        warn(connection.catalogue.warnings)
        manifest = _chosen(connection, run)
        with _written(output) as path:
            match export_format:
                case ExportFormat.PERFETTO:
                    _write_timeline(connection, manifest, window, path)
                case ExportFormat.DUCKDB:
                    _write_database(connection, manifest, path)
                case _:
                    _write_table(connection, manifest, table or _DEFAULT_TABLE, export_format, path)


def _check_options(export_format: ExportFormat, output: Path | None, window: Window, table: str | None) -> None:
    if output is None and export_format is not ExportFormat.CSV:
        raise UsageError(f"--format {export_format} needs -o FILE", hint="only csv goes to standard output")
    if not window.is_all and export_format is not ExportFormat.PERFETTO:
        raise UsageError(
            "--from, --to and --vcpu: only with --format perfetto",
            hint="`kvmtrace sql` writes any part of a table as csv or json",
        )
    if table is not None and export_format in {ExportFormat.PERFETTO, ExportFormat.DUCKDB}:
        raise UsageError("--table: only with --format parquet, csv or arrow")


def _chosen(connection: StoreConnection, run: str | None) -> Manifest:
    if run is not None:
        return connection.catalogue.resolve(run)
    manifest = connection.catalogue.latest()
    say(f"run {manifest.run_id} ({manifest.source.title}), the latest")
    return manifest


@contextmanager
def _written(output: Path | None) -> Iterator[Path | None]:
    """Give a path beside FILE, which takes its place once all is written. StoreError: it cannot be written."""
    from kvmtrace.writers.aside import aside

    if output is None:
        yield None
        return
    try:
        with aside(output) as path:
            yield path
    except OSError as error:
        raise StoreError(f"{output}: {error.strerror or error}") from None


def _write_timeline(connection: StoreConnection, manifest: Manifest, window: Window, path: Path | None) -> None:
    from kvmtrace.export.perfetto import write_timeline

    assert path is not None  # noqa: S101 - _check_options
    with path.open("wb") as file:
        written = write_timeline(connection, manifest, window, file)
    for line in _told(written, window):
        say(line)


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


def _write_database(connection: StoreConnection, manifest: Manifest, path: Path | None) -> None:
    from kvmtrace.export.database import write_database

    assert path is not None  # noqa: S101 - _check_options
    written = write_database(connection, manifest, path)
    say(f"{written.tables:,} tables and {written.views:,} views of run {manifest.run_id}; `duckdb FILE` opens it")


def _write_table(
    connection: StoreConnection, manifest: Manifest, table: str, export_format: ExportFormat, path: Path | None
) -> None:
    from kvmtrace.export.tables import write_table

    rows = write_table(connection, manifest, table, export_format, sys.stdout.buffer if path is None else path)
    say(f"{rows:,} {'row' if rows == 1 else 'rows'} of {table}")
