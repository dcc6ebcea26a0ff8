"""Makes runs of a store from rows, by the layout of the manifest and the columns of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kvmtrace import schema
from kvmtrace.store.manifest import MANIFEST, Manifest, Source, TableInfo, Tracepoint, decode_name, run_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Row = dict[str, Any]

EXIT = {"idle": False, "closed_by": "entry", "suspect": False}
"""What a row of exits must say, as most exits have it."""


def fixed_table(name: str, rows: Iterable[Row]) -> pa.Table:
    """Return a table of schema.TABLES; columns that a row does not give are null."""
    return pa.Table.from_pylist(list(rows), schema=schema.TABLES[name].arrow_schema())


def exits(*rows: Row) -> pa.Table:
    """Return a table of exits: `exit_id` counts, and `exit_ts_ns` is 0 where it is not given."""
    return fixed_table("exits", ({"exit_id": n, "exit_ts_ns": 0, **EXIT, **row} for n, row in enumerate(rows)))


def event(own: Mapping[str, pa.DataType], *rows: Row) -> pa.Table:
    """Return the table of a tracepoint with the `own` fields; `ts_ns` is 0 where it is not given."""
    ours = [pa.field(c.name, pa.type_for_alias(c.type), nullable=c.nullable) for c in schema.EVENT_COLUMNS]
    fields = [pa.field(name, type_, nullable=False) for name, type_ in own.items()]
    return pa.Table.from_pylist([{"ts_ns": 0, **row} for row in rows], schema=pa.schema([*ours, *fields]))


def add_run(store: Path, run_id: str, tables: Mapping[str, pa.Table] | None = None, **facts: Any) -> Manifest:  # noqa: ANN401 - any fact of a manifest
    """Write a run with `tables` (by their path in the run's folder) and return its manifest.

    `events/…` tables are tracepoints of the recording; `enabled` are (system, event) of more that never fired.
    """
    folder = run_folder(store, run_id)
    folder.mkdir(parents=True)
    infos, tracepoints = {}, [Tracepoint(system, name, 0, 0) for system, name in facts.pop("enabled", ())]
    for path, table in (tables or {}).items():
        in_parts = path == "exits" or path.startswith("events/")
        file = folder / path / "part-0.parquet" if in_parts else folder / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
        infos[path] = TableInfo(table.num_rows, {f.name: str(f.type) for f in table.schema})
        if path.startswith("events/"):
            system, name = (decode_name(part) for part in path.split("/")[1:])
            tracepoints.append(Tracepoint(system, name, table.num_rows, table.num_rows))
    if "exits" in infos:
        facts.setdefault("exits", {"rows": infos["exits"].rows, "suspect": 0})
    source = facts.pop("source", Source(f"{run_id}.data", "perf.data", 1, "blake3:" + "0" * 64))
    facts = {"kind": "recording", "ingested_at": f"2026-01-01T00:00:00Z-{run_id}", "kvmtrace_version": "0", **facts}
    manifest = Manifest(run_id=run_id, source=source, tables=infos, tracepoints=tuple(tracepoints), **facts)
    (folder / MANIFEST).write_text(manifest.to_json())
    return manifest
