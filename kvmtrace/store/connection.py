"""SQL over a store, which it may read and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store import guard
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.locked import locked_connection
from kvmtrace.store.tables_made import TablesMade, said
from kvmtrace.store.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from kvmtrace.store.guard import Statement
    from kvmtrace.store.tables_made import Fields

_T = TypeVar("_T")


@dataclass(slots=True)
class Result:
    """What a statement gave; `types` are the names of DuckDB types."""

    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass(slots=True)
class Columns:
    """What a statement gave, as an array for each column; masked where it is null. `types` as of `Result`."""

    names: list[str]
    types: list[str]
    arrays: dict[str, np.ma.MaskedArray[Any, np.dtype[Any]]]


class StoreConnection:
    """A connection to a store, as it was when it was opened. Use it in a `with` statement."""

    def __init__(self, store: Path) -> None:
        """StoreError: there is no store at `store`."""
        self.catalogue = Catalogue(store)
        self.views = Views(self.catalogue)
        self._checked: dict[str, Statement] = {}
        with ExitStack() as stack:
            spill = tempfile.mkdtemp(prefix="kvmtrace-")
            stack.callback(shutil.rmtree, spill, ignore_errors=True)
            self._connection = locked_connection(self.catalogue.store, spill)
            stack.callback(self._connection.close)
            self._tables = TablesMade(self._connection, self.catalogue, self.views)
            # A connection that nobody closes leaves no folder for spilled rows behind.
            self._closing = weakref.finalize(self, _close, stack.pop_all(), os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store, once or again."""
        self._closing()

    def check(self, sql: str) -> Statement:
        """Return the statement of `sql` without running it. UsageError: it may not run."""
        if sql not in self._checked:
            self._checked[sql] = guard.checked(self._connection, sql)
        return self._checked[sql]

    def query(
        self, sql: str, parameters: Mapping[str, object] | None = None, *, fields: Fields | None = None
    ) -> Result:
        """Run one statement that reads the store; values come in by `$name`.

        UsageError: the statement may not or cannot run. StoreError: files of the store cannot be read.
        """
        statement, given = self._prepared(sql, parameters, fields)
        result = self._interruptible(
            lambda: self._run(statement, given, lambda names, types, done: Result(names, types, done.fetchall()))
        )
        return _plan(result) if statement.explained else result

    def columns(
        self, sql: str, parameters: Mapping[str, object] | None = None, *, fields: Fields | None = None
    ) -> Columns:
        """Run one statement as `query` does, for results of many rows. Errors: as of `query`."""
        statement, given = self._prepared(sql, parameters, fields)
        return self._interruptible(lambda: self._run(statement, given, _columns))

    def arrow(
        self, sql: str, parameters: Mapping[str, object] | None = None, *, fields: Fields | None = None
    ) -> tuple[pa.Table, list[str]]:
        """Run one statement as `query` does; return an Arrow table, and the DuckDB types that Arrow does not tell.

        Names of columns may come twice. Errors: as of `query`.
        """
        statement, given = self._prepared(sql, parameters, fields)

        def work() -> tuple[pa.Table, list[str]]:
            relation = self._related(statement, given)
            try:
                return relation.to_arrow_table(), [str(type_) for type_ in relation.types]
            except duckdb.Error as error:
                raise self._said(error) from None

        return self._interruptible(work)

    def first(self, sql: str, rows: int, values: int) -> tuple[Result, bool]:
        """Run one statement as `query` does; return its first rows, of so many values, and whether there are more.

        DuckDB is told how many, and reads and keeps no others: of a statement that sorts, too.
        """
        statement, given = self._prepared(sql, None, None)
        if statement.explained:
            return self.query(sql), False

        def work() -> tuple[Result, bool]:
            relation = self._related(statement, given)
            most = max(min(rows, values // len(relation.columns)), 1)
            try:
                found = relation.limit(most + 1).fetchall()
            except duckdb.Error as error:
                raise self._said(error) from None
            types = [str(type_) for type_ in relation.types]
            return Result(list(relation.columns), types, found[:most]), len(found) > most

        return self._interruptible(work)

    def batches(
        self, sql: str, parameters: Mapping[str, object] | None = None, *, rows: int
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run one statement as `query` does; its result comes in batches of `rows`, and is never in memory whole.

        No other statement may run until the last batch was taken. Errors: as of `query`, also while batches come.
        """
        statement, given = self._prepared(sql, parameters, None)
        reader = self._interruptible(lambda: self._related(statement, given).to_arrow_reader(rows))
        return reader.schema, self._taken(reader)

    def _related(self, statement: Statement, parameters: dict[str, object]) -> duckdb.DuckDBPyRelation:
        """Return a statement as a relation, which runs as its rows are taken: `execute` would keep them all first."""
        try:
            return self._connection.sql(statement.parsed, params=parameters or None)
        except duckdb.Error as error:
            raise self._said(error) from None

    def _taken(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                yield self._interruptible(reader.read_next_batch)
            except StopIteration:
                return
            except OSError as error:  # Arrow's word for what went wrong in DuckDB
                raise StoreError(f"the store cannot be read: {error}".partition("\n")[0]) from None

    def _prepared(
        self, sql: str, parameters: Mapping[str, object] | None, fields: Fields | None
    ) -> tuple[Statement, dict[str, object]]:
        statement = self.check(sql)
        given = dict(parameters or {})
        if given.keys() != statement.parameters:
            raise UsageError(f"expected values for {_names(statement.parameters)}, found {_names(given)}")
        self._tables.make(statement, fields or {})
        return statement, given

    def _run(
        self, statement: Statement, parameters: dict[str, object], fetched: Callable[[list[str], list[str], Any], _T]
    ) -> _T:
        try:
            executed = self._connection.execute(statement.parsed, parameters or None)
            names, types = [d[0] for d in executed.description], [str(d[1]) for d in executed.description]
            return fetched(names, types, executed)
        except duckdb.Error as error:
            raise self._said(error) from None

    def _interruptible(self, work: Callable[[], _T]) -> _T:
        """Do `work` on a thread of its own: Ctrl-C reaches this one at once, while DuckDB would look for it rarely."""
        with ThreadPoolExecutor(1, thread_name_prefix="kvmtrace-sql") as thread:
            future = thread.submit(work)
            try:
                return future.result()
            except KeyboardInterrupt:
                self._connection.interrupt()
                raise

    def _said(self, error: duckdb.Error) -> UsageError | StoreError:
        return said(error, self.catalogue.store)


def _close(opened: ExitStack, process: int) -> None:
    """Close what a process opened; a child that it forked holds the same, and is to leave it alone."""
    if os.getpid() == process:
        opened.close()


def _names(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names)) or "no parameter"


def _columns(names: list[str], types: list[str], executed: Any) -> Columns:  # noqa: ANN401 - duckdb is not typed
    from numpy import ma  # noqa: PLC0415 - slow to load, and most commands need rows

    return Columns(names, types, {name: ma.asarray(array) for name, array in executed.fetchnumpy().items()})


def _plan(result: Result) -> Result:
    """Return the lines of an EXPLAIN's plan as rows."""
    lines = "\n".join(str(row[-1]) for row in result.rows).splitlines()
    return Result(["plan"], ["VARCHAR"], [(line,) for line in lines])
