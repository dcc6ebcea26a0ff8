"""The formats that `kvmtrace export` writes."""

from __future__ import annotations

from enum import StrEnum


class ExportFormat(StrEnum):
    """What --format takes."""

    PERFETTO = "perfetto"
    DUCKDB = "duckdb"
    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"
