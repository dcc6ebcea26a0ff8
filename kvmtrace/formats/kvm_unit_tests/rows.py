"""Rows of the table `benchmarks`, as the readers of benchmarks make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


@dataclass(slots=True)
class Row:
    """One figure or verdict, its fields named as the columns of `schema.BENCHMARKS`."""

    line: int
    name: str
    state: str
    test: str | None = None
    value: float | None = None
    unit: str | None = None
    statistic: str | None = None
    clock: str | None = None
    message: str | None = None
    repeats: bool = False  # one run prints many rows of this name


def benchmark_table(rows: Sequence[Row], suite: str | None) -> pa.Table:
    """Return rows in the columns of `schema.BENCHMARKS`."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and recognising a format needs none of it

    columns = {
        name: [suite] * len(rows) if name == "suite" else [getattr(row, name) for row in rows]
        for name in schema.BENCHMARKS.names()
    }
    return pa.table(columns, schema=schema.BENCHMARKS.arrow_schema())
