"""Lists, checks and runs the queries of queries/**/*.sql; `query_file` says what such a file is."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace import resources
from kvmtrace.errors import UsageError
from kvmtrace.query_file import Column, Parameter, Query, cast, read
from kvmtrace.store.manifest import events_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmtrace.store.connection import Columns, Result, StoreConnection
    from kvmtrace.store.manifest import Manifest

__all__ = [
    "Binding",
    "Column",
    "Parameter",
    "Query",
    "bind",
    "catalogue",
    "check_result",
    "check_statement",
    "columns",
    "execute",
    "load",
    "require",
    "run",
]

_LINE = re.compile(r"LINE (\d+):")  # where DuckDB says that the trouble is, counted from the start of the statement


@dataclass(frozen=True, slots=True)
class Binding:
    """Values for the parameters of a query, and what was chosen for the user, one plain line each."""

    values: dict[str, object]
    chosen: list[str] = field(default_factory=list)


def catalogue() -> list[Query]:
    """Return every query of the project, by name. UsageError: a header that cannot be read."""
    folder = resources.folder("queries")
    return [read(path) for path in sorted(folder.rglob("*.sql"))]


def load(name: str) -> Query:
    """Return the query called `name`, or the one in the file `name` where that ends in .sql. UsageError: none.

    exits_by_reason is exits-by-reason, too.
    """
    folder = resources.folder("queries")
    if name.endswith(".sql"):
        return read(Path(name))
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.sql")}
    found = names.get(name) or names.get(name.replace("_", "-"))
    if found is None:
        near = get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"nearest: {', '.join(near)}" if near else "`kvmtrace queries` lists them"
        raise UsageError(f"no query is called {name!r}", hint=hint)
    return read(found)


def run(connection: StoreConnection, query: Query, parameters: Mapping[str, object] | None = None) -> Result:
    """Run a query; texts among the values are read as the types that the query declares.

    UsageError: a value is missing, unknown or of another type, a run has not recorded what the query requires, or the
    header of the query does not say what it does.
    """
    return execute(connection, query, bind(connection, query, parameters or {}))


def bind(connection: StoreConnection, query: Query, given: Mapping[str, object]) -> Binding:
    """Find the values of a query's parameters. UsageError: as `run`."""
    known = {parameter.name: parameter for parameter in query.parameters}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(
                f"{query.name} has no parameter {name!r}",
                hint=f"nearest: {near[0]}" if near else f"parameters: {', '.join(known) or 'none'}",
            )
    binding = Binding({})
    for parameter in query.parameters:
        value = given.get(parameter.name, parameter.default)
        if parameter.is_run:
            binding.values[parameter.name] = _bind_run(connection, query, parameter, value, binding)
        elif parameter.name not in given and parameter.default is None:
            raise UsageError(f"{query.name} needs a value for {parameter.name}", hint=f"-p {parameter.name}=…")
        else:
            binding.values[parameter.name] = cast(parameter, value) if isinstance(value, str) else value
    return binding


def _bind_run(connection: StoreConnection, query: Query, parameter: Parameter, value: object, binding: Binding) -> str:
    runs = connection.catalogue
    if value is not None:
        manifest = runs.resolve(str(value))
    elif parameter.name == "run_id":
        manifest = runs.latest()
        binding.chosen.append(f"run {manifest.run_id} ({manifest.source.title}), the latest")
    else:
        raise UsageError(
            f"{query.name} needs a run for {parameter.name}",
            hint=f"-p {parameter.name}=RUN; `kvmtrace runs` lists the runs",
        )
    for table in query.requires:
        require(connection, manifest, table)
    return manifest.run_id


def require(connection: StoreConnection, manifest: Manifest, table: str) -> None:
    """UsageError: the run has not recorded `table`. An event that was enabled and never fired is recorded."""
    view = connection.views.find(table)
    if view is not None and view.from_manifests:
        return
    recorded = set(manifest.tables) | {events_table(t.system, t.event) for t in manifest.tracepoints}
    if table == "exits" and manifest.unpaired is not None:
        raise UsageError(f"run {manifest.run_id} has no exits: {manifest.unpaired}")
    if view is None or view.path not in recorded:
        what = f"a run of {manifest.kind}" if manifest.kind != "recording" else manifest.source.title
        raise UsageError(
            f"{table} was not recorded in run {manifest.run_id} ({what})",
            hint="the table tracepoints lists what was recorded in each run",
        )


def execute(connection: StoreConnection, query: Query, binding: Binding) -> Result:
    """Run a query with the values of `bind`. UsageError: its header does not say what it does."""
    check_statement(connection, query)
    with _naming(query):
        result = connection.query(query.sql, binding.values, fields=query.fields)
    check_result(query, result)
    return result


@contextmanager
def _naming(query: Query) -> Iterator[None]:
    """Name the file, and its lines, in errors of its SQL."""
    try:
        yield
    except UsageError as error:
        hint = _LINE.sub(lambda line: f"LINE {int(line[1]) + query.header_lines}:", error.hint or "")
        raise UsageError(f"{query.path}: {error.message}", hint=hint or None) from None


def columns(connection: StoreConnection, query: Query, parameters: Mapping[str, object] | None = None) -> Columns:
    """Run a query whose result has many rows. UsageError: as `run`."""
    binding = bind(connection, query, parameters or {})
    check_statement(connection, query)
    with _naming(query):
        result = connection.columns(query.sql, binding.values, fields=query.fields)
    check_result(query, result)
    return result


def check_statement(connection: StoreConnection, query: Query) -> None:
    """Check the SELECT of a query without running it. UsageError: its header lies about it, or it has no order."""
    with _naming(query):
        statement = connection.check(query.sql)
    declared = {parameter.name: parameter.line for parameter in query.parameters}
    for name in sorted(statement.parameters - declared.keys()):
        before = query.sql.partition(f"${name}")[0]
        query.refuse(query.header_lines + before.count("\n") + 1, f"${name} is used and not declared")
    for name, line in declared.items():
        if name not in statement.parameters:
            query.refuse(line, f"param {name} is declared and not used")
    if not statement.ordered:
        query.refuse(query.header_lines + 1, "expected ORDER BY after the outermost SELECT, found none")
    for kind, tables in (("requires", query.requires), ("field", query.fields)):
        for table in tables:
            if table not in statement.tables:
                query.refuse(1, f"{kind}: {table} is declared and not read")


def check_result(query: Query, result: Result | Columns) -> None:
    """Check the columns of a result against the header. UsageError: they differ."""
    found = list(zip(result.names, result.types, strict=True))
    for column, (name, type_) in zip(query.columns, found, strict=False):
        if (column.name, column.type) != (name, type_):
            query.refuse(column.line, f"column {column.name} {column.type} is declared, the result has {name} {type_}")
    for column in query.columns[len(found) :]:
        query.refuse(column.line, f"column {column.name} is declared, the result does not have it")
    for name, type_ in found[len(query.columns) :]:
        query.refuse(query.columns[-1].line, f"the result has a column {name} {type_} that is not declared")
