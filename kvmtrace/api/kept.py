"""The connections of a store that is kept: one for each thread, and a new one where the store has changed."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmtrace.errors import StoreError
from kvmtrace.store.connection import StoreConnection
from kvmtrace.store.manifest import runs_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    _State = dict[str, int]


_INHERITED: list[object] = []
"""Connections that a process opened before it forked: it would fall over their threads, which it has not got."""


@dataclass(frozen=True, slots=True)
class _Opened:
    connection: StoreConnection
    state: _State  # of the store, when it was opened
    process: int


class Connections:
    """Gives each thread a connection of its own to the store as it is; `warn` is told once of each unreadable run."""

    def __init__(self, path: Path, warn: Callable[[str], None] | None = None) -> None:
        """Open the connection of this thread; `warn` None: Python's warnings. StoreError: there is no store."""
        self.path = path
        self._warn = _warned if warn is None else warn
        self._told: set[str] = set()
        self._of_thread = threading.local()
        self.current()
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - notebooks change folders; links stay as given

    def current(self) -> StoreConnection:
        """Return the connection of this thread. StoreError: there is no store, or nobody may read it."""
        state = _state(self.path)
        kept: _Opened | None = getattr(self._of_thread, "kept", None)
        if kept is not None and kept.process == os.getpid() and kept.state == state:
            return kept.connection
        self._let_go()
        connection = StoreConnection(self.path)
        self._of_thread.kept = _Opened(connection, state, os.getpid())
        for text in dict.fromkeys(connection.catalogue.warnings):
            if text not in self._told:
                self._told.add(text)
                self._warn(text)
        return connection

    def close(self) -> None:
        """Let go of all connections, of other threads when their statements end."""
        self._let_go()
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[type[Connections], tuple[Path]]:
        return Connections, (self.path,)

    def _let_go(self) -> None:
        kept: _Opened | None = getattr(self._of_thread, "kept", None)
        if kept is None:
            return
        del self._of_thread.kept
        if kept.process == os.getpid():
            kept.connection.close()
        else:
            _INHERITED.append(kept)


def _warned(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def _state(store: Path) -> _State:
    """Return what changes with every run that comes, goes or is labelled: the times of the runs' folders."""
    try:
        with os.scandir(runs_folder(store)) as folders:
            return {folder.name: folder.stat().st_mtime_ns for folder in folders}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"the store {store} cannot be read: {error.strerror}") from None
