"""What SQL gives → polars, through Arrow: no loop over rows, and every type as DuckDB has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from kvmtrace.errors import UsageError
from kvmtrace.report.tables import distinct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.tables_made import Fields

_TYPES: dict[str, pl.DataType] = {
    "BOOLEAN": pl.Boolean(),
    "TINYINT": pl.Int8(),
    "SMALLINT": pl.Int16(),
    "INTEGER": pl.Int32(),
    "BIGINT": pl.Int64(),
    "HUGEINT": pl.Int128(),
    "UTINYINT": pl.UInt8(),
    "USMALLINT": pl.UInt16(),
    "UINTEGER": pl.UInt32(),
    "UBIGINT": pl.UInt64(),
    "FLOAT": pl.Float32(),
    "DOUBLE": pl.Float64(),
    "VARCHAR": pl.String(),
    "BLOB": pl.Binary(),
}
_FLOATS = (
    "base_n new_n base new value low high at_least at_most p adjusted_p "
    "ratio ratio_low ratio_high difference difference_low difference_high"
)
_TEXTS = "section name reason detail_kind detail_name vm_id unit verdict method sample_unit missing decision budget why"
FIGURE_TYPES: dict[str, pl.DataType] = {
    **dict.fromkeys(_FLOATS.split(), pl.Float64()),
    **dict.fromkeys(_TEXTS.split(), pl.String()),
    "detail": pl.UInt64(),
    "vcpu": pl.Int32(),
    "cpu": pl.Int32(),
    "base_samples": pl.Int64(),
    "new_samples": pl.Int64(),
}
"""Columns of figures that may be whole numbers in one row, or null in all."""
_NESTED = re.compile(r"(.+)\[\d*\]")


def polars_type(duckdb_type: str) -> pl.DataType | None:
    """Return the polars type of a DuckDB type that a stored column may have; None: none may."""
    if match := _NESTED.fullmatch(duckdb_type):
        element = polars_type(match[1])
        return None if element is None else pl.List(element)
    return _TYPES.get(duckdb_type)


def queried(
    connection: StoreConnection,
    sql: str,
    parameters: Mapping[str, object] | None = None,
    *,
    fields: Fields | None = None,
) -> pl.DataFrame:
    """Run one statement; return what it gave. A name that comes twice is followed by _2.

    UsageError: it may not or cannot run, or a column has a type that polars does not have. StoreError: files of the
    store cannot be read.
    """
    if connection.check(sql).explained:
        return of_result(connection.query(sql, parameters, fields=fields))
    table, types = connection.arrow(sql, parameters, fields=fields)
    names = distinct(table.column_names)
    for name, type_ in zip(names, types, strict=True):
        if "INTERVAL" in type_:
            raise UsageError(
                f"column {name}: polars has no type for {type_}", hint=f"{name}::VARCHAR, or epoch({name})"
            )
    frame = pl.DataFrame(table.rename_columns(names))
    # Arrow has no integers of 128 bits: DuckDB hands them over as decimals.
    wanted = {name: polars_type(type_) for name, type_ in zip(names, types, strict=True) if "HUGEINT" in type_}
    return frame.cast({name: type_ for name, type_ in wanted.items() if type_ is not None})


def of_result(result: Result) -> pl.DataFrame:
    """Return the rows of a small result."""
    schema = dict(zip(distinct(result.names), map(polars_type, result.types), strict=True))
    return pl.DataFrame(result.rows, schema=schema, orient="row")


def of_rows(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Return rows of figures; a column of `FIGURE_TYPES` has that type, others that of their values."""
    names = list(rows[0]) if rows else []
    known = {name: FIGURE_TYPES[name] for name in names if name in FIGURE_TYPES}
    return pl.DataFrame(rows, schema_overrides=known, infer_schema_length=None)
