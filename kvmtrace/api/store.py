"""A store of runs, opened: its tables as polars has them, its queries, its reports and comparisons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmtrace import queries
from kvmtrace.api.kept import Connections
from kvmtrace.errors import StoreError, UsageError
from kvmtrace.store.manifest import DEFAULT_FOLDER, FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import polars as pl

    from kvmtrace.api.comparison import ComparisonResult
    from kvmtrace.api.exports import Exported
    from kvmtrace.api.options import Paths
    from kvmtrace.api.reports import Report
    from kvmtrace.api.whatif import WhatIfResult
    from kvmtrace.store.connection import StoreConnection
    from kvmtrace.store.manifest import Manifest

RunNames = str | list[str] | tuple[str, ...] | None
"""Runs: the id of one or its beginning, its label or its source; several of them; None: the run ingested last."""

_RUNS = "FROM runs ORDER BY ingested_at, run_id"


def default_folder() -> Path:
    """Return the folder of the store where none is named: $KVMTRACE_STORE, else ./kvmtrace-store."""
    return Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def open_store(path: str | os.PathLike[str] | None = None) -> Store:
    """Open the store at `path`; None: $KVMTRACE_STORE, else ./kvmtrace-store.

    Runs that cannot be read are left out, with a Python warning each. StoreError: there is no store.
    """
    return Store(path)


class Store:
    """A folder of runs. It can be kept: what is ingested, labelled or removed elsewhere shows with the next call.

    Every method that takes a run takes its id or the beginning of it, its label or its source; None is the run that
    was ingested last. Use it in a `with` statement, or let it go. Several threads may use it: each has a connection of
    its own. Another process opens it anew: it is pickled as its path.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, warn: Callable[[str], None] | None = None
    ) -> None:
        """Open the store as `open_store` does; `warn` is told of runs that cannot be read, in place of warnings."""
        asked = default_folder() if path is None else Path(path)
        self._connections = Connections(asked, warn)
        self.path = self._connections.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is kept open; the next call opens it again."""
        self._connections.close()

    @property
    def connection(self) -> StoreConnection:
        """The guarded connection of this thread to the store as it is now, for what the library has no method for.

        StoreError: there is no store, or nobody may read it.
        """
        return self._connections.current()

    def manifest(self, run: str | None = None) -> Manifest:
        """Return all that is known of a run beside its tables: source, host, tracepoints, losses, notes.

        UsageError: no run or several are called so. StoreError: the run cannot be read.
        """
        catalogue = self.connection.catalogue
        return catalogue.latest() if run is None else catalogue.resolve(run)

    def runs(self) -> pl.DataFrame:
        """Return a row for each run, the latest last: id, label, source, host, times, counts, losses, tags."""
        return self.sql(_RUNS)

    def exits(
        self,
        run: RunNames = None,
        *,
        reason: str | Iterable[str] | None = None,
        vcpu: int | Iterable[int] | None = None,
        vm_id: str | Iterable[str] | None = None,
        detail: int | Iterable[int] | None = None,
        idle: bool | None = None,
        suspect: bool | None = None,
    ) -> pl.LazyFrame:
        """Return the exits of runs, a row each; columns of the schema's table exits, after run_id.

        `reason` … `suspect`: exits with that value alone, or with one of several; None: all. Columns that an older run
        does not have are null. UsageError: no such run, it has no exits recorded, a value of another type, or a reason
        that none of the runs has seen and no architecture knows. A reason that did not occur has no rows.
        """
        from kvmtrace.api import filters, scans

        frame = scans.exits(self.connection, self._manifests(run))
        asked = {"reason": reason, "vcpu": vcpu, "vm_id": vm_id, "detail": detail, "idle": idle, "suspect": suspect}
        return filters.with_values(frame, asked)

    def events(self, run: RunNames, event: str) -> pl.LazyFrame:
        """Return the events of a tracepoint, a row each: time, CPU, thread, vCPU, exit, and the event's own fields.

        `event`: kvm_msr, kvm:kvm_msr or, as SQL calls it where two systems have one of that name, kvm__kvm_msr.
        UsageError: no such run, or it has not recorded the event. An event that was enabled and never fired has no
        rows.
        """
        from kvmtrace.api import scans

        return scans.events(self.connection, self._manifests(run), event)

    def query(self, name: Paths, /, run: str | None = None, **parameters: object) -> pl.DataFrame:
        """Run a query of the library (exits-by-reason or exits_by_reason), or one in a file that ends in .sql.

        `run` is its parameter run_id. UsageError: no such query, run or parameter, a value of another type, or the
        run has not recorded what the query requires.
        """
        from kvmtrace.api import frames

        query = queries.load(os.fspath(name))
        connection = self.connection
        given = parameters if run is None else {"run_id": run, **parameters}
        binding = queries.bind(connection, query, given)
        queries.check_statement(connection, query)
        return frames.queried(connection, query.sql, binding.values, fields=query.fields)

    def sql(self, sql: str, /, **parameters: object) -> pl.DataFrame:
        """Run one statement that reads the store; `parameters` are the values of `$name` in it.

        UsageError: it may not or cannot run. StoreError: files of the store cannot be read.
        """
        from kvmtrace.api import frames

        return frames.queried(self.connection, sql, parameters)

    def report(
        self,
        run: RunNames = None,
        *,
        by: str | Sequence[str] = "reason",
        with_idle: bool = False,
        exact: bool = False,
        distribution_by_reason: bool = False,
    ) -> Report:
        """Report the exits of runs, or what else they hold, as `kvmtrace report` does.

        `by`: reason, detail, vcpu, vm, cpu, or several of them. `exact`: read every exit; else percentiles are within
        1%. `distribution_by_reason`: as the curves of a figure need it. UsageError: no such run or key.
        """
        from kvmtrace.api import reports

        choice = reports.choice(by, with_idle=with_idle, exact=exact, distribution_by_reason=distribution_by_reason)
        return reports.report(self._connections, self._manifests(run), choice)

    def compare(
        self,
        base: str | Sequence[str],
        new: str | Sequence[str],
        *,
        by: str | Sequence[str] = "reason",
        per: str = "second",
        with_idle: bool = False,
        events: bool = False,
        minimum_effect: float = 0.01,
        level: float = 0.95,
        claims: str | Sequence[str] = (),
    ) -> ComparisonResult:
        """Compare runs before with runs after, as `kvmtrace compare` does.

        `base`, `new`: a run, several, or all of a tag (`pv_eoi=on`). `by`: as in `report`. `per`: second, guest-second,
        vcpu, an event, or work=N/M. `minimum_effect`: the least change that counts, a share from 0 on. `level`: of
        confidence, between 0 and 1. `claims`: put to the test ("ratio(kvm_exit / kvm_inj_virq) <= 0.55").
        UsageError: a run, event or option that is not there.
        """
        from kvmtrace.api import comparison

        options = comparison.options(
            by, per, with_idle=with_idle, events=events, minimum_effect=minimum_effect, level=level
        )
        return comparison.compare(self.connection, base, new, options, claims)

    def whatif(self, run: str | None = None, *, model: Paths | Sequence[Paths] | None = None) -> WhatIfResult:
        """Say what models would bring on a run, as `kvmtrace whatif` does: one, several together, or each by itself.

        `model`: a name, or a .toml of yours; None: every model by itself, those that save most first.
        UsageError: no such run or model, or the run has no exits.
        """
        from kvmtrace.api import whatif

        return whatif.predicted(self.connection, self.manifest(run), model)

    def export(
        self,
        path: str | os.PathLike[str],
        run: str | None = None,
        *,
        format_name: str = "perfetto",
        from_time: str | None = None,
        to_time: str | None = None,
        table: str | None = None,
        force: bool = False,
        vcpu: Sequence[int | str] = (),
    ) -> Exported:
        """Write a run to the file `path` for other programs, as `kvmtrace export` does.

        `format_name`: perfetto, duckdb, parquet, csv or arrow. `from_time`, `to_time`, `vcpu`: the part that a
        time-line shows ("1.5s", "200ms" since the start; 0 or "VM:0"). `table`: of parquet, csv and arrow; None: exits.
        `force`: overwrite the file. UsageError: no such run, table or format, or the file is there already.
        """
        from kvmtrace.api import exports

        order = exports.order(format_name, from_time=from_time, to_time=to_time, vcpu=vcpu, table=table)
        target = Path(path)
        if target.exists() and not force:
            raise UsageError(f"{target} is there already", hint="force=True overwrites it")
        return exports.export(self.connection, self.manifest(run), order, target)

    def _manifests(self, run: RunNames) -> list[Manifest]:
        names = [run] if run is None or isinstance(run, str) else list(run)
        if not names:
            raise UsageError("run: expected a run or several, found none", hint="None is the run ingested last")
        found = [self.manifest(name) for name in names]
        return list({manifest.run_id: manifest for manifest in found}.values())

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)

    def __repr__(self) -> str:
        try:
            count = len(self.connection.catalogue.manifests())
        except StoreError as error:
            return f"<kvmtrace store {str(self.path)!r}: {error.message}>"
        return f"<kvmtrace store {str(self.path)!r}: {count:,} {'run' if count == 1 else 'runs'}>"
