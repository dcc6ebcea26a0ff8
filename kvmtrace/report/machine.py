"""Writes reports for programs: CSV of the tables' rows, JSON of everything, units in the names."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmtrace.errors import UsageError
from kvmtrace.report import histogram, wording
from kvmtrace.report.columns import counter_rows, exit_rows, tracepoint_rows
from kvmtrace.report.given import KINDS
from kvmtrace.report.tables import TableFormat
from kvmtrace.report.tables import render as render_table
from kvmtrace.store.connection import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmtrace.report.summary import ExitTable, Row, Summary


def to_csv(summaries: Sequence[Summary]) -> str:
    """Return the rows of the reports as one CSV table with a column `run_id`; null is empty. UsageError: as `rows`."""
    found = rows(summaries)
    names = list(found[0]) if found else ["run_id"]
    result = Result(names, [""] * len(names), [tuple(row.values()) for row in found])
    return render_table(result, TableFormat.CSV)


def rows(summaries: Sequence[Summary]) -> list[Row]:
    """Return the rows of the reports, each with its `run_id`.

    UsageError: the runs are of different kinds, whose columns differ.
    """
    tables = [(summary.manifest.run_id, *_table(summary)) for summary in summaries]
    kinds = sorted({kind for _, kind, _ in tables})
    if len(kinds) > 1:
        raise UsageError(
            f"reports of {' and of '.join(kinds)} have different columns and do not fit into one CSV table",
            hint="report the runs one by one, or use --format json",
        )
    return [{"run_id": run_id, **row} for run_id, _, table in tables for row in table]


def to_json(summaries: Sequence[Summary]) -> str:
    """Return a list of the reports as JSON."""
    return json.dumps([_report(summary) for summary in summaries], indent=1, allow_nan=False) + "\n"


def _table(summary: Summary) -> tuple[str, list[Row]]:
    if summary.manifest.kind == "counters":
        return "counters", list(counter_rows(summary))
    if summary.manifest.kind in KINDS:
        return summary.manifest.kind, list(summary.given)
    if summary.exits is None:
        return "events", list(tracepoint_rows(summary))
    return "exits", list(exit_rows(summary, summary.exits))


def _report(summary: Summary) -> dict[str, Any]:
    rate_time = summary.rate_time
    kind, found = _table(summary)
    return {
        "run": _run(summary),
        "rates_per": {"time": rate_time.which, "ns": rate_time.ns} if rate_time else None,
        "warnings": wording.warnings(summary),
        "footnotes": wording.footnotes(summary),
        **(_exits(summary, summary.exits) if summary.exits else {}),
        kind: found,
    }


def _run(summary: Summary) -> dict[str, Any]:
    run = asdict(summary.manifest)
    for of_the_store in ("tables", "schema_version"):
        run.pop(of_the_store)
    for of_record in ("environment", "vms"):  # other runs have none, and say nothing by it
        if not run[of_record]:
            run.pop(of_record)
    return {"run_id": run.pop("run_id"), **asdict(summary.label), **run}


def _exits(summary: Summary, table: ExitTable) -> dict[str, Any]:
    injected = summary.injected_interrupts
    return {
        "by": list(table.by),
        "percentiles": "exact" if table.exact else "within 1%",
        "with_idle": table.with_idle,
        "injected_interrupts": injected,
        "exits_per_injected_interrupt": round(table.exits / injected, 9) if injected else None,
        "histogram": [
            {"from_ns": b.low_ns, "below_ns": b.high_ns, "exits": b.n} for b in histogram.bins(summary.distribution)
        ],
    }
