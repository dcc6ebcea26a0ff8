"""A run as a DuckDB database with the queries of the library as views."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmtrace import queries
from kvmtrace.errors import UsageError
from kvmtrace.query_file import cast, preceded_by
from kvmtrace.schema import EVENT_COLUMNS
from kvmtrace.store.column_types import duckdb_type
from kvmtrace.store.standalone import Database, OneRun
from kvmtrace.store.views import empty_select, literal, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvmtrace.query_file import Query
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

_TOKENS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|\$(?P<name>\w+)")
"""Texts and comments, in which a $ is none of a parameter, and parameters."""


@dataclass(frozen=True, slots=True)
class WrittenDatabase:
    """What a database holds."""

    tables: int
    views: int


def write_database(connection: StoreConnection, manifest: Manifest, path: Path) -> WrittenDatabase:
    """Write a run's tables, and a view for each query that one run answers, to `path`, an empty file.

    StoreError: files of the store are missing, or the database cannot be written.
    """
    path.unlink()  # DuckDB makes its own
    with Database(path, OneRun(connection.catalogue.store, manifest.run_id)) as database:
        tables = database.tables()
        database.add_tables()
        views = 0
        for query in _answered(connection, manifest, tables):
            database.add_view(query.table, _standing_alone(query, manifest.run_id, tables), query.purpose)
            views += 1
    return WrittenDatabase(len(tables), views)


def _answered(connection: StoreConnection, manifest: Manifest, tables: dict[str, dict[str, str]]) -> Iterator[Query]:
    """Yield the queries that the run has recorded enough for, and that need no more than a run."""
    for query in queries.catalogue():
        others = [p for p in query.parameters if p.name != "run_id"]
        if "/" in query.name or query.table in tables or any(p.is_run or p.default is None for p in others):
            continue
        try:
            queries.bind(connection, query, {"run_id": manifest.run_id})
        except UsageError:  # something was not recorded
            continue
        yield query


def _standing_alone(query: Query, run_id: str, tables: dict[str, dict[str, str]]) -> str:
    """Return the SELECT of a query with values for its parameters, and with tables for what was not recorded."""
    values = {"run_id": literal(run_id)}
    for parameter in query.parameters:
        if parameter.name not in values:
            value = cast(parameter, parameter.default or "NULL")
            values[parameter.name] = f"{_sql(value)}::{parameter.type}"
    sql = _TOKENS.sub(lambda token: values[token["name"]] if token["name"] else token[0], query.sql)
    adapted = [_with_fields(table, fields, tables.get(table)) for table, fields in query.fields.items()]
    return preceded_by(sql, adapted)


def _with_fields(table: str, fields: dict[str, str], there: dict[str, str] | None) -> str:
    """Return a table of WITH that has `fields` with their types; what `there`, its columns, lacks is null."""
    if there is None:
        of_every_event = {column.name: duckdb_type(column.type) for column in EVENT_COLUMNS}
        return f"{quoted(table)} AS ({empty_select({**of_every_event, **fields})})"
    casts = ", ".join(f"{quoted(name)}::{type_} AS {quoted(name)}" for name, type_ in fields.items() if name in there)
    nulls = "".join(f", NULL::{type_} AS {quoted(name)}" for name, type_ in fields.items() if name not in there)
    replaced = f" REPLACE ({casts})" if casts else ""
    return f"{quoted(table)} AS (SELECT *{replaced}{nulls} FROM main.{quoted(table)})"  # noqa: S608 - names of our own


def _sql(value: object) -> str:
    if value is None:
        return "NULL"
    return literal(value) if isinstance(value, str) else str(value)
