"""One table of a run as a Parquet, CSV or Arrow file, written in batches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvmtrace.errors import UsageError
from kvmtrace.export.output_format import ExportFormat
from kvmtrace.store.views import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO, Protocol

    import pyarrow as pa

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

    class BatchWriter(Protocol):
        """A writer of pyarrow."""

        def write_batch(self, batch: pa.RecordBatch) -> None:
            """Write some rows."""


_BATCH_ROWS = 1 << 17
_SCALARS = ("[", "(", "STRUCT", "MAP", "BLOB")


def write_table(
    connection: StoreConnection, manifest: Manifest, table: str, export_format: ExportFormat, to: Path | BinaryIO
) -> int:
    """Write the rows of a run in a table, in the order of the store, and return how many.

    UsageError: there is no such table. CSV: null is nothing, an empty text is "", lists and bytes are texts of DuckDB.
    """
    view = connection.views.find(table)
    if view is None:
        near = connection.views.near(table)
        hint = f"nearest: {', '.join(near)}" if near else "`kvmtrace sql 'SHOW TABLES'` lists the tables"
        raise UsageError(f"no table {table!r} in the store {connection.catalogue.store}", hint=hint)
    columns = connection.views.columns(view)
    chosen = ", ".join(
        f"{quoted(name)}::VARCHAR AS {quoted(name)}" if _is_nested(type_) else quoted(name)
        for name, type_ in columns.items()
        if export_format is ExportFormat.CSV
    )
    sql = f"SELECT {chosen or '*'} FROM {quoted(view.name)} WHERE run_id = $run_id"  # noqa: S608 - quoted names
    schema, batches = connection.batches(sql, {"run_id": manifest.run_id}, rows=_BATCH_ROWS)
    rows = 0
    with _writer(export_format, to, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _is_nested(duckdb_type: str) -> bool:
    return any(sign in duckdb_type for sign in _SCALARS)


@contextmanager
def _writer(export_format: ExportFormat, to: Path | BinaryIO, schema: pa.Schema) -> Iterator[BatchWriter]:
    import pyarrow as pa  # noqa: PLC0415 - slow to load
    import pyarrow.csv as pa_csv  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    match export_format:
        case ExportFormat.PARQUET:
            with pq.ParquetWriter(to, schema, compression="zstd") as writer:
                yield writer
        case ExportFormat.ARROW:
            with pa.OSFile(str(to), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                yield writer
        case _:
            with pa_csv.CSVWriter(to, schema) as writer:
                yield writer
