"""How columns are encoded in the store's Parquet files: measured to be near the speed of writing them raw.

Strings: a dictionary. Numbers: their bytes apart (BYTE_STREAM_SPLIT), which LZ4 packs to a tenth of what was recorded
at 5 to 15 ns a value; dictionaries and delta encodings of numbers cost two to ten times that and save little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

ROW_GROUP_ROWS = 1 << 17
_COMPRESSION = "lz4"  # LZ4_RAW in the file
_BATCH_ROWS = 1 << 16  # a quarter less time than with the 1024 rows of the default
_TIMES = ("ts_ns", "exit_ts_ns")
_SPLIT_BITS = 32  # narrower numbers gain nothing from having their bytes apart


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file for tables of `schema`."""
    return pq.ParquetWriter(
        path,
        schema,
        compression=_COMPRESSION,
        use_dictionary=[field.name for field in schema if _is_text(field.type)] or False,
        column_encoding={field.name: "BYTE_STREAM_SPLIT" for field in schema if _is_wide(field.type)} or None,
        write_batch_size=_BATCH_ROWS,
        write_statistics=[name for name in _TIMES if name in schema.names] or False,
    )


def write_small(path: Path, table: pa.Table) -> None:
    """Write a table of few rows."""
    with open_writer(path, table.schema) as writer:
        writer.write_table(table)


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(arrow_type) or pa.types.is_string(arrow_type))


def _is_wide(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow_type) and arrow_type.bit_width >= _SPLIT_BITS)
