"""How columns are encoded in the store's Parquet files: measured to be near the speed of writing them raw.

Time stamps rise by little: DELTA_BINARY_PACKED. Columns of few values: a dictionary. Other numbers: their bytes apart
(BYTE_STREAM_SPLIT), which zstd at its fastest level then packs; a dictionary everywhere would cost twice the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

ROW_GROUP_ROWS = 1 << 17
_LOOK_ROWS = 1 << 12
_FEW_VALUES = 1 << 8
_DELTA_COLUMNS = frozenset({"ts_ns", "exit_ts_ns", "entry_ts_ns", "exit_id"})
_COMPRESSION_LEVEL = 1


def open_writer(path: Path, first: pa.Table) -> pq.ParquetWriter:
    """Open a Parquet file for tables like `first`, whose values decide the encodings."""
    dictionary: list[str] = []
    encodings: dict[str, str] = {}
    for field in first.schema:
        if field.name in _DELTA_COLUMNS:
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif _has_few_values(first.column(field.name)):
            dictionary.append(field.name)
        elif pa.types.is_integer(field.type) and field.type.bit_width >= 32:  # noqa: PLR2004 - bits
            encodings[field.name] = "BYTE_STREAM_SPLIT"
    return pq.ParquetWriter(
        path,
        first.schema,
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=dictionary or False,
        column_encoding=encodings or None,
        write_statistics=[name for name in ("ts_ns", "exit_ts_ns") if name in first.column_names] or False,
    )


def write_small(path: Path, table: pa.Table) -> None:
    """Write a table of few rows."""
    pq.write_table(table, path, compression="zstd", compression_level=_COMPRESSION_LEVEL)


def _has_few_values(column: pa.ChunkedArray) -> bool:
    if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
        return True
    if pa.types.is_boolean(column.type) or pa.types.is_nested(column.type):
        return False
    # Rows from all over the table: its beginning may be all alike.
    step = max(len(column) // _LOOK_ROWS, 1)
    looked = column.take(pa.array(range(0, len(column), step), pa.int64())) if step > 1 else column
    return len(pc.unique(looked)) <= min(_FEW_VALUES, max(len(looked) // 2, 1))
