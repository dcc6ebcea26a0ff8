"""Makes the tables that a statement names, when it names them: a store of thousands of runs opens at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store import guard, manifest_tables
from kvmtrace.store.views import empty_select, literal, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.store.catalogue import Catalogue
    from kvmtrace.store.guard import Statement
    from kvmtrace.store.views import View, Views

Fields = dict[str, dict[str, str]]
"""Columns that tables must have, with their DuckDB types, by table: null where no run has them.

A table that no run has is empty.
"""


class TablesMade:
    """The tables of a store that a connection has so far."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalogue: Catalogue, views: Views) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._views = views
        self._made: dict[str, dict[str, str]] = {}  # with the fields that they were asked to have

    def make(self, statement: Statement, fields: Fields) -> None:
        """Make the tables of a statement. UsageError: the store has no such table. StoreError: it cannot be read."""
        for name in sorted(statement.tables):
            view = self._views.find(name)
            if view is None and name in fields:
                view = self._views.absent(name)
            if view is not None:
                self._make(view, fields.get(name, {}))
            elif name not in statement.own_tables:
                raise self._unknown(name)
        if statement.lists_tables:
            for view in self._views.all():
                if view.from_manifests:
                    self._make(view, {})
                elif view.name not in self._made:
                    self._create(view, empty_select(self._views.columns(view)))

    def _make(self, view: View, fields: dict[str, str]) -> None:
        if self._made.get(view.name) == fields:
            return
        if not view.from_manifests:
            self._create(view, self._views.select(view, fields))
        elif view.name not in self._made:
            self._fill(view)
        self._made[view.name] = fields

    def _create(self, view: View, select: str) -> None:
        try:
            self._connection.execute(f"CREATE OR REPLACE VIEW {quoted(view.name)} AS {select}")
        except duckdb.Error as error:
            raise said(error, self._catalogue.store) from None

    def _fill(self, view: View) -> None:
        """Make a table of what manifests say. It is small, and in memory only."""
        structure = literal(json.dumps([dict(view.columns)]))
        select = f"SELECT unnest(row_) FROM (SELECT unnest(from_json($rows, {structure})) AS row_)"  # noqa: S608 - our own names
        rows = json.dumps(manifest_tables.rows(view.name, self._catalogue))
        self._connection.execute(f"CREATE TABLE {quoted(view.name)} AS {select}", {"rows": rows})

    def _unknown(self, name: str) -> UsageError:
        near = self._views.near(name)
        hint = f"nearest: {', '.join(near)}" if near else "`kvmtrace sql 'SHOW TABLES'` lists the tables"
        return UsageError(f"no table {name!r} in the store {self._catalogue.store}", hint=hint)


def said(error: duckdb.Error, store: Path) -> UsageError | StoreError:
    """Return what DuckDB says of a statement over `store`: its files cannot be read, or the statement is wrong."""
    told = guard.sql_error(error)
    of_files = isinstance(error, duckdb.IOException | duckdb.PermissionException)
    if of_files or str(store) in told.message:
        return StoreError(f"the store cannot be read: {told.message}", hint="a run may have been removed meanwhile")
    return told
