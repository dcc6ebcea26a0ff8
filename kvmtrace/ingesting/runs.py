"""One input → its runs, each put in its place as soon as it is whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from kvmtrace.errors import InputError, UnknownFormatError
from kvmtrace.formats import detect
from kvmtrace.formats.archives import is_archive, members
from kvmtrace.formats.opening import open_input
from kvmtrace.formats.source import ReadOptions, Source
from kvmtrace.ingesting.storing import DEFAULT_JOBS, Beside, Ingested, Order, Progress, Stored, store_contents

if TYPE_CHECKING:
    from pathlib import Path

    from kvmtrace.formats.pipes import Stop
    from kvmtrace.ingesting.listening import Listener
    from kvmtrace.store.label import Label

DEFAULT_OPTIONS = ReadOptions(jobs=DEFAULT_JOBS)
Failed = Callable[[InputError], None]
"""Told why a file of an archive was not ingested."""


def ingest(
    path: str,
    store: Path,
    label: Label,
    *,
    refresh: bool = False,
    format_name: str | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    failed: Failed | None = None,
    stored: Stored | None = None,
    listener: Listener | None = None,
    stream: IO[bytes] | None = None,
    stop: Stop | None = None,
    beside: Beside | None = None,
) -> list[Ingested]:
    """Read the input at `path` ("-": standard input) into `store`, and return its runs.

    `refresh`: take it in again where it is there, and in place of the run that an older version made of it.
    `format_name`: the format that it must be of, as `kvmtrace formats` names it; None: told by its content.
    `failed`: told of each file of an archive that could not be ingested, while the others are; None: the first such
    is raised, but for those that are of none of the formats.
    `listener`: told of the events and exits of each recording while it is read.
    `stream`: what is read in place of the file at `path`, which only names it then; it is closed.
    `stop`: ends the reading of a pipe, what was read of it is stored.
    `beside`: adds to each run's manifest and label what is known at its end.
    `stored`: told of each run once it is in the store, where it stays whatever becomes of those behind it.
    UsageError: no format of that name, or a label for several runs. InputError: not readable. StoreError: the store
    cannot be written; nothing of the run at hand is left behind then.
    """
    label.check()
    order = Order(store, label, refresh, progress, stored, listener, beside)
    with open_input(path, options, stream=stream, stop=stop) as source:
        if is_archive(source.head()):
            return _ingest_archive(source, format_name, order, failed)
        return _ingest_source(source, format_name, order)


def _ingest_archive(archive: Source, format_name: str | None, order: Order, failed: Failed | None) -> list[Ingested]:
    if order.label.label is not None:
        order.check_label(archive.path, _count_runs(archive, format_name))
    runs: list[Ingested] = []
    files = 0
    for member in members(archive):
        files += 1
        try:
            if isinstance(member, InputError):
                raise member
            with member:
                runs += _ingest_source(member, format_name, order)
        except InputError as error:
            if failed is not None:
                failed(error)
            elif not isinstance(error, UnknownFormatError):
                raise
    if not runs:
        raise InputError(archive.path, f"expected a recording in the archive, found none in its {files} files")
    return runs


def _count_runs(archive: Source, format_name: str | None) -> int:
    """Return how many runs the files of an archive make: 0, 1 or several."""
    runs, taken = 0, archive.allowance.taken
    for member in members(archive):
        if isinstance(member, Source):
            with member, suppress(InputError):
                runs += len(detect.read(member, format_name))
        if runs > 1:
            break
    archive.allowance.taken = taken
    return runs


def _ingest_source(source: Source, format_name: str | None, order: Order) -> list[Ingested]:
    return store_contents(detect.read(source, format_name), source, order)
