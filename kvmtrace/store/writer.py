"""Writes a run aside and renames it into place: it is there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import pyarrow as pa

from kvmtrace.errors import StoreError
from kvmtrace.store.catalogue import TEMPORARY
from kvmtrace.store.label import Label, write_label
from kvmtrace.store.manifest import MANIFEST, Manifest, TableInfo, run_folder, runs_folder
from kvmtrace.store.parquet import ROW_GROUP_ROWS, open_writer, write_small

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import pyarrow.parquet as pq

_LOCK_SUFFIX = ".lock"
_REMOVED_AGE_S = 3600  # what `runs rm` sets aside is gone long before, unless it was killed
_BUFFERED_ROWS = 1 << 19
"""Rows of all tables together that wait for a full row group: some 100 MB at most."""
_WAITING_JOBS = 16  # blocks of events that are settled come many at a time
_PART = "part-0.parquet"


class _Table:
    """One table of a run: rows that wait, and the file that they go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self.waiting: list[pa.Table] = []
        self.waiting_rows = 0
        self.file: pq.ParquetWriter | None = None
        self.columns: dict[str, str] = {}

    def add(self, rows: pa.Table) -> None:
        self.waiting.append(rows)
        self.waiting_rows += rows.num_rows
        self.rows += rows.num_rows

    def flush(self) -> None:
        if not self.waiting:
            return
        rows = pa.concat_tables(self.waiting)
        self.waiting, self.waiting_rows = [], 0
        if self.file is None:
            self.folder.mkdir(parents=True)
            self.columns = {field.name: _plain_type(field.type) for field in rows.schema}
            self.file = open_writer(self.folder / _PART, rows.schema)
        self.file.write_table(rows, row_group_size=ROW_GROUP_ROWS)

    def close(self) -> None:
        self.flush()
        if self.file is not None:
            self.file.close()

    def abandon(self) -> None:
        """Let go of a file that nobody will read; on a full disk its end cannot be written."""
        if self.file is not None and self.file.is_open:
            with suppress(OSError):
                self.file.close()


def check_writable(store: Path) -> None:
    """StoreError: nobody could write a run there, which is better known before one is made. Writes nothing."""
    places = (runs_folder(store), store, *store.absolute().parents)
    place = next(place for place in places if os.path.lexists(place))
    if not place.is_dir():
        raise StoreError(f"{place}: expected the folder of a store, found a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StoreError(f"{place}: a store cannot be written there by this user")


class RunWriter:
    """A run in the making. With several `jobs` its tables are encoded and written by a thread beside the caller's.

    Use it as a context manager; without `finish` nothing is left behind. StoreError: the store cannot be written.
    """

    def __init__(self, store: Path, *, jobs: int = 2) -> None:
        self._store = store
        self._tables: dict[str, _Table] = {}
        self._small: dict[str, TableInfo] = {}
        self._jobs: list[Future[None]] = []
        try:
            runs_folder(store).mkdir(parents=True, exist_ok=True)
            temporary = store / TEMPORARY
            temporary.mkdir(exist_ok=True)
            _sweep(store)
            self._lock = _claim(temporary)
            self.folder = Path(self._lock.name).with_suffix("")
        except OSError as error:
            raise _store_error(error, store) from None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kvmtrace-writer") if jobs > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        _clear(self._store, Path(self._lock.name))
        self._lock.close()
        for table in self._tables.values():
            table.abandon()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _store_error(error, self._store) from None

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` on the writing thread, behind those submitted before. Waits while too many wait."""
        if self._thread is None:
            job()
            return
        self._jobs.append(self._thread.submit(job))
        while len(self._jobs) > _WAITING_JOBS:
            self._jobs.pop(0).result()

    def add(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table; only jobs on the writing thread may call it."""
        target = self._tables.setdefault(table, _Table(self.folder / table))
        target.add(rows)
        if target.waiting_rows >= ROW_GROUP_ROWS:
            target.flush()
        elif sum(t.waiting_rows for t in self._tables.values()) > _BUFFERED_ROWS:
            max(self._tables.values(), key=lambda t: t.waiting_rows).flush()

    def write_small(self, table: str, rows: pa.Table) -> None:
        """Write a whole table of few rows at once."""
        write_small(self.folder / f"{table}.parquet", rows)
        self._small[table] = TableInfo(rows.num_rows, {f.name: _plain_type(f.type) for f in rows.schema})

    def close_tables(self) -> dict[str, TableInfo]:
        """Wait for all jobs, close the files, and return what was written."""
        for job in self._jobs:
            job.result()
        for table in self._tables.values():
            table.close()
        written = {name: TableInfo(table.rows, table.columns) for name, table in self._tables.items()}
        return dict(sorted({**written, **self._small}.items()))

    def finish(self, manifest: Manifest, label: Label, *, replace: bool = False) -> bool:
        """Put the run in its place. Returns False where it is there already and `replace` is not asked for."""
        (self.folder / MANIFEST).write_text(manifest.to_json())
        if label != Label():
            write_label(self.folder, label)
        target = run_folder(self._store, manifest.run_id)
        if replace:
            with suppress(FileNotFoundError):  # another ingest may do the same
                target.rename(self._store / TEMPORARY / f"replaced-{manifest.run_id}-{self.folder.name}")
        try:
            self.folder.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True


def _claim(temporary: Path) -> IO[str]:
    """Make a folder for a run in the making, and a lock file of that name beside it; return the held lock."""
    while True:
        path = temporary / f"run-{secrets.token_hex(8)}{_LOCK_SUFFIX}"
        lock = path.open("x")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():  # nobody swept it before it was held
                path.with_suffix("").mkdir()
                return lock
        except OSError:
            path.unlink(missing_ok=True)
            lock.close()
            raise
        lock.close()


def _sweep(store: Path) -> None:
    """Remove what killed ingests left: everything whose lock nobody holds."""
    temporary = store / TEMPORARY
    for path in temporary.glob(f"run-*{_LOCK_SUFFIX}"):
        with suppress(OSError), path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(store, path)
    for removed in temporary.glob("removed-*"):
        with suppress(OSError):
            if time.time() - removed.stat().st_ctime > _REMOVED_AGE_S:
                shutil.rmtree(removed, ignore_errors=True)


def _clear(store: Path, lock: Path) -> None:
    """Remove what an ingest left aside; a run that it could not replace any more goes back to its place."""
    folder = lock.with_suffix("")
    for replaced in folder.parent.glob(f"replaced-*-{folder.name}"):
        run_id = replaced.name.removeprefix("replaced-").removesuffix(f"-{folder.name}")
        with suppress(OSError):
            replaced.rename(run_folder(store, run_id))
        shutil.rmtree(replaced, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # gone already where the run was finished
    if not folder.exists():
        lock.unlink(missing_ok=True)


def _plain_type(arrow_type: pa.DataType) -> str:
    return str(arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type)


def _store_error(error: OSError, store: Path) -> StoreError:
    hints = {
        errno.ENOSPC: "free some space, or name another store with --store",
        errno.EACCES: "name a folder that you may write with --store",
        errno.EROFS: "name a folder that can be written with --store",
    }
    number = error.errno or (errno.ENOSPC if "No space left" in str(error) else None)
    what = os.strerror(number) if number else str(error)
    return StoreError(
        f"the store {store} cannot be written: {what}; the run was not added", hint=hints.get(number or 0)
    )
