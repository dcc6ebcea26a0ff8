"""A run as a file for other programs: a time-line, a database or a table."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.export.output_format import ExportFormat
from kvmtrace.export.window import Window, parse_window
from kvmtrace.writers.aside import aside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.export.database import WrittenDatabase
    from kvmtrace.export.perfetto import Written
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written: the window of a time-line, the table of parquet, csv and arrow."""

    format: ExportFormat
    window: Window
    table: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written of a run: slices and instants of a time-line, tables and views, or the rows of a table."""

    run_id: str
    order: Order
    timeline: Written | None = None
    database: WrittenDatabase | None = None
    rows: int | None = None


def order(
    format_name: str, *, from_time: str | None, to_time: str | None, vcpu: Sequence[int | str], table: str | None
) -> Order:
    """Return what is asked for. UsageError: no such format, a time or vCPU that is none, or an option of another."""
    if format_name not in list(ExportFormat):
        raise UsageError(f"format: expected {', '.join(ExportFormat)}, found {format_name!r}")
    window = parse_window(from_time, to_time, [str(each) for each in vcpu])
    asked = ExportFormat(format_name)
    if not window.is_all and asked is not ExportFormat.PERFETTO:
        raise UsageError(
            "--from, --to and --vcpu: only with --format perfetto",
            hint="`kvmtrace sql` writes any part of a table as csv or json",
        )
    if table is not None and asked in {ExportFormat.PERFETTO, ExportFormat.DUCKDB}:
        raise UsageError("--table: only with --format parquet, csv or arrow")
    return Order(asked, window, table or "exits")


def export(connection: StoreConnection, manifest: Manifest, asked: Order, to: Path | BinaryIO) -> Exported:
    """Write a run to a file, which is there whole or not at all, or a table of it to a stream.

    UsageError: the run has not what is asked for. StoreError: the store cannot be read, or the file not written.
    """
    if not isinstance(to, Path):
        return _written(connection, manifest, asked, to)
    with _in_place(to) as path:
        return _written(connection, manifest, asked, path)


@contextmanager
def _in_place(target: Path) -> Iterator[Path]:
    try:
        with aside(target) as path:
            yield path
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from None


def _written(connection: StoreConnection, manifest: Manifest, asked: Order, to: Path | BinaryIO) -> Exported:
    if asked.format is ExportFormat.PERFETTO and isinstance(to, Path):
        from kvmtrace.export.perfetto import write_timeline

        with to.open("wb") as file:
            written = write_timeline(connection, manifest, asked.window, file)
        return Exported(manifest.run_id, asked, timeline=written)
    if asked.format is ExportFormat.DUCKDB and isinstance(to, Path):
        from kvmtrace.export.database import write_database

        return Exported(manifest.run_id, asked, database=write_database(connection, manifest, to))
    from kvmtrace.export.tables import write_table

    rows = write_table(connection, manifest, asked.table, asked.format, to)
    return Exported(manifest.run_id, asked, rows=rows)
