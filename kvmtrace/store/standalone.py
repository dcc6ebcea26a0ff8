"""One run as a DuckDB database that stands alone: tables of all that the run holds, and views over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

import duckdb

from kvmtrace import schema
from kvmtrace.errors import StoreError
from kvmtrace.store import manifest_tables
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.views import View, Views, literal, quoted, without_wildcards

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvmtrace.store.manifest import Manifest


class OneRun(Catalogue):
    """A store of which one run is seen."""

    def __init__(self, store: Path, run_id: str) -> None:
        """StoreError: there is no store at `store`. KeyError: it has no such run."""
        super().__init__(store)
        self._only = super().manifest(run_id)

    def manifests(self) -> list[Manifest]:
        """Return the manifest of the run."""
        return [self._only]


class Database:
    """A database that is being made."""

    def __init__(self, path: Path, catalogue: OneRun) -> None:
        """`path`: a file that is not there yet. Use it in a `with` statement."""
        self._catalogue = catalogue
        self._views = Views(catalogue)
        self._connection = duckdb.connect(str(path), config=_SETTINGS)
        folder = literal(str(catalogue.store)), literal(without_wildcards(catalogue.store))
        self._connection.execute(f"SET temp_directory = {literal(f'{path}.tmp')}")
        self._connection.execute(f"SET allowed_directories = [{', '.join(folder)}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def tables(self) -> dict[str, dict[str, str]]:
        """Return the tables, as a store of this run alone has them, and the DuckDB types of their columns."""
        return {view.name: self._views.columns(view) for view in self._views.all()}

    def add_tables(self) -> None:
        """Copy the run's tables. StoreError: files are missing, or the database cannot be written."""
        for view in self._views.all():
            name = quoted(view.name)
            if view.from_manifests:
                structure = literal(json.dumps([dict(view.columns)]))
                select = f"SELECT unnest(row_) FROM (SELECT unnest(from_json($rows, {structure})) AS row_)"  # noqa: S608 - our own names
                given: dict[str, object] = {"rows": json.dumps(manifest_tables.rows(view.name, self._catalogue))}
                self._execute(f"CREATE TABLE {name} AS {select}", given)
            else:
                self._execute(f"CREATE TABLE {name} AS {self._views.select(view)}")
            self._comment(view)

    def add_view(self, name: str, sql: str, comment: str) -> None:
        """Add a view of tables that are there. duckdb.Error: its SQL is wrong."""
        self._execute(f"CREATE VIEW {quoted(name)} AS {sql}")
        self._execute(f"COMMENT ON VIEW {quoted(name)} IS {literal(comment)}")

    def _comment(self, view: View) -> None:
        table = schema.TABLES.get(view.name)
        columns = schema.EVENT_COLUMNS if view.path.startswith("events/") else table.columns if table else ()
        for column in columns:
            place = f"{quoted(view.name)}.{quoted(column.name)}"
            self._execute(f"COMMENT ON COLUMN {place} IS {literal(column.meaning)}")

    def _execute(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        try:
            self._connection.execute(sql, parameters or None)
        except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.PermissionException) as error:
            raise StoreError(f"the database cannot be written: {error}".partition("\n")[0]) from None


_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "storage_compatibility_version": "v1.0.0",  # older programs open it too
}
