"""Writes a comparison for programs: CSV of its lines, JSON of everything; exact figures, units beside them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from kvmtrace.comparing.waterfall import Cause
from kvmtrace.report import comparison_footnotes, comparison_words
from kvmtrace.report.columns import KEY_COLUMNS
from kvmtrace.report.tables import TableFormat
from kvmtrace.report.tables import render as render_table
from kvmtrace.store.connection import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmtrace.comparing.claims import Claimed
    from kvmtrace.comparing.comparison import Comparison
    from kvmtrace.comparing.lines import Line
    from kvmtrace.comparing.run_data import RunData
    from kvmtrace.comparing.waterfall import Waterfall
    from kvmtrace.exit_keys import By
    from kvmtrace.report.summary import Row

_HEADLINE = "headline"


def to_csv(comparison: Comparison) -> str:
    """Return a row for each figure, the headlines first; what is not known is empty."""
    found = list(rows(comparison))
    names = list(found[0]) if found else ["section"]
    return render_table(Result(names, [""] * len(names), [tuple(row.values()) for row in found]), TableFormat.CSV)


def rows(comparison: Comparison) -> Iterator[Row]:
    """Yield a row for each figure, the headlines first; None: not known."""
    by = comparison.options.by
    for line in comparison.headlines:
        yield {"section": _HEADLINE, **_line(line, by)}
    for section in comparison.sections:
        for line in section.lines:
            yield {"section": section.quantity, **_line(line, by)}


def _line(line: Line, by: tuple[By, ...]) -> Row:
    said = line.estimate
    ratio, difference = said.ratio_interval or (None, None), said.difference_interval or (None, None)
    row: Row = {"name": line.name or None, "idle": line.idle}
    for column in (column for each in by for column in KEY_COLUMNS[each]):
        row[column] = getattr(line.key, column) if line.key else None
    return row | {
        "base_n": _number(line.base_n),
        "new_n": _number(line.new_n),
        "base": _number(said.base),
        "new": _number(said.new),
        "unit": line.unit or None,
        "ratio": _number(said.ratio),
        "ratio_low": _number(ratio[0]),
        "ratio_high": _number(ratio[1]),
        "difference": _number(said.difference),
        "difference_low": _number(difference[0]),
        "difference_high": _number(difference[1]),
        "p": _number(said.p),
        "adjusted_p": _number(line.adjusted_p),
        "verdict": str(line.verdict),
        "method": said.method,
        "base_samples": said.base_n,
        "new_samples": said.new_n,
        "sample_unit": said.unit_of_n,
        "missing": said.missing,
    }


def _number(value: float | None) -> float | None:
    """Return a number as both formats can hold it: a whole one as such, what is no number as null."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(value)


def to_json(comparison: Comparison) -> str:
    """Return the whole comparison as JSON."""
    options, by = comparison.options, comparison.options.by
    per = options.per
    told = {
        "sides": {side.name: [_run(run) for run in side.runs] for side in (comparison.base, comparison.new)},
        "options": {
            "by": list(by),
            "per": {"words": per.words, "event": per.event, "work": per.work},
            "with_idle": options.with_idle,
            "events": options.events,
            "minimum_effect": options.minimum_effect,
            "level": options.level,
        },
        "within_one_run": comparison.within_one_run,
        "tested_beside_the_primary": comparison.tested,
        "warnings": list(comparison.warnings),
        "sentences": comparison_words.headlines(comparison),
        "footnotes": comparison_footnotes.footnotes(comparison),
        "headlines": [{"primary": line.primary, **_line(line, by)} for line in comparison.headlines],
        "claims": [_claim(claimed) for claimed in comparison.claims],
        "waterfall": _waterfall(comparison.waterfall) if comparison.waterfall else None,
        "sections": [
            {
                "title": section.title,
                "quantity": section.quantity,
                "unit": section.unit or None,
                "by": list(section.by),
                "lines": [_line(line, by) for line in section.lines],
            }
            for section in comparison.sections
        ],
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _run(run: RunData) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "run_id": manifest.run_id,
        "label": run.label.label,
        "tags": run.label.tags,
        "kind": manifest.kind,
        "source": manifest.source.title,
        "source_format": manifest.source.format,
        "host": manifest.host,
        "recorded_s": _number(run.seconds),
        "blocks": run.blocks,
        "vcpus": run.vcpus,
        "exits": manifest.exits.get("rows") if run.keyed is not None else None,
        "units_of_work": _number(run.work),
    }


def _claim(claimed: Claimed) -> dict[str, Any]:
    low, high = claimed.interval or (None, None)
    return {
        "claim": claimed.claim.text,
        "outcome": str(claimed.outcome),
        "value": _number(claimed.value),
        "low": _number(low),
        "high": _number(high),
        "method": claimed.estimate.method,
        "missing": claimed.why,
    }


def _waterfall(waterfall: Waterfall) -> dict[str, Any]:
    nothing = dict.fromkeys(Cause._fields)
    steps = [
        {
            **(step.cause._asdict() if step.cause else nothing),
            "change": str(step.change),
            "moved_to": step.moved_to,
            "exits": _number(step.exits),
            "time_ns": _number(step.time_ns),
        }
        for step in waterfall.steps
    ]
    return {
        "base_exits": _number(waterfall.base_exits),
        "new_exits": _number(waterfall.new_exits),
        "base_time_ns": _number(waterfall.base_time_ns),
        "new_time_ns": _number(waterfall.new_time_ns),
        "steps": steps,
    }
