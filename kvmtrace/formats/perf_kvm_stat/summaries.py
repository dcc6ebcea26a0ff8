"""A table → rows of `schema.EXIT_SUMMARIES`, and facts of the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmtrace import schema
from kvmtrace.formats.perf_kvm_stat.checks import doubts
from kvmtrace.formats.perf_kvm_stat.keys import Detail, detail_of
from kvmtrace.formats.perf_kvm_stat.names import time_is
from kvmtrace.recording import Facts, TableSet

if TYPE_CHECKING:
    from decimal import Decimal

    from kvmtrace.formats.perf_kvm_stat.keys import Part
    from kvmtrace.formats.perf_kvm_stat.rows import Row
    from kvmtrace.formats.perf_kvm_stat.tables import KvmStatTable


def table_set(table: KvmStatTable, event_kind: str, part: str | None, format_name: str) -> TableSet:
    """Return one table in the columns of `schema.EXIT_SUMMARIES`, in the order of its lines, with its notes."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and recognising a format needs none of it

    for note in doubts(table, event_kind):
        table.notes.add(note)
    common = {"scope": table.around.scope, "logged_at": table.around.at}
    times = time_is(event_kind, [row.name for row in table.rows], table.around.isas)
    cells = [{**_cells(row, event_kind), **common, "time_is": times} for row in table.rows]
    cells += [{**_part_cells(part), **common} for part in table.parts]
    names = schema.EXIT_SUMMARIES.names()
    rows = [{**dict.fromkeys(names), **row} for row in sorted(cells, key=lambda row: row["line"])]
    return TableSet(
        facts=Facts(
            format=format_name,
            tool=_tool(table),
            part=part,
        ),
        table="exit_summaries",
        rows=pa.Table.from_pylist(rows, schema=schema.EXIT_SUMMARIES.arrow_schema()),
        notes=tuple(table.notes.told()),
    )


def _cells(row: Row, event_kind: str) -> dict[str, Any]:
    detail = detail_of(event_kind, row.name) or Detail()
    return {
        "event_kind": event_kind,
        "reason": row.name,
        "detail_kind": detail.detail_kind,
        "detail": detail.detail,
        "detail_name": detail.detail_name,
        "direction": detail.direction,
        "samples": row.samples,
        "samples_share": _float(row.cells.get("samples_share")),
        "time_share": _float(row.cells.get("time_share")),
        "min_ns": _float(row.time("min")),
        "max_ns": _float(row.time("max")),
        "mean_ns": _float(row.time("mean")),
        "total_ns": _float(row.cells.get("time_ns")),
        "stderr_share": _float(row.stderr_share),
        "line": row.line,
    }


def _part_cells(part: Part) -> dict[str, Any]:
    return {
        "event_kind": part.event_kind,
        "reason": part.printed,
        **asdict(part.detail),
        "samples": part.samples,
        "line": part.line,
    }


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _tool(table: KvmStatTable) -> dict[str, str]:
    tool = {"cmdline": table.around.command} if table.around.command else {}
    if table.totals:
        tool["total_samples"] = str(table.totals.samples)
        tool["total_time_ns"] = f"{table.totals.time_ns.normalize():f}"
    if table.lost is not None:
        tool["lost_events"] = str(table.lost)
    return tool
