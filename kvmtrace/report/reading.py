"""Reads what a report says of a run from the store: buckets in one statement, the exits only on demand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from kvmtrace import queries
from kvmtrace.exit_keys import By, Key
from kvmtrace.report import grouping
from kvmtrace.report.given import KINDS
from kvmtrace.report.summary import Bucket, Counter, ExitGroup, ExitTable, Section, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmtrace.store.connection import Result, StoreConnection
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user asks of a report."""

    by: tuple[By, ...] = (By.REASON,)
    with_idle: bool = False
    exact: bool = False  # read the exits: percentiles are exact, and no detail is left out
    distribution_by_reason: bool = False  # as the curves of a figure need it


def read_summary(connection: StoreConnection, manifest: Manifest, label: Label, choice: Choice) -> Summary:
    """Return what a report says of the run of `manifest`."""
    if manifest.kind == "counters":
        result = _run(connection, "counters", run_id=manifest.run_id)
        return Summary(manifest, label, counters=tuple(Counter(*row) for row in result.rows))
    if manifest.kind in KINDS:
        result = _answers(connection, KINDS[manifest.kind], run_id=manifest.run_id)
        given = tuple(dict(zip(result.names, row, strict=True)) for row in result.rows)
        return Summary(manifest, label, given=given)
    stored = manifest.tables.get("exits")
    if stored is None or stored.rows == 0:
        return Summary(manifest, label)
    if choice.exact:
        sections = _exact_sections(connection, manifest.run_id, choice)
        rows = _bucket_rows(connection, manifest.run_id, [By.REASON])
    else:
        rows = _bucket_rows(connection, manifest.run_id, choice.by)
        sections = grouping.sections(rows, with_idle=choice.with_idle)
        if choice.distribution_by_reason and By.REASON not in choice.by:
            rows = _bucket_rows(connection, manifest.run_id, [By.REASON])
    table = ExitTable(choice.by, sections, exact=choice.exact, with_idle=choice.with_idle)
    return Summary(manifest, label, exits=table, distribution=_distribution(rows, with_idle=choice.with_idle))


def _run(connection: StoreConnection, name: str, **parameters: object) -> Result:
    return _answers(connection, f"report/{name}", **parameters)


def _answers(connection: StoreConnection, name: str, **parameters: object) -> Result:
    return queries.run(connection, queries.load(name), parameters)


def _bucket_rows(connection: StoreConnection, run_id: str, by: Iterable[By]) -> list[grouping.BucketRow]:
    result = _run(connection, "exits_by_bucket", run_id=run_id, **_asked(by))
    return [grouping.BucketRow._make(row) for row in result.rows]


def _exact_sections(connection: StoreConnection, run_id: str, choice: Choice) -> tuple[Section, ...]:
    result = _run(connection, "exits_exact", run_id=run_id, with_idle=choice.with_idle, **_asked(choice.by))
    figures = {f.name for f in fields(ExitGroup)} & set(result.names)
    groups: dict[bool, list[ExitGroup]] = {}
    totals: dict[bool, ExitGroup] = {}
    for values in result.rows:
        row = dict(zip(result.names, values, strict=True))
        group = ExitGroup(
            key=Key(**{name: row[name] for name in Key._fields if name in row}),
            **{name: row[name] for name in figures},
        )
        idle_section = row["idle_section"]
        if row["total"]:
            totals[idle_section] = replace(group, key=None, idle=None if choice.with_idle else idle_section)
        else:
            groups.setdefault(idle_section, []).append(group)
    return tuple(Section(idle, grouping.by_time(groups[idle]), totals[idle]) for idle in sorted(totals))


def _asked(by: Iterable[By]) -> dict[str, bool]:
    asked = set(by)
    return {f"by_{each}": each in asked for each in By}


def _distribution(rows: Iterable[grouping.BucketRow], *, with_idle: bool) -> tuple[Bucket, ...]:
    return tuple(
        Bucket(row.reason, row.low_ns, row.high_ns, row.n, row.sum_ns or 0)
        for row in rows
        if row.low_ns is not None and row.high_ns is not None and (with_idle or not row.idle)
    )
