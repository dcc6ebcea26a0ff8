"""The tables that SQL sees, and the SELECT behind each: a view of the Parquet files of every run that has the table.

Columns are united by name: what a run does not have is null, integers are widened, and what cannot be reconciled is an
error that names the runs. All of this comes from the manifests, so no file is opened before a statement reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

from kvmtrace import schema
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store import manifest_tables
from kvmtrace.store.column_types import common_type, duckdb_type
from kvmtrace.store.manifest import RUN_PREFIX, decode_name, events_table, run_folder, runs_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from kvmtrace.store.catalogue import Catalogue
    from kvmtrace.store.manifest import Manifest

_NAMED_RUNS = 3


@dataclass(frozen=True, slots=True)
class View:
    """One table of SQL: its name, its path in a run's folder, and the columns that it has in every store."""

    name: str
    path: str
    columns: Mapping[str, str]  # column → DuckDB type
    from_manifests: bool = False


_Columns = tuple[tuple[str, str], ...]  # column and Arrow type of each, as stored


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def without_wildcards(path: Path) -> str:
    """Return `path` as DuckDB takes it literally: it looks for *, ? and [ in the names of files."""
    return re.sub(r"[*?\[\]]", lambda match: f"[{match[0]}]", str(path))


class Views:
    """The tables of a store."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._fixed = {t.name: View(t.name, t.name, _types(t.columns)) for t in schema.TABLES.values()}
        for name, columns in manifest_tables.COLUMNS.items():
            self._fixed[name] = View(name, "", columns, from_manifests=True)

    def all(self) -> list[View]:
        """Return every table, each under its shortest name, by name."""
        events = [
            self._event(system, event, qualified=len(pairs) > 1 or name in self._fixed)
            for name, pairs in self._systems.items()
            for system, event in pairs
        ]
        return sorted([*self._fixed.values(), *events], key=lambda view: view.name)

    def find(self, name: str) -> View | None:
        """Return the table that SQL calls `name`, if there is one. UsageError: events of two systems have the name."""
        key = name.lower()
        if key in self._fixed:
            return self._fixed[key]
        pairs = self._systems.get(key, set())
        if len(pairs) > 1:
            names = " or ".join(sorted(self._event(*pair, qualified=True).name for pair in pairs))
            raise UsageError(f"{name} is an event of {len(pairs)} systems in this store", hint=f"use {names}")
        if pairs:
            return self._event(*next(iter(pairs)), qualified=False)
        for system, event in (pair for pairs in self._systems.values() for pair in pairs):
            view = self._event(system, event, qualified=True)
            if view.name.lower() == key:
                return view
        return None

    def absent(self, name: str) -> View:
        """Return the table of a tracepoint that no run has: it has no rows."""
        return View(name, "", _types(schema.EVENT_COLUMNS))

    def near(self, name: str) -> list[str]:
        """Return names of tables that look like `name`."""
        return get_close_matches(name.lower(), [view.name for view in self.all()], n=3, cutoff=0.6)

    def select(self, view: View, fields: Mapping[str, str] | None = None) -> str:
        """Return the SELECT behind a table of Parquet files.

        `fields` are columns that it must have, with their DuckDB types: null where no run has them.
        StoreError: types that cannot be reconciled, or files that are missing.
        """
        stored = self._stored(view)
        wanted = {**united(view, stored), **(fields or {})}
        store = self._catalogue.store
        selects = []
        for columns, manifests in stored.items():
            files = [file for m in manifests if m.tables[view.path].rows for file in files_of(store, m, view)]
            if files:
                selects.append(self._select(files, dict(columns), wanted))
        return "\nUNION ALL\n".join(selects) if selects else empty_select(wanted)

    def columns(self, view: View) -> dict[str, str]:
        """Return the columns of a table and their DuckDB types, without looking at its files."""
        if view.from_manifests:
            return dict(view.columns)
        return {"run_id": "VARCHAR", **united(view, self._stored(view))}

    def _event(self, system: str, event: str, *, qualified: bool) -> View:
        name = f"{system}__{event}" if qualified else event
        return View(name, events_table(system, event), _types(schema.EVENT_COLUMNS))

    @cached_property
    def _systems(self) -> dict[str, set[tuple[str, str]]]:
        """Tracepoints (system, event) by the event in lower case, as SQL compares names."""
        systems: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for system, event in {pair for manifest in self._catalogue.manifests() for pair in _events(manifest)}:
            systems[event.lower()].add((system, event))
        return systems

    def _stored(self, view: View) -> dict[_Columns, list[Manifest]]:
        """Return the runs that have a table, by the columns that they have."""
        stored: dict[_Columns, list[Manifest]] = defaultdict(list)
        for manifest in self._catalogue.manifests():
            table = manifest.tables.get(view.path)
            if table is not None:
                stored[tuple(table.columns.items())].append(manifest)
        return stored

    def _select(self, files: Sequence[Path], stored: Mapping[str, str], wanted: Mapping[str, str]) -> str:
        read_names = _read_names(stored)
        types = {name: (read_names[column], duckdb_type(t)) for column, t in stored.items() for name in [shown(column)]}
        file_column = "file"
        while file_column in {name.lower() for name in read_names.values()}:
            file_column += "_"
        start = len(f"{runs_folder(self._catalogue.store)}/{RUN_PREFIX}") + 1
        parts = [f"split_part(substr({quoted(file_column)}, {start}), '/', 1) AS run_id"]
        for name, wanted_type in wanted.items():
            read_name, stored_type = types.get(name, (None, ""))
            value = "NULL" if read_name is None else quoted(read_name)
            cast = "" if stored_type == wanted_type else f"::{wanted_type}"
            parts.append(f"{value}{cast} AS {quoted(name)}")
        paths = ", ".join(literal(without_wildcards(file)) for file in files)
        # run_id comes from the file's name, not by hive_partitioning: that would also take `vcpu=2` in the path of the
        # store for a column. DuckDB leaves out files by a filter on it all the same.
        return (
            f"SELECT {', '.join(parts)}\n"
            f"FROM read_parquet([{paths}], hive_partitioning = false, filename = {literal(file_column)})"
        )


def empty_select(columns: Mapping[str, str]) -> str:
    """Return a SELECT of no rows that has `columns` and their DuckDB types, after run_id."""
    typed = {"run_id": "VARCHAR", **columns}
    return f"SELECT {', '.join(f'NULL::{t} AS {quoted(name)}' for name, t in typed.items())} WHERE false"


def _types(columns: Iterable[schema.Column]) -> dict[str, str]:
    return {column.name: duckdb_type(column.type) for column in columns}


def _events(manifest: Manifest) -> set[tuple[str, str]]:
    enabled = {(t.system, t.event) for t in manifest.tracepoints}
    for path in manifest.tables:
        match path.split("/"):
            case ["events", system, event]:
                enabled.add((decode_name(system), decode_name(event)))
    return enabled


def shown(column: str) -> str:
    """Return the name under which a stored column is shown: run_id is ours."""
    return f"{column}_" if column.lower() == "run_id" else column


def united(view: View, stored: Mapping[_Columns, Sequence[Manifest]]) -> dict[str, str]:
    """Return the columns of a table over all of its runs, and the type that holds the values of each."""
    runs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # column → type → run ids
    for name, type_ in view.columns.items():
        runs[name][type_] = ["every store"]
    for columns, manifests in stored.items():
        for column, arrow_type in columns:
            runs[shown(column)][duckdb_type(arrow_type)] += [m.run_id for m in manifests]
    united: dict[str, str] = {}
    for column, by_type in runs.items():
        common = common_type(by_type)
        if common is None:
            raise StoreError(
                f"{view.name}.{column} has types that cannot be reconciled: {_disagreement(by_type)}",
                hint="remove the runs of one kind with `kvmtrace runs rm`, or keep them in a store of their own",
            )
        united[column] = common
    return united


def _disagreement(by_type: Mapping[str, list[str]]) -> str:
    parts = []
    for type_, run_ids in by_type.items():
        more = len(run_ids) - _NAMED_RUNS
        parts.append(f"{type_} in {', '.join(run_ids[:_NAMED_RUNS])}" + (f" and {more} more" if more > 0 else ""))
    return "; ".join(parts)


def files_of(store: Path, manifest: Manifest, view: View) -> list[Path]:
    """Return the files of a run's table; none where the run is gone. StoreError: they are missing."""
    folder = run_folder(store, manifest.run_id)
    path = folder / view.path
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == ".parquet")
    except OSError:
        file = path.with_name(f"{path.name}.parquet")
        files = [file] if file.exists() else []
    if not files and folder.exists():  # else the run was removed since its manifest was read
        raise StoreError(
            f"run {manifest.run_id}: the files of {view.name} are missing",
            hint=f"`kvmtrace runs rm {manifest.run_id}`, and ingest the source again",
        )
    return files


def _read_names(columns: Iterable[str]) -> dict[str, str]:
    """Return how DuckDB calls the columns of a file: one that differs only in case from an earlier one is renamed."""
    names: dict[str, str] = {}
    for column in columns:
        name, n = column, 0
        while name.lower() in {taken.lower() for taken in names.values()}:
            n += 1
            name = f"{column}_{n}"
        names[column] = name
    return names
