"""Artifacts of a job → runs: recordings in files, folders and archives, ingested together, or runs of a store."""

from __future__ import annotations

import errno
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import InputError, KvmtraceError, UnknownFormatError
from kvmtrace.formats.source import STANDARD_INPUT
from kvmtrace.ingesting import ingest
from kvmtrace.store.catalogue import Catalogue
from kvmtrace.store.label import Label
from kvmtrace.store.manifest import RUN_PREFIX, runs_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmtrace.ingesting import Ingested

_FORMATS = "`kvmtrace formats` lists what is read"
Stored = Callable[["Ingested", str], None]
"""Told of each run that a file gave."""
Said = Callable[[str], None]
"""Told what else the user should know."""


def is_artifact(name: str) -> bool:
    """Tell whether a name is that of a file or folder."""
    try:
        return name == STANDARD_INPUT or Path(name).exists()
    except (OSError, ValueError):  # longer than any path, or with a NUL
        return False


@contextmanager
def store_for(names: Sequence[str], store: Path | None, default: Path) -> Iterator[Path]:
    """Give the store that names are of, or are to be ingested into: a temporary one for artifacts alone.

    `store`: what the user asks for; `default`: where the runs are that names mean, if nothing is asked.
    """
    if store is not None or not all(is_artifact(name) for name in names):
        yield store or default
        return
    with (
        _termination_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="kvmtrace-", ignore_cleanup_errors=True) as folder,
    ):
        yield Path(folder) / "store"


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does: a job that is cancelled leaves no store behind."""
    if threading.current_thread() is not threading.main_thread():  # others may not ask for signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True)
class Taking:
    """Where artifacts are taken in, and who is told."""

    store: Path
    stored: Stored
    said: Said
    _ids: dict[str, list[str]] = field(default_factory=dict)
    _called: dict[str, str] = field(default_factory=dict)  # artifacts → the runs that they are the names of, too

    def check(self, names: Sequence[str]) -> None:
        """Look names up, before what is ingested has names, too. InputError: one is neither an artifact nor a run."""
        for name in names:
            if not is_artifact(name):
                self._run(name)
            elif (run_id := self._run_called(name)) is not None:
                self._called[name] = run_id

    def runs(self, names: Sequence[str]) -> list[str]:
        """Return ids of the runs that artifacts give, and what is the name of runs (KEY=VALUE: several) as it is.

        InputError: an artifact cannot be read or holds no recording, or as of `check`. StoreError: the store cannot be
        read or written.
        """
        found: list[str] = []
        for name in names:
            found += self._ingested(name) if is_artifact(name) else [self._run(name)]
        return list(dict.fromkeys(found))

    def _run(self, name: str) -> str:
        try:
            catalogue = Catalogue(self.store)
            return name if catalogue.tagged(name) else catalogue.find(name)
        except KvmtraceError as error:
            raise InputError(name, f"no such file, and {error.message}", hint=error.hint) from None

    def _ingested(self, name: str) -> list[str]:
        if name not in self._ids:
            also = self._called.get(name)
            ids = [run_id for file in self._files(name) for run_id in self._of_file(file, lone=file == name)]
            if not ids:
                raise InputError(name, "expected a recording in the folder, found none")
            if also is not None and also not in ids:
                self.said(f"{name} is a file, and also what run {also} is called: the file is taken")
            self._ids[name] = ids
        return self._ids[name]

    def _of_file(self, file: str, *, lone: bool) -> list[str]:
        def failed(error: InputError) -> None:
            if not isinstance(error, UnknownFormatError):
                raise error
            self.said(f"passed over: {error.message}")

        try:
            runs = ingest(file, self.store, Label(), failed=failed, stored=lambda run: self.stored(run, file))
        except UnknownFormatError as error:
            if lone:
                raise UnknownFormatError(file, error.message.removeprefix(f"{file}: "), hint=_FORMATS) from None
            failed(error)
            return []
        return [run.manifest.run_id for run in runs]

    def _run_called(self, name: str) -> str | None:
        """Return the run that a name would mean, were there no such file."""
        try:
            return Catalogue(self.store).find(name)
        except KvmtraceError:
            return None

    def _files(self, name: str) -> list[str]:
        """Return the files of an artifact, those of a folder in the order of their names. InputError: it is a store."""
        folder = Path(name)
        if name == STANDARD_INPUT or not folder.is_dir():
            return [name]
        if any(path.name.startswith(RUN_PREFIX) for path in _listed(runs_folder(folder))):
            raise InputError(name, "expected recordings, found a store", hint=f"--store {name}, and name its runs")
        found: list[Path] = []
        for parent, folders, files in os.walk(folder, onerror=_unreadable):
            folders.sort()
            linked = [each for each in folders if Path(parent, each).is_symlink()]  # which the walk does not enter
            for path in (Path(parent, each) for each in sorted(linked + files)):
                if (what := _no_file(path)) is None:
                    found.append(path)
                else:
                    self.said(f"passed over: {path}: {what}")
        return [str(path) for path in found]


def _no_file(path: Path) -> str | None:
    """Say what an entry of a folder is, if it is no file that ends: to open a FIFO may take for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP}:
            return "a link to nothing"
        raise InputError(str(path), f"cannot be opened: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        return "a link to a folder"
    return None if stat.S_ISREG(mode) else "no regular file"


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _unreadable(error: OSError) -> None:
    raise InputError(str(error.filename), f"cannot be opened: {error.strerror}") from None
