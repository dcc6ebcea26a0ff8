"""A table of runs → a polars.LazyFrame over its Parquet files: what is not asked for is not read."""

from __future__ import annotations

from collections import defaultdict
from difflib import get_close_matches
from typing import TYPE_CHECKING

import polars as pl

from kvmtrace import queries
from kvmtrace.api.frames import polars_type
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.manifest import events_table
from kvmtrace.store.views import files_of, shown, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest
    from kvmtrace.store.views import View


def exits(connection: StoreConnection, manifests: Sequence[Manifest]) -> pl.LazyFrame:
    """Return the exits of runs. UsageError: one has none recorded."""
    for manifest in manifests:
        queries.require(connection, manifest, "exits")
    view = connection.views.find("exits")
    if view is None:
        raise AssertionError("every store has the table exits")
    return _scanned(connection, view, manifests)


def events(connection: StoreConnection, manifests: Sequence[Manifest], name: str) -> pl.LazyFrame:
    """Return the events of a tracepoint: kvm_msr, kvm:kvm_msr or kvm__kvm_msr.

    UsageError: a run has not recorded it; one that recorded it and where it never fired has no rows.
    """
    view = connection.views.find(name.replace(":", "__"))
    for manifest in manifests:
        recorded = {events_table(t.system, t.event): t.event for t in manifest.tracepoints}
        if view is None or view.path not in recorded:
            raise _not_recorded(name, manifest, recorded.values())
    if view is None:
        raise UsageError("expected a run, found none")
    return _scanned(connection, view, manifests)


def _not_recorded(name: str, manifest: Manifest, recorded: Iterable[str]) -> UsageError:
    run = f"run {manifest.run_id} ({manifest.source.title})"
    known = sorted(set(recorded))
    if not known:
        return UsageError(f"{name}: no events are recorded in {run}, which holds {manifest.kind.replace('_', ' ')}")
    told = "" if manifest.tells_enabled else ", or it never fired: this recording does not tell what was enabled"
    near = get_close_matches(name.rpartition(":")[2], known, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"recorded: {', '.join(known)}"
    return UsageError(f"the event {name} was not recorded in {run}{told}", hint=hint)


def _scanned(connection: StoreConnection, view: View, manifests: Sequence[Manifest]) -> pl.LazyFrame:
    stored: dict[tuple[tuple[str, str], ...], list[Manifest]] = defaultdict(list)
    for manifest in manifests:
        if table := manifest.tables.get(view.path):
            stored[tuple(table.columns.items())].append(manifest)
    schema = {name: _type(view, name, type_) for name, type_ in united(view, stored).items()}
    frames = [
        _of_run(connection, view, manifest, schema)
        for manifest in manifests
        if view.path in manifest.tables and manifest.tables[view.path].rows
    ]
    if not frames:
        return pl.LazyFrame(schema={"run_id": pl.String(), **schema})
    return pl.concat(frames)


def _of_run(
    connection: StoreConnection, view: View, manifest: Manifest, schema: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    files = files_of(connection.catalogue.store, manifest, view)
    if not files:
        raise StoreError(f"run {manifest.run_id} was removed meanwhile")
    names = {shown(column): column for column in manifest.tables[view.path].columns}
    columns = [
        (pl.col(names[name]) if name in names else pl.lit(None)).cast(type_).alias(name)
        for name, type_ in schema.items()
    ]
    # The path is no source of columns (vcpu=2 in it), and has no patterns.
    frame = pl.scan_parquet(files, glob=False, hive_partitioning=False)
    return frame.select(pl.lit(manifest.run_id).alias("run_id"), *columns)


def _type(view: View, name: str, duckdb_type: str) -> pl.DataType:
    found = polars_type(duckdb_type)
    if found is None:
        raise StoreError(f"{view.name}.{name}: expected the type of a stored column, found {duckdb_type}")
    return found
