"""Reads what a report says of a run from the store: two statements over a few thousand buckets, never the exits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmtrace import queries
from kvmtrace.report.summary import Bucket, By, Counter, ExitGroup, ExitTable, Key, Section, Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.label import Label
    from kvmtrace.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user asks of a report."""

    by: tuple[By, ...] = (By.REASON,)
    with_idle: bool = False
    exact: bool = False  # read the exits, so that percentiles are exact and no detail is capped
    distribution: bool = True  # read what the histogram is drawn of


def read_summary(connection: StoreConnection, manifest: Manifest, label: Label, choice: Choice) -> Summary:
    """Return what a report says of the run of `manifest`."""
    if manifest.kind == "counters":
        return Summary(manifest, label, counters=_counters(connection, manifest.run_id))
    stored = manifest.tables.get("exits")
    if stored is None or stored.rows == 0:
        return Summary(manifest, label)
    return Summary(
        manifest,
        label,
        exits=_exits(connection, manifest.run_id, choice),
        distribution=_distribution(connection, manifest.run_id, choice) if choice.distribution else (),
    )


def _rows(connection: StoreConnection, name: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
    result = queries.run(connection, queries.load(f"report/{name}"), parameters)
    return [dict(zip(result.names, row, strict=True)) for row in result.rows]


def _exits(connection: StoreConnection, run_id: str, choice: Choice) -> ExitTable:
    parameters = {"run_id": run_id, "with_idle": choice.with_idle} | {f"by_{by}": by in choice.by for by in By}
    rows = _rows(connection, "exits_exact" if choice.exact else "exits_from_buckets", parameters)
    sections = tuple(
        Section(
            idle=total["idle_section"],
            groups=tuple(
                _group(row) for row in rows if row["idle_section"] == total["idle_section"] and not row["total"]
            ),
            total=_group(total),
        )
        for total in rows
        if total["total"]
    )
    return ExitTable(choice.by, sections, exact=choice.exact, with_idle=choice.with_idle)


def _group(row: dict[str, Any]) -> ExitGroup:
    key = Key(
        reason=row["reason"],
        detail_kind=row["detail_kind"],
        detail=row["detail"],
        detail_name=row["detail_name"],
        detail_capped=row["detail_capped"],
        vm_id=row["vm_id"],
        vcpu=row["vcpu"],
        cpu=row["cpu"],
    )
    return ExitGroup(
        key=None if row["total"] else key,
        idle=row["idle"],
        exits=row["exits"],
        timed=row["timed"],
        suspect=row["suspect"],
        no_latency=row["no_latency"],
        userspace=row["userspace"],
        several_vms=row["several_vms"],
        out_of_guest_ns=row["sum_ns"],
        sq_dev_ns2=row["sq_dev_ns2"],
        min_ns=row["min_ns"],
        max_ns=row["max_ns"],
        p50_ns=row["p50_ns"],
        p90_ns=row["p90_ns"],
        p99_ns=row["p99_ns"],
        p99_9_ns=row["p99_9_ns"],
    )


def _distribution(connection: StoreConnection, run_id: str, choice: Choice) -> tuple[Bucket, ...]:
    rows = _rows(connection, "latency_distribution", {"run_id": run_id, "with_idle": choice.with_idle})
    return tuple(
        Bucket(row["reason"], row["bucket_low_ns"], row["bucket_high_ns"], row["n"], row["sum_ns"]) for row in rows
    )


def _counters(connection: StoreConnection, run_id: str) -> tuple[Counter, ...]:
    return tuple(Counter(**row) for row in _rows(connection, "counters", {"run_id": run_id}))
